/** Where the config comes from: one file, two files, standard input, or the command line itself. */

import { toText } from "@std/streams/to-text";
import { type Config, ConfigError } from "../../mirror/config/config.ts";
import {
  type ConfigSource,
  type ParseConfigOptions,
  parseJsonc,
  readConfig,
  readConfigParts,
} from "../../mirror/config/config_text.ts";
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
  if (files.config !== undefined) return readConfig(await readSource(files.config), options);
  if (files.images !== undefined) {
    const auth = files.auth === undefined ? undefined : await readSource(files.auth);
    const config = readConfigParts(auth, await readSource(files.images), options);
    if (auth === undefined) {
      config.warnings.push("No --auth file is given, so registries are used without its credentials");
    }
    return config;
  }
  return await readDefault(options);
}

/** Reads one file in the combined form. */
export async function readConfigFile(path: string, options: ParseConfigOptions = {}): Promise<Config> {
  return readConfig(await readSource(path), options);
}

async function readPair(
  { config, auth }: ConfigFiles,
  [source, destination]: readonly [string, string],
  options: ParseConfigOptions,
): Promise<Config> {
  const images = { value: { [source]: destination }, lines: { duplicates: [], lineOf: () => undefined } };
  const parts = readConfigParts(auth === undefined ? undefined : await readSource(auth), images, options);
  if (config === undefined) return parts;
  const { auth: entries, warnings } = readConfig(withoutImages(await readSource(config)), options);
  return { ...parts, auth: entries, warnings };
}

/** Only the credentials of a config count for an image named on the command line. */
function withoutImages(source: ConfigSource): ConfigSource {
  const value = typeof source.value === "object" && source.value !== null ? source.value : {};
  return { ...source, value: { ...value, images: {} } };
}

async function readDefault(options: ParseConfigOptions): Promise<Config> {
  try {
    return await readConfigFile(DEFAULT_CONFIG, options);
  } catch (error) {
    if (!(error instanceof ConfigError) || !(error.cause instanceof Deno.errors.NotFound)) throw error;
    // The words of v1.5.5 stand first: scripts look for them.
    throw new UsageError(
      `neither config.json nor images.json is provided: give --config FILE, or --auth FILE and --images FILE, ` +
        `or a source and a destination (and there is no ${DEFAULT_CONFIG})`,
    );
  }
}

/** YAML is loaded only when there is a YAML file. */
async function readSource(path: string): Promise<ConfigSource> {
  const text = path === "-" ? await toText(Deno.stdin.readable) : await readFile(path);
  const file = path === "-" ? "standard input" : path;
  const extension = /\.([a-z0-9]+)$/i.exec(path)?.[1]?.toLowerCase();
  const looksLikeJson = /^\uFEFF?\s*(?:\{|\/\/|\/\*|$)/.test(text);
  const isYaml = extension === "yaml" || extension === "yml" || path === "-" && !looksLikeJson;
  if (isYaml) return (await import("./yaml_source.ts")).parseYaml(text, file);
  if (extension === "json" || extension === "jsonc" || looksLikeJson) return parseJsonc(text, file);
  throw new ConfigError({ file }, "only one of yaml/yml/json format is supported");
}

async function readFile(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new ConfigError({ file: path }, reasonOf(cause), { cause });
  }
}

function reasonOf(cause: unknown): string {
  if (cause instanceof Deno.errors.NotFound) return "there is no such file";
  if (cause instanceof Deno.errors.IsADirectory) return "it is a directory";
  if (cause instanceof Deno.errors.NotCapable) return "it may not be read; add it to --allow-read";
  if (cause instanceof Deno.errors.PermissionDenied) return "it may not be read";
  return cause instanceof Error ? cause.message : String(cause);
}
