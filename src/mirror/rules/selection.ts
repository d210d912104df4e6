/** Step 4 of the walk, the rules: which tags of a repository are wanted, by name, version, age and number. */

import { compileNames, type NameMatcher } from "./name_pattern.ts";
import { parseTagVersion } from "./tag_version.ts";

/** What a rule wants of a repository's tags. Filters work in the order of these properties. */
export interface TagSelection {
  /** Globs or `/patterns/` of which a tag must match one. */
  include?: readonly string[];
  /** Globs or `/patterns/` of which a tag must match none. */
  exclude?: readonly string[];
  /** A range as npm's `semver` reads it, for example `>=1.2 <3`; tags that name no version are out. */
  semver?: string;
  /** Suffix behind the version that is wanted, a glob, for example `alpine`; none unless told. */
  variant?: string;
  /** Whether prereleases count like any version; else only where the range itself names one. */
  prereleases?: boolean;
  /** Tags that never change, globs or `/patterns/`: present at every destination they cost no request. */
  immutable?: readonly string[];
  /** How old an image may be, for example `90d` (`h`, `d`, `w`, `y`), by the date in its config or annotations. */
  within?: string;
  /** How many are wanted, the newest. */
  newest?: number;
  /** What newest means; `version` where `semver` is told. */
  by?: "version" | "created" | "name";
  /** Fewer than so many are a mistake of the filters, and fail the rule. */
  atLeast?: number;
}

/** What one filter left out. */
export interface DroppedTags {
  /** The filter's name, as in {@linkcode TagSelection}; `signature` for tags that belong to an image. */
  filter: string;
  /** How many. */
  count: number;
  /** The first few of them. */
  examples: string[];
}

/** A tag that filters by name have left. */
export interface CandidateTag {
  /** Its name. */
  tag: string;
  /** The version it names, where one was asked for. */
  version?: string;
}

/** A candidate of which more is known. */
export interface DatedTag extends CandidateTag {
  /** What it stands for. */
  digest?: string;
  /** When its image was made, in milliseconds since 1970; `undefined` where nobody can say. */
  created?: number | undefined;
}

/** Tags, and what was left out on the way to them. */
export interface SelectedTags<Tag extends CandidateTag = CandidateTag> {
  /** What is wanted, the newest first where that was asked for. */
  selected: Tag[];
  /** What each filter left out, in their order. */
  dropped: DroppedTags[];
}

/** A selection cannot mean anything. */
export class SelectionError extends Error {
  /** Names the filter, and why. */
  constructor(filter: string, why: string, options?: ErrorOptions) {
    super(`Cannot select tags by "${filter}": ${why}`, options);
    this.name = "SelectionError";
  }
}

/** Names of tags that belong to an image: referrers' fallback tags, and cosign's (`sha256-HEX.sig`). */
const BELONGING_TAG = /^sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})(?:\.(?:sig|att|sbom))?$/;
/** Names of the filters, in the order in which they work. */
const FILTERS = ["signature", "include", "exclude", "semver", "within", "newest"];
/** Tags that are named of those that a filter leaves out. */
const EXAMPLES = 3;
const UNITS: Record<string, number> = { h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_536_000_000 };

/** Whether a tag is the name of something that belongs to an image, as cosign and registries without referrers API write it. */
export function isBelongingTag(tag: string): boolean {
  return BELONGING_TAG.test(tag);
}

/** Whether a tag is the name of something that belongs to a digest. */
export function belongsTo(tag: string, digest: string): boolean {
  const name = digest.replace(":", "-");
  return isBelongingTag(tag) && (tag === name || tag.startsWith(`${name}.`));
}

/** A selection that was checked. Pure: what it must know of images is passed in. */
export class TagSelector {
  /** Whether {@linkcode finish} needs to know when images were made, and what they are. */
  readonly needsDates: boolean;
  /** Whether all names of a repository must be known before one can be chosen. */
  readonly needsAll: boolean;
  #selection: TagSelection;
  #filters: readonly (readonly [string, (tag: string) => CandidateTag | undefined])[];
  #immutable: NameMatcher;
  #compare: (left: string, right: string) => number;

  private constructor(selection: TagSelection, parts: SelectorParts) {
    this.#selection = selection;
    this.#filters = parts.filters;
    this.#immutable = parts.immutable;
    this.#compare = parts.compare;
    this.needsDates = selection.within !== undefined || selection.by === "created";
    this.needsAll = selection.newest !== undefined || selection.atLeast !== undefined;
  }

  /**
   * Checks a selection and makes it ready.
   *
   * @throws {SelectionError} when filters do not parse or fit together.
   * @throws {NamePatternError} when a glob or pattern does not parse.
   */
  static async compile(selection: TagSelection): Promise<TagSelector> {
    checkSelection(selection);
    const { include, exclude, immutable = [] } = selection;
    const filters: [string, (tag: string) => CandidateTag | undefined][] = [];
    if (include !== undefined) filters.push(["include", keepIf(await compileNames(include))]);
    if (exclude !== undefined) {
      const isExcluded = await compileNames(exclude);
      filters.push(["exclude", keepIf((tag) => !isExcluded(tag))]);
    }
    let compare = (left: string, right: string): number => left < right ? -1 : left > right ? 1 : 0;
    if (wantsVersions(selection)) {
      const { default: versions }: { default: Versions } = await import("semver");
      compare = (left, right) => versions.compare(left, right);
      filters.push(["semver", await versionFilter(selection, versions)]);
    }
    return new TagSelector(selection, { filters, compare, immutable: await compileNames(immutable) });
  }

  /** Whether a tag never changes once it is there. */
  isImmutable(tag: string): boolean {
    return this.#immutable(tag);
  }

  /** What the filters by name leave; where no date is needed that is all, else {@linkcode finish} goes on. */
  start(tags: Iterable<string>, { hasBelongings = true }: { hasBelongings?: boolean } = {}): SelectedTags {
    const tally = new DroppedTally();
    const left: CandidateTag[] = [];
    for (const tag of tags) {
      if (hasBelongings && isBelongingTag(tag)) {
        tally.add("signature", tag);
        continue;
      }
      const candidate = this.#pass(tag, tally);
      if (candidate !== undefined) left.push(candidate);
    }
    return { selected: left, dropped: tally.list() };
  }

  #pass(tag: string, tally: DroppedTally): CandidateTag | undefined {
    let candidate: CandidateTag = { tag };
    for (const [name, filter] of this.#filters) {
      const kept = filter(tag);
      if (kept === undefined) {
        tally.add(name, tag);
        return undefined;
      }
      candidate = { ...candidate, ...kept };
    }
    return candidate;
  }

  /**
   * What age and number leave of the tags that {@linkcode start} left. A date that is unknown is kept by `within`, and counts
   * as the oldest for `newest`.
   *
   * @param now Milliseconds since 1970.
   */
  finish<Tag extends DatedTag>(tags: readonly Tag[], now: number): SelectedTags<Tag> {
    const { within, newest } = this.#selection;
    const tally = new DroppedTally();
    const oldest = within === undefined ? -Infinity : now - parseAge(within);
    const young = tags.filter(({ tag, created = Infinity }) => created >= oldest || tally.add("within", tag));
    if (newest === undefined) return { selected: young, dropped: tally.list() };
    const selected = this.#newest(young, newest);
    const kept = new Set(selected);
    for (const one of young) if (!kept.has(one)) tally.add("newest", one.tag);
    return { selected, dropped: tally.list() };
  }

  /** The newest tags; by date they are counted by what they stand for, since several tags may name one image. */
  #newest<Tag extends DatedTag>(tags: readonly Tag[], count: number): Tag[] {
    const sorted = [...tags].sort((left, right) => this.#order(left, right));
    if (this.#selection.by !== "created") return sorted.slice(0, count);
    const digests = new Set<string>();
    return sorted.filter(({ tag, digest = tag }) => {
      if (digests.size < count) digests.add(digest);
      return digests.has(digest);
    });
  }

  #order(left: DatedTag, right: DatedTag): number {
    const byName = left.tag < right.tag ? -1 : 1;
    if (this.#selection.by === "created") return (right.created ?? 0) - (left.created ?? 0) || byName;
    if (this.#selection.by === "name") return -byName;
    return this.#compare(right.version ?? "", left.version ?? "") || byName;
  }

  /**
   * Checks that enough is left.
   *
   * @throws {SelectionError} when it is not.
   */
  check(count: number): void {
    const { atLeast = 0 } = this.#selection;
    if (count >= atLeast) return;
    throw new SelectionError(
      "atLeast",
      `${count} ${count === 1 ? "tag is" : "tags are"} left, ${atLeast} are wanted`,
    );
  }
}

/** What is used of npm's semver. */
interface Versions {
  compare(left: string, right: string): number;
  Range: new (text: string, options: { includePrerelease: boolean }) => { test(version: string): boolean };
}

interface SelectorParts {
  filters: readonly (readonly [string, (tag: string) => CandidateTag | undefined])[];
  immutable: NameMatcher;
  compare: (left: string, right: string) => number;
}

/** What filters left out, counted. */
export class DroppedTally {
  #dropped = new Map<string, DroppedTags>();

  /** Notes a tag; returns `false`, so that a filter may end with it. */
  add(filter: string, tag: string): false {
    const dropped = this.#dropped.get(filter) ?? { filter, count: 0, examples: [] };
    this.#dropped.set(filter, dropped);
    dropped.count++;
    if (dropped.examples.length < EXAMPLES) dropped.examples.push(tag);
    return false;
  }

  /** Adds what was counted elsewhere. */
  addAll(dropped: readonly DroppedTags[]): void {
    for (const { filter, count, examples } of dropped) {
      const sum = this.#dropped.get(filter) ?? { filter, count: 0, examples: [] };
      sum.count += count;
      sum.examples.push(...examples.slice(0, EXAMPLES - sum.examples.length));
      this.#dropped.set(filter, sum);
    }
  }

  /** What was counted, in the order of the filters. */
  list(): DroppedTags[] {
    return FILTERS.flatMap((filter) => this.#dropped.get(filter) ?? []);
  }
}

function keepIf(matches: NameMatcher): (tag: string) => CandidateTag | undefined {
  return (tag) => matches(tag) ? { tag } : undefined;
}

function wantsVersions({ semver, by }: TagSelection): boolean {
  return semver !== undefined || by === "version";
}

async function versionFilter(
  { semver = "*", variant, prereleases = false }: TagSelection,
  versions: Versions,
): Promise<(tag: string) => CandidateTag | undefined> {
  const range = readRange(semver, versions, prereleases);
  const isVariant: NameMatcher = variant === undefined
    ? (name) => name === ""
    : await compileNames([variant]);
  return (tag) => {
    const named = parseTagVersion(tag);
    if (named === undefined || !isVariant(named.variant)) return undefined;
    return range.test(named.version) ? { tag, version: named.version } : undefined;
  };
}

function readRange(
  text: string,
  versions: Versions,
  includePrerelease: boolean,
): { test(version: string): boolean } {
  try {
    return new versions.Range(text, { includePrerelease });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SelectionError("semver", `"${text}" is no range (${why})`, { cause });
  }
}

/** Milliseconds of `90d`, `12h`, `2w` or `1y`. */
function parseAge(text: string): number {
  const match = /^(\d{1,6})([hdwy])$/.exec(text);
  const age = Number(match?.[1]) * (UNITS[match?.[2] ?? ""] ?? NaN);
  if (age > 0) return age;
  throw new SelectionError("within", `"${text}" is no age; write for example "90d" (h, d, w or y)`);
}

/**
 * Checks that filters fit together; globs, patterns and ranges are read when a selection is compiled.
 *
 * @throws {SelectionError} when they do not.
 */
export function checkSelection(selection: TagSelection): void {
  const { include, exclude, semver, variant, prereleases, within, newest, by, atLeast } = selection;
  if (within !== undefined) parseAge(within);
  for (const [name, value] of Object.entries({ newest, atLeast })) {
    const isCount = value === undefined || Number.isSafeInteger(value) && value > 0;
    if (!isCount) throw new SelectionError(name, "it must be a whole number above 0");
  }
  if (by !== undefined && newest === undefined) {
    throw new SelectionError("by", '"newest" says how many; it is missing');
  }
  if (newest !== undefined && by === undefined && semver === undefined) {
    throw new SelectionError("newest", 'say by what: "by": "version", "created" or "name"');
  }
  for (const [name, value] of Object.entries({ variant, prereleases })) {
    if (value === undefined || wantsVersions(selection)) continue;
    throw new SelectionError(name, 'it belongs to versions; "semver" or "by": "version" is missing');
  }
  if (newest !== undefined && atLeast !== undefined && atLeast > newest) {
    throw new SelectionError("atLeast", `${atLeast} are wanted, and "newest" leaves ${newest} at the most`);
  }
  const both = include?.filter((one) => exclude?.includes(one)) ?? [];
  if (both.length > 0 && both.length === include?.length) {
    throw new SelectionError("exclude", `it leaves out all that "include" selects (${both.join(", ")})`);
  }
}
