/** Step 5 of the walk, the plan: what there is to copy, by tag lists and HEADs only. A dry run stops here. */

import { pooledMap } from "@std/async/pool";
import type { Descriptor } from "../oci/descriptor.ts";
import { formatReference, parseReference, type Reference } from "../oci/reference.ts";
import type { Repository } from "../registry/repository.ts";
import { RegistryError } from "../registry/registry_error.ts";
import type { Rule } from "./config.ts";
import { isPermanent, messageOf, toError } from "./failure.ts";
import type { Presence } from "./presence.ts";
import { expandRule, needsTags, parseRuleSource, type ReferencePair, type RuleSource } from "./rules.ts";
import { type Store, tagKey } from "./store.ts";

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
  /** What the source's tag stood for when the plan was made; that is what is copied. */
  root: Descriptor;
  /** Where it is to go. */
  destinations: PlannedDestination[];
}

/** Something that could not be planned. */
export interface PlanFailure {
  /** Whether a rule could not be turned into images, or one image could not be looked at. */
  kind: "rule" | "image";
  /** Source of the rule or image. */
  source: string;
  /** Destination of the rule or image, when it is about one. */
  destination?: string;
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
  /** What could not be planned. */
  failed: PlanFailure[];
  /** What is odd but does no harm. */
  warnings: string[];
}

/** What planning needs. */
export interface PlanContext {
  /** Opens a repository. */
  open: (registry: string, name: string, actions: "pull" | "pull,push") => Repository;
  /** What is known to be where. */
  presence: Presence;
  /** The memory between runs. */
  store: Store;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Whether to copy what the destination has already. */
  force?: boolean;
  /** Ends the planning. */
  signal?: AbortSignal | undefined;
}

/** Sources that are looked at at once; the gates of the registries bound the requests. */
const SOURCES_AT_ONCE = 64;
/** Missing tags from which on listing a destination is cheaper than asking for each. */
const LIST_DESTINATION_FROM = 3;

/**
 * Finds out what there is to copy.
 *
 * @returns A plan; what failed is in it, and nothing but an abort is thrown.
 */
export async function makePlan(rules: readonly Rule[], context: PlanContext): Promise<Plan> {
  const plan: Plan = {
    createdAt: new Date(context.now()).toISOString(),
    tasks: [],
    failed: [],
    warnings: [],
  };
  const pairs: ReferencePair[] = [];
  const expand = (rule: Rule) => expandOne(rule, context, plan);
  for await (const found of pooledMap(SOURCES_AT_ONCE, rules, expand)) pairs.push(...found);
  await planPairs(pairs, context, plan);
  return plan;
}

/**
 * Looks again at what a plan failed at, apart from what cannot succeed.
 *
 * @param rules The rules the plan was made of.
 * @returns A plan of those images alone; failures that were not tried again are in it too.
 */
export async function retryPlan(plan: Plan, rules: readonly Rule[], context: PlanContext): Promise<Plan> {
  const again = plan.failed.filter((failure) => !failure.isPermanent);
  const next: Plan = {
    createdAt: new Date(context.now()).toISOString(),
    tasks: [],
    failed: plan.failed.filter((failure) => failure.isPermanent),
    warnings: [],
  };
  const pairs: ReferencePair[] = [];
  for (const { kind, source, destination } of again) {
    if (kind === "image" && destination !== undefined) {
      pairs.push({ source: parseReference(source), destination: parseReference(destination) });
    } else {
      const rule = rules.find((one) => one.source === source);
      if (rule !== undefined) pairs.push(...await expandOne(rule, context, next));
    }
  }
  await planPairs(pairs, context, next);
  return next;
}

/** The pairs of one rule; what is wrong with it is noted in the plan. */
async function expandOne(rule: Rule, context: PlanContext, plan: Plan): Promise<ReferencePair[]> {
  try {
    const source = parseRuleSource(rule.source);
    const tags = needsTags(source) ? await selectTags(source, context) : [];
    if (needsTags(source) && tags.length === 0) plan.warnings.push(`No tag of "${rule.source}" is selected`);
    return rule.destinations.flatMap((destination) => expandTo(rule, source, destination, { tags, plan }));
  } catch (error) {
    context.signal?.throwIfAborted();
    plan.failed.push(ruleFailure(rule, error));
    return [];
  }
}

function expandTo(
  rule: Rule,
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

function ruleFailure(rule: Rule, error: unknown): PlanFailure {
  return { kind: "rule", source: rule.source, error: messageOf(error), isPermanent: isPermanent(error) };
}

async function selectTags(source: RuleSource, context: PlanContext): Promise<string[]> {
  const repository = context.open(source.registry, source.repository, "pull");
  const tags: string[] = [];
  for await (const page of repository.listTags(context.signal)) tags.push(...page);
  return [...new Set(tags)];
}

/** A source with all its destinations. */
interface Group {
  source: Reference;
  destinations: Reference[];
}

async function planPairs(pairs: readonly ReferencePair[], context: PlanContext, plan: Plan): Promise<void> {
  const groups = groupBySource(pairs, plan);
  const absent = await findAbsent(groups, context);
  const look = (group: Group) => planGroup(group, context, { absent, plan });
  for await (const task of pooledMap(SOURCES_AT_ONCE, groups, look)) {
    if (task !== undefined) plan.tasks.push(task);
  }
}

/** Two sources for one destination would overwrite each other, so the second is refused. */
function groupBySource(pairs: readonly ReferencePair[], plan: Plan): Group[] {
  const groups = new Map<string, Group>();
  const sources = new Map<string, string>();
  for (const { source, destination } of pairs) {
    const [from, to] = [formatReference(source), formatReference(destination)];
    const other = sources.get(to);
    if (other === from) continue;
    if (other !== undefined) {
      const error = `Cannot copy "${from}" to "${to}": another rule copies "${other}" there`;
      plan.failed.push({ kind: "image", source: from, destination: to, error, isPermanent: true });
      continue;
    }
    sources.set(to, from);
    const group = groups.get(from);
    if (group === undefined) groups.set(from, { source, destinations: [destination] });
    else group.destinations.push(destination);
  }
  return [...groups.values()];
}

/**
 * Destinations that are known not to be there. A repository that several tags go to and nothing is remembered of is listed
 * once, which is one request instead of one for each tag, and tells when it is empty.
 */
async function findAbsent(groups: readonly Group[], context: PlanContext): Promise<Set<string>> {
  const byRepository = new Map<string, Reference[]>();
  for (const destination of groups.flatMap((group) => group.destinations)) {
    if (destination.tag === undefined) continue;
    const key = `${destination.registry}/${destination.repository}`;
    const references = byRepository.get(key);
    if (references === undefined) byRepository.set(key, [destination]);
    else references.push(destination);
  }
  const absent = new Set<string>();
  const candidates = [...byRepository.values()].filter((one) => one.length >= LIST_DESTINATION_FROM);
  const list = (references: Reference[]) => listAbsent(references, context);
  for await (const found of pooledMap(SOURCES_AT_ONCE, candidates, list)) {
    for (const one of found) absent.add(one);
  }
  return absent;
}

async function listAbsent(references: readonly Reference[], context: PlanContext): Promise<string[]> {
  const [first] = references;
  if (first === undefined || await isRemembered(references, context)) return [];
  const repository = context.open(first.registry, first.repository, "pull,push");
  try {
    const tags = new Set<string>();
    for await (const page of repository.listTags(context.signal)) for (const tag of page) tags.add(tag);
    if (tags.size === 0) context.presence.setEmpty(repository);
    return references.filter(({ tag }) => !tags.has(tag ?? "")).map(formatReference);
  } catch (error) {
    context.signal?.throwIfAborted();
    if (!(error instanceof RegistryError) || !error.hasCode("NAME_UNKNOWN")) return [];
    context.presence.setEmpty(repository);
    return references.map(formatReference);
  }
}

/** Whether any of some tags was copied before: then they are likely there, and a HEAD for each is what it takes anyway. */
async function isRemembered(references: readonly Reference[], { store }: PlanContext): Promise<boolean> {
  for (const { registry, repository, tag } of references) {
    if (tag !== undefined && await store.get(tagKey(registry, repository, tag)) !== undefined) return true;
  }
  return false;
}

interface GroupState {
  absent: Set<string>;
  plan: Plan;
}

async function planGroup(
  group: Group,
  context: PlanContext,
  { absent, plan }: GroupState,
): Promise<CopyTask | undefined> {
  const source = formatReference(group.source);
  // Source and destinations are asked at once: in a run that finds nothing new, that is all there is.
  const [root, ...states] = await Promise.all([
    settle(resolveSource(group.source, context)),
    ...group.destinations.map((one) => settle(resolveDestination(one, absent, context))),
  ]);
  context.signal?.throwIfAborted();
  const task: CopyTask = {
    id: source,
    source,
    root: { mediaType: "", digest: "", size: 0 },
    destinations: [],
  };
  for (const [index, destination] of group.destinations.entries()) {
    const state = states[index];
    const failure = root instanceof Error ? root : state instanceof Error ? state : undefined;
    const reference = formatReference(destination);
    if (failure !== undefined) {
      const error = messageOf(failure);
      plan.failed.push({
        kind: "image",
        source,
        destination: reference,
        error,
        isPermanent: isPermanent(failure),
      });
    } else if (root !== undefined && !(root instanceof Error)) {
      task.root = root;
      const isSame = !(state instanceof Error) && state?.digest === root.digest;
      task.destinations.push({ reference, action: isSame && context.force !== true ? "unchanged" : "copy" });
    }
  }
  return task.destinations.length === 0 ? undefined : task;
}

async function settle<Value>(promise: Promise<Value>): Promise<Value | Error> {
  try {
    return await promise;
  } catch (error) {
    return toError(error);
  }
}

/** A HEAD has no body, so a refusal is asked for again with GET, for the registry's own words. */
async function resolveSource(reference: Reference, context: PlanContext): Promise<Descriptor> {
  const repository = context.open(reference.registry, reference.repository, "pull");
  const name = reference.digest ?? reference.tag ?? "latest";
  try {
    const found = await repository.resolve(name, context.signal);
    if (found !== undefined) return found;
  } catch (error) {
    if (!(error instanceof RegistryError) || ![400, 401, 403].includes(error.status)) throw error;
  }
  return (await repository.getManifest(name, context.signal)).descriptor;
}

/**
 * What a destination has. One that may not be looked at (ECR and Artifactory answer 403 for what is not there) counts as
 * having nothing: if it is a real refusal, the push is refused too, and in the registry's own words.
 */
async function resolveDestination(
  reference: Reference,
  absent: Set<string>,
  context: PlanContext,
): Promise<Descriptor | undefined> {
  if (absent.has(formatReference(reference))) return undefined;
  const repository = context.open(reference.registry, reference.repository, "pull,push");
  try {
    return await repository.resolve(reference.digest ?? reference.tag ?? "latest", context.signal);
  } catch (error) {
    if (error instanceof RegistryError && [401, 403].includes(error.status)) return undefined;
    throw error;
  }
}
