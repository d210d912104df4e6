/** Which rule an image belongs to, and what a run's report means for each rule. */

import type { Rule } from "../../mirror/config/config.ts";
import type { Report, ReportDestination, ReportTask } from "../../mirror/report.ts";
import { expandRule, parseRuleSource, type RuleSource } from "../../mirror/rules/rules.ts";
import { formatReference, parseReference, splitReference } from "../../oci/reference.ts";
import { BEATS, type RuleRecord } from "./status.ts";

/** References that a record names, at most: it has to fit into a value of Deno KV. */
const NAMED = 20;
/** Characters of an error that a record keeps. */
const ERROR_LENGTH = 500;
/** Runs that a rule's history goes back. */
const HISTORY = 30;

/** An image at one destination. */
interface Placed {
  task: ReportTask;
  destination: ReportDestination;
}

/** A rule with its source understood; one that is malformed has none, and no images. */
interface KnownRule {
  rule: Rule;
  source: RuleSource | undefined;
}

/** Finds the rules that brought an image: several may bring the same one. */
export class RuleIndex {
  #byRepository: Map<string, KnownRule[]>;

  /** Understands the rules once, for all their images. */
  constructor(rules: readonly Rule[]) {
    this.#byRepository = Map.groupBy(rules.map(understand), ({ source }) => repositoryOf(source));
  }

  /**
   * The rules that take an image from a source to a destination.
   *
   * @param source Reference of the image; one that is none, as a registry may list, belongs to every rule of its repository that
   * goes to the destination's.
   */
  rulesOf(source: string, destination: string): Rule[] {
    const { name, tag, isReference } = splitImage(source);
    const candidates = this.#byRepository.get(name) ?? [];
    return candidates.filter((known) =>
      isReference ? referencesOf(known, tag).has(destination) : goesTo(known.rule, destination)
    ).map(({ rule }) => rule);
  }
}

/** Registry and repository of an image, and its tag, also where what a registry listed is no tag. */
function splitImage(source: string): { name: string; tag: string | undefined; isReference: boolean } {
  try {
    const { registry, repository, tag } = parseReference(source);
    return { name: `${registry}/${repository}`, tag, isReference: true };
  } catch {
    const [name = ""] = /^[^/]*(?:\/[^:@]*)?/.exec(source) ?? [];
    return { name, tag: undefined, isReference: false };
  }
}

function goesTo({ destinations }: Rule, reference: string): boolean {
  return destinations.some((destination) =>
    reference === destination || reference.startsWith(`${destination}:`)
  );
}

/** What a finished run is put together with. */
export interface RuleUpdate {
  /** What was known of a rule, by its source. */
  before: Map<string, RuleRecord>;
  /** Manifests pulled in this run, by registry and repository. */
  pulls: ReadonlyMap<string, number>;
  /** Whether a rule that selects nothing has no success; it has one unless told. */
  isStrict?: boolean;
}

/** What a finished run means for each rule. */
export function updateRules(
  rules: readonly Rule[],
  report: Report,
  { before, pulls, isStrict = false }: RuleUpdate,
): RuleRecord[] {
  const images = imagesByRule(rules, report);
  return rules.map((rule) => {
    const known = before.get(rule.source) ?? emptyRule(rule.source);
    return updateRule(known, images.get(rule) ?? [], { report, pulls: pullsOf(rule, pulls), isStrict });
  });
}

/** What is known of a rule before its first run. */
export function emptyRule(source: string): RuleRecord {
  return {
    source,
    changed: [],
    changedCount: 0,
    failures: [],
    failureCount: 0,
    pending: 0,
    images: 0,
    bytes: 0,
    pulls: 0,
  };
}

function imagesByRule(rules: readonly Rule[], report: Report): Map<Rule, Placed[]> {
  const index = new RuleIndex(rules);
  const images = new Map<Rule, Placed[]>(rules.map((rule) => [rule, []]));
  for (const task of report.tasks) {
    for (const destination of task.destinations) {
      for (const rule of index.rulesOf(task.source, destination.reference)) {
        images.get(rule)?.push({ task, destination });
      }
    }
  }
  return images;
}

function understand(rule: Rule): KnownRule {
  try {
    return { rule, source: parseRuleSource(rule.source) };
  } catch {
    return { rule, source: undefined };
  }
}

function repositoryOf(source: RuleSource | undefined): string {
  return source === undefined ? "" : `${source.registry}/${source.repository}`;
}

/** Where a rule takes a tag of its source, or the digest it names. */
function referencesOf({ rule, source }: KnownRule, tag: string | undefined): Set<string> {
  if (source === undefined) return new Set();
  const pairs = rule.destinations.flatMap((destination) => {
    try {
      return expandRule(source, destination, tag === undefined ? [] : [tag]);
    } catch {
      return [];
    }
  });
  const mine = pairs.filter(({ source }) => source.tag === tag || tag === undefined);
  return new Set(mine.map(({ destination }) => formatReference(destination)));
}

function updateRule(
  before: RuleRecord,
  images: readonly Placed[],
  { report, pulls, isStrict }: { report: Report; pulls: number; isStrict: boolean },
): RuleRecord {
  const these = (status: string) => images.filter(({ destination }) => destination.status === status);
  const [copied, failed, pending] = [these("copied"), these("failed"), these("pending")];
  const broken = report.rules.filter(({ source }) => source === before.source);
  const failures = [
    ...broken.map(({ destination, error }) => ({ reference: destination ?? before.source, error })),
    ...failed.map(({ destination }) => ({
      reference: destination.reference,
      error: destination.error ?? "",
    })),
  ];
  const finishedAt = report.finishedAt ?? report.startedAt;
  const isThrough = failures.length === 0 && pending.length === 0 && isLooked(report, images);
  const isEmpty = isThrough && report.emptyRules.some(({ source }) => source === before.source);
  const record: RuleRecord = {
    ...before,
    failures: failures.slice(0, NAMED).map(shorten),
    failureCount: failures.length,
    pending: pending.length,
    images: images.length,
    bytes: before.bytes + sumOf(images),
    pulls: before.pulls + pulls,
    isEmpty,
  };
  if (isThrough && !(isEmpty && isStrict)) record.lastSuccessAt = finishedAt;
  const outcome = { failures: failures.length, copied: copied.length, isThrough, isEmpty };
  record.history = `${before.history ?? ""}${beatOf(outcome)}`.slice(-HISTORY);
  if (copied.length === 0) return record;
  const changed = copied.slice(0, NAMED).map(({ destination }) => destination.reference);
  return { ...record, lastChangeAt: finishedAt, changed, changedCount: copied.length };
}

function beatOf(
  { failures, copied, isThrough, isEmpty }: {
    failures: number;
    copied: number;
    isThrough: boolean;
    isEmpty: boolean;
  },
): string {
  if (failures > 0) return BEATS.failed;
  if (!isThrough) return BEATS.pending;
  if (isEmpty) return BEATS.empty;
  return copied > 0 ? BEATS.copied : BEATS.unchanged;
}

/** A run that was stopped while it still looked at sources says nothing of a rule without images. */
function isLooked(report: Report, images: readonly Placed[]): boolean {
  return images.length > 0 || report.isInterrupted !== true;
}

/** Each image once, although it may go to several places. */
function sumOf(images: readonly Placed[]): number {
  const tasks = new Set(images.map(({ task }) => task));
  return [...tasks].reduce((sum, task) => sum + task.bytes.copied, 0);
}

function shorten({ reference, error }: { reference: string; error: string }): RuleRecord["failures"][number] {
  return { reference, error: error.length > ERROR_LENGTH ? `${error.slice(0, ERROR_LENGTH)}…` : error };
}

function pullsOf(rule: Rule, pulls: ReadonlyMap<string, number>): number {
  try {
    const { registry, repository } = splitReference(rule.source);
    return pulls.get(`${registry}/${repository}`) ?? 0;
  } catch {
    return 0;
  }
}
