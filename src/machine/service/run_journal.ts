/** What the log says of a scheduled run: one line when it begins and ends, one a failure, and nothing an operator may miss. */

import type { Rule } from "../../mirror/config/config.ts";
import type { CopyEvent } from "../../mirror/copy/copy_event.ts";
import { formatBytes, type Report } from "../../mirror/report.ts";
import { type Level, type Log, logEvent, type LogFields, withFields } from "../terminal/log.ts";
import { RuleIndex } from "./rule_status.ts";
import type { Outcome, RunRecord, RunRequest } from "./status.ts";

/** How an outcome is told, and how much it matters. */
const OUTCOMES: Record<Outcome, [level: Level, words: string]> = {
  running: ["info", "is on"],
  done: ["info", "is complete"],
  failed: ["error", "ended with failures"],
  stopped: ["warn", "was stopped and goes on next time"],
  error: ["error", "could not go on"],
  killed: ["error", "was killed"],
};

/** The log of one run, whose lines all carry the time at which it began as `run`. */
export class RunJournal {
  #log: Log | undefined;

  /** @param run When the run began. */
  constructor(log: Log | undefined, run: string) {
    this.#log = log === undefined ? undefined : withFields(log, { run });
  }

  /** Says that the run begins, and why. */
  begin({ trigger, rule }: RunRequest): void {
    const why = trigger === "schedule" ? "by the schedule" : "because it was asked for";
    const what = rule === undefined ? "Run" : `Run of ${rule}`;
    this.#log?.write("info", `${what} begins, ${why}`, rule === undefined ? { trigger } : { trigger, rule });
  }

  /** Says how far it is. */
  say(progress: string): void {
    this.#log?.write("info", `Run goes on: ${progress}`);
  }

  /** Takes in one event: what is waited for and what is odd is said at once, what failed when it is sure to have. */
  add(event: CopyEvent): void {
    if (this.#log === undefined) return;
    if (event.type === "warning" || event.type === "waiting" || event.type === "rate-limited") {
      logEvent(this.#log, event);
    }
  }

  /** Says what has failed in the end, each image and each rule once, however often it was tried; and what has drifted. */
  failures(report: Report, rules: readonly Rule[]): void {
    const index = new RuleIndex(rules);
    for (const { source, destination, error } of report.rules) {
      const fields: LogFields = { rule: index.ruleOf(source) ?? source };
      if (fields.rule !== source) fields.source = source;
      if (destination !== undefined) fields.destination = destination;
      this.#fail(error, fields);
    }
    for (const { source, digest, destinations } of report.tasks) {
      for (const { reference, status, error = "" } of destinations) {
        if (status !== "failed" && status !== "drifted") continue;
        const fields: LogFields = { source, destination: reference };
        const [rule] = index.rulesOf(source, reference);
        if (rule !== undefined) fields.rule = rule;
        if (digest !== undefined) fields.digest = digest;
        if (status === "failed") this.#fail(error, fields);
        else this.#drift(fields);
      }
    }
  }

  /** Says how the run ended, how long it took and what it came to. */
  end({ outcome, startedAt, finishedAt = startedAt, totals, bytes, error }: RunRecord): void {
    const [level, words] = OUTCOMES[outcome];
    const seconds = (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
    const { copied, unchanged, failed, rulesFailed, pending, drifted = 0 } = totals;
    const counts = `${copied} copied, ${unchanged} unchanged, ${failed} failed, ${rulesFailed} ${
      rulesFailed === 1 ? "rule" : "rules"
    } failed, ${pending} left${drifted > 0 ? `, ${drifted} drifted` : ""}`;
    const why = error === undefined ? counts : error;
    const fields: LogFields = {
      outcome,
      seconds,
      copied,
      unchanged,
      failed,
      rulesFailed,
      pending,
      drifted,
      bytes: bytes.copied,
    };
    if (error !== undefined) fields.error = error;
    const sent = error === undefined ? `, ${formatBytes(bytes.copied)} sent` : "";
    this.#log?.write(level, `Run ${words} after ${seconds.toFixed(1)} s: ${why}${sent}`, fields);
  }

  #fail(error: string, fields: LogFields): void {
    this.#log?.write("error", `failed ${placeOf(fields)}: ${error}`, { ...fields, outcome: "failed", error });
  }

  #drift(fields: LogFields): void {
    const what = "it stands for something else there, and is not overwritten";
    this.#log?.write("warn", `drifted ${placeOf(fields)}: ${what}`, { ...fields, outcome: "drifted" });
  }
}

function placeOf({ source, rule, destination }: LogFields): string {
  return `${source ?? rule}${destination === undefined ? "" : ` -> ${destination}`}`;
}
