/** Tests of the promise helpers, which must hold for the linked and for the genuine `@std/async`. */

import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { abortable, deadline, delay, retry, RetryError } from "@std/async";

/** A promise that is never settled. */
function never(): Promise<never> {
  return new Promise(() => {});
}

/** Runs with a clock whose timers fire at once, and gives the milliseconds each was to wait. */
async function collectTimers(run: () => Promise<unknown>): Promise<number[]> {
  const genuine = { setTimeout: globalThis.setTimeout, now: Date.now };
  const waits: number[] = [];
  let now = 0;
  const instant = (callback: () => void, ms: number) => {
    waits.push(ms);
    now += ms;
    queueMicrotask(callback);
    return 0;
  };
  Date.now = () => now;
  globalThis.setTimeout = instant as unknown as typeof setTimeout;
  try {
    await run();
  } finally {
    globalThis.setTimeout = genuine.setTimeout;
    Date.now = genuine.now;
  }
  return waits;
}

Deno.test("delay() waits as long as asked", async () => {
  assertEquals(await collectTimers(() => delay(1_500)), [1_500]);
  await delay(0);
});

Deno.test("delay() rejects with the reason of an aborted signal", async () => {
  const reason = new Error("enough");
  assertStrictEquals(await assertRejects(() => delay(60_000, { signal: AbortSignal.abort(reason) })), reason);
  const controller = new AbortController();
  const waiting = delay(60_000, { signal: controller.signal, persistent: false });
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => waiting), reason);
});

Deno.test("delay() waits longer than one timer can", async () => {
  const waits = await collectTimers(() => delay(2 ** 32));
  assert(waits.every((ms) => ms < 2 ** 31), `a timer would overflow: ${waits}`);
  assertEquals(waits.reduce((sum, ms) => sum + ms), 2 ** 32);
});

Deno.test("deadline() passes on what comes in time", async () => {
  assertEquals(await deadline(Promise.resolve(1), 60_000), 1);
  await assertRejects(() => deadline(Promise.reject(new RangeError("a")), 60_000), RangeError, "a");
});

Deno.test("deadline() never comes when it is beyond all timers", async () => {
  assertEquals(await collectTimers(() => deadline(Promise.resolve(), Number.MAX_SAFE_INTEGER)), []);
});

Deno.test("deadline() rejects with a TimeoutError when it is over", async () => {
  const error = await assertRejects(() => deadline(never(), 1), DOMException);
  assertEquals(error.name, "TimeoutError");
});

Deno.test("deadline() rejects with the reason of an aborted signal", async () => {
  const controller = new AbortController();
  const waiting = deadline(never(), 60_000, { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
});

Deno.test("abortable() passes on the promise until the signal is aborted", async () => {
  const controller = new AbortController();
  assertEquals(await abortable(Promise.resolve(1), controller.signal), 1);
  const waiting = abortable(never(), controller.signal);
  controller.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
  await assertRejects(() => abortable(Promise.resolve(1), controller.signal), Error, "enough");
});

Deno.test("abortable() passes on the values until the signal is aborted, and closes the source", async () => {
  const closed = Promise.withResolvers<void>();
  async function* count() {
    try {
      for (let value = 0;; value++) yield await Promise.resolve(value);
    } finally {
      closed.resolve();
    }
  }
  const controller = new AbortController();
  const values: number[] = [];
  const read = async () => {
    for await (const value of abortable(count(), controller.signal)) {
      values.push(value);
      if (value === 2) controller.abort(new Error("enough"));
    }
  };
  await assertRejects(read, Error, "enough");
  await closed.promise;
  assertEquals(values, [0, 1, 2]);
});

Deno.test("abortable() ends with the source", async () => {
  const values = abortable(ReadableStream.from([1, 2]), new AbortController().signal);
  assertEquals(await Array.fromAsync(values), [1, 2]);
});

Deno.test("retry() calls again until it works", async () => {
  let calls = 0;
  const work = () => {
    if (++calls < 3) throw new Error("not yet");
    return Promise.resolve("done");
  };
  assertEquals(await retry(work, { minTimeout: 0 }), "done");
  assertEquals(calls, 3);
});

Deno.test("retry() gives up with a RetryError after the last attempt", async () => {
  let calls = 0;
  const cause = new RangeError("never");
  const work = () => {
    calls++;
    throw cause;
  };
  const error = await assertRejects(() => retry(work, { maxAttempts: 2, minTimeout: 0 }), RetryError);
  assertEquals(error.message, "Retrying exceeded the maxAttempts (2).");
  assertStrictEquals(error.cause, cause);
  assertEquals(calls, 2);
});

Deno.test("retry() lets an error through that another try would not mend", async () => {
  const cause = new RangeError("never");
  let calls = 0;
  const work = () => {
    calls++;
    throw cause;
  };
  const isRetriable = (error: unknown) => error !== cause;
  assertStrictEquals(await assertRejects(() => retry(work, { isRetriable })), cause);
  assertEquals(calls, 1);
});

Deno.test("retry() waits longer each time, up to a limit", async () => {
  const options = { minTimeout: 100, maxTimeout: 300, multiplier: 2, jitter: 0, maxAttempts: 5 };
  const work = () => Promise.reject(new Error("no"));
  const waits = await collectTimers(() => assertRejects(() => retry(work, options), RetryError));
  assertEquals(waits, [100, 200, 300, 300]);
});

Deno.test("retry() leaves a part of the wait to chance", async () => {
  const options = { minTimeout: 100, jitter: 0.5, multiplier: 1, maxAttempts: 20 };
  const work = () => Promise.reject(new Error("no"));
  const waits = await collectTimers(() => assertRejects(() => retry(work, options), RetryError));
  assertEquals(waits.length, 19);
  assert(waits.every((ms) => ms >= 50 && ms <= 100));
  assert(new Set(waits).size > 1);
});

Deno.test("retry() ends its wait when the signal is aborted", async () => {
  const controller = new AbortController();
  const work = () => {
    queueMicrotask(() => controller.abort(new Error("enough")));
    throw new Error("no");
  };
  const options = { signal: controller.signal, minTimeout: 60_000, jitter: 0 };
  await assertRejects(() => retry(work, options), Error, "enough");
});

Deno.test("retry() refuses options that make no sense", async () => {
  const wrong = [
    { maxAttempts: 0 },
    { maxAttempts: 1.5 },
    { minTimeout: -1 },
    { maxTimeout: -1 },
    { minTimeout: 2, maxTimeout: 1 },
    { jitter: 2 },
    { multiplier: 0.5 },
  ];
  for (const options of wrong) {
    await assertRejects(() => retry(() => 1, options), RangeError, "Cannot retry as '");
  }
});
