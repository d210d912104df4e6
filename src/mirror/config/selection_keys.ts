/** Step 3 of the walk, the config: what a rule says of the tags it wants, `tags` and `rename`. */

import { isTag } from "../../oci/reference.ts";
import { checkSelection, type TagSelection, TagSelector } from "../rules/selection.ts";
import { ConfigError, type Rule } from "./config.ts";
import type { Path } from "./json_lines.ts";
import { nearestName } from "./nearest.ts";

/** What reading these keys takes. */
export interface SelectionPlace {
  /** Where the value stands in the config. */
  path: Path;
  /** Makes the error that names a place. */
  error: (path: Path, why: string, options?: ErrorOptions) => Error;
}

const BY = ["version", "created", "name"];
/** How each key of `tags` is read; `undefined` where a value is not what it must be. */
const KEYS: Record<keyof TagSelection, readonly [string, (value: unknown) => unknown]> = {
  include: ["a glob, a /pattern/ or an array of them", textsOf],
  exclude: ["a glob, a /pattern/ or an array of them", textsOf],
  semver: ['a range such as ">=1.2 <3"', textOf],
  variant: ["the suffix of a version, a glob", textOf],
  prereleases: ["true or false", (value) => typeof value === "boolean" ? value : undefined],
  immutable: ["a glob, a /pattern/ or an array of them", textsOf],
  within: ['an age such as "90d"', textOf],
  newest: ["a number", numberOf],
  by: [`one of ${BY.map((one) => `"${one}"`).join(", ")}`, (value) => BY.find((one) => one === value)],
  atLeast: ["a number", numberOf],
};
/** Keys of `tags`. */
export const SELECTION_KEYS: readonly string[] = Object.keys(KEYS);

/**
 * Reads `tags`: what the defaults say, but for what is said here; `null` takes a default away.
 *
 * @throws {ConfigError} naming the key.
 */
export function readSelection(
  value: unknown,
  { path, error }: SelectionPlace,
  defaults: TagSelection = {},
): TagSelection {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw error(path, 'expected an object such as { "semver": ">=1", "newest": 5 }');
  }
  const read: Record<string, unknown> = { ...defaults };
  for (const [key, written] of Object.entries(value)) {
    if (!Object.hasOwn(KEYS, key)) {
      const nearest = nearestName(key, SELECTION_KEYS);
      const hint = nearest === undefined ? "" : `; did you mean "${nearest}"?`;
      throw error([...path, key], `tags are not chosen by such a key${hint}`);
    }
    const [what, readValue] = KEYS[key as keyof TagSelection];
    if (written === null) delete read[key];
    else read[key] = readValue(written) ?? refuse(error([...path, key], `expected ${what}`));
  }
  return read as TagSelection;
}

/** @throws {ConfigError} where filters do not fit together. */
export function checkKeys(selection: TagSelection, { path, error }: SelectionPlace): void {
  try {
    checkSelection(selection);
  } catch (cause) {
    throw error(path, cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/**
 * Reads `rename`: how tags are named at their destinations, `{tag}` standing for the name at the source.
 *
 * @throws {ConfigError} when no tag can come of it.
 */
export function readRename(value: unknown, { path, error }: SelectionPlace): string {
  if (typeof value !== "string" || value.split("{tag}").length !== 2) {
    throw error(path, 'expected a name with "{tag}" in it once, such as "{tag}-mirrored"');
  }
  if (!isTag(value.replace("{tag}", "v"))) throw error(path, `"${value}" makes no names that tags may have`);
  return value;
}

/**
 * Checks what takes more than reading: globs, patterns and ranges of all rules.
 *
 * @param file Name of the file that the rules stand in, for messages.
 * @throws {ConfigError} naming the rule and its line.
 */
export async function checkSelections(rules: readonly Rule[], file?: string): Promise<void> {
  for (const { source, tags, line } of rules) {
    if (tags === undefined) continue;
    try {
      await TagSelector.compile(tags);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new ConfigError({ file, path: [source, "tags"], line }, why, { cause });
    }
  }
}

function refuse(error: Error): never {
  throw error;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

function textsOf(value: unknown): string[] | undefined {
  const list = Array.isArray(value) ? value : [value];
  const isGood = list.length > 0 && list.every((one) => textOf(one) !== undefined);
  return isGood ? list : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
}
