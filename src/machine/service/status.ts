/** What a scheduled mirror remembers of its runs: what the status page, its JSON and its metrics are made of. */

import type { Progress } from "../../mirror/progress.ts";
import type { ByteCounts, Report } from "../../mirror/report.ts";
import type { Store, StoreKey, StoreValue } from "../../mirror/store/store.ts";

/** What started a run. */
export type Trigger = "schedule" | "request";

/** What is asked of a service. */
export interface RunRequest {
  /** What starts the run. */
  trigger: Trigger;
  /** The only rule to run, by its source; all of them unless told. */
  rule?: string;
}

/**
 * How a run ended: `stopped` is one that reached its budget or was told to stop and left work for the next, `error` one that
 * could not begin, `killed` one whose process ended without a word.
 */
export type Outcome = "running" | "done" | "failed" | "stopped" | "error" | "killed";

/** Numbers of images by what became of them, and of rules that could not be turned into images. */
export type Totals = Report["totals"];

/** One run. */
export interface RunRecord {
  /** When it began, in ISO 8601; no two runs share it. */
  startedAt: string;
  /** When it ended. */
  finishedAt?: string;
  /** What started it. */
  trigger: Trigger;
  /** How it ended. */
  outcome: Outcome;
  /** What became of the images. */
  totals: Totals;
  /** Bytes for all images together. */
  bytes: ByteCounts;
  /** Manifests pulled from sources. */
  pulls: number;
  /** Why it could not begin, or failed although no image did. */
  error?: string;
  /** The only rule that it was about, by its source. */
  rule?: string;
}

/** What became of a rule's images, over all runs. */
export interface RuleRecord {
  /** The rule's source, as written. */
  source: string;
  /** When a run last left nothing of it to be copied, in ISO 8601. */
  lastSuccessAt?: string;
  /** When a run last copied any of its images. */
  lastChangeAt?: string;
  /** What that run copied, some of it. */
  changed: string[];
  /** How many images that run copied. */
  changedCount: number;
  /** What failed in the last run and why, some of it. */
  failures: { reference: string; error: string }[];
  /** How many images failed in the last run. */
  failureCount: number;
  /** How many images the last run did not reach. */
  pending: number;
  /** How many images it has. */
  images: number;
  /** Bytes sent for it, in all runs. */
  bytes: number;
  /** Manifests pulled from its source, in all runs. */
  pulls: number;
  /** How many of its tags stand for something else at their destinations and are not overwritten; 0 unless told. */
  drifted?: number;
  /** Whether the last run that looked at all of it found that it selects nothing. */
  isEmpty?: boolean;
  /** What became of it in the last runs, a letter each, oldest first; see {@linkcode BEATS}. */
  history?: string;
}

/** What a letter of a rule's history says: copied something, had nothing to do, failed, was not reached, or selected nothing. */
export const BEATS = { copied: "c", unchanged: "o", failed: "f", pending: "p", empty: "e" } as const;

/** What all runs come to, for counters that only rise. */
export interface Sums {
  /** Runs by outcome. */
  runs: Record<string, number>;
  /** Images by what became of them. */
  images: Record<string, number>;
  /** Bytes sent, mounted and found. */
  bytes: ByteCounts;
  /** Requests by registry and status; status 0 is one that was not answered. */
  requests: Record<string, Record<string, number>>;
  /** Pulls that a registry said were left, when it was last asked. */
  rateLimits: Record<string, number>;
}

/** Everything that is remembered. */
export interface Memory {
  /** The last runs, oldest first. */
  runs: RunRecord[];
  /** What all runs come to. */
  sums: Sums;
  /** The run that is on, if one is. */
  live?: Progress;
  /** By source. */
  rules: Map<string, RuleRecord>;
}

/** Runs that are remembered. */
export const MAX_RUNS = 60;
/** Milliseconds after which a run that says nothing of its progress is no longer shown as on. */
const LIVE_FOR = 20_000;

const RUNS: StoreKey = ["status", "run"];
const SUMS: StoreKey = ["status", "sums"];
const LIVE: StoreKey = ["status", "live"];
const RULES: StoreKey = ["status", "rule"];

/** Sums of no run at all. */
export function emptySums(): Sums {
  const bytes = { copied: 0, mounted: 0, skipped: 0 };
  return { runs: {}, images: {}, bytes, requests: {}, rateLimits: {} };
}

/** Reads and writes what is remembered, in the store that the mirror's facts are in. */
export class StatusMemory {
  #store: Store;

  /** What `store` remembers. */
  constructor(store: Store) {
    this.#store = store;
  }

  /** Reads everything. */
  async read(): Promise<Memory> {
    const rules = new Map<string, RuleRecord>();
    for await (const { value } of this.#store.list(RULES)) {
      const rule = value as unknown as RuleRecord;
      rules.set(rule.source, rule);
    }
    const memory: Memory = { runs: await this.runs(), sums: await this.sums(), rules };
    const live = await this.#store.get(LIVE);
    if (live !== undefined) memory.live = live as unknown as Progress;
    return memory;
  }

  /** The last runs, oldest first. */
  async runs(): Promise<RunRecord[]> {
    const runs: RunRecord[] = [];
    for await (const { value } of this.#store.list(RUNS)) runs.push(value as unknown as RunRecord);
    return runs.sort((one, other) => one.startedAt < other.startedAt ? -1 : 1);
  }

  /** What all runs come to. */
  async sums(): Promise<Sums> {
    return (await this.#store.get(SUMS) ?? emptySums()) as unknown as Sums;
  }

  /** What is remembered of a rule. */
  async rule(source: string): Promise<RuleRecord | undefined> {
    return await this.#store.get([...RULES, source]) as unknown as RuleRecord | undefined;
  }

  /**
   * Remembers a run, in place of what was known of it. A run of the past that never ended was killed. Each is a value of its own:
   * records that are appended to would grow by all of them with each.
   */
  async setRun(run: RunRecord): Promise<void> {
    await this.#set([...RUNS, run.startedAt], run);
    const others = (await this.runs()).filter(({ startedAt }) => startedAt !== run.startedAt);
    for (const one of others.slice(0, Math.max(0, others.length + 1 - MAX_RUNS))) {
      await this.#store.delete([...RUNS, one.startedAt]);
    }
    for (const one of others.filter(({ outcome }) => outcome === "running")) {
      await this.#set([...RUNS, one.startedAt], { ...one, outcome: "killed" });
    }
  }

  /** Remembers what all runs come to. */
  async setSums(sums: Sums): Promise<void> {
    await this.#set(SUMS, sums);
  }

  /** Remembers what became of a rule. */
  async setRule(rule: RuleRecord): Promise<void> {
    await this.#set([...RULES, rule.source], rule);
  }

  /** Says how far the run is, or that none is on. */
  async setLive(progress: Progress | undefined): Promise<void> {
    if (progress === undefined) await this.#store.delete(LIVE);
    else await this.#set(LIVE, progress, { expiresIn: LIVE_FOR });
  }

  /** Makes everything durable. */
  async flush(): Promise<void> {
    await this.#store.flush();
  }

  #set(key: StoreKey, value: object, options?: { expiresIn: number }): Promise<void> {
    return this.#store.set(key, value as StoreValue, options);
  }
}
