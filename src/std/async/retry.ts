/** Another try, and another, with growing pauses between them. */

import { delay } from "./delay.ts";

/** Thrown by {@linkcode retry} when the last attempt failed too; its `cause` is what that attempt threw. */
export class RetryError extends Error {
  /** Makes an error from what the last attempt threw and the number of attempts. */
  constructor(cause: unknown, attempts: number) {
    super(`Retrying exceeded the maxAttempts (${attempts}).`, { cause });
    this.name = "RetryError";
  }
}

/** Options of {@linkcode retry}. */
export interface RetryOptions {
  /**
   * How much longer each pause is than the one before.
   *
   * @default {2}
   */
  multiplier?: number;
  /**
   * The longest pause, in milliseconds.
   *
   * @default {60000}
   */
  maxTimeout?: number;
  /**
   * How often the function is called at most.
   *
   * @default {5}
   */
  maxAttempts?: number;
  /**
   * The first pause, in milliseconds.
   *
   * @default {1000}
   */
  minTimeout?: number;
  /**
   * The part of a pause left to chance: 0 for none of it, 1 for all of it.
   *
   * @default {1}
   */
  jitter?: number;
  /**
   * Says whether another try may help.
   *
   * @default {() => true}
   */
  isRetriable?: (err: unknown) => boolean;
  /** Ends the tries, and a pause between them. */
  signal?: AbortSignal;
}

type CheckedOptions = Required<Omit<RetryOptions, "signal">> & Pick<RetryOptions, "signal">;

/**
 * Calls `fn` until it succeeds, at most `maxAttempts` times, and returns its result. After attempt *n* (from zero) the
 * pause is at most `minTimeout * multiplier ** n` and never above `maxTimeout`.
 *
 * @throws {RetryError} when the last attempt failed
 * @throws {RangeError} when an option makes no sense
 * @throws what `fn` threw when `isRetriable` says no, and the reason of the signal when it is aborted
 */
export async function retry<T>(fn: (() => Promise<T>) | (() => T), options: RetryOptions = {}): Promise<T> {
  const checked = checkOptions(options);
  for (let attempt = 0;; attempt++) {
    checked.signal?.throwIfAborted();
    try {
      return await fn();
    } catch (error) {
      if (!checked.isRetriable(error)) throw error;
      if (attempt + 1 >= checked.maxAttempts) throw new RetryError(error, checked.maxAttempts);
    }
    await delay(pauseAfter(attempt, checked), checked.signal ? { signal: checked.signal } : {});
  }
}

function checkOptions(options: RetryOptions): CheckedOptions {
  const checked = {
    multiplier: 2,
    maxTimeout: 60_000,
    maxAttempts: 5,
    minTimeout: 1_000,
    jitter: 1,
    isRetriable: () => true,
    ...options,
  };
  const { multiplier, maxTimeout, maxAttempts, minTimeout, jitter } = checked;
  check(maxTimeout > 0, "maxTimeout", "must be a positive number", maxTimeout);
  check(
    Number.isInteger(maxAttempts) && maxAttempts > 0,
    "maxAttempts",
    "must be a positive integer",
    maxAttempts,
  );
  check(
    multiplier >= 1 && Number.isFinite(multiplier),
    "multiplier",
    "must be a finite number >= 1",
    multiplier,
  );
  check(minTimeout >= 0, "minTimeout", "must be >= 0", minTimeout);
  check(jitter >= 0 && jitter <= 1, "jitter", "must be between 0 and 1", jitter);
  if (minTimeout > maxTimeout) {
    throw new RangeError(
      "Cannot retry as 'minTimeout' must be <= 'maxTimeout': " +
        `current values 'minTimeout=${minTimeout}', 'maxTimeout=${maxTimeout}'`,
    );
  }
  return checked;
}

function check(isFine: boolean, option: string, rule: string, value: number): void {
  if (isFine) return;
  throw new RangeError(`Cannot retry as '${option}' ${rule}: current value is ${value}`);
}

/** In milliseconds. */
function pauseAfter(attempt: number, options: CheckedOptions): number {
  const { minTimeout, maxTimeout, multiplier, jitter } = options;
  const longest = Math.min(maxTimeout, minTimeout * multiplier ** attempt);
  return longest * (1 - jitter * Math.random());
}
