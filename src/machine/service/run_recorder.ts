/** Follows one run and remembers what becomes of it, while it is on and after. */

import type { Rule } from "../../mirror/config/config.ts";
import { type ImageChange, type Progress, ProgressFold } from "../../mirror/progress.ts";
import type { CopyEvent, TaskStatus } from "../../mirror/copy/copy_event.ts";
import { type Report, startReport } from "../../mirror/report.ts";
import { emptyRule, RuleIndex, updateRules } from "./rule_status.ts";
import type { Outcome, RuleRecord, RunRecord, StatusMemory, Sums, Trigger } from "./status.ts";
import { shortcomingsOf } from "./strictness.ts";
import { Traffic } from "./traffic.ts";

/** Milliseconds between two records of how far the run is. */
const LIVE_INTERVAL = 2000;

/** What a run is recorded with. */
export interface RunRecorderOptions {
  /** What started the run. */
  trigger: Trigger;
  /** The only rule that it is about, by its source; all of them unless told. */
  rule?: string | undefined;
  /** When it starts, in ISO 8601. */
  startedAt: string;
}

/** Images of one rule in a run that is on, by what has become of them so far. */
export type RuleProgress = Record<Exclude<TaskStatus, "drifted">, number> & { drifted?: number };

/** The recorder of one run. */
export class RunRecorder {
  /** When the run began, which is its name: no two share it. */
  readonly startedAt: string;
  /** What the run has made of each rule, once it is finished. */
  finished: RuleRecord[] = [];
  /** What goes to and comes from each registry. */
  readonly traffic: Traffic = new Traffic();
  /** How far each rule is, by its source as written. */
  readonly rules = new Map<string, RuleProgress>();
  #fold = new ProgressFold({ onImage: (change) => this.#count(change) });
  #index = new RuleIndex([]);
  #memory: StatusMemory;
  #run: RunRecord;
  #warnings = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Nothing is recorded before {@linkcode start}. */
  constructor(memory: StatusMemory, { trigger, rule, startedAt }: RunRecorderOptions) {
    const { totals, bytes } = startReport(startedAt);
    this.startedAt = startedAt;
    this.#memory = memory;
    this.#run = { startedAt, trigger, outcome: "running", totals, bytes, pulls: 0 };
    if (rule !== undefined) this.#run.rule = rule;
  }

  /** How far the run is. */
  get progress(): Progress {
    return this.#fold.snapshot();
  }

  /** Records that the run is on: what is killed later is found by the next run. */
  async start(): Promise<void> {
    await this.#memory.setRun(this.#run);
    await this.#memory.setLive(this.progress);
    await this.#memory.flush();
    // Not with each event: a write every two seconds is what a run does not notice.
    this.#timer = setInterval(() => this.#memory.setLive(this.progress), LIVE_INTERVAL);
  }

  /** Tells which rules the images to come belong to. */
  follow(rules: readonly Rule[]): void {
    this.#index = new RuleIndex(rules);
  }

  /** Takes in one event. */
  add(event: CopyEvent): void {
    this.#fold.add(event);
    if (event.type === "warning") this.#warnings++;
  }

  #count({ source, destination, from, to }: ImageChange): void {
    for (const rule of this.#index.rulesOf(source, destination)) {
      let counts = this.rules.get(rule);
      if (counts === undefined) {
        counts = { copied: 0, unchanged: 0, skipped: 0, failed: 0, pending: 0 };
        this.rules.set(rule, counts);
      }
      if (from !== undefined) counts[from] = (counts[from] ?? 0) - 1;
      counts[to] = (counts[to] ?? 0) + 1;
    }
  }

  /** Records how the run ended, for itself and for each rule. */
  async finish(rules: readonly Rule[], report: Report, isStrict = false): Promise<RunRecord> {
    const { totals, bytes } = report;
    const pulls = [...this.traffic.pulls.values()].reduce((sum, count) => sum + count, 0);
    const finishedAt = report.finishedAt ?? new Date().toISOString();
    const updated = await this.#setRules(rules, report, isStrict);
    this.finished = updated;
    const run: RunRecord = { ...this.#run, finishedAt, outcome: outcomeOf(report), totals, bytes, pulls };
    const { skipped, drifted = 0 } = totals;
    const found = {
      rules: rules.length,
      empty: report.emptyRules,
      skipped,
      drifted,
      warnings: this.#warnings,
    };
    const lacking = isStrict && run.outcome === "done" ? shortcomingsOf(found) : [];
    if (lacking.length > 0) {
      run.outcome = "failed";
      run.error = lacking.join(", ");
    }
    return await this.#end(run);
  }

  /** Records that the run could not begin. */
  async fail(error: string, finishedAt: string): Promise<RunRecord> {
    return await this.#end({ ...this.#run, finishedAt, outcome: "error", error });
  }

  /** What came of a run that may record nothing any more. */
  abandon(error: string): RunRecord {
    this.stop();
    return { ...this.#run, outcome: "error", error };
  }

  /** Records nothing more of how far the run is. */
  stop(): void {
    clearInterval(this.#timer);
  }

  async #end(run: RunRecord): Promise<RunRecord> {
    this.stop();
    await this.#memory.setSums(addRun(await this.#memory.sums(), run, this.traffic));
    await this.#memory.setRun(run);
    await this.#memory.setLive(undefined);
    await this.#memory.flush();
    return run;
  }

  async #setRules(rules: readonly Rule[], report: Report, isStrict: boolean): Promise<RuleRecord[]> {
    const before = new Map<string, RuleRecord>();
    for (const { source } of rules) {
      before.set(source, await this.#memory.rule(source) ?? emptyRule(source));
    }
    const updated = updateRules(rules, report, { before, pulls: this.traffic.pulls, isStrict });
    for (const rule of updated) await this.#memory.setRule(rule);
    return updated;
  }
}

function outcomeOf(report: Report): Outcome {
  if (report.isInterrupted) return "stopped";
  return report.totals.failed + report.totals.rulesFailed > 0 ? "failed" : "done";
}

/** Sums with one more run in them. */
function addRun(sums: Sums, run: RunRecord, traffic: Traffic): Sums {
  const requests = { ...sums.requests };
  for (const [registry, counts] of Object.entries(traffic.requests)) {
    requests[registry] = addCounts(requests[registry] ?? {}, counts);
  }
  const { copied, mounted, skipped } = sums.bytes;
  return {
    runs: addCounts(sums.runs, { [run.outcome]: 1 }),
    images: addCounts(sums.images, { ...run.totals }),
    bytes: {
      copied: copied + run.bytes.copied,
      mounted: mounted + run.bytes.mounted,
      skipped: skipped + run.bytes.skipped,
    },
    requests,
    rateLimits: { ...sums.rateLimits, ...traffic.rateLimits },
  };
}

function addCounts(one: Record<string, number>, other: Record<string, number>): Record<string, number> {
  const sum = { ...one };
  for (const [key, count] of Object.entries(other)) sum[key] = (sum[key] ?? 0) + count;
  return sum;
}
