/** Where the config comes from: one file, two files, standard input, or the command line itself. */

import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { type Config, ConfigError } from "../../mirror/config/config.ts";
import {
  type ConfigSource,
  type ParseConfigOptions,
  parseJsonc,
  readConfig,
  readConfigParts,
} from "../../mirror/config/config_text.ts";
import { faultOf, whyNotRead } from "../system_error.ts";
import { checkSelections } from "../../mirror/config/selection_keys.ts";
import { UsageError } from "./flags.ts";

/** Where the config is. */
export interface ConfigFiles {
  /** File with `auth` and `images`, `-` for standard input. */
  config?: string | undefined;
  /** File with the content of `auth`. */
  auth?: string | undefined;
  /** File with the content of `images`. */
  images?: string | undefined;
  /** A source and a destination, instead of `images`. */
  pair?: readonly [string, string] | undefined;
}

/** The config that is read when none is named, as image-syncer v1.0.3 did. */
const DEFAULT_CONFIG = "./image-syncer.json";

/**
 * Reads and checks the config. `--config` wins over `--auth` and `--images`; a source and destination on the command line
 * take the credentials of either.
 *
 * @throws {UsageError} when there is none.
 * @throws {ConfigError} when it cannot be read or is wrong.
 */
export async function readConfigFiles(files: ConfigFiles, options: ParseConfigOptions = {}): Promise<Config> {
  if (files.pair !== undefined) return await readPair(files, files.pair, options);
  if (files.config !== undefined) return await readConfigFile(files.config, options);
  if (files.images !== undefined) {
    const auth = files.auth === undefined ? undefined : await readSource(files.auth);
    const config = await checked(
      readConfigParts(auth, await readSource(files.images), options),
      files.images,
    );
    if (auth === undefined) {
      config.warnings.push("No --auth file is given, so registries are used without its credentials");
    }
    return config;
  }
  if (files.auth !== undefined) throw noConfig();
  return await readDefault(options);
}

/** Reads one file in the combined form. */
export async function readConfigFile(path: string, options: ParseConfigOptions = {}): Promise<Config> {
  const source = await readSource(path);
  return await checked(readConfig(source, options), source.file);
}

/** Filters of tags are compiled only where there are some: what they take is loaded for it. */
async function checked(config: Config, file: string | undefined): Promise<Config> {
  await checkSelections(config.rules, file);
  return config;
}

async function readPair(
  { config, auth }: ConfigFiles,
  [from, to]: readonly [string, string],
  options: ParseConfigOptions,
): Promise<Config> {
  const images = { value: { [from]: to }, lines: { duplicates: [], lineOf: () => undefined } };
  const parts = readConfigParts(auth === undefined ? undefined : await readSource(auth), images, options);
  if (config === undefined) return parts;
  const source = withImages(await readSource(config), images.value);
  const { auth: entries, warnings } = readConfig(source, { ...options, warnsUnused: false });
  return { ...parts, auth: entries, warnings };
}

/** Only the credentials of a config count for an image named on the command line. */
function withImages(source: ConfigSource, images: Record<string, string>): ConfigSource {
  const value = typeof source.value === "object" && source.value !== null ? source.value : {};
  return { ...source, value: { ...value, images } };
}

async function readDefault(options: ParseConfigOptions): Promise<Config> {
  try {
    return await readConfigFile(DEFAULT_CONFIG, options);
  } catch (error) {
    if (!(error instanceof ConfigError) || faultOf(error.cause) !== "missing") throw error;
    throw noConfig();
  }
}

/** The words of v1.5.5 stand first: scripts look for them. */
function noConfig(): UsageError {
  return new UsageError(
    `neither config.json nor images.json is provided: give --config FILE, or --auth FILE and --images FILE, ` +
      `or a source and a destination; ${DEFAULT_CONFIG} is read where there is one and nothing else is named`,
  );
}

/** YAML is loaded only when there is a YAML file. */
async function readSource(path: string): Promise<ConfigSource> {
  const file = path === "-" ? "standard input" : path;
  const text = decode(path === "-" ? await readInput() : await readBytes(path), file);
  const extension = /\.([a-z0-9]+)$/i.exec(path)?.[1]?.toLowerCase();
  const looksLikeJson = /^\s*(?:\{|\/\/|\/\*|$)/.test(text);
  const isYaml = extension === "yaml" || extension === "yml" || path === "-" && !looksLikeJson;
  if (isYaml) return (await import("./yaml_source.ts")).parseYaml(text, file);
  if (extension === "json" || extension === "jsonc" || looksLikeJson) return parseJsonc(text, file);
  throw new ConfigError({ file }, "only one of yaml/yml/json format is supported");
}

async function readInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new ConfigError({ file: path }, whyNotRead(cause), { cause });
  }
}

/** Notepad and PowerShell write UTF-16 with a mark, and UTF-8 with one. */
function decode(bytes: Uint8Array, file: string): string {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe
    ? "utf-16le"
    : first === 0xfe && second === 0xff
    ? "utf-16be"
    : "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ConfigError({ file }, "it is not text in UTF-8; save it as UTF-8", { cause });
  }
}
