/** Step 5 of the walk, the plan: all there is to know before anything moves: counts by rule, and what running it will take. */

import type { Digest } from "../oci/descriptor.ts";
import { formatReference, type Reference } from "../oci/reference.ts";
import type { Rule } from "./config/config.ts";
import { type Forecast, foretell } from "./forecast.ts";
import { ImageSurvey } from "./image_survey.ts";
import type { Plan, PlannedDestination } from "./plan/plan.ts";
import { makePlan } from "./plan/planner.ts";
import { RuleLedger } from "./plan/rule_ledger.ts";
import { parseRuleSource } from "./rules/rules.ts";
import {
  hashPlan,
  hashRules,
  PLAN_VERSION,
  type RuleCounts,
  type SavedPlan,
  saveManifests,
} from "./plan/saved_plan.ts";
import { rulesFor } from "./rules/belongings_policy.ts";
import { planDeletions } from "./prune_run.ts";
import { createContext, type MirrorOptions, type RunContext } from "./run_context.ts";

/** A plan with everything that is known of it. */
export type FullPlan = SavedPlan & { forecast: Forecast };

/**
 * Makes a plan that tells what running it takes: reads the manifests of what is to be copied, and asks destinations which of its
 * parts they have. Nothing is sent, no blob is read.
 *
 * @throws The registries' signal's reason when it is aborted.
 */
export async function makeFullPlan(asked: readonly Rule[], options: MirrorOptions): Promise<FullPlan> {
  const rules = rulesFor(asked, options);
  const context: RunContext = {
    ...createContext(options, { isStopping: () => false, emit: (event) => options.onEvent?.(event) }),
    ledger: new RuleLedger(),
  };
  const plan = await makePlan(rules, context);
  const emptyRepositories = emptyOnes(plan, context);
  const survey = new ImageSurvey(context);
  await survey.run(plan);
  plan.deletions = await planDeletions(rules, plan, context);
  const rest = {
    version: PLAN_VERSION,
    config: await hashRules(rules, options.platforms),
    ...plan,
    rules: countRules(rules, plan, context.ledger),
    forecast: await foretell(plan, survey, context),
    emptyRepositories,
    manifests: saveManifests(survey.kept()),
  };
  await context.store.flush();
  return { ...rest, hash: await hashPlan(rest) };
}

/** Whether anything would change. */
export function wouldChange({ tasks, deletions = [] }: Plan): boolean {
  return deletions.length > 0 ||
    tasks.some(({ destinations }) =>
      destinations.some(({ action, isIncomplete }) => action === "copy" || isIncomplete)
    );
}

function emptyOnes({ tasks }: Plan, { known, registries }: RunContext): string[] {
  const places = new Map<string, Reference>();
  for (const { destinations } of tasks) {
    for (const { reference } of destinations) {
      places.set(`${reference.registry}/${reference.repository}`, reference);
    }
  }
  const noDigest: Digest = "";
  return [...places].flatMap(([name, place]) =>
    known.isEmpty(registries.open(place, "pull,push"), noDigest) ? [name] : []
  );
}

function countRules(rules: readonly Rule[], plan: Plan, ledger: RuleLedger | undefined): RuleCounts[] {
  const counts = rules.map(({ source }, rule): RuleCounts => ({
    rule,
    source,
    tags: ledger?.listed(repositoryOf(source)) ?? 0,
    selected: ledger?.selected(rule) ?? 0,
    new: 0,
    changed: 0,
    same: 0,
    drifted: 0,
    skipped: 0,
    failed: 0,
    pruned: plan.deletions?.filter((deletion) => deletion.rule === rule).length ?? 0,
  }));
  const of = (destination: string) => counts[ledger?.ownerOf(destination) ?? -1];
  for (const { destinations } of plan.tasks) {
    for (const one of destinations) {
      const count = of(formatReference(one.reference));
      if (count !== undefined) count[kindOf(one)]++;
    }
  }
  for (const { destination } of plan.skipped) {
    const count = of(destination);
    if (count !== undefined) count.skipped++;
  }
  for (const { destination, rule } of plan.failed) {
    const count = rule === undefined ? of(destination ?? "") : counts[rule];
    if (count !== undefined) count.failed++;
  }
  return counts;
}

function kindOf({ action, there }: PlannedDestination): "new" | "changed" | "same" | "drifted" {
  if (action === "drifted") return "drifted";
  if (action === "unchanged") return "same";
  return there === undefined ? "new" : "changed";
}

function repositoryOf(source: string): string {
  try {
    const { registry, repository } = parseRuleSource(source);
    return `${registry}/${repository}`;
  } catch {
    // The rule's own failure says what is wrong with it.
    return "";
  }
}
