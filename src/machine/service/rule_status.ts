/** Which rule an image belongs to, and what a run's report means for each rule. */

import type { Rule } from "../../mirror/config/config.ts";
import type { Report, ReportDestination, ReportTask } from "../../mirror/report.ts";
import {
  checkNamespaces,
  isNamespace,
  mapRepository,
  type Namespace,
  parseNamespace,
} from "../../mirror/rules/namespace.ts";
import { expandRule, parseRuleSource, renamePair, type RuleSource } from "../../mirror/rules/rules.ts";
import { formatReference, parseReference } from "../../oci/reference.ts";
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

/** A rule with its sides understood; one that is malformed has no source, and no images. */
interface KnownRule {
  rule: Rule;
  /** Its source, or what a namespace has become. */
  text: string;
  source: RuleSource | undefined;
  destinations: readonly string[];
}

/** A rule of a whole namespace. */
interface NamespaceRule {
  rule: Rule;
  from: Namespace;
  to: readonly Namespace[];
}

/** Finds the rules that brought an image: several may bring the same one. A rule is named by its source, as written. */
export class RuleIndex {
  #sources: Set<string>;
  #byRepository: Map<string, KnownRule[]>;
  #namespaces: NamespaceRule[];
  /** What namespaces become in a repository, kept because there are many images in each. */
  #mapped = new Map<string, KnownRule[]>();

  /** Understands the rules once, for all their images. */
  constructor(rules: readonly Rule[]) {
    const single = rules.filter(({ source }) => !isNamespace(source));
    this.#sources = new Set(rules.map(({ source }) => source));
    this.#byRepository = Map.groupBy(single.map(understand), ({ source }) => repositoryOf(source));
    this.#namespaces = rules.filter(({ source }) => isNamespace(source)).flatMap(understandNamespace);
  }

  /**
   * The rules that take an image from a source to a destination.
   *
   * @param source Reference of the image; one that is none, as a registry may list, belongs to every rule of its repository that
   * goes to the destination's.
   */
  rulesOf(source: string, destination: string): string[] {
    const { name, tag, isReference } = splitImage(source);
    const brings = (known: KnownRule) =>
      isReference ? referencesOf(known, tag).has(destination) : goesTo(known, destination);
    const own = (this.#byRepository.get(name) ?? []).filter(brings);
    // No two rules write one repository where one is a namespace: what has a rule of its own is left out of it.
    return namesOf(own.length > 0 ? own : this.#ofNamespaces(name).filter(brings));
  }

  /** The rules of a source repository (`registry/repository`). */
  rulesIn(name: string): string[] {
    return namesOf(this.#byRepository.get(name) ?? this.#ofNamespaces(name));
  }

  /** The rule that a report means by a source: as it was written, or what a namespace has become. */
  ruleOf(source: string): string | undefined {
    if (this.#sources.has(source)) return source;
    const { name } = splitImage(source);
    return this.#ofNamespaces(name).find(({ text }) => text === source)?.rule.source;
  }

  #ofNamespaces(name: string): KnownRule[] {
    let known = this.#mapped.get(name);
    if (known === undefined) {
      known = this.#namespaces.flatMap((one) => mapTo(one, name));
      this.#mapped.set(name, known);
    }
    return known;
  }
}

function namesOf(rules: readonly KnownRule[]): string[] {
  return [...new Set(rules.map(({ rule }) => rule.source))];
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

function goesTo({ destinations }: KnownRule, reference: string): boolean {
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
  /** Whether a rule that selects nothing, or has drifted, has no success; it has one unless told. */
  isStrict?: boolean;
}

/** What a finished run means for each rule; rules of one source have one record. */
export function updateRules(
  rules: readonly Rule[],
  report: Report,
  { before, pulls, isStrict = false }: RuleUpdate,
): RuleRecord[] {
  return [...sharesOf(rules, report, pulls)].map(([source, share]) =>
    updateRule(before.get(source) ?? emptyRule(source), share, { report, isStrict })
  );
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

/** What of a run is one rule's. */
interface RuleShare {
  images: Placed[];
  broken: Report["rules"];
  /** Whether it, or part of it, selects nothing. */
  isEmpty: boolean;
  pulls: number;
}

function sharesOf(
  rules: readonly Rule[],
  report: Report,
  pulls: ReadonlyMap<string, number>,
): Map<string, RuleShare> {
  const index = new RuleIndex(rules);
  const shares = new Map(rules.map(({ source }): [string, RuleShare] => [
    source,
    { images: [], broken: [], isEmpty: false, pulls: 0 },
  ]));
  const add = (names: readonly (string | undefined)[], change: (share: RuleShare) => void) => {
    for (const share of names.map((name) => shares.get(name ?? ""))) if (share !== undefined) change(share);
  };
  for (const task of report.tasks) {
    for (const destination of task.destinations) {
      const image = { task, destination };
      add(index.rulesOf(task.source, destination.reference), ({ images }) => images.push(image));
    }
  }
  for (const one of report.rules) add([index.ruleOf(one.source)], ({ broken }) => broken.push(one));
  for (const { source } of report.emptyRules) add([index.ruleOf(source)], (share) => share.isEmpty = true);
  for (const [name, count] of pulls) add(index.rulesIn(name), (share) => share.pulls += count);
  return shares;
}

function understand(rule: Rule): KnownRule {
  const known = { rule, text: rule.source, destinations: rule.destinations };
  try {
    return { ...known, source: parseRuleSource(rule.source) };
  } catch {
    return { ...known, source: undefined };
  }
}

function understandNamespace(rule: Rule): NamespaceRule[] {
  try {
    const from = parseNamespace(rule.source);
    return [{ rule, from, to: rule.destinations.map((destination) => checkNamespaces(from, destination)) }];
  } catch {
    return [];
  }
}

/** What a namespace becomes in a repository, if that is one of its. */
function mapTo({ rule, from, to }: NamespaceRule, name: string): KnownRule[] {
  if (!name.startsWith(`${from.registry}/`)) return [];
  try {
    const mapped = mapRepository(from, to, name.slice(from.registry.length + 1));
    if (mapped === undefined) return [];
    const { source: text, destinations } = mapped;
    return [{ rule, text, source: parseRuleSource(text), destinations }];
  } catch {
    return [];
  }
}

function repositoryOf(source: RuleSource | undefined): string {
  return source === undefined ? "" : `${source.registry}/${source.repository}`;
}

/** Where a rule takes a tag of its source, or the digest it names. */
function referencesOf({ rule, source, destinations }: KnownRule, tag: string | undefined): Set<string> {
  if (source === undefined) return new Set();
  const pairs = destinations.flatMap((destination) => {
    try {
      const pairs = expandRule(source, destination, tag === undefined ? [] : [tag]);
      return pairs.map((pair) => renamePair(pair, rule.rename));
    } catch {
      return [];
    }
  });
  const mine = pairs.filter(({ source }) => source.tag === tag || tag === undefined);
  return new Set(mine.map(({ destination }) => formatReference(destination)));
}

function updateRule(
  before: RuleRecord,
  { images, broken, pulls, ...share }: RuleShare,
  { report, isStrict }: { report: Report; isStrict: boolean },
): RuleRecord {
  const these = (status: string) => images.filter(({ destination }) => destination.status === status);
  const [copied, failed, pending] = [these("copied"), these("failed"), these("pending")];
  const [drifted, skipped] = [these("drifted"), these("skipped")];
  const failures = [
    ...broken.map(({ source, destination, error }) => ({ reference: destination ?? source, error })),
    ...failed.map(({ destination }) => ({
      reference: destination.reference,
      error: destination.error ?? "",
    })),
  ];
  const finishedAt = report.finishedAt ?? report.startedAt;
  const isThrough = failures.length === 0 && pending.length === 0 && isLooked(report, images);
  const isEmpty = isThrough && share.isEmpty && images.length === 0;
  const record: RuleRecord = {
    ...before,
    failures: failures.slice(0, NAMED).map(shorten),
    failureCount: failures.length,
    pending: pending.length,
    images: images.length,
    bytes: before.bytes + sumOf(images),
    pulls: before.pulls + pulls,
    isEmpty,
    drifted: drifted.length,
  };
  const isLacking = isEmpty || drifted.length + skipped.length > 0;
  if (isThrough && !(isLacking && isStrict)) record.lastSuccessAt = finishedAt;
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
