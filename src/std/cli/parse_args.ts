/** A command line, from its arguments to the options they set. */

import { Flags } from "./flags.ts";
import type { ParsedArgs, ParseOptions } from "./parsed_args.ts";

export type * from "./parsed_args.ts";

/**
 * Reads `--name value`, `--name=value`, `-n value`, `-n8`, groups such as `-abc` and everything else, which goes to `_`.
 * What looks like a number becomes one, unless its option is listed in `string`. An option that is given no value is
 * `true`, or `""` if it is listed in `string`. What follows `--` is left as it is.
 *
 * @example
 * ```ts
 * import { parseArgs } from "@std/cli/parse-args";
 *
 * const { config, help } = parseArgs(["--config", "mirror.json"], { string: ["config"], boolean: ["help"] });
 * ```
 */
export function parseArgs<const O extends ParseOptions = Record<never, never>>(
  args: readonly string[],
  options?: O,
): ParsedArgs<O> {
  // The types follow from the options' names, the values from the command line: only the tests tie them together.
  return new ArgumentParser(args, options ?? {}).parse() as ParsedArgs<O>;
}

type Result = Record<string, unknown>;

class ArgumentParser {
  readonly #flags: Flags;
  readonly #options: ParseOptions;
  readonly #arguments: readonly string[];
  /** What follows `--`. */
  readonly #untouched: readonly string[];
  readonly #positionals: (string | number)[] = [];
  readonly #result: Result = { _: this.#positionals };
  /** The next argument. */
  #position = 0;

  constructor(args: readonly string[], options: ParseOptions) {
    const end = args.indexOf("--");
    this.#arguments = end < 0 ? args : args.slice(0, end);
    this.#untouched = end < 0 ? [] : args.slice(end + 1);
    this.#options = options;
    this.#flags = new Flags(options);
  }

  parse(): Result {
    while (this.#position < this.#arguments.length) {
      this.#readArgument(this.#arguments[this.#position++] ?? "");
    }
    this.#addDefaults();
    // Again, for `--_` is no way to get at what belongs to no option.
    this.#result._ = this.#positionals;
    if (this.#options["--"]) this.#result["--"] = [...this.#untouched];
    else this.#positionals.push(...this.#untouched);
    return this.#result;
  }

  #readArgument(argument: string): void {
    if (/^--./.test(argument)) return this.#readLong(argument);
    if (/^-[^-]/.test(argument)) return this.#readShort(argument);
    this.#readPositional(argument);
  }

  #readPositional(argument: string): void {
    if (this.#options.unknown?.(argument) !== false) {
      const isText = this.#flags.isString("_") || !isNumeric(argument);
      this.#positionals.push(isText ? argument : Number(argument));
    }
    if (!this.#options.stopEarly) return;
    this.#positionals.push(...this.#arguments.slice(this.#position));
    this.#position = this.#arguments.length;
  }

  #readLong(argument: string): void {
    const name = argument.slice(2);
    const equals = name.indexOf("=", 1);
    if (equals > 0) return this.#setWritten(name.slice(0, equals), name.slice(equals + 1), argument);
    const negated = name.startsWith("no-") ? name.slice(3) : "";
    if (this.#flags.isNegatable(negated)) return this.#set(negated, false, argument, { isCollected: false });
    const next = this.#arguments[this.#position];
    this.#setFromNext(name, argument, next?.startsWith("-") ? undefined : next);
  }

  /** A group: the last letter may take a value, the others only if it is written right behind them. */
  #readShort(argument: string): void {
    const letters = argument.slice(1);
    for (let index = 0; index < letters.length - 1; index++) {
      const letter = letters.charAt(index);
      const value = readAttachedValue(letter, letters.slice(index + 1));
      if (value !== undefined) return this.#set(letter, value, argument);
      this.#set(letter, this.#emptyValue(letter), argument);
    }
    const last = letters.slice(-1);
    if (last === "-") return this.#set(last, this.#emptyValue(last), argument);
    const next = this.#arguments[this.#position] ?? "";
    this.#setFromNext(last, argument, /^--?[^-]/.test(next) ? undefined : next);
  }

  /** Sets an option to the next argument if that can be its value, or else to what it is without one. */
  #setFromNext(name: string, argument: string, next: string | undefined): void {
    const isSwitch = this.#flags.isBoolean(name) || (this.#flags.isAllBoolean && argument.startsWith("--"));
    const isTaken = isSwitch ? next === "true" || next === "false" : Boolean(next);
    if (!isTaken) return this.#set(name, this.#emptyValue(name), argument);
    this.#position++;
    this.#set(name, isSwitch ? next === "true" : next, argument);
  }

  #setWritten(name: string, value: string, argument: string): void {
    this.#set(name, this.#flags.isBoolean(name) ? value !== "false" : value, argument);
  }

  #emptyValue(name: string): unknown {
    return this.#flags.isString(name) ? "" : true;
  }

  #set(
    name: string,
    value: unknown,
    argument: string,
    { isCollected = this.#flags.isCollected(name) }: { isCollected?: boolean } = {},
  ): void {
    const { unknown } = this.#options;
    const isKnown = this.#flags.isKnown(name) || (this.#flags.isAllBoolean && /^--[^=]+$/.test(argument));
    if (unknown && !isKnown && unknown(argument, name, value) === false) return;
    const isNumber = typeof value === "string" && !this.#flags.isString(name) && isNumeric(value);
    for (const each of this.#flags.namesOf(name)) {
      setNested(this.#result, each, isNumber ? Number(value) : value, isCollected);
    }
  }

  #addDefaults(): void {
    const defaults = this.#options.default ?? {};
    for (const [name, value] of Object.entries(defaults)) this.#addDefault(name, value);
    for (const name of this.#flags.typed) {
      if (this.#flags.isCollected(name)) this.#addDefault(name, []);
      else if (this.#flags.isBoolean(name)) this.#addDefault(name, false);
    }
  }

  #addDefault(name: string, value: unknown): void {
    for (const each of this.#flags.namesOf(name)) {
      if (!hasNested(this.#result, each)) setNested(this.#result, each, value, false);
    }
  }
}

/** The value written behind a letter, if what is there can be none of the letters of a group. */
function readAttachedValue(letter: string, rest: string): string | undefined {
  if (/^[A-Za-z]$/.test(letter)) {
    if (rest.startsWith("=")) return rest.slice(1);
    if (/=./.test(rest)) return rest.slice(rest.indexOf("=") + 1);
    if (/\d\.?$/.test(rest)) return rest;
  }
  return /^\W/.test(rest) ? rest : undefined;
}

function isNumeric(text: string): boolean {
  return text.trim() !== "" && Number.isFinite(Number(text));
}

/** Sets `a.b` as the property `b` of the object `a`. */
function setNested(result: Result, name: string, value: unknown, isCollected: boolean): void {
  const path = name.split(".");
  // What these name is not the caller's to set.
  if (path.includes("__proto__") || path.includes("constructor")) return;
  const last = path.pop() ?? name;
  const object = path.reduce<Result>(openObject, result);
  const known = Object.hasOwn(object, last) ? object[last] : undefined;
  if (!isCollected) object[last] = value;
  else if (Array.isArray(known)) known.push(value);
  else object[last] = known === undefined ? [value] : [known, value];
}

function hasNested(result: Result, name: string): boolean {
  let object: unknown = result;
  for (const key of name.split(".")) {
    if (!isObject(object) || !Object.hasOwn(object, key)) return false;
    object = object[key];
  }
  return true;
}

function openObject(object: Result, key: string): Result {
  const known = Object.hasOwn(object, key) ? object[key] : undefined;
  if (isObject(known)) return known;
  const opened: Result = {};
  object[key] = opened;
  return opened;
}

function isObject(value: unknown): value is Result {
  return typeof value === "object" && value !== null;
}
