/** Step 3 of the walk, the config: from text to what the user wants, every problem named by its place. */

import { parse } from "@std/jsonc/parse";
import { canonicalRegistry } from "../oci/reference.ts";
import { findLines, type Lines, type Path } from "./json_lines.ts";
import { nearestName } from "./nearest.ts";
import { defaultDestination, parseRuleSource, type RuleDefaults } from "./rules.ts";

/** How one registry, or one namespace of it, is reached and logged in to. */
export interface AuthEntry {
  /** User name. */
  username?: string;
  /** Password or access token. */
  password?: string;
  /** Whether a plain-http registry, or one with an untrusted certificate, is accepted. */
  insecure?: boolean;
}

/** One line of `images`. */
export interface Rule {
  /** What to copy, in the grammar of rules. */
  source: string;
  /** Where to, at least one, none twice. */
  destinations: string[];
  /** Platforms wanted, for example `linux/arm64`; all of them without it. */
  platforms?: string[];
  /** Line of the rule in the config, from 1. */
  line?: number;
}

/** What the user wants. */
export interface Config {
  /** By registry or registry/namespace, Docker Hub always as `docker.io`. */
  auth: Record<string, AuthEntry>;
  /** In the order of the config. */
  rules: Rule[];
  /** What is odd but does no harm. */
  warnings: string[];
}

/** Options of {@linkcode parseConfig}. */
export interface ParseConfigOptions {
  /** Where empty destinations lead. */
  defaults?: RuleDefaults;
}

/** A config cannot be used. */
export class ConfigError extends Error {
  /** Keys that lead to the place, for example `images.quay.io/coreos/etcd`; empty for the text as a whole. */
  readonly path: string;
  /** Line of the place, from 1, when it is known. */
  readonly line: number | undefined;

  /** Says what is wrong, and where. */
  constructor(path: Path, line: number | undefined, why: string, options?: ErrorOptions) {
    const name = path.join(".");
    const at = name === "" ? "" : ` at "${name}"`;
    const on = line === undefined ? "" : ` (line ${line})`;
    super(`Cannot read config${at}${on}: ${why}`, options);
    this.name = "ConfigError";
    this.path = name;
    this.line = line;
  }
}

/** A config's value with what is needed to name places in it; other syntaxes than JSONC bring their own. */
export interface ConfigSource {
  /** The parsed value. */
  value: unknown;
  /** Where its keys stand. */
  lines: Lines;
}

const TOP_KEYS = ["auth", "images", "$schema"];
const AUTH_KEYS = ["username", "password", "insecure"];

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
export function parseJsonc(text: string): ConfigSource {
  const plain = text.replace(/^\uFEFF/, "");
  if (plain.trim() === "") throw new ConfigError([], undefined, "it is empty");
  try {
    return { value: parse(plain), lines: findLines(plain) };
  } catch (cause) {
    throw jsonError(plain, cause);
  }
}

/** The parser says where it stopped; a person wants the line. What the text says there is not repeated: it may be a password. */
function jsonError(text: string, cause: unknown): ConfigError {
  const message = cause instanceof Error ? cause.message : "";
  const position = /position (\d+)/.exec(message)?.[1];
  const offset = position === undefined ? text.trimEnd().length : Number(position);
  const line = text.slice(0, offset).split("\n").length;
  return new ConfigError([], line, "it is not valid JSON");
}

/**
 * Checks a parsed config.
 *
 * @throws {ConfigError} naming the key and the line of the first problem.
 */
export function readConfig({ value, lines }: ConfigSource, options: ParseConfigOptions = {}): Config {
  const [duplicate] = lines.duplicates;
  if (duplicate !== undefined) {
    const [first, second] = duplicate.lines;
    throw new ConfigError(duplicate.path, second, `the key stands twice, first on line ${first}`);
  }
  const reader = new ConfigReader(lines);
  const top = reader.object([], value);
  reader.warnUnknown([], top, TOP_KEYS);
  const auth = reader.auth(top.auth ?? {});
  if (top.images === undefined) throw reader.error(["images"], "there is none, so there is nothing to copy");
  return { auth, rules: reader.rules(top.images, options.defaults ?? {}), warnings: reader.warnings };
}

type Fields = Record<string, unknown>;

class ConfigReader {
  readonly warnings: string[] = [];
  #lines: Lines;

  constructor(lines: Lines) {
    this.#lines = lines;
  }

  error(path: Path, why: string, options?: ErrorOptions): ConfigError {
    return new ConfigError(path, this.#lines.lineOf(path), why, options);
  }

  object(path: Path, value: unknown): Fields {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
    throw this.error(path, `expected an object, got ${nameType(value)}`);
  }

  warnUnknown(path: Path, fields: Fields, known: readonly string[]): void {
    for (const key of Object.keys(fields).filter((key) => !known.includes(key))) {
      const nearest = nearestName(key, known);
      const hint = nearest === undefined ? "" : `; did you mean "${nearest}"?`;
      const line = this.#lines.lineOf([...path, key]);
      this.warnings.push(
        `Unknown key "${[...path, key].join(".")}"${line === undefined ? "" : ` (line ${line})`}${hint}`,
      );
    }
  }

  auth(value: unknown): Record<string, AuthEntry> {
    const entries: Record<string, AuthEntry> = Object.create(null);
    for (const [key, entry] of Object.entries(this.object(["auth"], value))) {
      const name = canonicalKey(key);
      if (name === "") {
        throw this.error(["auth", key], "expected a registry or registry/namespace as the key");
      }
      if (entries[name] !== undefined) throw this.error(["auth", key], `another key names "${name}" too`);
      entries[name] = this.#authEntry(["auth", key], entry);
    }
    return entries;
  }

  #authEntry(path: Path, value: unknown): AuthEntry {
    const fields = this.object(path, value);
    this.warnUnknown(path, fields, AUTH_KEYS);
    const entry: AuthEntry = {};
    for (const key of ["username", "password"] as const) {
      const text = this.#optional(path, fields, key, "string");
      if (text !== undefined && text !== "") entry[key] = text;
    }
    const insecure = this.#optional(path, fields, "insecure", "boolean");
    if (insecure !== undefined) entry.insecure = insecure;
    if (entry.password !== undefined && entry.username === undefined) {
      throw this.error([...path, "password"], `there is a password without a "username"`);
    }
    return entry;
  }

  #optional<Kind extends keyof Kinds>(
    path: Path,
    fields: Fields,
    key: string,
    kind: Kind,
  ): Kinds[Kind] | undefined {
    const value = fields[key];
    if (value === undefined || value === null) return undefined;
    const type: string = typeof value;
    if (type === kind) return value as Kinds[Kind];
    throw this.error([...path, key], `expected a ${kind}, got ${nameType(value)}`);
  }

  rules(value: unknown, defaults: RuleDefaults): Rule[] {
    const images = this.object(["images"], value);
    return Object.entries(images).map(([source, destination]) => this.#rule(source, destination, defaults));
  }

  #rule(source: string, value: unknown, defaults: RuleDefaults): Rule {
    const path = ["images", source];
    if (source.trim() === "") throw this.error(path, "expected a source, got an empty key");
    const written = typeof value === "string" ? [value] : value;
    if (!Array.isArray(written) || written.length === 0 || !written.every((one) => typeof one === "string")) {
      throw this.error(path, "expected a string or an array of strings");
    }
    const destinations = written.map((one: string) =>
      one.trim() === "" ? this.#default(path, source, defaults) : one.trim()
    );
    const rule: Rule = { source: source.trim(), destinations: [...new Set(destinations)] };
    const line = this.#lines.lineOf(path);
    if (line !== undefined) rule.line = line;
    return rule;
  }

  #default(path: Path, source: string, defaults: RuleDefaults): string {
    if (!defaults.registry) {
      const why = "its destination is empty and there is no default registry " +
        "(give --registry and --namespace, or DEFAULT_REGISTRY and DEFAULT_NAMESPACE)";
      throw this.error(path, why);
    }
    try {
      return defaultDestination(parseRuleSource(source), defaults) ?? "";
    } catch {
      // A malformed source fails its rule alone, when the rule is expanded.
      return defaults.registry;
    }
  }
}

/** The types a field may have, by the name `typeof` gives them. */
interface Kinds {
  string: string;
  boolean: boolean;
}

/** A key without scheme and trailing slash, its registry canonical. */
function canonicalKey(key: string): string {
  const plain = key.trim().replace(/^https?:\/\//, "").replace(/\/+$/, "").replace(/\/v[12]$/, "");
  const [registry = "", ...rest] = plain.split("/");
  return [canonicalRegistry(registry), ...rest].join("/");
}

function nameType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/**
 * The entry for a repository: the one with the longest key that is the registry, a namespace or the repository itself.
 *
 * @returns The key and its entry, or `undefined` when none matches.
 */
export function findAuth(
  auth: Record<string, AuthEntry>,
  registry: string,
  repository: string,
): { key: string; entry: AuthEntry } | undefined {
  const parts = [registry, ...repository.split("/")];
  for (let length = parts.length; length > 0; length--) {
    const key = parts.slice(0, length).join("/");
    const entry = auth[key];
    if (entry !== undefined) return { key, entry };
  }
  return undefined;
}

/** Whether any entry of a registry sets `insecure`: a connection belongs to a registry, not to a namespace. */
export function isInsecureRegistry(auth: Record<string, AuthEntry>, registry: string): boolean {
  return Object.entries(auth).some(([key, entry]) =>
    entry.insecure === true && key.split("/")[0] === registry
  );
}
