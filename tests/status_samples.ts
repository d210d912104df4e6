/** Memories of mirrors that never ran, for tests of what is shown of them. */

import type { Progress } from "../src/mirror/progress.ts";
import type { Config } from "../src/mirror/config/config.ts";
import { emptyRule } from "../src/machine/service/rule_status.ts";
import {
  emptySums,
  type Memory,
  type Outcome,
  type RuleRecord,
  type RunRecord,
} from "../src/machine/service/status.ts";
import { parseSchedule } from "../src/machine/service/schedule.ts";
import { type StatusParts, type StatusView, viewStatus } from "../src/machine/site/status_view.ts";

/** A run that is on: 17 of 40 images copied, one failed. */
export const PROGRESS: Progress = {
  isPlanned: true,
  totals: { copied: 17, unchanged: 300, skipped: 0, failed: 1, pending: 22, rulesFailed: 0 },
  bytes: { copied: 9e8, mounted: 1e8, skipped: 0 },
  read: 1e9,
  rate: 5.5e6,
  secondsLeft: 250,
};

/** The time of every sample, in milliseconds since 1970. */
export const NOW = Date.UTC(2026, 7, 3, 10, 20, 0);

/** A run that began some minutes before {@linkcode NOW}. */
export function sampleRun(minutesAgo: number, outcome: Outcome, seconds = 40): RunRecord {
  const startedAt = NOW - minutesAgo * 60_000;
  const failed = outcome === "failed" ? 1 : 0;
  return {
    startedAt: new Date(startedAt).toISOString(),
    finishedAt: new Date(startedAt + seconds * 1000).toISOString(),
    trigger: "schedule",
    outcome,
    totals: { copied: 12, unchanged: 340, skipped: 0, failed, pending: 0, rulesFailed: 0 },
    bytes: { copied: 512 * 1024 * 1024, mounted: 0, skipped: 0 },
    pulls: 14,
  };
}

const RULES: RuleRecord[] = [
  {
    ...emptyRule("quay.io/coreos/etcd"),
    lastSuccessAt: new Date(NOW - 20 * 60_000).toISOString(),
    lastChangeAt: new Date(NOW - 3 * 3600_000).toISOString(),
    changed: ["registry.example.com/mirror/etcd:v3.5.9", "registry.example.com/mirror/etcd:v3.5.10"],
    changedCount: 2,
    images: 340,
    bytes: 7 * 1024 ** 3,
    pulls: 512,
    history: "coooofoooooooococoooooooooooco",
  },
  {
    ...emptyRule("ghcr.io/acme/private-app:/^v[0-9]+\\.[0-9]+\\.[0-9]+$/"),
    failures: [{
      reference: "registry.example.com/mirror/private-app:v1.2.3",
      error:
        'Cannot push manifest "sha256:1f9a" to "registry.example.com/mirror/private-app:v1.2.3": 403 DENIED: <b>quota</b> & more',
    }],
    failureCount: 1,
    images: 12,
    lastSuccessAt: new Date(NOW - 26 * 3600_000).toISOString(),
    history: "cooofff",
  },
];

/** The config of the samples; its third rule has never been run. */
export const SAMPLE_CONFIG: Config = {
  auth: {},
  warnings: [],
  rules: [...RULES.map(({ source }) => source), "alpine:3.20"].map((source) => ({
    source,
    destinations: ["registry.example.com/mirror/" + source.replace(/^.*\//, "").replace(/:.*/, "")],
  })),
};

/** What is remembered in the samples: forty runs of every kind. */
export function sampleMemory(): Memory {
  const outcomes: Outcome[] = ["done", "done", "failed", "done", "stopped", "done", "killed", "done"];
  const runs = Array.from({ length: 40 }, (_, index) => {
    const minutesAgo = 20 + 60 * (39 - index);
    return sampleRun(minutesAgo, outcomes[index % 8] ?? "done", 20 + (index * 37) % 400);
  });
  const sums = emptySums();
  sums.bytes.copied = 21 * 1024 ** 3;
  sums.requests = { "quay.io": { "200": 1200, "429": 3 } };
  sums.rateLimits = { "docker.io": 76 };
  return { runs, sums, rules: new Map(RULES.map((rule) => [rule.source, rule])) };
}

/** A view of the samples, changed where a test wants another. */
export function sampleView(parts: Partial<StatusParts> = {}): StatusView {
  return viewStatus({
    memory: sampleMemory(),
    config: SAMPLE_CONFIG,
    schedule: parseSchedule("0 * * * *"),
    now: NOW,
    progress: undefined,
    refusal: undefined,
    ...parts,
  });
}

/** A mirror of many rules: one in a hundred fails, one in a hundred waits for the next run, the others are well. */
export function manyRules(count: number): Pick<StatusParts, "config" | "memory"> {
  const records = Array.from({ length: count }, (_, at): RuleRecord => ({
    ...emptyRule(`quay.io/team-${at % 12}/application-${String(at).padStart(3, "0")}`),
    images: 5 + at % 40,
    bytes: at * 1e8,
    pulls: at,
    lastSuccessAt: new Date(NOW - 20 * 60_000).toISOString(),
    history: "oooooooooocoooooooooooocoooooo",
    ...(at % 100 === 7
      ? {
        failures: [{
          reference: `registry.example.com/mirror/application-${at}:v1`,
          error: "503 Service Unavailable",
        }],
        failureCount: 1,
        history: "oooooooooocooooooooooooooffff",
      }
      : {}),
    ...(at % 100 === 9 ? { pending: 4 } : {}),
  }));
  const rules = records.map(({ source }) => ({
    source,
    destinations: [source.replace("quay.io", "registry.example.com/mirror")],
  }));
  const memory = { ...sampleMemory(), rules: new Map(records.map((record) => [record.source, record])) };
  return { config: { auth: {}, warnings: [], rules }, memory };
}
