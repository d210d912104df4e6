/** Step 4 of the walk, the rules: one rule on its way to pairs, page of tags by page. */

import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import { InvalidReferenceError, splitReference } from "../../oci/reference.ts";
import type { Rule } from "../config/config.ts";
import { mapAll } from "../work_pool.ts";
import type { BelongingsPolicy } from "../rules/belongings_policy.ts";
import { isPermanent, messageOf } from "./failure.ts";
import { compilePattern } from "../rules/pattern.ts";
import { NO_ATTESTATIONS } from "./platform_filter.ts";
import type { PlanFailure } from "./plan.ts";
import {
  expandRule,
  needsTags,
  type ReferencePair,
  renamePair,
  RuleError,
  type RuleSource,
} from "../rules/rules.ts";
import {
  type CandidateTag,
  type DatedTag,
  type DroppedTags,
  DroppedTally,
  TagSelector,
} from "../rules/selection.ts";
import type { TagDates } from "./tag_dates.ts";

/** A rule, its position among those of the plan, and its source. */
export interface PlacedRule {
  /** As the user wrote it. */
  rule: Rule;
  /** Position, from 0. */
  position: number;
  /** Its source, parsed. */
  source: RuleSource;
}

/** A pair with what is wanted of it, and what is known already. */
export interface WantedPair extends ReferencePair {
  /** All of them without it. */
  platforms: readonly string[] | undefined;
  /** What is wanted of what belongs to the image: `false` for nothing; everything without it. */
  referrers?: BelongingsPolicy | false | undefined;
  /** What the source has answered in this run; it need not be asked again. */
  found?: Descriptor | undefined;
  /** What every destination has of an image that never changes; nobody need be asked. */
  settled?: Digest | undefined;
  /** Position of its rule. */
  rule?: number;
  /** Whether a tag that stands for something else at the destination is left as it is. */
  overwrite?: "never";
}

/** What expanding rules needs. */
export interface ExpandOptions {
  /** Tags of the repository, page by page. */
  listTags: () => AsyncIterable<readonly string[]>;
  /** Platforms wanted of rules that name none. */
  platforms: readonly string[] | undefined;
  /** Whether a tag belongs to an image and comes with it; no tag does without it. */
  isBelonging?: (tag: string) => boolean;
  /**
   * Finds out what rules must know that choose by date, or have tags that never change. Without it filters by name alone count:
   * what a plan has chosen before is not chosen from again.
   */
  dates?: TagDates;
  /** Whether what is there already is copied again. */
  force?: boolean | undefined;
  /** Passes that were made before. */
  pass: number;
  /** Told of a rule, or one of its destinations, that cannot be expanded. */
  onFailure: (failure: PlanFailure, rule: PlacedRule) => void;
  /** Told of a rule that selects nothing. */
  onEmpty: (rule: PlacedRule) => void;
  /** Told what filters have left out, when all tags of the rule have come. */
  onDropped?: (dropped: readonly DroppedTags[], rule: PlacedRule) => void;
  /** Told of a rule whose choice is not certain, because nobody can say when some images were made. */
  onDoubt?: (rule: PlacedRule) => void;
  /** Told of what is odd, in a sentence. */
  onWarning: (message: string) => void;
}

/** Tags that a rule which must see all names may have: more is a mistake of its registry. */
const NAMES_LIMIT = 1_000_000;

/** The failure of a rule as a whole. */
export function ruleFailure(
  { rule: { source, line }, position }: Pick<PlacedRule, "rule" | "position">,
  error: unknown,
  pass = 0,
): PlanFailure {
  const isWritten = error instanceof InvalidReferenceError || error instanceof RuleError;
  const place = isWritten && line !== undefined ? ` (line ${line} of the config)` : "";
  const failure = { error: `${messageOf(error)}${place}`, isPermanent: isPermanent(error, pass) };
  return { kind: "rule", rule: position, source, ...failure };
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

/** A tag of which all is known that its rule asks for. */
interface KnownTag extends DatedTag {
  found?: Descriptor;
  settled?: Digest | undefined;
}

/** One rule on its way to pairs. */
export class RuleExpansion {
  /** Whether its source must be listed. */
  readonly needsTags: boolean;
  /** Whether it came to nothing. */
  isFailed = false;
  #placed: PlacedRule;
  #options: ExpandOptions;
  #platforms: readonly string[] | undefined;
  #matches: (tag: string) => boolean = () => true;
  #selector: TagSelector | undefined;
  #dropped = new DroppedTally();
  #undated: string[] = [];
  #selected = 0;
  /** Destinations that take tags as they come. */
  #flowing: string[] = [];
  /** Destinations that must be given all tags at once. */
  #whole: string[] = [];
  /** Tags that wait until all have come. */
  #held = new Map<string, CandidateTag>();

  /** Nothing is asked before {@linkcode compile}. */
  constructor(placed: PlacedRule, options: ExpandOptions) {
    this.#placed = placed;
    this.#options = options;
    this.#platforms = wantedPlatforms(placed.rule, options.platforms);
    this.needsTags = needsTags(placed.source);
    for (const destination of new Set(placed.rule.destinations)) this.#sort(destination);
  }

  #sort(destination: string): void {
    this.#guard(destination, () => {
      const isFlowing = this.needsTags && splitReference(destination).rest === "";
      (isFlowing ? this.#flowing : this.#whole).push(destination);
    });
  }

  /** Patterns and filters are looked at first: a rule with one that does not compile needs no list. */
  async compile(): Promise<void> {
    const { source: { selection }, rule: { tags } } = this.#placed;
    try {
      if (selection.type === "pattern") this.#matches = await compilePattern(selection.pattern);
      if (tags !== undefined) this.#selector = await TagSelector.compile(tags);
    } catch (error) {
      this.fail(error);
    }
  }

  /**
   * The pairs of one page of tags.
   *
   * @throws {RuleError} when so many tags have come that their list cannot be true.
   */
  async take(page: readonly string[]): Promise<WantedPair[]> {
    if (this.isFailed) return [];
    const tags = this.#byName(page);
    if (this.#whole.length > 0 || this.#isHolding) { for (const one of tags) this.#held.set(one.tag, one); }
    if (this.#held.size > NAMES_LIMIT) {
      const { rule } = this.#placed;
      const why =
        `its source has more than ${NAMES_LIMIT} tags, and it must see all of them before it can choose`;
      this.fail(new RuleError({ source: rule.source, destination: rule.destinations[0] ?? "" }, why));
      return [];
    }
    if (this.#isHolding) return [];
    return await this.#attempt(() => this.#choose(tags));
  }

  /** Whether all names must be known before one can be chosen. */
  get #isHolding(): boolean {
    return this.#selector?.needsAll === true && this.#options.dates !== undefined;
  }

  /** What filters by name leave of a page. */
  #byName(page: readonly string[]): CandidateTag[] {
    const { rule } = this.#placed;
    const { isBelonging } = this.#options;
    const hasBelongings = rule.referrers !== false;
    if (this.#selector !== undefined) {
      const { selected, dropped } = this.#selector.start(page, { hasBelongings });
      this.#dropped.addAll(dropped);
      return selected;
    }
    const isWanted = (tag: string) => this.#matches(tag) && !(hasBelongings && isBelonging?.(tag) === true);
    return page.filter(isWanted).map((tag) => ({ tag }));
  }

  /** What the filters that need more than names leave, as pairs for the destinations that take tags as they come. */
  async #choose(tags: readonly CandidateTag[]): Promise<WantedPair[]> {
    const selector = this.#selector;
    const { dates } = this.#options;
    if (selector === undefined || dates === undefined) {
      this.#selected += tags.length;
      return this.#toPairs(tags, this.#flowing);
    }
    const known = await mapAll(tags, (one) => this.#find(one, selector, dates));
    const { selected, dropped } = selector.finish(known, dates.now());
    this.#dropped.addAll(dropped);
    this.#selected += selected.length;
    if (selector.needsAll) selector.check(selected.length);
    return this.#toPairs(selected, this.#flowing);
  }

  async #find(one: CandidateTag, selector: TagSelector, dates: TagDates): Promise<KnownTag> {
    const isImmutable = this.#options.force !== true && selector.isImmutable(one.tag);
    const pairs = isImmutable ? this.#toPairs([one], this.#flowing) : [];
    const settled = isImmutable ? await dates.settledDigest(pairs, this.#platforms) : undefined;
    const tag: KnownTag = settled === undefined ? one : { ...one, settled };
    if (!selector.needsDates) return tag;
    const { registry, repository } = this.#placed.source;
    const source = { registry, repository, tag: one.tag };
    const date = await dates.find(source, this.#platforms, settled !== undefined);
    if (date.created === undefined) this.#undated.push(one.tag);
    return { ...tag, ...date };
  }

  /** The pairs that must wait for the last page. */
  async end(): Promise<WantedPair[]> {
    if (this.isFailed) return [];
    const held = [...this.#held.values()];
    this.#held.clear();
    const pairs = this.#isHolding
      ? await this.#attempt(() => this.#choose(held))
      : this.#toPairs(held, this.#whole);
    if (this.isFailed) return [];
    this.#warnOfUndated();
    const dropped = this.#dropped.list();
    if (dropped.length > 0) this.#options.onDropped?.(dropped, this.#placed);
    if (this.#selected === 0) this.#options.onEmpty(this.#placed);
    return pairs;
  }

  #warnOfUndated(): void {
    const [example] = this.#undated;
    if (example === undefined) return;
    this.#options.onDoubt?.(this.#placed);
    const what =
      `Nobody can say when ${this.#undated.length} of the images of "${this.#placed.rule.source}" were made`;
    this.#options.onWarning(
      `${what} ("${example}" for example); they count as young, and last among the newest`,
    );
  }

  /** The pairs of a rule that names its images itself. */
  pairs(): WantedPair[] {
    return this.isFailed ? [] : this.#toPairs([], this.#whole);
  }

  #toPairs(tags: readonly KnownTag[], destinations: readonly string[]): WantedPair[] {
    const { rule: { referrers, overwrite }, position } = this.#placed;
    const byTag = new Map(tags.map((one) => [one.tag, one]));
    return destinations.flatMap((destination) => {
      const pairs = this.#guard(destination, () => this.#expand(destination, [...byTag.keys()])) ?? [];
      return pairs.map((pair): WantedPair => {
        const wanted: WantedPair = { ...pair, platforms: this.#platforms, referrers, rule: position };
        if (overwrite === "never") wanted.overwrite = overwrite;
        const { found, settled } = byTag.get(pair.source.tag ?? "") ?? {};
        return found === undefined && settled === undefined ? wanted : { ...wanted, found, settled };
      });
    });
  }

  #expand(destination: string, tags: readonly string[]): ReferencePair[] {
    const { source, rule } = this.#placed;
    const pairs = expandRule(source, destination, tags).map((pair) => renamePair(pair, rule.rename));
    for (const pair of pairs) {
      if (this.#platforms !== undefined && isSameImage(pair)) {
        const why = "the platforms wanted would be all that is left of the image at its own source";
        throw new RuleError({ source: rule.source, destination }, why);
      }
      const isByDigest = source.selection.type === "digest" && pair.destination.tag === undefined;
      if (isByDigest && !destination.includes("@")) {
        const what = `"${rule.source}" arrives at "${destination}" without a tag`;
        this.#options.onWarning(`${what}, and registries clean up what has none; write "${destination}:TAG"`);
      }
    }
    return pairs;
  }

  /** What fails here fails this rule, and no other of its source. */
  async #attempt(work: () => Promise<WantedPair[]>): Promise<WantedPair[]> {
    try {
      return await work();
    } catch (error) {
      this.fail(error);
      return [];
    }
  }

  /** Says that the rule as a whole cannot be expanded. */
  fail(error: unknown): void {
    if (this.isFailed) return;
    this.isFailed = true;
    this.#held.clear();
    this.#options.onFailure(ruleFailure(this.#placed, error, this.#options.pass), this.#placed);
  }

  #guard<Value>(destination: string, work: () => Value): Value | undefined {
    try {
      return work();
    } catch (error) {
      const failure = { ...ruleFailure(this.#placed, error, this.#options.pass), destination };
      this.#options.onFailure(failure, this.#placed);
      return undefined;
    }
  }
}
