/** A promise of a later moment. */

/** Options of {@linkcode delay}. */
export interface DelayOptions {
  /** Ends the delay early. */
  signal?: AbortSignal;
  /**
   * Whether the process stays alive for the timer; only Deno can say no.
   *
   * @default {true}
   */
  persistent?: boolean;
}

/**
 * Resolves after `ms` milliseconds.
 *
 * @throws the reason of the signal when it is aborted first
 */
export function delay(ms: number, options: DelayOptions = {}): Promise<void> {
  const { signal, persistent = true } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    let timer: Timer;
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const wait = (left: number) => {
      const onTime = () => left > LONGEST_TIMER ? wait(left - LONGEST_TIMER) : finish();
      timer = setTimeout(onTime, Math.min(left, LONGEST_TIMER));
      if (!persistent) unrefTimer(timer);
    };
    const finish = () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    wait(ms);
  });
}

/** The longest a timer can wait, in milliseconds, about 25 days: a longer one would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

type Timer = ReturnType<typeof setTimeout>;

function unrefTimer(timer: Timer): void {
  const runtime: { Deno?: { unrefTimer?: (timer: Timer) => void } } = globalThis;
  runtime.Deno?.unrefTimer?.(timer);
}
