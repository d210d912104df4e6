/** Leases in Deno KV, in the database that workers share. */

import type { Lease, Leases } from "../machine/workers/leases.ts";
import { createSteadyClock } from "../machine/workers/steady_clock.ts";
import type { Clock } from "../registry/clock.ts";
import { whenFree } from "./kv_busy.ts";

/** Options of {@linkcode KvLeases}. */
export interface KvLeasesOptions {
  /** First parts of every key in the database; `["image-syncer", "lease"]` unless told. */
  prefix?: readonly string[];
  /** Milliseconds of silence after which a holder counts as dead; 30 seconds unless told. */
  lifetime?: number;
  /** A clock; it need not tell the time, but it must not jump. */
  clock?: Pick<Clock, "now" | "delay">;
}

/** A lease was lost. */
export class LeaseLostError extends Error {
  /** Name of the class, as messages show it. */
  override name = "LeaseLostError";

  /** Names the lease, and how it was lost. */
  constructor(name: readonly string[], why: string, options?: ErrorOptions) {
    super(`Cannot keep lease "${name.join("/")}": ${why}`, options);
  }
}

/** A lease that is held here. */
interface Held {
  name: readonly string[];
  key: string[];
  /** What is stored, different for each time a lease is taken, so that one's own is known again. */
  value: Uint8Array;
  versionstamp: string;
  renewedAt: number;
  /** The write under way, which must be through before the lease is let go. */
  writing: Promise<void>;
  controller: AbortController;
}

/**
 * The leases of one process.
 *
 * No two clocks are compared: a holder writes again and again, and is dead when somebody has watched for a whole lifetime
 * and seen no write. So a clock that jumps, here or there, takes a lease from nobody.
 */
export class KvLeases implements Leases {
  #kv: Deno.Kv;
  #prefix: readonly string[];
  #lifetime: number;
  #clock: Pick<Clock, "now" | "delay">;
  #held = new Set<Held>();
  /** Leases of others: which write was seen, and since when. */
  #seen = new Map<string, { versionstamp: string; since: number }>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Leases in an open database. */
  constructor(kv: Deno.Kv, options: KvLeasesOptions = {}) {
    this.#kv = kv;
    this.#prefix = options.prefix ?? ["image-syncer", "lease"];
    this.#lifetime = options.lifetime ?? 30_000;
    this.#clock = options.clock ?? createSteadyClock();
  }

  /**
   * Takes a lease that nobody has, or whose holder was seen silent for a lifetime.
   *
   * @returns `undefined` when somebody has it.
   * @throws {Error} what the database says when it does not answer.
   */
  async take(name: readonly string[]): Promise<Lease | undefined> {
    const key = [...this.#prefix, ...name];
    const { versionstamp } = await this.#get(key);
    if (versionstamp !== null && !this.#isSilent(key, versionstamp)) return undefined;
    return await this.#write(name, versionstamp);
  }

  /**
   * Takes a lease, and where somebody has it waits until they show that they are alive or have been silent for a lifetime.
   *
   * @returns `undefined` when somebody alive has it.
   * @throws {Error} what the database says when it does not answer, or the signal's reason.
   */
  async takeFromDead(name: readonly string[], signal?: AbortSignal): Promise<Lease | undefined> {
    const key = [...this.#prefix, ...name];
    const { versionstamp: first } = await this.#get(key);
    for (;;) {
      const lease = await this.take(name);
      if (lease !== undefined) return lease;
      await this.#clock.delay(this.#lifetime / 6, signal);
      const { versionstamp } = await this.#get(key);
      if (versionstamp !== null && versionstamp !== first) return undefined;
    }
  }

  /**
   * Tells which of some leases below a name can be taken, because they were let go of or their holder was seen silent for a
   * lifetime. The database is read once, however many they are.
   *
   * @param ids Last parts of the leases' names.
   * @returns The free ones, and milliseconds after which the first of the others is free if its holder stays silent.
   * @throws {Error} what the database says when it does not answer.
   */
  async survey(
    name: readonly string[],
    ids: readonly string[],
  ): Promise<{ free: Set<string>; wait: number }> {
    const entries = new Map((await this.#list(name)).map((entry) => [entry.key.at(-1), entry]));
    const left = ids.map((id) => {
      const entry = entries.get(id);
      return { id, time: entry === undefined ? 0 : this.#timeLeft(entry.key, entry.versionstamp) };
    });
    const free = new Set(left.filter(({ time }) => time <= 0).map(({ id }) => id));
    return { free, wait: Math.min(...left.map(({ time }) => time).filter((time) => time > 0)) };
  }

  /**
   * Removes what the dead have left of the leases below a name, and waits until it can be told who is dead.
   *
   * @throws {Error} what the database says when it does not answer, or the signal's reason.
   */
  async clearDead(name: readonly string[], signal?: AbortSignal): Promise<void> {
    let left = await this.#listOthers(name);
    while (left.length > 0) {
      for (const { key, versionstamp } of left) {
        if (this.#isSilent(key, versionstamp)) await this.#delete(key, versionstamp);
      }
      await this.#clock.delay(this.#lifetime / 6, signal);
      // Whoever has renewed a lease since lives and sees to it.
      const before = new Set(left.map(({ versionstamp }) => versionstamp));
      left = (await this.#listOthers(name)).filter(({ versionstamp }) => before.has(versionstamp));
    }
  }

  /** Renews everything that is held here; a timer calls it three times in a lifetime. */
  async renew(): Promise<void> {
    await Promise.all([...this.#held].map((held) => {
      held.writing = held.writing.then(() => this.#renewOne(held));
      return held.writing;
    }));
  }

  /** The leases below a name. */
  #list(name: readonly string[]): Promise<Deno.KvEntry<unknown>[]> {
    const prefix = [...this.#prefix, ...name];
    return whenFree(() => Array.fromAsync(this.#kv.list({ prefix })));
  }

  /** The leases below a name that are not held here. */
  async #listOthers(name: readonly string[]): Promise<Deno.KvEntry<unknown>[]> {
    const mine = new Set([...this.#held].map(({ key }) => JSON.stringify(key)));
    return (await this.#list(name)).filter(({ key }) => !mine.has(JSON.stringify(key)));
  }

  /** Deletes a lease that is still as it was seen. */
  async #delete(key: Deno.KvKey, versionstamp: string | null): Promise<void> {
    await whenFree(() => this.#kv.atomic().check({ key, versionstamp }).delete(key).commit());
  }

  #get(key: readonly string[]): Promise<Deno.KvEntryMaybe<unknown>> {
    return whenFree(() => this.#kv.get(key));
  }

  #isSilent(key: Deno.KvKey, versionstamp: string): boolean {
    return this.#timeLeft(key, versionstamp) <= 0;
  }

  /** Milliseconds until the holder of a lease counts as dead, if nothing is written before. */
  #timeLeft(key: Deno.KvKey, versionstamp: string): number {
    const id = JSON.stringify(key);
    const seen = this.#seen.get(id);
    if (seen?.versionstamp === versionstamp) return seen.since + this.#lifetime - this.#clock.now();
    this.#seen.set(id, { versionstamp, since: this.#clock.now() });
    return this.#lifetime;
  }

  async #write(name: readonly string[], before: string | null): Promise<Lease | undefined> {
    const key = [...this.#prefix, ...name];
    const value = new TextEncoder().encode(JSON.stringify({ holder: crypto.randomUUID() }));
    const versionstamp = await this.#put({ key, value }, before);
    if (versionstamp === undefined) return undefined;
    this.#seen.delete(JSON.stringify(key));
    const renewedAt = this.#clock.now();
    const controller = new AbortController();
    const held: Held = { name, key, value, versionstamp, renewedAt, writing: Promise.resolve(), controller };
    this.#held.add(held);
    this.#timer ??= setInterval(() => this.renew(), this.#lifetime / 3);
    return { signal: held.controller.signal, release: () => this.#release(held) };
  }

  /** The versionstamp of the write, or `undefined` when something else was written since `before`. */
  async #put(
    { key, value }: Pick<Held, "key" | "value">,
    before: string | null,
  ): Promise<string | undefined> {
    // The expiry is there for leases that nobody ever asks for again.
    const expireIn = 10 * this.#lifetime;
    const operation = () =>
      this.#kv.atomic().check({ key, versionstamp: before }).set(key, value, { expireIn }).commit();
    const result = await whenFree(operation);
    return result.ok ? result.versionstamp : undefined;
  }

  async #renewOne(held: Held): Promise<void> {
    if (!this.#held.has(held)) return;
    try {
      const written = await this.#put(held, held.versionstamp) ?? await this.#putAgain(held);
      if (written === undefined) this.#lose(held, "somebody else has it");
      else Object.assign(held, { versionstamp: written, renewedAt: this.#clock.now() });
    } catch (cause) {
      const isOver = this.#clock.now() - held.renewedAt >= this.#lifetime;
      if (isOver) this.#lose(held, "the database does not answer", { cause });
    }
  }

  /** A write that was lost, or whose answer was lost, has not lost the lease as long as nobody else has it. */
  async #putAgain(held: Held): Promise<string | undefined> {
    const { value, versionstamp } = await this.#get(held.key);
    const isMine = versionstamp === null || isSame(value, held.value);
    return isMine && this.#held.has(held) ? await this.#put(held, versionstamp) : undefined;
  }

  #lose(held: Held, why: string, options?: ErrorOptions): void {
    if (!this.#drop(held)) return;
    held.controller.abort(new LeaseLostError(held.name, why, options));
  }

  async #release(held: Held): Promise<void> {
    if (!this.#drop(held)) return;
    await held.writing;
    try {
      const { value, versionstamp } = await this.#get(held.key);
      if (!isSame(value, held.value)) return;
      await this.#delete(held.key, versionstamp);
    } catch {
      // Others will see that nobody renews it.
    }
  }

  #drop(held: Held): boolean {
    const wasHeld = this.#held.delete(held);
    if (this.#held.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    return wasHeld;
  }
}

function isSame(value: unknown, mine: Uint8Array): boolean {
  return value instanceof Uint8Array && value.length === mine.length &&
    value.every((byte, index) => byte === mine[index]);
}
