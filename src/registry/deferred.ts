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
