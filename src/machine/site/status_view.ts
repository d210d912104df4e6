/** What is shown of a scheduled mirror: everything to who has the token, totals to who has not. */

import type { Config } from "../../mirror/config/config.ts";
import { emptyRule } from "../service/rule_status.ts";
import type { Schedule } from "../service/schedule.ts";
import type { Memory, Progress, RuleRecord, RunRecord, Sums } from "../service/status.ts";
import { VERSION } from "../version.ts";

/** A rule as it is shown. */
export interface RuleView extends RuleRecord {
  /** Where it goes, as written. */
  destinations: string[];
  /** `unknown` before its first run, `pending` while a run has left some of it to the next. */
  state: "ok" | "failing" | "pending" | "unknown";
}

/** The status page as data, and the answer of `/status`; plain JSON. */
export interface StatusView {
  /** Version of this program. */
  version: string;
  /** When this was put together, in ISO 8601. */
  now: string;
  /** When the mirror runs. */
  schedule?: { expression: string; nextRunAt: string };
  /** Why nothing runs here. */
  refusal?: string;
  /** Whether a run is on. */
  isRunning: boolean;
  /** How far it is. */
  progress?: Progress;
  /** The last run that has ended. */
  last?: RunRecord;
  /** The last runs, oldest first. */
  runs: RunRecord[];
  /** How many rules there are, by state. */
  ruleCounts: Record<RuleView["state"], number>;
  /** What all runs come to. */
  sums: Sums;
  /** Every rule in the order of the config; not there for who may see totals only. */
  rules?: RuleView[];
}

/** What a view is made of. */
export interface StatusParts {
  /** What is remembered. */
  memory: Memory;
  /** The config in use. */
  config: Config | undefined;
  /** When the mirror runs. */
  schedule: Schedule | undefined;
  /** Milliseconds since 1970. */
  now: number;
  /** How far the run in this process is. */
  progress: Progress | undefined;
  /** Why nothing runs here. */
  refusal: string | undefined;
}

/** Everything there is to see. */
export function viewStatus({ memory, config, schedule, now, progress, refusal }: StatusParts): StatusView {
  const live = progress ?? memory.live;
  // A run that says nothing any more has been killed; the next one will note it.
  const runs = memory.runs.map((run): RunRecord =>
    run.outcome === "running" && live === undefined ? { ...run, outcome: "killed" } : run
  );
  const rules = (config?.rules ?? []).map(({ source, destinations }) =>
    viewRule(memory.rules.get(source) ?? emptyRule(source), destinations)
  );
  const view: StatusView = {
    version: VERSION,
    now: new Date(now).toISOString(),
    isRunning: live !== undefined,
    runs,
    ruleCounts: countStates(rules),
    sums: memory.sums,
    rules,
  };
  const last = runs.findLast(({ outcome }) => outcome !== "running");
  if (last !== undefined) view.last = last;
  if (live !== undefined) view.progress = live;
  if (refusal !== undefined) view.refusal = refusal;
  const next = schedule?.nextAfter(now) ?? Infinity;
  if (schedule !== undefined && next !== Infinity) {
    view.schedule = { expression: schedule.text, nextRunAt: new Date(next).toISOString() };
  }
  return view;
}

/** The same without anything that names a registry, a repository or a reason. */
export function hideNames(view: StatusView): StatusView {
  const { rules: _rules, last, sums, ...rest } = view;
  const open: StatusView = {
    ...rest,
    runs: view.runs.map(hideError),
    sums: { ...sums, requests: {}, rateLimits: {} },
  };
  if (last !== undefined) open.last = hideError(last);
  return open;
}

function hideError({ error: _error, ...run }: RunRecord): RunRecord {
  return run;
}

function viewRule(record: RuleRecord, destinations: string[]): RuleView {
  const isKnown = record.lastSuccessAt !== undefined || record.images > 0;
  const state = record.failureCount > 0
    ? "failing"
    : record.pending > 0
    ? "pending"
    : isKnown
    ? "ok"
    : "unknown";
  return { ...record, destinations, state };
}

function countStates(rules: readonly RuleView[]): StatusView["ruleCounts"] {
  const counts = { ok: 0, failing: 0, pending: 0, unknown: 0 };
  for (const { state } of rules) counts[state]++;
  return counts;
}
