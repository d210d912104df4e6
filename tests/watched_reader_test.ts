/** Reading within a limit on bytes not moving: what counts as a stall, what an interrupted reader still gives, and who gives up. */

import { assertEquals, assertMatch, assertRejects, assertStrictEquals } from "@std/assert";
import { SlowBodyError, TimeLimitError } from "../src/registry/fetch.ts";
import type { PieceReader } from "../src/registry/stream/piece_reader.ts";
import { WatchedReader } from "../src/registry/stream/watched_reader.ts";

/** Milliseconds; only reads that nothing answers wait so long. */
const STALL = 20;

type Piece = Uint8Array<ArrayBuffer>;

/** A reader that answers as it is told. */
function readerOf(reads: (() => Promise<Piece | undefined>)[], interrupt?: () => void): PieceReader {
  return {
    read: () => reads.shift()?.() ?? Promise.resolve(undefined),
    cancel: () => Promise.resolve(),
    ...(interrupt && { interrupt }),
  };
}

const never = () => new Promise<never>(() => {});
const piece = (length: number) => () => Promise.resolve(new Uint8Array(length));

Deno.test("WatchedReader.read() fails when nothing comes for too long, however much came before", async () => {
  const watched = new WatchedReader(readerOf([piece(1), piece(2), never]), {
    stall: STALL,
    signal: undefined,
  });
  assertEquals([(await watched.read())?.length, (await watched.read())?.length], [1, 2]);
  await assertRejects(() => watched.read(), TimeLimitError);
  await watched.cancel(undefined);
});

Deno.test("WatchedReader does not count the time in which nobody reads", async () => {
  let interrupts = 0;
  const reader = readerOf([piece(1), piece(2)], () => interrupts++);
  const watched = new WatchedReader(reader, { stall: STALL, signal: undefined });
  await watched.read();
  // A second reader stalls in the meantime, so more than the limit has passed.
  const other = new WatchedReader(readerOf([never]), { stall: 2 * STALL, signal: undefined });
  await assertRejects(() => other.read(), TimeLimitError);
  assertEquals(interrupts, 0);
  assertEquals((await watched.read())?.length, 2);
  assertEquals(await watched.read(), undefined);
  await other.cancel(undefined);
});

Deno.test("WatchedReader.read() gives what an interrupted reader has held back, and then says that it stalled", async () => {
  const held = Promise.withResolvers<Piece | undefined>();
  const broken = () => Promise.reject(new TypeError("closed"));
  const reader = readerOf([() => held.promise, broken], () => held.resolve(new Uint8Array(7)));
  const watched = new WatchedReader(reader, { stall: STALL, signal: undefined });
  assertEquals((await watched.read())?.length, 7);
  await assertRejects(() => watched.read(), TimeLimitError);
  await watched.cancel(undefined);
});

Deno.test("WatchedReader.read() does not wait for a reader that is interrupted in vain", async () => {
  const watched = new WatchedReader(readerOf([never], () => {}), { stall: STALL, signal: undefined });
  await assertRejects(() => watched.read(), TimeLimitError);
  await watched.cancel(undefined);
});

Deno.test("WatchedReader.read() fails with the signal's reason, before it reads and while it does", async () => {
  const reason = new Error("enough");
  const controller = new AbortController();
  const watched = new WatchedReader(readerOf([never]), { stall: 60_000, signal: controller.signal });
  const reading = assertRejects(() => watched.read());
  controller.abort(reason);
  assertStrictEquals(await reading, reason);
  assertStrictEquals(await assertRejects(() => watched.read()), reason);
  await watched.cancel(undefined);
});

/** A reader that gives a piece of so many bytes every so many milliseconds, for ever or as often as told. */
function dripping(length: number, every: number, times = Infinity): PieceReader {
  let left = times;
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    read: async () => {
      if (left-- <= 0) return undefined;
      await new Promise((resolve) => timer = setTimeout(resolve, every));
      return new Uint8Array(length);
    },
    cancel: () => Promise.resolve(clearTimeout(timer)),
  };
}

async function readAll(watched: WatchedReader): Promise<number> {
  let bytes = 0;
  for (let one = await watched.read(); one !== undefined; one = await watched.read()) bytes += one.length;
  return bytes;
}

Deno.test("fault 21: WatchedReader.read() fails when hardly anything comes, however often something does", async () => {
  const options = { stall: 60_000, rate: 1000, window: 40, signal: undefined };
  const watched = new WatchedReader(dripping(1, 5), options);
  const error = await assertRejects(() => readAll(watched), SlowBodyError);
  assertMatch(error.message, /^it gave only \d+ bytes within \d+ s$/);
  await watched.cancel(undefined);
});

Deno.test("fault 21: WatchedReader.read() goes on with what is slow but not slower than the floor", async () => {
  // Ten windows long: what came in one does not count in the next.
  const options = { stall: 60_000, rate: 1000, window: 20, signal: undefined };
  assertEquals(await readAll(new WatchedReader(dripping(1000, 5, 40), options)), 40_000);
});

Deno.test("fault 21: WatchedReader measures no rate while nobody reads", async () => {
  const options = { stall: 60_000, rate: 1_000_000, window: 20, signal: undefined };
  const watched = new WatchedReader(readerOf([piece(1), piece(1), piece(1)]), options);
  for (let one = 0; one < 3; one++) {
    assertEquals((await watched.read())?.length, 1);
    await readAll(new WatchedReader(dripping(1, 15, 2), { stall: 60_000, signal: undefined }));
  }
  assertEquals(await watched.read(), undefined);
});
