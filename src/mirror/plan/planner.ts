/** Step 5 of the walk, the plan: what there is to copy, by tag lists and HEADs only, told piece by piece as it is found. */

import { splitReference } from "../../oci/reference.ts";
import type { Rule } from "../config/config.ts";
import { Lanes } from "../lanes.ts";
import { ImagePlanner, type PlanContext, type TakePiece } from "./image_planner.ts";
import { oddPlatforms } from "./platform_filter.ts";
import { addToPlan, type CopyTask, type Plan, type PlanFailure, startPlan } from "./plan.ts";
import type { RuleSource } from "../rules/rules.ts";
import { expandGroup, groupRules, type RuleGroup } from "./rule_group.ts";
import { expandNamespace, type NumberedRule, RepositoryOwners, splitRules } from "./namespace_rules.ts";
import { type PlacedRule, ruleFailure, type WantedPair } from "./rule_expansion.ts";
import { TagDates } from "./tag_dates.ts";

/** Repositories of one registry that are listed at once; the gates of the registries bound the requests. */
const REPOSITORIES_AT_ONCE = 64;
/** Pairs that are looked at before the next are asked for. */
const BATCH = 1000;

/**
 * Finds out what there is to copy, for all rules of a run. Each repository is listed, and each image looked at, beside the
 * others; a registry that is slow or dead holds up nobody but itself.
 */
export class Planner {
  #context: PlanContext;
  #take: TakePiece;
  #lanes: Lanes<RuleGroup>;
  #images: ImagePlanner;
  /** Rules that are worth another look, by position. */
  #failed = new Map<string, { group: RuleGroup; rule: PlacedRule }>();
  /** Namespaces whose repositories could not be listed. */
  #failedNamespaces: NumberedRule[] = [];
  #owners = new RepositoryOwners([]);
  #order: string[] = [];
  #unplanned = new Set<string>();

  /** Nothing is asked before {@linkcode planRules}. */
  constructor(context: PlanContext, take: TakePiece) {
    this.#context = context;
    this.#take = take;
    this.#lanes = new Lanes({ width: REPOSITORIES_AT_ONCE, clock: context.registries.clock });
    this.#images = new ImagePlanner(context, take);
  }

  /** Source repositories (`registry/repository`), in the order in which they are begun. */
  get order(): readonly string[] {
    return this.#order;
  }

  /** Whether everything of a source repository has been looked at. */
  isPlanned(name: string): boolean {
    return !this.#unplanned.has(name) && !this.#images.leftOff.has(name);
  }

  /** Whether {@linkcode planAgain} has anything to do. */
  get hasFailed(): boolean {
    return this.#failed.size + this.#failedNamespaces.length + this.#images.failed.length > 0;
  }

  /**
   * Looks at everything that rules select.
   *
   * @param first Source repository to begin with, where an earlier run has left off.
   * @throws Nothing but the signal's reason.
   */
  async planRules(rules: readonly Rule[], first?: string): Promise<void> {
    const failed: PlanFailure[] = [];
    const { single, namespaces } = splitRules(rules);
    this.#owners = new RepositoryOwners(single);
    const groups = groupRules(single, (failure) => failed.push(failure));
    const wanted = rules.flatMap(({ platforms = [] }) => platforms).concat(this.#context.platforms ?? []);
    const warnings = oddPlatforms(wanted);
    if (failed.length + warnings.length > 0) await this.#take({ ...this.#piece(), failed, warnings });
    const start = Math.max(0, groups.findIndex(({ name }) => name === first));
    const ordered = [...groups.slice(start), ...groups.slice(0, start)];
    this.#order = ordered.map(({ name }) => name);
    this.#unplanned = new Set(this.#order);
    const warming = warmDestinations(rules, this.#context);
    await Promise.all([this.#planGroups(ordered), this.#planNamespaces(namespaces)]);
    await warming;
  }

  /** Looks again at what could not be looked at, apart from what cannot succeed. */
  async planAgain(): Promise<void> {
    const groups = new Map<string, RuleGroup>();
    for (const { group, rule } of this.#failed.values()) {
      const rules = groups.get(group.name)?.rules ?? [];
      groups.set(group.name, { ...group, rules: [...rules, rule] });
    }
    this.#failed.clear();
    const namespaces = this.#failedNamespaces;
    this.#failedNamespaces = [];
    await Promise.all([
      this.#planGroups([...groups.values()]),
      this.#planNamespaces(namespaces),
      this.#images.planAgain(),
    ]);
    this.#context.signal?.throwIfAborted();
  }

  /** Looks again at images of a plan, because somebody else may have copied them. */
  async planImages(tasks: readonly CopyTask[]): Promise<void> {
    await this.#images.planImages(tasks);
    this.#context.signal?.throwIfAborted();
  }

  /** The repositories of namespaces are listed beside all other planning, and their images then looked at like any others. */
  async #planNamespaces(namespaces: readonly NumberedRule[]): Promise<void> {
    await Promise.all(namespaces.map((one) => this.#planNamespace(one)));
  }

  async #planNamespace(one: NumberedRule): Promise<void> {
    const { registries, signal, pass } = this.#context;
    const { rule, position } = one;
    const piece = this.#piece();
    try {
      const rules = await expandNamespace(
        one,
        (host, owner) => registries.listRepositories(host, owner),
        this.#owners,
      );
      const groups = groupRules(rules, (failure) => piece.failed.push(failure));
      for (const { name } of groups) {
        this.#order.push(name);
        this.#unplanned.add(name);
      }
      if (groups.length === 0) {
        piece.warnings.push(`No repository is in "${rule.source}"`);
        piece.empty.push({ rule: position, source: rule.source });
      }
      await this.#planGroups(groups);
    } catch (error) {
      signal?.throwIfAborted();
      const failure = ruleFailure({ rule, position }, error, pass);
      piece.failed.push(failure);
      if (!failure.isPermanent) this.#failedNamespaces.push(one);
    }
    if (piece.failed.length + piece.warnings.length > 0) await this.#take(piece);
  }

  #piece(): Plan {
    return startPlan(this.#context.now());
  }

  async #planGroups(groups: readonly RuleGroup[]): Promise<void> {
    const plan = ([group]: RuleGroup[]) => group === undefined ? Promise.resolve() : this.#planGroup(group);
    await Promise.all(
      groups.map((group) => this.#lanes.run(new Map([[group.registry, [group]]]), plan)),
    );
    this.#context.signal?.throwIfAborted();
  }

  async #planGroup(group: RuleGroup): Promise<void> {
    const { signal, isStopping } = this.#context;
    if (signal?.aborted || isStopping()) return;
    // Whatever is left off on the way puts it back.
    this.#unplanned.delete(group.name);
    const piece = this.#piece();
    await this.#planPages(group, piece);
    if (signal?.aborted) this.#unplanned.add(group.name);
    if (piece.failed.length + piece.warnings.length + piece.dropped.length > 0) await this.#take(piece);
  }

  /** While a batch is looked at the next page is asked for, and no more. */
  async #planPages(group: RuleGroup, piece: Plan): Promise<void> {
    const { signal, isStopping } = this.#context;
    let looking: Promise<void> = Promise.resolve();
    for await (const pairs of this.#expand(group, piece)) {
      for (let at = 0; at < pairs.length; at += BATCH) {
        await looking;
        this.#context.ledger?.want(pairs.slice(at, at + BATCH));
        if (signal?.aborted || isStopping()) return void this.#unplanned.add(group.name);
        looking = this.#images.plan(pairs.slice(at, at + BATCH), piece);
        // What fails here is met where it is waited for.
        looking.catch(() => {});
      }
    }
    await looking;
  }

  /** Where something comes with images, the list tells what there is. */
  #listTags(source: RuleSource, { rules }: RuleGroup): AsyncIterable<string[]> {
    const { registries, signal, belongings } = this.#context;
    const repository = registries.open(source, "pull");
    const isWanted = rules.some(({ rule }) => rule.referrers !== false);
    return belongings === undefined || !isWanted
      ? repository.listTags(signal)
      : belongings.listTags(repository);
  }

  /** The pairs of a group; what is wrong with its rules is noted in a piece, and worth another look if that may help. */
  #expand(group: RuleGroup, piece: Plan): AsyncIterable<WantedPair[]> {
    const { signal, platforms, pass, belongings, ledger, force } = this.#context;
    const [{ source } = { source: undefined }] = group.rules;
    return expandGroup(group, {
      listTags: () => {
        const pages = source === undefined ? noPages() : this.#listTags(source, group);
        return ledger?.watch(group, pages) ?? pages;
      },
      isBelonging: (tag) => source !== undefined && belongings?.isBelonging({ ...source, tag }) === true,
      dates: new TagDates(this.#context),
      platforms,
      force,
      pass,
      onDropped: (dropped, { rule: { source }, position }) => {
        for (const one of dropped) piece.dropped.push({ rule: position, source, ...one });
      },
      onDoubt: ({ position }) => ledger?.doubt(position),
      onFailure: (failure, rule) => {
        if (signal?.aborted) return;
        piece.failed.push(failure);
        if (!failure.isPermanent) this.#failed.set(`${rule.position} ${group.name}`, { group, rule });
      },
      onWarning: (message) => piece.warnings.push(message),
      onEmpty: ({ rule, position }) => {
        piece.warnings.push(`No tag of "${rule.source}" is selected`);
        piece.empty.push({ rule: position, source: rule.source });
      },
    });
  }
}

/**
 * Makes the whole plan of some rules.
 *
 * @returns A plan, its images in the order of the rules; what failed is in it, and nothing but an abort is thrown.
 */
export async function makePlan(rules: readonly Rule[], context: PlanContext): Promise<Plan> {
  const plan = startPlan(context.now());
  // Of a whole plan nothing is made use of before the last destination has answered.
  const planner = new Planner({ ...context, patience: Infinity }, (piece) => addToPlan(plan, piece));
  await planner.planRules(rules);
  const positions = new Map(planner.order.map((name, position) => [name, position]));
  const positionOf = ({ source: { registry, repository } }: CopyTask) =>
    positions.get(`${registry}/${repository}`) ?? 0;
  plan.tasks.sort((left, right) => positionOf(left) - positionOf(right) || (left.id < right.id ? -1 : 1));
  plan.failed.sort((left, right) => (left.rule ?? rules.length) - (right.rule ?? rules.length));
  return plan;
}

/** Destinations are met while sources are listed, instead of after it: two round trips less in a run that finds nothing. */
async function warmDestinations(rules: readonly Rule[], context: PlanContext): Promise<void> {
  if (context.trustRecords === true) return;
  const first = new Map<string, string>();
  for (const { destinations } of rules) {
    for (const destination of destinations) {
      try {
        const { registry, repository } = splitReference(destination);
        if (!first.has(registry)) first.set(registry, repository);
      } catch {
        // The rule's own expansion says what is wrong with it.
      }
    }
  }
  await Promise.all(
    [...first].map(([registry, repository]) =>
      context.registries.open({ registry, repository }, "pull,push").warm()
    ),
  );
}

async function* noPages(): AsyncIterable<readonly string[]> {}
