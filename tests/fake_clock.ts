/** A clock and dice in the hands of a test. */

import type { Clock } from "../src/registry/clock.ts";

interface Timer {
  at: number;
  wake: () => void;
}

/** Options of a {@linkcode FakeClock}. */
export interface FakeClockOptions {
  /** Whether waits last until {@linkcode FakeClock.advance}; otherwise they pass at once and move the time. */
  isManual?: boolean;
  /** What the dice show; 0.5 unless told. */
  chance?: number;
}

/** A clock that moves only when told, and dice that always show the same. */
export class FakeClock implements Clock {
  /** Milliseconds since 1970. */
  time = 1_700_000_000_000;
  /** What the dice show. */
  chance: number;
  /** Milliseconds of every wait so far. */
  readonly waits: number[] = [];
  readonly #isManual: boolean;
  #timers: Timer[] = [];

  /** Starts in November 2023. */
  constructor(options: FakeClockOptions = {}) {
    this.#isManual = options.isManual ?? false;
    this.chance = options.chance ?? 0.5;
  }

  /** How many wait right now. */
  get pending(): number {
    return this.#timers.length;
  }

  now(): number {
    return this.time;
  }

  random(): number {
    return this.chance;
  }

  delay(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    this.waits.push(milliseconds);
    if (this.#isManual) return this.#wait(milliseconds, signal);
    this.time += milliseconds;
    return Promise.resolve();
  }

  /** Lets time pass and wakes whoever is due. */
  advance(milliseconds: number): void {
    this.time += milliseconds;
    const due = this.#timers.filter(({ at }) => at <= this.time);
    this.#timers = this.#timers.filter(({ at }) => at > this.time);
    for (const { wake } of due) wake();
  }

  #wait(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer: Timer = { at: this.time + milliseconds, wake: resolve };
      this.#timers.push(timer);
      signal?.addEventListener("abort", () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
        reject(signal.reason);
      }, { once: true });
    });
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}
