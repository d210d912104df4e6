/** Step 7 of the walk, the run: deletes what rules want deleted, after everything else, unless anything went wrong before. */

import { formatReference, splitReference } from "../oci/reference.ts";
import type { Rule } from "./config/config.ts";
import type { Plan, PlannedDeletion } from "./plan/plan.ts";
import { chooseDeletions } from "./plan/prune.ts";
import { deleteTags } from "./plan/tag_deletion.ts";
import type { Report } from "./report.ts";
import type { RunContext } from "./run_context.ts";

/** What there is to know before anything is deleted. */
export interface PruneWork {
  /** The rules of the run. */
  rules: readonly Rule[];
  /** What has become of everything else. */
  report: Pick<Report, "tasks" | "rules">;
  /** What a plan says is to be deleted, where one is run: that and nothing else. */
  deletions?: readonly PlannedDeletion[] | undefined;
}

/** Deletes the tags that rules, or the plan that is run, want deleted. Each is told as an event. */
export async function prune({ rules, report, deletions }: PruneWork, context: RunContext): Promise<void> {
  const { emit } = context;
  const troubled = troubledOf(report);
  const warn = (message: string) => emit({ type: "warning", message });
  const chosen = deletions === undefined
    ? await chosenNow(rules, troubled, context)
    : deletions.filter(({ reference: { registry, repository }, source }) => {
      const isFine = !troubled.has(source) && !troubled.has(`${registry}/${repository}`);
      if (!isFine) {
        warn(`Nothing is deleted at "${registry}/${repository}": not everything that goes there has arrived`);
      }
      return isFine;
    });
  await deleteTags(chosen, {
    ...context,
    onOutcome: (outcome) => emit({ type: "tag-deletion", ...outcome }),
  });
}

/** What a plan would delete, if everything that it copies arrives. */
export async function planDeletions(
  rules: readonly Rule[],
  { failed, tasks: planned }: Pick<Plan, "failed" | "tasks">,
  context: RunContext,
): Promise<PlannedDeletion[]> {
  const tasks = failed.filter(({ kind }) => kind === "image").map(({ source, destination }) => ({
    source,
    destinations: destination === undefined ? [] : [{ reference: destination, status: "failed" as const }],
  }));
  const drifted = planned.map(({ source, destinations }) => ({
    source: formatReference(source),
    destinations: destinations.filter(({ action }) => action === "drifted")
      .map(({ reference }) => ({ reference: formatReference(reference), status: "drifted" })),
  }));
  const troubled = troubledOf({
    tasks: [...tasks, ...drifted],
    rules: failed.filter(({ kind }) => kind === "rule"),
  });
  return await chosenNow(rules, troubled, context);
}

async function chosenNow(
  rules: readonly Rule[],
  troubled: ReadonlySet<string>,
  context: RunContext,
): Promise<PlannedDeletion[]> {
  const { ledger, emit } = context;
  if (ledger === undefined) return [];
  const warn = (message: string) => emit({ type: "warning", message });
  return await chooseDeletions(rules, { ...context, ledger, troubled, warn });
}

/** What of a report says how things went. */
interface Outcomes {
  tasks: readonly { source: string; destinations: readonly { reference: string; status: string }[] }[];
  rules: readonly { source: string; destination?: string }[];
}

/** Repositories (`registry/repository`) of which something was not brought, or not to its end. */
function troubledOf({ tasks, rules }: Outcomes): Set<string> {
  const names = new Set<string>();
  const add = (text: string) => {
    try {
      const { registry, repository } = splitReference(text);
      names.add(`${registry}/${repository}`);
    } catch {
      // What cannot be read names no repository in which anything could be deleted.
    }
  };
  for (const { source, destinations } of tasks) {
    for (const { reference, status } of destinations) {
      if (["copied", "unchanged", "skipped"].includes(status)) continue;
      add(source);
      add(reference);
    }
  }
  for (const { source, destination } of rules) {
    add(source);
    if (destination !== undefined) add(destination);
  }
  return names;
}
