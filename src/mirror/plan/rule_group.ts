/** Step 4 of the walk, the rules: all rules of one source repository, and the pairs they become, page by page. */

import { InvalidReferenceError, splitReference } from "../../oci/reference.ts";
import type { Rule } from "../config/config.ts";
import { isPermanent, messageOf } from "./failure.ts";
import type { BelongingsPolicy } from "../rules/belongings_policy.ts";
import { compilePattern } from "../rules/pattern.ts";
import { NO_ATTESTATIONS } from "./platform_filter.ts";
import type { PlanFailure } from "./plan.ts";
import {
  expandRule,
  needsTags,
  parseRuleSource,
  type ReferencePair,
  RuleError,
  type RuleSource,
} from "../rules/rules.ts";

/** A rule, its position among those of the plan, and its source. */
export interface PlacedRule {
  /** As the user wrote it. */
  rule: Rule;
  /** Position, from 0. */
  position: number;
  /** Its source, parsed. */
  source: RuleSource;
}

/** Rules of one source repository: its tags are listed once for all of them. */
export interface RuleGroup {
  /** `registry/repository`. */
  name: string;
  /** Canonical registry. */
  registry: string;
  /** At least one. */
  rules: PlacedRule[];
}

/** A pair with the platforms that are wanted of it. */
export interface WantedPair extends ReferencePair {
  /** All of them without it. */
  platforms: readonly string[] | undefined;
  /** What is wanted of what belongs to the image: `false` for nothing; everything without it. */
  referrers?: BelongingsPolicy | false | undefined;
  /** Position of its rule. */
  rule?: number;
}

/** What expanding a group needs. */
export interface ExpandOptions {
  /** Tags of the repository, page by page. */
  listTags: () => AsyncIterable<readonly string[]>;
  /** Platforms wanted of rules that name none. */
  platforms: readonly string[] | undefined;
  /** Whether a tag belongs to an image and comes with it; no tag does without it. */
  isBelonging?: (tag: string) => boolean;
  /** Passes that were made before. */
  pass: number;
  /** Told of a rule, or one of its destinations, that cannot be expanded. */
  onFailure: (failure: PlanFailure, rule: PlacedRule) => void;
  /** Told of a rule that selects nothing. */
  onEmpty: (rule: PlacedRule) => void;
  /** Told of what is odd, in a sentence. */
  onWarning: (message: string) => void;
}

/** Tags that a rule which must see all names may have: more is a mistake of its registry. */
const NAMES_LIMIT = 1_000_000;

/** Groups rules by source repository, in the order of their first rules. */
export function groupRules(
  rules: readonly Rule[],
  onFailure: (failure: PlanFailure) => void,
): RuleGroup[] {
  const groups = new Map<string, RuleGroup>();
  for (const [position, rule] of rules.entries()) {
    try {
      const source = parseRuleSource(rule.source);
      const name = `${source.registry}/${source.repository}`;
      const group = groups.get(name) ?? { name, registry: source.registry, rules: [] };
      groups.set(name, group);
      group.rules.push({ rule, position, source });
    } catch (error) {
      onFailure(ruleFailure(rule, position, error));
    }
  }
  return [...groups.values()];
}

/** The failure of a rule as a whole. */
export function ruleFailure({ source, line }: Rule, position: number, error: unknown, pass = 0): PlanFailure {
  const isWritten = error instanceof InvalidReferenceError || error instanceof RuleError;
  const place = isWritten && line !== undefined ? ` (line ${line} of the config)` : "";
  const failure = { error: `${messageOf(error)}${place}`, isPermanent: isPermanent(error, pass) };
  return { kind: "rule", rule: position, source, ...failure };
}

/**
 * The pairs that a group's rules become: first those that need no list, with the first page, then page by page. A rule that
 * must see all names (its destinations name tags of their own) comes last.
 */
export async function* expandGroup(group: RuleGroup, options: ExpandOptions): AsyncIterable<WantedPair[]> {
  const expansions = group.rules.map((rule) => new RuleExpansion(rule, options));
  await Promise.all(expansions.map((expansion) => expansion.compile()));
  const listing = expansions.filter(({ needsTags, isFailed }) => needsTags && !isFailed);
  let pending = expansions.filter(({ needsTags }) => !needsTags).flatMap((expansion) => expansion.pairs([]));
  try {
    if (listing.length > 0) {
      for await (const page of options.listTags()) {
        yield pending.concat(listing.flatMap((expansion) => expansion.take(page)));
        pending = [];
      }
    }
    pending = pending.concat(listing.flatMap((expansion) => expansion.end()));
  } catch (error) {
    for (const expansion of listing) expansion.fail(error);
  }
  if (pending.length > 0) yield pending;
}

/** What a rule wants of images: its own platforms or those of the run, and whether attestations come along. */
function wantedPlatforms(
  { platforms: own, attestations }: Rule,
  platforms: readonly string[] | undefined,
): readonly string[] | undefined {
  const some = own ?? platforms ?? [];
  const wanted = attestations === false && !some.includes(NO_ATTESTATIONS)
    ? [...some, NO_ATTESTATIONS]
    : some;
  return wanted.length === 0 ? undefined : wanted;
}

function isSameImage({ source, destination }: ReferencePair): boolean {
  return source.registry === destination.registry && source.repository === destination.repository &&
    source.tag !== undefined && source.tag === destination.tag;
}

/** One rule on its way to pairs. */
class RuleExpansion {
  /** Whether its source must be listed. */
  readonly needsTags: boolean;
  /** Whether it came to nothing. */
  isFailed = false;
  #placed: PlacedRule;
  #options: ExpandOptions;
  #matches: (tag: string) => boolean = () => true;
  #selected = 0;
  /** Destinations that take tags as they come. */
  #flowing: string[] = [];
  /** Destinations that must be given all tags at once. */
  #whole: string[] = [];
  #names = new Set<string>();

  constructor(placed: PlacedRule, options: ExpandOptions) {
    this.#placed = placed;
    this.#options = options;
    this.needsTags = needsTags(placed.source);
    for (const destination of new Set(placed.rule.destinations)) this.#sort(destination);
  }

  #sort(destination: string): void {
    this.#guard(destination, () => {
      const isFlowing = this.needsTags && splitReference(destination).rest === "";
      (isFlowing ? this.#flowing : this.#whole).push(destination);
    });
  }

  /** The pattern is looked at first: one that does not compile needs no list. */
  async compile(): Promise<void> {
    const { selection } = this.#placed.source;
    if (selection.type !== "pattern") return;
    try {
      this.#matches = await compilePattern(selection.pattern);
    } catch (error) {
      this.fail(error);
    }
  }

  /** The pairs of one page of tags. */
  take(page: readonly string[]): WantedPair[] {
    const { isBelonging } = this.#options;
    const isWanted = (tag: string) =>
      this.#matches(tag) && (this.#placed.rule.referrers === false || isBelonging?.(tag) !== true);
    const tags = page.filter(isWanted);
    this.#selected += tags.length;
    if (this.#whole.length > 0) { for (const tag of tags) this.#names.add(tag); }
    if (this.#names.size > NAMES_LIMIT) {
      const why = `its source has more than ${NAMES_LIMIT} tags, and its destinations name tags of their own`;
      throw new RuleError(this.#placed.rule.source, this.#whole[0] ?? "", why);
    }
    return this.pairs(tags, this.#flowing);
  }

  /** The pairs that must wait for the last page. */
  end(): WantedPair[] {
    if (this.#selected === 0) this.#options.onEmpty(this.#placed);
    return this.pairs([...this.#names]);
  }

  /** The pairs of some tags for some destinations, those that need all tags unless told. */
  pairs(tags: readonly string[], destinations: readonly string[] = this.#whole): WantedPair[] {
    const { source, rule, position } = this.#placed;
    const platforms = wantedPlatforms(rule, this.#options.platforms);
    return destinations.flatMap((destination) => {
      const pairs = this.#guard(destination, () => this.#expand(source, destination, { tags, platforms }));
      const more = { platforms, referrers: rule.referrers, rule: position };
      return (pairs ?? []).map((pair) => ({ ...pair, ...more }));
    });
  }

  #expand(
    source: RuleSource,
    destination: string,
    { tags, platforms }: { tags: readonly string[]; platforms: readonly string[] | undefined },
  ): ReferencePair[] {
    const pairs = expandRule(source, destination, tags);
    for (const pair of pairs) {
      if (platforms !== undefined && isSameImage(pair)) {
        const why = "the platforms wanted would be all that is left of the image at its own source";
        throw new RuleError(this.#placed.rule.source, destination, why);
      }
      if (
        source.selection.type === "digest" && pair.destination.tag === undefined && !destination.includes("@")
      ) {
        const what = `"${this.#placed.rule.source}" arrives at "${destination}" without a tag`;
        this.#options.onWarning(`${what}, and registries clean up what has none; write "${destination}:TAG"`);
      }
    }
    return pairs;
  }

  /** Says that the rule as a whole cannot be expanded. */
  fail(error: unknown): void {
    if (this.isFailed) return;
    this.isFailed = true;
    const { rule, position } = this.#placed;
    this.#options.onFailure(ruleFailure(rule, position, error, this.#options.pass), this.#placed);
  }

  #guard<Value>(destination: string, work: () => Value): Value | undefined {
    try {
      return work();
    } catch (error) {
      const { rule, position } = this.#placed;
      const failure = { ...ruleFailure(rule, position, error, this.#options.pass), destination };
      this.#options.onFailure(failure, this.#placed);
      return undefined;
    }
  }
}
