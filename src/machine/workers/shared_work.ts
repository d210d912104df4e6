/** Several workers on one config: who copies what is settled by leases in the Deno KV database they share. */

import { messageOf } from "../../mirror/plan/failure.ts";
import type { CopyTask } from "../../mirror/plan/plan.ts";
import type { MirrorOptions } from "../../mirror/run_context.ts";
import { type Store, tagKey } from "../../mirror/store/store.ts";
import type { Lease, Leases } from "./leases.ts";

/** Options of {@linkcode shareWork}. */
export interface ShareWorkOptions {
  /** The store in the same database, where each worker notes what it has copied. */
  store: Store;
  /** Told once, in a sentence, that the database does not answer and this worker copies what others may copy too. */
  onWarning?: ((message: string) => void) | undefined;
}

/** First part of the name of every lease of an image. */
export const IMAGE_LEASE: readonly string[] = ["image"];
/** Milliseconds by which clocks of workers may differ. */
const CLOCKS_APART = 60_000;
/** Milliseconds for which a database that did not answer is not asked again: each image would wait for it. */
const REST = 60_000;

/**
 * Makes the `claim` of a run that shares its work: an image is copied by who has its lease. What another worker has copied
 * since this one began is not copied again; the run looks at it at its end.
 */
export function shareWork(leases: Leases, options: ShareWorkOptions): NonNullable<MirrorOptions["claim"]> {
  const { store, onWarning } = options;
  const since = Date.now() - CLOCKS_APART;
  /** Images that were said to be copied: if the run asks again, it has looked, and they are not. */
  const believed = new Set<string>();
  let hasWarned = false;
  let restsUntil = -Infinity;
  return async (task) => {
    if (Date.now() < restsUntil) return () => Promise.resolve();
    try {
      if (await isDone(task)) return undefined;
      const lease = await leases.take([...IMAGE_LEASE, task.id]);
      if (lease === undefined) return undefined;
      // Whoever had it may have finished between the look and the lease.
      if (!await isDone(task)) return giver(lease);
      await lease.release();
      return undefined;
    } catch (error) {
      if (!hasWarned) onWarning?.(`Cannot share work: ${messageOf(error)}; other workers may copy the same`);
      hasWarned = true;
      restsUntil = Date.now() + REST;
      return () => Promise.resolve();
    }
  };

  async function isDone(task: CopyTask): Promise<boolean> {
    if (believed.has(task.id) || !await hasCopied(store, task, since)) return false;
    believed.add(task.id);
    return true;
  }

  /** What was copied is noted before others may look for the lease. */
  function giver(lease: Lease): () => Promise<void> {
    return async () => {
      await store.flush();
      await lease.release();
    };
  }
}

/** Whether every tag that a task is to put is noted to have been put, at its digest and lately. */
async function hasCopied(store: Store, task: CopyTask, since: number): Promise<boolean> {
  for (const { reference, action, isIncomplete } of task.destinations) {
    // What belongs to an image that is there has no note of its own; who looks again finds out.
    if (isIncomplete) return false;
    if (action !== "copy") continue;
    const { registry, repository, tag } = reference;
    const fact = tag === undefined ? undefined : await store.get(tagKey(registry, repository, tag));
    if (typeof fact !== "object" || fact === null || Array.isArray(fact)) return false;
    if (fact.digest !== task.root.digest || Number(fact.copiedAt) < since) return false;
  }
  return true;
}
