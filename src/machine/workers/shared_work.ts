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

/** What a run is told of other workers. */
export type SharedWork = Required<Pick<MirrorOptions, "claim" | "revisit">>;

/**
 * Makes what lets a run share its work: an image is copied by who has its lease. What another worker is noted to have copied
 * before this one asked for its lease is looked at once more by the run, for the note may be older than what is there now;
 * what is noted while this one waits for the lease was put meanwhile, and is not looked at.
 */
export function shareWork(leases: Leases, options: ShareWorkOptions): SharedWork {
  const worker = new Worker(leases, options);
  return { claim: (task) => worker.claim(task), revisit: (tasks) => worker.revisit(tasks) };
}

class Worker {
  #leases: Leases;
  #options: ShareWorkOptions;
  #since = Date.now() - CLOCKS_APART;
  /** Images that were noted to be copied when they were asked for, and whether the run has been sent to look at them. */
  #noted = new Map<string, { isSeen: boolean }>();
  #hasWarned = false;
  #restsUntil = -Infinity;

  constructor(leases: Leases, options: ShareWorkOptions) {
    this.#leases = leases;
    this.#options = options;
  }

  claim(task: CopyTask): ReturnType<SharedWork["claim"]> {
    return this.#unlessDown(() => this.#take(task), () => Promise.resolve());
  }

  revisit(tasks: readonly CopyTask[]): ReturnType<SharedWork["revisit"]> {
    return this.#unlessDown(() => this.#survey(tasks), { copied: [], free: tasks, wait: 0 });
  }

  /** Who cannot ask the database works as if alone. */
  async #unlessDown<Value>(ask: () => Promise<Value>, alone: Value): Promise<Value> {
    if (Date.now() < this.#restsUntil) return alone;
    try {
      return await ask();
    } catch (error) {
      const message = `Cannot share work: ${messageOf(error)}; other workers may copy the same`;
      if (!this.#hasWarned) this.#options.onWarning?.(message);
      this.#hasWarned = true;
      this.#restsUntil = Date.now() + REST;
      return alone;
    }
  }

  async #take(task: CopyTask): ReturnType<SharedWork["claim"]> {
    if (await this.#isNoted(task)) return undefined;
    const lease = await this.#leases.take([...IMAGE_LEASE, task.id]);
    if (lease === undefined) return undefined;
    // Whoever had it may have finished between the first question and the lease.
    if (!await this.#isNoted(task)) return () => this.#giveBack(lease);
    await lease.release();
    return undefined;
  }

  /** What was copied is noted before others may see that the lease has ended. */
  async #giveBack(lease: Lease): Promise<void> {
    await this.#options.store.flush();
    await lease.release();
  }

  /** If the run asks again for what was noted, it has looked, and the image is not there. */
  async #isNoted(task: CopyTask): Promise<boolean> {
    if (this.#noted.has(task.id) || !await this.#hasCopied(task)) return false;
    this.#noted.set(task.id, { isSeen: false });
    return true;
  }

  async #survey(tasks: readonly CopyTask[]): ReturnType<SharedWork["revisit"]> {
    const isUnseen = ({ id }: CopyTask) => this.#noted.get(id)?.isSeen === false;
    const free = tasks.filter(isUnseen);
    const leased = tasks.filter((task) => !isUnseen(task));
    const { free: ended, wait } = await this.#leases.survey(IMAGE_LEASE, leased.map(({ id }) => id));
    for (const { id } of free) this.#noted.set(id, { isSeen: true });
    const copied: CopyTask[] = [];
    for (const task of leased.filter(({ id }) => ended.has(id))) {
      const isCopied = !this.#noted.has(task.id) && await this.#hasCopied(task);
      (isCopied ? copied : free).push(task);
    }
    return { copied, free, wait };
  }

  /** Whether every tag that a task is to put is noted to have been put, at its digest and lately. */
  async #hasCopied({ destinations, root }: CopyTask): Promise<boolean> {
    for (const { reference, action, isIncomplete } of destinations) {
      // What belongs to an image that is there has no note of its own; who looks again finds out.
      if (isIncomplete) return false;
      if (action !== "copy") continue;
      const { registry, repository, tag } = reference;
      const key = tag === undefined ? undefined : tagKey(registry, repository, tag);
      const fact = key === undefined ? undefined : await this.#options.store.get(key);
      if (typeof fact !== "object" || fact === null || Array.isArray(fact)) return false;
      if (fact.digest !== root.digest || Number(fact.copiedAt) < this.#since) return false;
    }
    return true;
  }
}
