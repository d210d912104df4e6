/** Step 7 of the walk, the run: runs a saved plan, exactly that, after looking whether the world is still as it saw it. */

import { formatReference, type Reference, splitReference } from "../oci/reference.ts";
import type { Rule } from "./config/config.ts";
import { DestinationLists } from "./plan/destination_lists.ts";
import { isPermanent, messageOf } from "./plan/failure.ts";
import { expandNamespace, RepositoryOwners, splitRules } from "./plan/namespace_rules.ts";
import {
  type CopyTask,
  imageId,
  type Plan,
  type PlanFailure,
  type PlannedDeletion,
  type PlannedDestination,
  startPlan,
} from "./plan/plan.ts";
import { resolveDestination, resolveRoot } from "./plan/resolve.ts";
import { expandGroup, groupRules } from "./plan/rule_group.ts";
import { hashRules, PlanFileError, readManifests, type SavedPlan } from "./plan/saved_plan.ts";
import type { Report } from "./report.ts";
import { runPlan } from "./run.ts";
import { belongsTo } from "./rules/selection.ts";
import { rulesFor } from "./rules/belongings_policy.ts";
import { createContext, type MirrorOptions, type RunContext } from "./run_context.ts";
import { mapAll } from "./work_pool.ts";

/** Images that are looked at at once; the gates of the registries bound the requests. */
const IMAGES_AT_ONCE = 64;

/** Options of {@linkcode applyPlan}. */
export interface ApplyOptions extends MirrorOptions {
  /** Whether a source tag that has moved since is copied as it is now, instead of being refused. */
  acceptsChanges?: boolean;
}

/**
 * Runs a saved plan. Only the tags that it will copy from, write or delete are asked for (new ones of one repository by a list
 * of it, where that is cheaper), and no manifest is read that the plan has read.
 *
 * @returns What has become of every image; what is not as the plan saw it has failed.
 * @throws {PlanFileError} when the plan is not one of these rules.
 */
export async function applyPlan(
  saved: SavedPlan,
  rules: readonly Rule[],
  options: ApplyOptions,
): Promise<Report> {
  await checkOrigin(saved, rulesFor(rules, options), options.platforms);
  const context = createContext(options, { isStopping: () => false, emit: () => {} });
  const plan = await checkWorld(saved, context, options.acceptsChanges ?? false);
  const manifests = await readManifests(saved.manifests);
  const emptyRepositories = saved.emptyRepositories.flatMap((name) => toPlace(name));
  return await runPlan(plan, { ...options, manifests, emptyRepositories });
}

function toPlace(name: string): { registry: string; repository: string }[] {
  try {
    return [splitReference(name)];
  } catch {
    return [];
  }
}

/** Whether a plan is one of these rules, and has no image that none of them makes. */
async function checkOrigin(
  saved: SavedPlan,
  rules: readonly Rule[],
  platforms: readonly string[] | undefined,
): Promise<void> {
  if (await hashRules(rules, platforms) !== saved.config) {
    throw new PlanFileError("the config has changed since; make the plan anew");
  }
  for (const deletion of saved.deletions ?? []) checkDeletion(deletion, rules);
  const made = await pairsOf(saved, rules, platforms);
  for (const { id, source, platforms: wanted, destinations } of saved.tasks) {
    if (id !== imageId(formatReference(source), wanted)) {
      throw new PlanFileError(`its image "${id}" is not named after its source`);
    }
    for (const { reference, referrers } of destinations) {
      const destination = formatReference(reference);
      if (made.has(keyOf(id, destination, referrers))) continue;
      throw new PlanFileError(`no rule copies "${id}" to "${destination}"`);
    }
  }
}

/** Deletes as its rule would: in a destination of the rule that deletes, what came from its source. */
function checkDeletion(deletion: PlannedDeletion, rules: readonly Rule[]): void {
  const { rule, reference, source, digest, belongings = [] } = deletion;
  const name = `${reference.registry}/${reference.repository}`;
  const nameOf = (text: string) => {
    const { registry, repository } = splitReference(text);
    return `${registry}/${repository}`;
  };
  const one = rules[rule];
  const isMeant = one?.prune !== undefined && nameOf(one.source) === source &&
    one.destinations.some((destination) => nameOf(destination) === name) &&
    belongings.every((tag) => belongsTo(tag, digest));
  if (!isMeant) throw new PlanFileError(`no rule deletes "${formatReference(reference)}"`);
}

function keyOf(id: string, destination: string, referrers: PlannedDestination["referrers"]): string {
  return JSON.stringify([id, destination, referrers]);
}

/** What rules make of the tags that a plan has, without asking anybody. */
async function pairsOf(
  { tasks }: SavedPlan,
  rules: readonly Rule[],
  platforms: readonly string[] | undefined,
): Promise<Set<string>> {
  const made = new Set<string>();
  const repositories = [...new Set(tasks.map(({ source }) => `${source.registry} ${source.repository}`))];
  const listRepositories = (registry: string) =>
    onePage(
      repositories.flatMap((name) =>
        name.startsWith(`${registry} `) ? [name.slice(registry.length + 1)] : []
      ),
    );
  const { single, namespaces } = splitRules(rules);
  const owners = new RepositoryOwners(single);
  for (const one of namespaces) {
    single.push(...await expandNamespace(one, listRepositories, owners).catch(() => []));
  }
  const tags = tagsOf(tasks);
  for (const group of groupRules(single, () => {})) {
    const pages = expandGroup(group, {
      listTags: () => onePage([...tags.get(group.name) ?? []]),
      platforms,
      pass: 0,
      onFailure: () => {},
      onEmpty: () => {},
      onWarning: () => {},
    });
    for await (const pairs of pages) {
      for (const { source, destination, platforms: wanted, referrers } of pairs) {
        const id = imageId(formatReference(source), wanted);
        made.add(keyOf(id, formatReference(destination), referrers));
      }
    }
  }
  return made;
}

/** Tags by source repository (`registry/repository`). */
function tagsOf(tasks: readonly CopyTask[]): Map<string, Set<string>> {
  const tags = new Map<string, Set<string>>();
  for (const { source: { registry, repository, tag } } of tasks) {
    const name = `${registry}/${repository}`;
    const known = tags.get(name) ?? new Set();
    tags.set(name, known);
    if (tag !== undefined) known.add(tag);
  }
  return tags;
}

async function* onePage(tags: readonly string[]): AsyncIterable<readonly string[]> {
  yield await Promise.resolve(tags);
}

/** What of a plan can still be run; the rest is among its failures. */
async function checkWorld(saved: SavedPlan, context: RunContext, acceptsChanges: boolean): Promise<Plan> {
  const { tasks, skipped, failed, warnings, empty } = saved;
  const { dropped, deletions = [] } = saved;
  const plan: Plan = {
    ...startPlan(context.now()),
    skipped,
    failed: [...failed],
    warnings,
    empty,
    dropped,
    deletions,
  };
  const lists = new DestinationLists(context);
  lists.expect(
    tasks.flatMap(({ destinations }) =>
      destinations.filter((one) => one.action === "copy" && one.there === undefined)
        .map(({ reference }) => reference)
    ),
  );
  const check = async (task: CopyTask) => {
    const moved = await checkSource(task, context, acceptsChanges);
    const destinations = moved instanceof Error
      ? []
      : await checkDestinations(moved, plan, { context, lists });
    if (moved instanceof Error) {
      for (const one of task.destinations) plan.failed.push(failureOf(task, one, moved));
    } else plan.tasks.push({ ...moved, destinations });
  };
  await mapAll(tasks, check, IMAGES_AT_ONCE);
  context.signal?.throwIfAborted();
  return plan;
}

/** The task as it can be run, or why it cannot. */
async function checkSource(
  task: CopyTask,
  context: RunContext,
  acceptsChanges: boolean,
): Promise<CopyTask | Error> {
  const isFixed = task.source.digest !== undefined;
  if (isFixed || task.destinations.every(({ action }) => action !== "copy")) return task;
  const planned = task.original ?? task.root.digest;
  const name = formatReference(task.source);
  try {
    const now = await context.registries.open(task.source, "pull").resolve(
      task.source.tag ?? "latest",
      context.signal,
    );
    if (now?.digest === planned) return task;
    if (now === undefined) return new PlanFileError(`"${name}" is no longer there`);
    if (!acceptsChanges) {
      return new PlanFileError(
        `"${name}" stands for "${now.digest}" now, not for "${planned}"; make the plan anew, or give --accept-changes`,
      );
    }
    const root = await resolveRoot(task.source, { platforms: task.platforms }, context);
    if ("has" in root) return new PlanFileError(`"${name}" no longer has any of the platforms wanted`);
    const { original: _, ...rest } = task;
    const { original } = root;
    return { ...rest, root: root.descriptor, ...(original === undefined ? {} : { original }) };
  } catch (error) {
    context.signal?.throwIfAborted();
    return error instanceof Error ? error : new Error(String(error), { cause: error });
  }
}

/** The destinations that are still what the plan saw, or already what it wants; the others have failed. */
async function checkDestinations(
  task: CopyTask,
  plan: Plan,
  { context, lists }: { context: RunContext; lists: DestinationLists },
): Promise<PlannedDestination[]> {
  const checked = await Promise.all(task.destinations.map(async (one) => {
    const { reference, action, there } = one;
    if (action !== "copy" || reference.tag === undefined) return one;
    try {
      const isAbsent = there === undefined && await lists.isAbsent(reference);
      const now = isAbsent ? undefined : await resolveDestination(reference, context);
      // A run of this plan that was cut off may have put it there.
      if (now?.digest === there || now?.digest === task.root.digest) return one;
      const name = formatReference(reference);
      const stands = now === undefined ? "is no longer there" : `stands for "${now.digest}" now`;
      const saw = there === undefined ? "nothing there" : `"${there}"`;
      plan.failed.push(failureOf(task, one, new PlanFileError(`"${name}" ${stands}, the plan saw ${saw}`)));
    } catch (error) {
      context.signal?.throwIfAborted();
      plan.failed.push(failureOf(task, one, error));
    }
    return undefined;
  }));
  return checked.filter((one) => one !== undefined);
}

function failureOf(
  { source, platforms }: CopyTask,
  { reference }: { reference: Reference },
  error: unknown,
): PlanFailure {
  return {
    kind: "image",
    source: formatReference(source),
    destination: formatReference(reference),
    ...(platforms === undefined ? {} : { platforms }),
    error: messageOf(error),
    isPermanent: error instanceof PlanFileError || isPermanent(error),
  };
}
