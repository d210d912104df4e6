/** A promise, or a series of values, that a signal can end. */

/**
 * Waits for `p` until the signal is aborted. The work behind `p` is not stopped.
 *
 * @throws the reason of the signal when it is aborted first
 */
export function abortable<T>(p: Promise<T>, signal: AbortSignal): Promise<T>;
/**
 * Passes on the values of `p` until the signal is aborted.
 *
 * @throws the reason of the signal when it is aborted before the last value
 */
export function abortable<T>(p: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T>;
export function abortable<T>(
  p: Promise<T> | AsyncIterable<T>,
  signal: AbortSignal,
): Promise<T> | AsyncGenerator<T> {
  return p instanceof Promise ? waitForPromise(p, signal) : passOnValues(p, signal);
}

async function waitForPromise<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const abort = Promise.withResolvers<never>();
  const onAbort = () => abort.reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([abort.promise, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function* passOnValues<T>(values: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  signal.throwIfAborted();
  const iterator = values[Symbol.asyncIterator]();
  let isDone = false;
  try {
    while (true) {
      const result = await waitForPromise(Promise.resolve(iterator.next()), signal);
      isDone = result.done === true;
      if (result.done) return result.value;
      yield result.value;
    }
  } finally {
    if (!isDone) closeIterator(iterator);
  }
}

/** Not awaited, as an iterator in the middle of a `next()` that never ends would never close. */
function closeIterator(iterator: AsyncIterator<unknown>): void {
  Promise.resolve(iterator.return?.()).catch(() => {});
}
