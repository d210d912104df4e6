/** What the options of `parseArgs` say of each name, with aliases looked through. */

import type { Names, ParseOptions } from "./parsed_args.ts";

/** Answers what kind of option a name is. */
export class Flags {
  /** Whether options that begin with `--` and have no `=` take no value. */
  readonly isAllBoolean: boolean;
  readonly #strings: ReadonlySet<string>;
  readonly #booleans: ReadonlySet<string>;
  readonly #collected: ReadonlySet<string>;
  readonly #negatable: ReadonlySet<string>;
  readonly #groups: ReadonlyMap<string, readonly string[]>;

  /** Reads the options. */
  constructor(options: ParseOptions) {
    this.#groups = groupNames(options.alias ?? {});
    this.isAllBoolean = options.boolean === true;
    this.#strings = this.#collectNames(options.string);
    this.#booleans = this.#collectNames(typeof options.boolean === "boolean" ? [] : options.boolean);
    this.#collected = this.#collectNames(options.collect);
    this.#negatable = this.#collectNames(options.negatable);
  }

  /** The names of texts and switches. */
  get typed(): Iterable<string> {
    return [...this.#strings, ...this.#booleans];
  }

  /** The name itself and its aliases. */
  namesOf(name: string): readonly string[] {
    return this.#groups.get(name) ?? [name];
  }

  /** Whether the value stays a text. */
  isString(name: string): boolean {
    return this.#strings.has(name);
  }

  /** Whether the option takes no value. */
  isBoolean(name: string): boolean {
    return this.#booleans.has(name);
  }

  /** Whether all values are kept. */
  isCollected(name: string): boolean {
    return this.#collected.has(name);
  }

  /** Whether `--no-` sets it to `false`. */
  isNegatable(name: string): boolean {
    return this.#negatable.has(name);
  }

  /** Whether the options name it as a text, a switch, a list or an alias. */
  isKnown(name: string): boolean {
    return this.isString(name) || this.isBoolean(name) || this.isCollected(name) || this.#groups.has(name);
  }

  #collectNames(names: Names | undefined): ReadonlySet<string> {
    return new Set(listNames(names).flatMap((name) => this.namesOf(name)));
  }
}

function listNames(names: Names | undefined): readonly string[] {
  if (names === undefined) return [];
  return typeof names === "string" ? [names] : names;
}

function groupNames(alias: Readonly<Record<string, Names>>): Map<string, readonly string[]> {
  const groups = new Map<string, readonly string[]>();
  for (const [key, names] of Object.entries(alias)) {
    const group = [key, ...listNames(names)];
    for (const name of group) groups.set(name, group);
  }
  return groups;
}
