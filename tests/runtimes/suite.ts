/** What runs inside each runtime: a mirror run as it is asked for, with fetch and WHATWG streams and nothing else. */

import { type CreateHasher, mirror, Registries, type Rule } from "../../mod.ts";
import { systemClock } from "../../src/registry/clock.ts";

/** What a runtime is asked to copy; plain JSON, because it goes to another process. */
export interface Job {
  /** What goes where. */
  rules: Rule[];
  /** Credentials by registry; a registry that is not named is used anonymously. */
  credentials: Record<string, { username: string; password: string }>;
  /** Whether every blob is hashed, where the runtime has something to do it with. */
  verifies: boolean;
}

/** What has become of a {@linkcode Job}. */
export interface JobResult {
  /** Images that were copied. */
  copied: number;
  /** Bytes of blobs that were sent. */
  bytes: number;
  /** Every image and rule that failed, and why. */
  failures: string[];
}

/**
 * Copies what a job says.
 *
 * @param createHasher What the runtime hashes with, if anything.
 */
export async function runJob(
  { rules, credentials, verifies }: Job,
  createHasher?: CreateHasher,
): Promise<JobResult> {
  const registries = new Registries({
    isInsecure: () => true,
    credentials: (registry) => Promise.resolve(credentials[registry]),
    // The first retry of everything comes at once.
    clock: { ...systemClock, random: () => 0 },
    signal: new AbortController().signal,
  });
  const hashing = verifies && createHasher !== undefined ? { createHasher } : {};
  const report = await mirror(rules, { registries, ...hashing });
  const { bytes, totals, tasks } = report;
  const failures = [...tasks, ...report.rules].flatMap(({ source, error }) =>
    error === undefined ? [] : [`${source}: ${error}`]
  );
  return { copied: totals.copied, bytes: bytes.copied, failures };
}
