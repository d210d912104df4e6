/** What is shown of a scheduled mirror: everything to who has the token, totals to who has not. */

import type { Config } from "../../mirror/config/config.ts";
import { emptyRule } from "../service/rule_status.ts";
import type { Schedule } from "../service/schedule.ts";
import type { Progress } from "../../mirror/progress.ts";
import type { RuleProgress } from "../service/run_recorder.ts";
import type { Memory, RuleRecord, RunRecord, Sums } from "../service/status.ts";
import { VERSION } from "../version.ts";

/** A rule as it is shown. */
export interface RuleView extends RuleRecord {
  /** Where it goes, as written. */
  destinations: string[];
  /** `unknown` before its first run, `empty` when it selects nothing, `running` while some of it is to be copied by the run that is on, `pending` while a run has
   * left some of it to the next. */
  state: RuleState;
  /** Its images in the run that is on, if that runs in this process and has found any. */
  live?: RuleProgress;
}

/** How a rule is. */
export type RuleState = "failing" | "empty" | "running" | "pending" | "unknown" | "ok";

/** What is known of a registry, over all runs. */
export interface RegistryView {
  /** Its name. */
  registry: string;
  /** Requests in all. */
  requests: number;
  /** Requests that were answered 429. */
  limited: number;
  /** Requests that were answered 5xx, or not at all. */
  failed: number;
  /** Pulls that it said were left, when it was last asked. */
  pullsLeft?: number;
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
  /** Why the config cannot be used. */
  problem?: string;
  /** Whether a run is on. */
  isRunning: boolean;
  /** How far it is. */
  progress?: Progress;
  /** The last run that has ended. */
  last?: RunRecord;
  /** The last runs, oldest first. */
  runs: RunRecord[];
  /** How many rules there are, by state. */
  ruleCounts: Record<RuleState, number>;
  /** What all runs come to. */
  sums: Sums;
  /** When the rule that has been without success for longest last had one, in ISO 8601; not there when one never had. */
  oldestSuccessAt?: string;
  /** Every rule in the order of the config; not there for who may see totals only. */
  rules?: RuleView[];
  /** Names of the reports that are kept, as `/reports/NAME` gives them; not there for who may see totals only. */
  reports?: string[];
  /** Every registry that was asked for anything; not there for who may see totals only. */
  registries?: RegistryView[];
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
  /** How far each rule is in that run, by its source. */
  ruleProgress?: ReadonlyMap<string, RuleProgress> | undefined;
  /** Why nothing runs here. */
  refusal: string | undefined;
  /** Why the config cannot be used. */
  problem?: string | undefined;
  /** Names of the reports that are kept. */
  reports?: string[] | undefined;
}

/** Everything there is to see. */
export function viewStatus(parts: StatusParts): StatusView {
  const { memory, config, now, progress, ruleProgress, refusal, problem } = parts;
  const live = progress ?? memory.live;
  // A run that says nothing any more has been killed; the next one will note it.
  const runs = memory.runs.map((run): RunRecord =>
    run.outcome === "running" && live === undefined ? { ...run, outcome: "killed" } : run
  );
  // A source that goes to several places in several ways is several rules, and has one record.
  const rules = [...Map.groupBy(config?.rules ?? [], ({ source }) => source)].map(([source, some]) => {
    const destinations = some.flatMap((rule) => rule.destinations);
    return viewRule(memory.rules.get(source) ?? emptyRule(source), destinations, ruleProgress?.get(source));
  });
  const view: StatusView = {
    version: VERSION,
    now: new Date(now).toISOString(),
    isRunning: live !== undefined,
    runs,
    ruleCounts: countStates(rules),
    sums: memory.sums,
    rules,
    registries: viewRegistries(memory.sums),
  };
  const last = runs.findLast(({ outcome }) => outcome !== "running");
  if (last !== undefined) view.last = last;
  if (live !== undefined) view.progress = live;
  if (parts.reports !== undefined) view.reports = parts.reports;
  if (refusal !== undefined) view.refusal = refusal;
  if (problem !== undefined) view.problem = problem;
  const oldest = oldestSuccessOf(rules);
  if (oldest !== undefined) view.oldestSuccessAt = oldest;
  return { ...view, ...viewSchedule(parts) };
}

function viewSchedule({ schedule, now }: StatusParts): Pick<StatusView, "schedule"> {
  const next = schedule?.nextAfter(now) ?? Infinity;
  if (schedule === undefined || next === Infinity) return {};
  return { schedule: { expression: schedule.text, nextRunAt: new Date(next).toISOString() } };
}

function oldestSuccessOf(rules: readonly RuleView[]): string | undefined {
  const times = rules.map(({ lastSuccessAt = "" }) => lastSuccessAt).sort();
  return times[0] || undefined;
}

function viewRegistries({ requests, rateLimits }: Sums): RegistryView[] {
  return Object.entries(requests).map(([registry, counts]) => {
    const sumOf = (isWanted: (status: number) => boolean) =>
      Object.entries(counts).reduce(
        (sum, [status, count]) => isWanted(Number(status)) ? sum + count : sum,
        0,
      );
    const view: RegistryView = {
      registry,
      requests: sumOf(() => true),
      limited: sumOf((status) => status === 429),
      failed: sumOf((status) => status === 0 || status >= 500),
    };
    const pullsLeft = rateLimits[registry];
    return pullsLeft === undefined ? view : { ...view, pullsLeft };
  });
}

/** The same without anything that names a registry, a repository or a reason. */
export function hideNames(view: StatusView): StatusView {
  const { rules: _rules, registries: _registries, reports: _reports, problem, last, sums, ...rest } = view;
  const open: StatusView = {
    ...rest,
    runs: view.runs.map(hideError),
    sums: { ...sums, requests: {}, rateLimits: {} },
  };
  if (last !== undefined) open.last = hideError(last);
  if (problem !== undefined) {
    open.problem = "the config cannot be used; why is shown to whoever has the token";
  }
  return open;
}

function hideError({ error: _error, rule: _rule, ...run }: RunRecord): RunRecord {
  return run;
}

function viewRule(record: RuleRecord, destinations: string[], live: RuleProgress | undefined): RuleView {
  const view: RuleView = { ...record, destinations, state: stateOf(record, live) };
  return live === undefined ? view : { ...view, live };
}

/** A run that is on says more than the last one, as far as it has got. */
function stateOf(record: RuleRecord, live: RuleProgress | undefined): RuleState {
  if (live !== undefined && live.failed > 0) return "failing";
  if (live !== undefined && live.pending > 0) return "running";
  if (live !== undefined) return "ok";
  if (record.failureCount > 0) return "failing";
  if (record.pending > 0) return "pending";
  if (record.isEmpty) return "empty";
  return record.lastSuccessAt !== undefined || record.images > 0 ? "ok" : "unknown";
}

function countStates(rules: readonly RuleView[]): StatusView["ruleCounts"] {
  const counts = { failing: 0, empty: 0, running: 0, pending: 0, unknown: 0, ok: 0 };
  for (const { state } of rules) counts[state]++;
  return counts;
}
