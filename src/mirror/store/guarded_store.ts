/** The memory between runs as a run uses it: a store that fails or does not answer costs hints, never a mirror. */

import { type Clock, systemClock } from "../../registry/clock.ts";
import type { Store, StoreEntry, StoreKey, StoreSetOptions, StoreValue } from "./store.ts";

/** Options of {@linkcode GuardedStore}. */
export interface GuardedStoreOptions {
  /** Milliseconds a call may take; 10 seconds unless told. */
  deadline?: number;
  /** Milliseconds for which a store that did not answer in time is not asked again; a minute unless told. */
  rest?: number;
  /** Told at most once, in a sentence, that the store fails or does not answer. */
  onWarning?: ((message: string) => void) | undefined;
  /** What waits; the machine's own clock unless told, for a store lives in the machine's time. */
  clock?: Clock;
}

/** Turns of the event loop's microtasks in which a store in memory has answered; only others are timed, for a timer costs more. */
const QUICK_TURNS = 4;

/** The store took longer than it may. */
class StoreTimeoutError extends Error {
  override name = "StoreTimeoutError";
}

/**
 * A store around another that never throws and never hangs: what cannot be read is not known, what cannot be written is
 * forgotten, and what cannot be updated was not.
 */
export class GuardedStore implements Store {
  #store: Store;
  #deadline: number;
  #rest: number;
  #onWarning: (message: string) => void;
  #clock: Clock;
  #restsUntil = -Infinity;
  #hasWarned = false;

  /** Guards a store. */
  constructor(store: Store, options: GuardedStoreOptions = {}) {
    this.#store = store;
    this.#deadline = options.deadline ?? 10_000;
    this.#rest = options.rest ?? 60_000;
    this.#onWarning = options.onWarning ?? (() => {});
    this.#clock = options.clock ?? systemClock;
  }

  /** The value at a key; `undefined` also when the store cannot tell. */
  async get(key: StoreKey): Promise<StoreValue | undefined> {
    return await this.#try("read", () => this.#store.get(key));
  }

  /** Sets the value at a key, if the store can. */
  async set(key: StoreKey, value: StoreValue, options?: StoreSetOptions): Promise<void> {
    await this.#try("write", () => this.#store.set(key, value, options));
  }

  /** Forgets the value at a key, if the store can. */
  async delete(key: StoreKey): Promise<void> {
    await this.#try("write", () => this.#store.delete(key));
  }

  /** Sets the value at a key if what is there is what is expected; `false` also when the store cannot tell. */
  async update(
    key: StoreKey,
    expected: StoreValue | undefined,
    value: StoreValue | undefined,
    options?: StoreSetOptions,
  ): Promise<boolean> {
    return await this.#try("write", () => this.#store.update(key, expected, value, options)) ?? false;
  }

  /** The entries whose key starts with `prefix`, as far as the store tells them. */
  async *list(prefix: StoreKey): AsyncGenerator<StoreEntry> {
    const entries = await this.#try("read", () => this.#store.list(prefix)[Symbol.asyncIterator]());
    let isOver = entries === undefined;
    try {
      while (!isOver) {
        const next = await this.#try("read", () => entries?.next());
        isOver = next === undefined || next.done === true;
        if (next !== undefined && next.done !== true) yield next.value;
      }
    } finally {
      // A generator that hangs would hang here too, and one that is over has nothing to be told.
      if (!isOver) await this.#try("read", () => entries?.return?.());
    }
  }

  /** Makes everything set so far durable, if the store can. */
  async flush(): Promise<void> {
    await this.#try("write", () => this.#store.flush());
  }

  /** Lets go of the store; who does not answer is not waited for. */
  async close(): Promise<void> {
    const closing = (async () => await this.#store.close())();
    if (this.#isResting()) closing.catch(() => {});
    else await this.#try("close", () => closing);
  }

  #isResting(): boolean {
    return this.#clock.now() < this.#restsUntil;
  }

  async #try<Value>(
    action: "read" | "write" | "close",
    call: () => Value | Promise<Value>,
  ): Promise<Value | undefined> {
    if (this.#isResting()) return undefined;
    try {
      return await this.#inTime(call());
    } catch (error) {
      if (error instanceof StoreTimeoutError) this.#restsUntil = this.#clock.now() + this.#rest;
      const why = error instanceof Error ? error.message : String(error);
      this.#warn(`Cannot ${action} store: ${why}; what it does not take is forgotten`);
      return undefined;
    }
  }

  async #inTime<Value>(answer: Value | Promise<Value>): Promise<Value> {
    let isThere = false;
    const done = () => {
      isThere = true;
    };
    const answered = Promise.resolve(answer);
    answered.then(done, done);
    for (let turn = 0; turn < QUICK_TURNS && !isThere; turn++) await undefined;
    return isThere ? await answered : await this.#race(answered);
  }

  async #race<Value>(answer: Promise<Value>): Promise<Value> {
    const stop = new AbortController();
    const timeout = this.#clock.delay(this.#deadline, stop.signal).then(() => {
      throw new StoreTimeoutError(`it has not answered for ${this.#deadline / 1000} s`);
    });
    timeout.catch(() => {});
    try {
      return await Promise.race([answer, timeout]);
    } finally {
      stop.abort();
    }
  }

  #warn(message: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#onWarning(message);
  }
}
