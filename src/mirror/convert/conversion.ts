/** Step 3 of the walk, the config: a config of ours while it is made out of another tool's, with what could not be carried over. */

import type { TagSelection } from "../rules/selection.ts";

/** A JSON object of another tool's config. */
export type Fields = Readonly<Record<string, unknown>>;

/** One rule, as our configs write it. */
export interface ConvertedRule {
  /** Where to. */
  to: string[];
  /** Which tags. */
  tags?: TagSelection;
  /** Platforms wanted. */
  platforms?: string[];
  /** What comes along. */
  referrers?: boolean | { include?: string[]; exclude?: string[] };
}

/** A config of ours, and what is to be known of it. */
export interface Converted {
  /** The config; secrets stand in the environment. */
  config: { auth?: Record<string, Record<string, unknown>>; images: Record<string, unknown> };
  /** What could not be carried over, and what is to be done, in a sentence each. */
  notes: string[];
}

/** How a registry is logged in to in another tool's config. */
export interface ForeignLogin {
  /** User name. */
  username?: unknown;
  /** Password. */
  password?: unknown;
  /** Bearer token. */
  token?: unknown;
  /** Whether its certificate is not looked at, or it has none. */
  insecure?: boolean;
}

/** A config of another tool makes no sense. */
export class ConversionError extends Error {
  /** Says what. */
  constructor(why: string) {
    super(`Cannot convert the config: ${why}`);
    this.name = "ConversionError";
  }
}

/** Collects rules and logins. */
export class Conversion {
  #auth: Record<string, Record<string, unknown>> = {};
  #rules = new Map<string, ConvertedRule[]>();
  #notes = new Set<string>();

  /** Takes note of something that a person should know. */
  note(sentence: string): void {
    this.#notes.add(sentence);
  }

  /** Takes note of keys that have no counterpart here. */
  noteKeys(place: string, fields: Fields, known: readonly string[]): void {
    for (const key of Object.keys(fields)) {
      if (!known.includes(key)) this.note(`"${key}" of ${place} is not carried over`);
    }
  }

  /** Adds a rule. */
  addRule(source: string, rule: ConvertedRule): void {
    const rules = this.#rules.get(source) ?? [];
    this.#rules.set(source, rules);
    rules.push(rule);
  }

  /** Adds a login; a password or token that stands there is asked of the environment instead. */
  addLogin(registry: string, { username, password, token, insecure }: ForeignLogin): void {
    const entry: Record<string, unknown> = {};
    if (username !== undefined && username !== "") {
      entry.username = environmentName(username) ?? String(username);
    }
    if (password !== undefined && password !== "") {
      entry.password = this.#secret(registry, "password", password);
    }
    if (token !== undefined && token !== "") entry.registryToken = this.#secret(registry, "token", token);
    if (insecure === true) entry.insecure = true;
    if (Object.keys(entry).length > 0) this.#auth[registry] = { ...this.#auth[registry], ...entry };
  }

  #secret(registry: string, what: "password" | "token", value: unknown): string {
    const there = environmentName(value);
    if (there !== undefined) return there;
    const name = `${registry}_${what}`.toUpperCase().replace(/[^A-Z0-9]+/g, "_").replace(/^(?=\d)/, "_");
    this.note(`The ${what} of "${registry}" is not written: set ${name} in the environment to it`);
    return `\${${name}}`;
  }

  /** The config. */
  finish(): Converted {
    const images: Record<string, unknown> = {};
    for (const [source, rules] of this.#rules) images[source] = written(rules);
    const hasAuth = Object.keys(this.#auth).length > 0;
    return { config: { ...(hasAuth ? { auth: this.#auth } : {}), images }, notes: [...this.#notes] };
  }
}

/** As short as our configs allow. */
function written(rules: readonly ConvertedRule[]): unknown {
  const values = rules.map((rule) => {
    const to = rule.to.length === 1 ? rule.to[0] : rule.to;
    return Object.keys(rule).length === 1 ? to : { ...rule, to };
  });
  return values.length === 1 ? values[0] : values.flat();
}

/** `${NAME}` for what other tools write for a variable of the environment. */
function environmentName(value: unknown): string | undefined {
  const text = String(value);
  const [, go] = /^\{\{\s*env\s+"([A-Za-z_][A-Za-z0-9_]*)"\s*\}\}$/.exec(text) ?? [];
  const [, shell] = /^\$\{([A-Za-z_][A-Za-z0-9_]*)(?::[-?][^}]*)?\}$/.exec(text) ?? [];
  const name = go ?? shell;
  return name === undefined ? undefined : `\${${name}}`;
}

/** An object, or nothing that has any key. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Fields : {};
}

/** A list of texts; one text is a list of one. */
export function textsOf(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]).map(String);
}

/** A list of objects. */
export function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map(fieldsOf) : [];
}

/** Whether a value says yes; YAML may have left it a text. */
export function isTrue(value: unknown): boolean {
  return value === true || value === "true" || value === "yes";
}

/** A whole number, or nothing. */
export function countOf(value: unknown): number | undefined {
  const count = Number(value);
  return value !== undefined && Number.isSafeInteger(count) && count > 0 ? count : undefined;
}

/** A pattern that matches whole names, as our filters write patterns. */
export function wholePattern(pattern: string): string {
  return `/^(?:${pattern})$/`;
}
