/** Time and chance, passed in so that a test decides both. */

import { delay } from "@std/async/delay";

/** What the core asks of the machine's clock and dice. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Waits some milliseconds; rejects with the signal's reason when it aborts. */
  delay(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** A number from 0 up to, not including, 1. */
  random(): number;
}

/** The machine's own clock and dice. */
export const systemClock: Clock = {
  now: () => Date.now(),
  delay: (milliseconds, signal) => delay(milliseconds, signal === undefined ? {} : { signal }),
  random: () => Math.random(),
};
