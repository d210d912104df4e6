/**
 * Choosing, foreseeing and deleting: which tags a rule selects, a plan that says what running it will take and can be saved and
 * run later, and what is deleted at destinations because it is selected no more.
 *
 * @example Plan today, apply tomorrow
 * ```ts
 * import { parseConfig, Registries } from "@image-syncer/image-syncer";
 * import { applyPlan, makeFullPlan, readSavedPlan } from "@image-syncer/image-syncer/select";
 *
 * const { rules } = parseConfig(`{ "images": { "alpine": { "to": ["registry.example.com/alpine"], "tags": { "newest": 5 } } } }`);
 * const plan = await makeFullPlan(rules, { registries: new Registries() });
 * console.log(plan.forecast.bytes.send, plan.forecast.pulls.apply);
 * const saved = await readSavedPlan(JSON.stringify(plan));
 * await applyPlan(saved, rules, { registries: new Registries() });
 * ```
 *
 * @module
 */

export { type ApplyOptions, applyPlan } from "./apply.ts";
export type { Amounts, Forecast, Range } from "./forecast.ts";
export { type FullPlan, makeFullPlan, wouldChange } from "./full_plan.ts";
export type { PlannedDeletion } from "./plan/plan.ts";
export {
  PlanFileError,
  readSavedPlan,
  type RuleCounts,
  type SavedManifest,
  type SavedPlan,
} from "./plan/saved_plan.ts";
export type { DeletionOutcome } from "./plan/tag_deletion.ts";
export type { PrunePolicy } from "./rules/prune_policy.ts";
export { type DroppedTags, SelectionError, type TagSelection } from "./rules/selection.ts";
