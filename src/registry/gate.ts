/** Step 2 of the walk, the wire: how many requests and transfers a registry is given at once, and when it wants none. */

import type { Clock } from "./clock.ts";

/** How a request ended, as far as the registry's load goes. */
export type Outcome = "ok" | "overloaded" | "failed";

/** Requests a registry is given at once before anything is known of it. */
const INITIAL_REQUESTS = 16;
/** The most requests a registry is ever given at once. */
const MAXIMUM_REQUESTS = 64;
/** An answer that takes this many times as long as the fastest one lately, and at least {@linkcode SLOW}, is a slow one. */
const SLOW_FACTOR = 10;
/** Milliseconds below which no answer is slow. */
const SLOW = 2000;

interface Waiter {
  admit: () => void;
}

/**
 * The door of one registry. The number of requests it lets in rises by one per round of good answers and halves on
 * 429 and 503, falls a little on answers that have become slow, and a `Retry-After` seen by one request is obeyed by all.
 */
export class Gate {
  #clock: Clock;
  #limit = INITIAL_REQUESTS;
  #inside = 0;
  #waiters: Waiter[] = [];
  #notBefore = 0;
  #lastDecrease = -Infinity;
  #fastest = Infinity;

  /** Makes an open gate. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Requests let in at once right now. */
  get limit(): number {
    return Math.max(1, Math.floor(this.#limit));
  }

  /** Milliseconds since 1970 before which nothing is sent. */
  get notBefore(): number {
    return this.#notBefore;
  }

  /**
   * Waits for a place, and until the registry wants requests again.
   *
   * @returns A function that gives the place back and says how it went; only its first call counts.
   * @throws The signal's reason when it aborts first.
   */
  async enter(signal?: AbortSignal): Promise<(outcome: Outcome) => void> {
    await this.#takePlace(signal);
    try {
      await this.waitUntilWanted(signal);
    } catch (error) {
      this.#leave();
      throw error;
    }
    const enteredAt = this.#clock.now();
    let isInside = true;
    return (outcome) => {
      if (!isInside) return;
      isInside = false;
      this.#learn(outcome, enteredAt);
      this.#leave();
    };
  }

  /** Waits until the registry wants requests again, without taking a place. */
  async waitUntilWanted(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    for (let wait = this.#wait(); wait > 0; wait = this.#wait()) await this.#clock.delay(wait, signal);
  }

  /** Lets nothing in until a point in time (milliseconds since 1970); an earlier point changes nothing. */
  pauseUntil(time: number): void {
    this.#notBefore = Math.max(this.#notBefore, time);
  }

  #wait(): number {
    return this.#notBefore - this.#clock.now();
  }

  #takePlace(signal: AbortSignal | undefined): Promise<void> | void {
    signal?.throwIfAborted();
    if (this.#inside < this.limit) {
      this.#inside++;
      return;
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        admit: () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  #leave(): void {
    this.#inside--;
    while (this.#inside < this.limit && this.#waiters.length > 0) {
      this.#inside++;
      this.#waiters.shift()?.admit();
    }
  }

  #learn(outcome: Outcome, enteredAt: number): void {
    if (outcome === "failed") return;
    const isSlow = outcome === "ok" && this.#isSlow(this.#clock.now() - enteredAt);
    if (outcome === "ok" && !isSlow) this.#limit = Math.min(MAXIMUM_REQUESTS, this.#limit + 1 / this.#limit);
    else if (enteredAt > this.#lastDecrease) {
      // Requests that were under way at the last decrease say nothing new about the smaller number.
      this.#limit = Math.max(1, this.#limit * (isSlow ? 0.9 : 0.5));
      this.#lastDecrease = this.#clock.now();
    }
  }

  /** The fastest answer is slowly forgotten, so that a registry that moved farther away is not slow for ever. */
  #isSlow(milliseconds: number): boolean {
    this.#fastest = Math.min(Math.max(1, milliseconds), this.#fastest * 1.01);
    return milliseconds > SLOW && milliseconds > SLOW_FACTOR * this.#fastest;
  }
}
