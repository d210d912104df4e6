/** Step 5 of the walk, the plan: what there is to copy, by tag lists and HEADs only. A dry run stops here. */

import { pooledMap } from "@std/async/pool";
import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import { formatReference, parseReference, type Reference, splitReference } from "../../oci/reference.ts";
import type { Rule } from "../config/config.ts";
import { isPermanent, messageOf, toError } from "./failure.ts";
import { imageId } from "./image_id.ts";
import { type AbsenceContext, findAbsent } from "./absence.ts";
import { isSameContent, rememberedDigest, resolveDestination, resolveRoot, type Root } from "./look.ts";
import { compilePattern } from "./pattern.ts";
import { expandRule, needsTags, parseRuleSource, type ReferencePair, type RuleSource } from "./rules.ts";
import { tagKey } from "../store/store.ts";

/** What is to be done at one destination. */
export interface PlannedDestination {
  /** Where the image is to go. */
  reference: string;
  /** `unchanged` when the destination has the same digest. */
  action: "copy" | "unchanged";
}

/** One image with all the places it is to go: its source is read once for all of them. */
export interface CopyTask {
  /** Name of the task in events; no two tasks of a plan share it. */
  id: string;
  /** Where the image is. */
  source: string;
  /** What the source's tag stood for when the plan was made; that is what is copied, or what is left of it. */
  root: Descriptor;
  /** Platforms that are wanted; all of them without it. */
  platforms?: string[];
  /** Digest at the source, where the platforms wanted leave something else than the source has. */
  original?: Digest;
  /** Where it is to go. */
  destinations: PlannedDestination[];
}

/** An image that is not copied although its rule selects it. */
export interface PlanSkip {
  /** Source of the image. */
  source: string;
  /** Where it would have gone. */
  destination: string;
  /** Platforms that are wanted of it. */
  platforms?: string[];
  /** Why it does not. */
  reason: string;
}

/** Something that could not be planned. */
export interface PlanFailure {
  /** Whether a rule could not be turned into images, or one image could not be looked at. */
  kind: "rule" | "image";
  /** Position of the rule among those of the plan, when it is about one. */
  rule?: number;
  /** Source of the rule or image. */
  source: string;
  /** Destination of the rule or image, when it is about one. */
  destination?: string;
  /** Platforms that are wanted of the image. */
  platforms?: string[];
  /** Why. */
  error: string;
  /** Whether trying again cannot help. */
  isPermanent: boolean;
}

/** What there is to do: plain JSON, so that it can be saved, reviewed and run later. */
export interface Plan {
  /** When it was made, in ISO 8601. */
  createdAt: string;
  /** Every image, also those that are unchanged. */
  tasks: CopyTask[];
  /** What is left out. */
  skipped: PlanSkip[];
  /** What could not be planned. */
  failed: PlanFailure[];
  /** Rules that select nothing, in a sentence each. */
  warnings: string[];
  /** Set where this is a second look at images, which says nothing new of the rules. */
  replaces?: "images";
}

/** What planning needs. */
export interface PlanContext extends AbsenceContext {
  /** Whether to copy what the destination has already. */
  force?: boolean;
  /** Whether what the store remembers of a destination is believed without asking it. */
  trustRecords?: boolean;
  /** Platforms wanted of rules that name none; all of them without it. */
  platforms?: readonly string[];
  /** Passes that were made before over what had failed; none unless told. */
  pass?: number;
}

/** Sources that are looked at at once; the gates of the registries bound the requests. */
const SOURCES_AT_ONCE = 64;

/**
 * Finds out what there is to copy.
 *
 * @returns A plan; what failed is in it, and nothing but an abort is thrown.
 */
export async function makePlan(rules: readonly Rule[], context: PlanContext): Promise<Plan> {
  const plan = startPlan(context, []);
  const pairs: WantedPair[] = [];
  const expand = ([position, rule]: [number, Rule]) => expandOne({ ...rule, position }, context, plan);
  const warming = warmDestinations(rules, context);
  try {
    for await (const found of pooledMap(SOURCES_AT_ONCE, rules.entries(), expand)) pairs.push(...found);
    await planPairs(pairs, context, { plan, known: [] });
  } catch (error) {
    // The pool wraps what stopped it.
    context.signal?.throwIfAborted();
    throw error;
  }
  await warming;
  return plan;
}

/** A rule and its position in the plan's rules: several may have the same source. */
type PlacedRule = Rule & { position: number };

/**
 * Looks again at what a plan failed at, apart from what cannot succeed.
 *
 * @param plan Its tasks are what is going to be at their destinations already.
 * @param rules The rules the plan was made of.
 * @returns A plan of those images alone; failures that were not tried again are in it too.
 */
export async function retryPlan(plan: Plan, rules: readonly Rule[], context: PlanContext): Promise<Plan> {
  const again = plan.failed.filter((failure) => !failure.isPermanent);
  const next = startPlan(context, plan.failed.filter((failure) => failure.isPermanent));
  const pairs: WantedPair[] = [];
  for (const { kind, rule: position = -1, source, destination, platforms } of again) {
    if (kind === "image" && destination !== undefined) {
      pairs.push({ source: parseReference(source), destination: parseReference(destination), platforms });
    } else {
      const rule = rules[position];
      if (rule !== undefined) pairs.push(...await expandOne({ ...rule, position }, context, next));
    }
  }
  await planPairs(pairs, context, { plan: next, known: plan.tasks });
  return next;
}

function startPlan({ now }: PlanContext, failed: PlanFailure[]): Plan {
  return { createdAt: new Date(now()).toISOString(), tasks: [], skipped: [], failed, warnings: [] };
}

/** A pair with the platforms that are wanted of it. */
interface WantedPair extends ReferencePair {
  platforms: readonly string[] | undefined;
}

/**
 * Looks at images of a plan again, because somebody else may have copied them.
 *
 * @returns A plan of those images alone.
 */
export async function replan(tasks: readonly CopyTask[], context: PlanContext): Promise<Plan> {
  const plan: Plan = { ...startPlan(context, []), replaces: "images" };
  const pairs = tasks.flatMap(({ source, destinations, platforms }) =>
    destinations.map(({ reference }) => ({
      source: parseReference(source),
      destination: parseReference(reference),
      platforms,
    }))
  );
  await planPairs(pairs, context, { plan, known: [] });
  return plan;
}

/** The pairs of one rule; what is wrong with it is noted in the plan. */
async function expandOne(rule: PlacedRule, context: PlanContext, plan: Plan): Promise<WantedPair[]> {
  try {
    const source = parseRuleSource(rule.source);
    const tags = needsTags(source) ? await selectTags(source, context) : [];
    if (needsTags(source) && tags.length === 0) plan.warnings.push(`No tag of "${rule.source}" is selected`);
    const platforms = rule.platforms ?? context.platforms;
    const wanted = platforms === undefined || platforms.length === 0 ? undefined : platforms;
    return rule.destinations
      .flatMap((destination) => expandTo(rule, source, destination, { tags, plan }))
      .map((pair) => ({ ...pair, platforms: wanted }));
  } catch (error) {
    context.signal?.throwIfAborted();
    plan.failed.push(ruleFailure(rule, error, context.pass));
    return [];
  }
}

function expandTo(
  rule: PlacedRule,
  source: RuleSource,
  destination: string,
  { tags, plan }: { tags: readonly string[]; plan: Plan },
): ReferencePair[] {
  try {
    return expandRule(source, destination, tags);
  } catch (error) {
    plan.failed.push({ ...ruleFailure(rule, error), destination });
    return [];
  }
}

function ruleFailure({ position, source }: PlacedRule, error: unknown, pass?: number): PlanFailure {
  const failure = { error: messageOf(error), isPermanent: isPermanent(error, pass) };
  return { kind: "rule", rule: position, source, ...failure };
}

async function selectTags(source: RuleSource, context: PlanContext): Promise<string[]> {
  const repository = context.registries.open(source, "pull");
  const tags: string[] = [];
  const { selection } = source;
  // The pattern is looked at first: one that does not compile needs no list.
  const matches = selection.type === "pattern" ? await compilePattern(selection.pattern) : () => true;
  for await (const page of repository.listTags(context.signal)) tags.push(...page.filter(matches));
  return [...new Set(tags)];
}

/** What a destination has; where records are believed, it is not asked about what they say it has. */
async function resolveOne(
  destination: Reference,
  looking: Promise<Root | undefined | Error>,
  absent: Set<string>,
  context: PlanContext,
): Promise<Pick<Descriptor, "digest"> | undefined> {
  if (absent.has(formatReference(destination))) return undefined;
  if (context.trustRecords === true) {
    const digest = await rememberedDigest(destination, context);
    const root = await looking;
    if (root instanceof Error || digest !== undefined && root?.descriptor.digest === digest) {
      return { digest: digest ?? "" };
    }
  }
  return await resolveDestination(destination, context);
}

/** Destinations are met while sources are listed, instead of after it: two round trips less in a run that finds nothing. */
async function warmDestinations(rules: readonly Rule[], context: PlanContext): Promise<void> {
  if (context.trustRecords === true) return;
  const first = new Map<string, string>();
  for (const destination of rules.flatMap((rule) => rule.destinations)) {
    try {
      const { registry, repository } = splitReference(destination);
      if (!first.has(registry)) first.set(registry, repository);
    } catch {
      // The rule's own expansion says what is wrong with it.
    }
  }
  await Promise.all(
    [...first].map(([registry, repository]) =>
      context.registries.open({ registry, repository }, "pull,push").warm()
    ),
  );
}

/** A source with all its destinations. */
interface Group {
  id: string;
  source: Reference;
  platforms: readonly string[] | undefined;
  destinations: Reference[];
}

async function planPairs(
  pairs: readonly WantedPair[],
  context: PlanContext,
  { plan, known }: { plan: Plan; known: readonly CopyTask[] },
): Promise<void> {
  const groups = groupBySource(pairs, plan, known);
  const absent = await findAbsent(groups.flatMap((group) => group.destinations), context);
  const look = (group: Group) => planGroup(group, context, { absent, plan });
  for await (const task of pooledMap(SOURCES_AT_ONCE, groups, look)) {
    if (task !== undefined) plan.tasks.push(task);
  }
}

/** Two sources for one destination would overwrite each other, so the second is refused. */
function groupBySource(pairs: readonly WantedPair[], plan: Plan, known: readonly CopyTask[]): Group[] {
  const groups = new Map<string, Group>();
  const sources = new Map<string, string>();
  for (const { id, destinations } of known) {
    for (const { reference } of destinations) sources.set(reference, id);
  }
  for (const { source, destination, platforms } of pairs) {
    const to = formatReference(destination);
    const from = imageId(formatReference(source), platforms);
    const other = sources.get(to);
    if (other === from) continue;
    if (other !== undefined) {
      const error = `Cannot copy "${from}" to "${to}": another rule copies "${other}" there`;
      const failure = { source: formatReference(source), destination: to, error, isPermanent: true };
      plan.failed.push({ kind: "image", ...failure, ...onlyOf(platforms) });
      continue;
    }
    sources.set(to, from);
    const group = groups.get(from);
    if (group === undefined) groups.set(from, { id: from, source, platforms, destinations: [destination] });
    else group.destinations.push(destination);
  }
  return [...groups.values()];
}

interface GroupState {
  absent: Set<string>;
  plan: Plan;
}

async function planGroup(
  group: Group,
  context: PlanContext,
  state: GroupState,
): Promise<CopyTask | undefined> {
  const source = formatReference(group.source);
  // Source and destinations are asked at once: in a run that finds nothing new, that is all there is.
  const looking = settle(resolveRoot(group.source, group.platforms, context));
  const [root, ...found] = await Promise.all([
    looking,
    ...group.destinations.map((one) => settle(resolveOne(one, looking, state.absent, context))),
  ]);
  context.signal?.throwIfAborted();
  const task: CopyTask = {
    id: group.id,
    source,
    root: NO_ROOT,
    ...onlyOf(group.platforms),
    destinations: [],
  };
  for (const [index, destination] of group.destinations.entries()) {
    const reference = formatReference(destination);
    const there = found[index];
    const failure = root instanceof Error ? root : there instanceof Error ? there : undefined;
    if (failure !== undefined) {
      state.plan.failed.push(imageFailure(task, reference, { failure, pass: context.pass }));
    } else if (root === undefined) {
      const skip = { source, destination: reference, reason: NO_PLATFORM };
      state.plan.skipped.push({ ...skip, ...onlyOf(group.platforms) });
    } else if (!(root instanceof Error)) {
      task.root = root.descriptor;
      if (root.original !== undefined) task.original = root.original;
      const isSame = !(there instanceof Error) &&
        await isSameContent(root, there, { source: group.source, context });
      task.destinations.push({ reference, action: isSame && context.force !== true ? "unchanged" : "copy" });
    }
  }
  await rememberUnchanged(group, task, context);
  return task.destinations.length === 0 ? undefined : task;
}

/** What is found unchanged is remembered like what is copied, so that the next run knows of it however it got there. */
async function rememberUnchanged(group: Group, task: CopyTask, context: PlanContext): Promise<void> {
  for (const destination of group.destinations) {
    const planned = task.destinations.find(({ reference }) => reference === formatReference(destination));
    if (planned?.action !== "unchanged" || destination.tag === undefined) continue;
    if (await rememberedDigest(destination, context) === task.root.digest) continue;
    const { registry, repository, tag } = destination;
    const value = { digest: task.root.digest, source: task.source, copiedAt: context.now() };
    await context.store.set(tagKey(registry, repository, tag), value);
  }
}

const NO_ROOT: Descriptor = { mediaType: "", digest: "", size: 0 };
/** The words image-syncer v1.5.5 uses. */
const NO_PLATFORM = "skip synchronization because no manifest fits platform filters";

function imageFailure(
  { source, platforms }: CopyTask,
  destination: string,
  { failure, pass }: { failure: Error; pass: number | undefined },
): PlanFailure {
  const error = messageOf(failure);
  return {
    kind: "image",
    source,
    destination,
    ...onlyOf(platforms),
    error,
    isPermanent: isPermanent(failure, pass),
  };
}

function onlyOf(platforms: readonly string[] | undefined): { platforms?: string[] } {
  return platforms === undefined ? {} : { platforms: [...platforms] };
}

async function settle<Value>(promise: Promise<Value>): Promise<Value | Error> {
  try {
    return await promise;
  } catch (error) {
    return toError(error);
  }
}
