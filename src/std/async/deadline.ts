/** A promise that may not take longer than it is given. */

import { abortable } from "./abortable.ts";

/** Options of {@linkcode deadline}. */
export interface DeadlineOptions {
  /** Ends the wait early. */
  signal?: AbortSignal;
}

/** The longest a timer can wait, in milliseconds: a longer one would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Waits for `p`, but no longer than `ms` milliseconds. The work behind `p` is not stopped. Beyond what a timer can
 * hold, about 25 days, there is no deadline.
 *
 * @throws {DOMException} named `TimeoutError` when the time is over first
 * @throws the reason of the signal when it is aborted first
 */
export async function deadline<T>(p: Promise<T>, ms: number, options: DeadlineOptions = {}): Promise<T> {
  const timeout = new AbortController();
  const signals = options.signal ? [options.signal, timeout.signal] : [timeout.signal];
  const onTime = () => timeout.abort(new DOMException("Signal timed out.", "TimeoutError"));
  const timer = ms > LONGEST_TIMER ? undefined : setTimeout(onTime, ms);
  try {
    return await abortable(p, AbortSignal.any(signals));
  } finally {
    clearTimeout(timer);
  }
}
