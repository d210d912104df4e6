/** Step 3 of the walk, the config: from text to what the user wants, every problem named by its place. */

import { parse } from "@std/jsonc/parse";
import { canonicalRegistry } from "../../oci/reference.ts";
import { type AuthEntry, type Config, ConfigError, type Rule, usedKeys } from "./config.ts";
import {
  type Environment,
  expandCredential,
  expandDestination,
  UndefinedVariableError,
} from "./environment_values.ts";
import { explainJson, findLines, type Lines, nameType, type Path } from "./json_lines.ts";
import { NOTICE_KEYS, type NoticeTarget, readNoticeTarget } from "./notice_target.ts";
import { nearestName } from "./nearest.ts";
import { RuleReader } from "./rule_reader.ts";
import type { RuleDefaults } from "../rules/rules.ts";

/** Options of {@linkcode parseConfig}. */
export interface ParseConfigOptions {
  /** Where empty destinations lead. */
  defaults?: RuleDefaults;
  /** Looks up what `$NAME` and `${NAME}` stand for; without it they stand for themselves. */
  environment?: Environment;
  /** Whether entries of `auth` that no image uses are warned of; they are unless this is `false`. */
  warnsUnused?: boolean;
}

/** A config's value with what is needed to name places in it; other syntaxes than JSONC bring their own. */
export interface ConfigSource {
  /** The parsed value. */
  value: unknown;
  /** Where its keys stand. */
  lines: Lines;
  /** Name of the file, where there are several. */
  file?: string;
}

/** Keys of the combined form. */
export const TOP_KEYS: readonly string[] = ["auth", "defaults", "images", "notify", "$schema"];
const TEXT_KEYS = [
  "username",
  "password",
  "identityToken",
  "registryToken",
  "caFile",
  "certFile",
  "keyFile",
  "proxy",
] as const;
/** Keys of an entry of `auth`. */
export const AUTH_KEYS: readonly string[] = [...TEXT_KEYS, "insecure"];
/** Keys whose values are true or false. */
export const BOOLEAN_KEYS: readonly string[] = ["insecure", "attestations", "prereleases"];
/**
 * Parses the combined form of a config: JSON with comments and trailing commas, `auth` and `images`.
 *
 * @throws {ConfigError} naming the key and the line of the first problem.
 * @example
 * ```ts
 * import { parseConfig } from "@image-syncer/image-syncer";
 *
 * const config = parseConfig(`{ "images": { "nginx:1.27": "registry.example.com/mirror/nginx" } }`);
 * config.rules; // [{ source: "nginx:1.27", destinations: ["registry.example.com/mirror/nginx"], line: 1 }]
 * ```
 */
export function parseConfig(text: string, options: ParseConfigOptions = {}): Config {
  return readConfig(parseJsonc(text), options);
}

/**
 * Parses JSON with comments into a value with places.
 *
 * @throws {ConfigError} when it is not JSONC.
 */
export function parseJsonc(text: string, file?: string): ConfigSource {
  const plain = text.replace(/^\uFEFF/, "");
  if (plain.trim() === "") throw new ConfigError({ file }, "it is empty");
  let value: unknown;
  try {
    value = parse(plain);
  } catch (cause) {
    throw jsonError(plain, cause, file);
  }
  const source = { value, lines: findLines(plain) };
  return file === undefined ? source : { ...source, file };
}

/** The parser says where it stopped; a person wants the line. What the text says there is not repeated: it may be a password. */
function jsonError(text: string, cause: unknown, file: string | undefined): ConfigError {
  const message = cause instanceof Error ? cause.message : "";
  const position = /position (\d+)/.exec(message)?.[1];
  const { line, column, why } = explainJson(text, position === undefined ? undefined : Number(position));
  return new ConfigError({ file, line }, `it is not valid JSON at column ${column}: ${why}`);
}

/**
 * Checks the combined form: `auth` and `images` in one value.
 *
 * @throws {ConfigError} naming the key and the line of the first problem.
 */
export function readConfig(source: ConfigSource, options: ParseConfigOptions = {}): Config {
  const reader = new ConfigReader(source, options);
  const top = reader.object([], source.value);
  reader.warnUnknown([], top, TOP_KEYS);
  if (top.images === undefined) {
    throw reader.error([], `there are no "images", so there is nothing to copy${foreignForm(top)}`);
  }
  const rules = reader.rules(["images"], top.images, top.defaults);
  const auth = reader.auth(["auth"], top.auth ?? {}, rules);
  const config: Config = { auth, rules, warnings: reader.warnings };
  if (top.notify !== undefined) config.notify = reader.notify(["notify"], top.notify);
  return config;
}

/**
 * Checks the form of two files, the content of `auth` in one and that of `images` in the other.
 *
 * @throws {ConfigError} naming the file, the key and the line of the first problem.
 */
export function readConfigParts(
  auth: ConfigSource | undefined,
  images: ConfigSource,
  options: ParseConfigOptions = {},
): Config {
  const authReader = auth === undefined ? undefined : new ConfigReader(auth, options);
  const imagesReader = new ConfigReader(images, options);
  const rules = imagesReader.rules([], images.value);
  return {
    auth: authReader?.auth([], auth?.value, rules) ?? {},
    rules,
    warnings: [...authReader?.warnings ?? [], ...imagesReader.warnings],
  };
}

type Fields = Record<string, unknown>;

class ConfigReader {
  readonly warnings: string[] = [];
  #source: ConfigSource;
  #options: ParseConfigOptions;

  constructor(source: ConfigSource, options: ParseConfigOptions) {
    this.#source = source;
    this.#options = options;
    const [duplicate] = source.lines.duplicates;
    if (duplicate === undefined) return;
    const [first, line] = duplicate.lines;
    const place = { file: source.file, path: duplicate.path, line };
    throw new ConfigError(place, `the key stands twice, first on line ${first}`);
  }

  error(path: Path, why: string, options?: ErrorOptions): ConfigError {
    const { file, lines } = this.#source;
    return new ConfigError({ file, path, line: lines.lineOf(path) }, why, options);
  }

  object(path: Path, value: unknown): Fields {
    if (isFields(value)) return value;
    throw this.error(path, `expected an object, got ${nameType(value)}`);
  }

  warnUnknown(path: Path, fields: Fields, known: readonly string[]): void {
    for (const key of Object.keys(fields).filter((key) => !known.includes(key))) {
      const line = this.#source.lines.lineOf([...path, key]);
      const on = line === undefined ? "" : ` (line ${line})`;
      this.warnings.push(`Unknown key "${[...path, key].join(".")}"${on}${hintOf(key, known)}`);
    }
  }

  auth(path: Path, value: unknown, rules: readonly Rule[]): Record<string, AuthEntry> {
    const isUsed = usedKeys(rules);
    const entries: Record<string, AuthEntry> = Object.create(null);
    for (const [key, entry] of Object.entries(this.object(path, value))) {
      if (path.length === 0 && key === "$schema") continue;
      const name = canonicalKey(key);
      const place = [...path, key];
      if (name === "") throw this.error(place, "expected a registry or registry/namespace as the key");
      const read = this.#authEntry(place, entry, isUsed(name));
      const other = entries[name];
      // Configs that served both versions of image-syncer name Docker Hub twice, with one account.
      if (other !== undefined && JSON.stringify(other) !== JSON.stringify(read)) {
        throw this.error(place, `another key names "${name}" too`);
      }
      entries[name] = read;
    }
    return entries;
  }

  notify(path: Path, value: unknown): NoticeTarget[] {
    return Object.entries(this.object(path, value)).map(([name, entry]) => {
      const place = [...path, name];
      const fields = this.object(place, entry);
      this.warnUnknown(place, fields, NOTICE_KEYS);
      return readNoticeTarget(fields, {
        path: place,
        error: (path, why) => this.error(path, why),
        expand: (path, text) => this.#expand(path, text, expandDestination),
      });
    });
  }

  #authEntry(path: Path, value: unknown, isUsed: boolean): AuthEntry {
    // A key without anything below it is null in YAML.
    const fields = value === null ? {} : this.object(path, value);
    this.warnUnknown(path, fields, AUTH_KEYS);
    const entry: AuthEntry = {};
    for (const key of TEXT_KEYS) {
      const text = this.#optional([...path, key], fields[key], "string");
      if (text !== undefined && text !== "") {
        entry[key] = this.#credential([...path, key], text, isUsed);
      }
    }
    const insecure = this.#optional([...path, "insecure"], fields.insecure, "boolean");
    if (insecure !== undefined) entry.insecure = insecure;
    if (!isUsed && this.#options.warnsUnused !== false) {
      this.warnings.push(`No image uses ${this.#placeOf(path)}`);
    }
    if (entry.password !== undefined && entry.username === undefined) {
      throw this.error([...path, "password"], `there is a password without a "username"`);
    }
    if ((entry.certFile === undefined) !== (entry.keyFile === undefined)) {
      throw this.error(path, `"certFile" and "keyFile" go together`);
    }
    return entry;
  }

  #credential(path: Path, text: string, isUsed: boolean): string {
    try {
      const value = this.#expand(path, text, expandCredential);
      if (value === "") this.warnings.push(`The variable that ${this.#placeOf(path)} names is empty`);
      return value;
    } catch (error) {
      if (isUsed || !(error instanceof ConfigError) || !(error.cause instanceof UndefinedVariableError)) {
        throw error;
      }
      return text;
    }
  }

  #placeOf(path: Path): string {
    const line = this.#source.lines.lineOf(path);
    return `"${path.join(".")}"${line === undefined ? "" : ` (line ${line})`}`;
  }

  #expand(path: Path, text: string, expand: (text: string, environment: Environment) => string): string {
    const { environment } = this.#options;
    if (environment === undefined) return text;
    try {
      return expand(text, environment);
    } catch (cause) {
      throw this.error(path, cause instanceof Error ? cause.message : String(cause), { cause });
    }
  }

  #optional<Kind extends keyof Kinds>(path: Path, value: unknown, kind: Kind): Kinds[Kind] | undefined {
    if (value === undefined || value === null) return undefined;
    const type: string = typeof value;
    if (type === kind) return value as Kinds[Kind];
    throw this.error(path, `expected a ${kind}, got ${nameType(value)}`);
  }

  /** The rules, with the defaults that stand beside them. */
  rules(path: Path, value: unknown, defaults?: unknown): Rule[] {
    const reader = new RuleReader({
      error: (path, why, options) => this.error(path, why, options),
      expand: (path, text) => this.#expand(path, text, expandDestination),
      lineOf: (path) => this.#source.lines.lineOf(path),
      destinations: this.#options.defaults,
    });
    if (defaults !== undefined) reader.setDefaults(["defaults"], defaults);
    return reader.read(path, this.object(path, value));
  }
}

/** The types a field may have, by the name `typeof` gives them. */
interface Kinds {
  string: string;
  boolean: boolean;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A key without scheme, `/v2/` and trailing slash, its registry canonical; `team/v2` is a namespace like any other. */
function canonicalKey(key: string): string {
  const plain = key.trim().replace(/^https?:\/\//, "").replace(/\/+$/, "").replace(/^([^/]+)\/v[12]$/, "$1");
  const [registry = "", ...rest] = plain.split("/");
  return [canonicalRegistry(registry), ...rest].join("/");
}

function hintOf(key: string, known: readonly string[]): string {
  const nearest = nearestName(key, known);
  return nearest === undefined ? "" : `; did you mean "${nearest}"?`;
}

/** Forms of other tools' files, by keys that stand at their top. */
const FOREIGN_FORMS: readonly (readonly [string, readonly string[]])[] = [
  ["regsync", ["sync", "creds"]],
  ["dregsy", ["tasks", "relay"]],
  ["ocync", ["mappings", "registries"]],
  ["docker", ["auths", "credHelpers", "credsStore"]],
];

/** Names the tool whose file it is, where its keys tell. */
function foreignForm(top: Fields): string {
  const keys = Object.keys(top);
  const isSkopeo = keys.length > 0 &&
    Object.values(top).every((value) =>
      isFields(value) && ["images", "images-by-tag-regex", "images-by-semver"].some((key) => key in value)
    );
  const known = FOREIGN_FORMS.find(([, named]) => named.some((key) => keys.includes(key)))?.[0];
  const tool = isSkopeo ? "skopeo" : known;
  if (tool === undefined) return "";
  const what = tool === "docker"
    ? `docker's own credentials, which are found without being named`
    : `a file of ${tool}`;
  return `; it looks like ${what}: here "images" maps a source to its destination`;
}
