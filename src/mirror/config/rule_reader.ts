/** Step 3 of the walk, the config: the rules, what each says for itself and what the defaults say for all. */

import { parsePlatformSelector } from "../../oci/platform.ts";
import { splitReference } from "../../oci/reference.ts";
import { checkNamespaces, isNamespace, parseNamespace } from "../rules/namespace.ts";
import { readPrune } from "../rules/prune_policy.ts";
import { defaultDestination, needsTags, parseRuleSource, type RuleDefaults } from "../rules/rules.ts";
import { readBelongings } from "./belongings_keys.ts";
import type { Rule } from "./config.ts";
import { nameType, type Path } from "./json_lines.ts";
import { nearestName } from "./nearest.ts";
import { checkKeys, readRename, readSelection } from "./selection_keys.ts";

/** What reading rules takes. */
export interface RulePlaces {
  /** Makes the error that names a place. */
  error: (path: Path, why: string, options?: ErrorOptions) => Error;
  /** Puts variables of the environment into a destination. */
  expand: (path: Path, text: string) => string;
  /** Line of a place, from 1. */
  lineOf: (path: Path) => number | undefined;
  /** Where empty destinations lead. */
  destinations: RuleDefaults | undefined;
}

type Fields = Record<string, unknown>;

/** Keys that rules may have from `defaults`. */
export const DEFAULTS_KEYS: readonly string[] = [
  "tags",
  "platforms",
  "attestations",
  "referrers",
  "verify",
  "overwrite",
];
/** Keys of a destination that is an object. */
export const DESTINATION_KEYS: readonly string[] = [
  "to",
  "rename",
  "prune",
  "repositories",
  ...DEFAULTS_KEYS,
];

/** Reads the rules of one config. */
export class RuleReader {
  #places: RulePlaces;
  #defaults: Fields = {};

  /** Rules have no defaults yet. */
  constructor(places: RulePlaces) {
    this.#places = places;
  }

  /**
   * Takes in what rules are to have that do not say otherwise.
   *
   * @throws {ConfigError} naming the key.
   */
  setDefaults(path: Path, value: unknown): void {
    if (!isFields(value)) throw this.#places.error(path, 'expected an object such as { "tags": { … } }');
    this.#refuseUnknown(path, value, DEFAULTS_KEYS);
    // What is wrong with them is said where they stand, and not at each rule.
    this.#readKeys({ source: "", destinations: [] }, value, path);
    this.#defaults = value;
  }

  /**
   * Reads all rules.
   *
   * @throws {ConfigError} naming the key and the line of the first problem.
   */
  read(path: Path, fields: Fields): Rule[] {
    return Object.entries(fields)
      .filter(([source]) => path.length > 0 || source !== "$schema")
      .flatMap(([source, value]) => {
        const place = [...path, source];
        if (source.trim() === "") throw this.#places.error(place, "expected a source, got an empty key");
        if (path.length === 0) this.#refuseTopKey(place, source, value);
        if (!Array.isArray(value) || !value.some(isFields)) return [this.#rule(place, source, value)];
        return value.map((one, index) => this.#rule([...place, index], source, one));
      });
  }

  /** A map of images has nothing beside them. */
  #refuseTopKey(path: Path, key: string, value: unknown): void {
    const isTop = ["defaults", "auth", "images", "notify"].includes(key);
    if (!isTop || !isFields(value) || value.to !== undefined) return;
    throw this.#places.error(path, `"${key}" stands beside "images", and here are only images`);
  }

  #rule(path: Path, source: string, value: unknown): Rule {
    const rule: Rule = { source: source.trim(), destinations: [] };
    const { to, ...own } = isFields(value) ? value : { to: value };
    if (isFields(value)) {
      this.#refuseUnknown(path, value, DESTINATION_KEYS);
      if (to === undefined) throw this.#places.error(path, `an object needs "to"`);
    }
    rule.destinations = this.#destinations(isFields(value) ? [...path, "to"] : path, source, to);
    const line = this.#places.lineOf(path);
    if (line !== undefined) rule.line = line;
    this.#readKeys(rule, { ...this.#defaults, ...own }, path);
    if (own.prune !== undefined) rule.prune = readPrune([...path, "prune"], own.prune, this.#places.error);
    this.#readTags(rule, own, path);
    this.#readNamespace(rule, own, path);
    return rule;
  }

  /** The keys that are read the same way in `defaults`. */
  #readKeys(rule: Rule, fields: Fields, path: Path): void {
    const place = { path, error: this.#places.error };
    const { platforms, attestations, overwrite } = fields;
    if (overwrite !== undefined) {
      if (overwrite !== "always" && overwrite !== "never") {
        throw this.#places.error([...path, "overwrite"], 'expected "always" or "never"');
      }
      rule.overwrite = overwrite;
    }
    if (platforms !== undefined) rule.platforms = this.#platforms([...path, "platforms"], platforms);
    if (attestations !== undefined && attestations !== null) {
      if (typeof attestations !== "boolean") {
        throw this.#places.error(
          [...path, "attestations"],
          `expected a boolean, got ${nameType(attestations)}`,
        );
      }
      rule.attestations = attestations;
    }
    const referrers = readBelongings(fields, place);
    if (referrers !== undefined) rule.referrers = referrers;
    // In a rule the selection is read with the defaults under it.
    if (rule.source === "" && fields.tags !== undefined) {
      readSelection(fields.tags, { ...place, path: [...path, "tags"] });
    }
  }

  /** A rule that names its tags itself is not narrowed by the defaults. */
  #readTags(rule: Rule, { tags, rename }: Fields, path: Path): void {
    const place = { path: [...path, "tags"], error: this.#places.error };
    const isNamed = namesTags(rule.source);
    if (tags !== undefined && tags !== null && isNamed) {
      throw this.#places.error(place.path, `"${rule.source}" says itself what is wanted of it`);
    }
    const isOff = isNamed || tags === null || tags === undefined && this.#defaults.tags === undefined;
    if (!isOff) {
      const defaults = this.#defaults.tags === undefined ? {} : readSelection(this.#defaults.tags, place);
      rule.tags = readSelection(tags ?? {}, place, defaults);
      checkKeys(rule.tags, place);
      this.#refuseTags(rule, path, "tags");
    }
    if (rename === undefined) return;
    rule.rename = readRename(rename, { ...place, path: [...path, "rename"] });
    this.#refuseTags(rule, path, "rename");
    if (rule.source.includes("@")) {
      throw this.#places.error([...path, "rename"], "what is named by digest has no tag to rename");
    }
  }

  /** Both sides of a namespace must fit, whatever repositories there are. */
  #readNamespace(rule: Rule, { repositories }: Fields, path: Path): void {
    const { error } = this.#places;
    const { source, destinations } = rule;
    if (!isNamespace(source)) {
      const odd = destinations.find(isNamespace);
      if (odd !== undefined) throw error(path, `"${odd}" has a wildcard, and "${source}" has none`);
      if (repositories !== undefined) {
        throw error(
          [...path, "repositories"],
          `"${source}" is one repository; end it with "/*" for all below it`,
        );
      }
      return;
    }
    try {
      const from = parseNamespace(source);
      for (const destination of destinations) checkNamespaces(from, destination);
      if (from.rest !== "" && rule.tags !== undefined) {
        throw new Error(`"${source}" says itself which tags it wants`);
      }
    } catch (cause) {
      throw error(path, cause instanceof Error ? cause.message : String(cause), { cause });
    }
    if (rule.prune !== undefined) throw error([...path, "prune"], "whole namespaces are not pruned");
    if (repositories === undefined) return;
    const names = isFields(repositories) ? repositories.exclude : undefined;
    const isList = Array.isArray(names) && names.length > 0 && names.every((one) => typeof one === "string");
    if (!isList || Object.keys(repositories as Fields).length > 1) {
      throw error([...path, "repositories"], 'expected { "exclude": ["team/old-*"] }');
    }
    rule.repositories = { exclude: names };
  }

  #refuseTags({ destinations }: Rule, path: Path, beside: string): void {
    const named = destinations.find(hasRest);
    if (named === undefined) return;
    const hint = 'tags keep their names, or change as "rename" says';
    throw this.#places.error(
      [...path, "to"],
      `"${named}" names a tag, which goes not with "${beside}"; ${hint}`,
    );
  }

  /** What was meant to narrow a rule must not be passed over: everything would be copied. */
  #refuseUnknown(path: Path, fields: Fields, known: readonly string[]): void {
    const key = Object.keys(fields).find((key) => !known.includes(key));
    if (key === undefined) return;
    const nearest = nearestName(key, known);
    const hint = nearest === undefined ? "" : `; did you mean "${nearest}"?`;
    const what = known.includes("to") ? 'an object with "to" has' : '"defaults" have';
    throw this.#places.error([...path, key], `${what} no such key${hint}`);
  }

  #destinations(path: Path, source: string, value: unknown): string[] {
    const written = typeof value === "string" ? [value] : value;
    if (!Array.isArray(written) || written.length === 0 || !written.every((one) => typeof one === "string")) {
      throw this.#places.error(path, `expected a string, an array of strings or an object with "to"`);
    }
    const expanded = written.map((one: string) => this.#places.expand(path, one).trim());
    return [...new Set(expanded.map((one) => one === "" ? this.#default(path, source) : one))];
  }

  #platforms(path: Path, value: unknown): string[] {
    if (!Array.isArray(value) || value.length === 0 || !value.every((one) => typeof one === "string")) {
      throw this.#places.error(path, "expected an array of platforms such as linux/amd64");
    }
    try {
      for (const platform of value) parsePlatformSelector(platform);
    } catch (cause) {
      throw this.#places.error(path, cause instanceof Error ? cause.message : String(cause), { cause });
    }
    return value;
  }

  #default(path: Path, source: string): string {
    const { destinations = {} } = this.#places;
    if (!destinations.registry) {
      const why = "its destination is empty and there is no default registry " +
        "(give --registry and --namespace, or DEFAULT_REGISTRY and DEFAULT_NAMESPACE)";
      throw this.#places.error(path, why);
    }
    try {
      return defaultDestination(parseRuleSource(source), destinations) ?? "";
    } catch {
      // A malformed source fails its rule alone, when the rule is expanded.
      return destinations.registry;
    }
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a source says which of its tags are wanted; one that is malformed fails its rule alone. */
function namesTags(source: string): boolean {
  try {
    const parsed = parseRuleSource(source);
    return !needsTags(parsed) || parsed.selection.type === "pattern";
  } catch {
    return false;
  }
}

function hasRest(destination: string): boolean {
  try {
    return splitReference(destination).rest !== "";
  } catch {
    return false;
  }
}
