/** A promise with its ends in hand: `Promise.withResolvers`, which Node 20 does not have. */

/** A promise and what settles it. */
export interface Deferred<Value> {
  /** The promise. */
  promise: Promise<Value>;
  /** Fulfils it. */
  resolve: (value: Value) => void;
  /** Rejects it. */
  reject: (reason: unknown) => void;
}

/** A promise that is settled from outside. */
export function defer<Value>(): Deferred<Value> {
  let resolve: Deferred<Value>["resolve"] = () => {};
  let reject: Deferred<Value>["reject"] = () => {};
  const promise = new Promise<Value>((onValue, onReason) => {
    resolve = onValue;
    reject = onReason;
  });
  return { promise, resolve, reject };
}

/**
 * Waits for a promise until a signal is aborted; the work behind it is not stopped. `abortable` of `@std/async` does the
 * same, but with `Promise.withResolvers`.
 *
 * @throws The signal's reason when it is aborted first.
 */
export async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const { promise: aborted, reject } = defer<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
