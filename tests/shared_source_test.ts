/** Tests of one source for many readers, of bytes that can be given once more, and of bytes that are cut into parts. */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { type ByteSource, bytesSource } from "../src/registry/stream/body.ts";
import { LaggardError, SharedSource, SlicedSource } from "../src/registry/stream/shared_source.ts";
import { settle } from "./fake_clock.ts";

type Piece = Uint8Array<ArrayBuffer>;

/** Pieces of growing numbers: 0, 1, 2 … */
function piecesOf(...lengths: readonly number[]): Piece[] {
  let next = 0;
  return lengths.map((length) => Uint8Array.from({ length }, () => next++));
}

interface Counted extends ByteSource {
  reads: number;
  cancelled: unknown[];
  recycled: Piece[];
}

function countedSource(pieces: readonly Piece[]): Counted {
  const source: Counted = {
    reads: 0,
    cancelled: [],
    recycled: [],
    read: () => Promise.resolve(pieces[source.reads++]),
    cancel: (reason) => void source.cancelled.push(reason),
    recycle: (piece) => void source.recycled.push(piece),
  };
  return source;
}

/** A source for one upload at a time. */
function alone(source: ByteSource, kept: number, start = 0): SharedSource {
  return new SharedSource(source, { kept, lag: 100, patience: 60_000, start });
}

async function take(reader: ByteSource, count = Infinity): Promise<number[]> {
  const bytes: number[] = [];
  while (bytes.length < count) {
    const piece = await reader.read();
    if (piece === undefined) break;
    bytes.push(...piece);
  }
  return bytes;
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

Deno.test("SharedSource.reader() gives all bytes, reading the source once", async () => {
  const source = countedSource(piecesOf(3, 3, 4));
  const shared = alone(source, 100);
  assertEquals(await take(shared.reader(0)), numbers(0, 10));
  assertEquals(source.reads, 4);
});

Deno.test("SharedSource.reader() gives kept bytes again from any position, then those not yet read", async () => {
  const source = countedSource(piecesOf(3, 3, 4));
  const shared = alone(source, 100);
  await take(shared.reader(0), 6);
  for (let offset = 0; offset <= 6; offset++) {
    assertEquals(shared.canGive(offset), true);
    assertEquals(await take(shared.reader(offset), 6 - offset), numbers(offset, 6));
  }
  assertEquals(source.reads, 2);
  assertEquals(await take(shared.reader(2)), numbers(2, 10));
});

Deno.test("SharedSource.canGive() holds for kept bytes alone", async () => {
  const shared = alone(countedSource(piecesOf(4, 4, 4, 4)), 8);
  assertEquals([shared.canGive(0), shared.canGive(1)], [true, false]);
  await take(shared.reader(0), 16);
  assertEquals(numbers(0, 18).filter((offset) => shared.canGive(offset)), numbers(8, 17));
  assertEquals(await take(shared.reader(8)), numbers(8, 16));
});

Deno.test("SharedSource.canGive() does not hold where a runtime has taken the memory", async () => {
  const shared = alone(countedSource(piecesOf(4, 4)), 100);
  const piece = await shared.reader(0).read();
  assertEquals(shared.canGive(0), true);
  structuredClone(piece?.buffer, { transfer: piece === undefined ? [] : [piece.buffer] });
  assertEquals(shared.canGive(0), false);
});

Deno.test("SharedSource.canGive() counts from where the source starts", async () => {
  const shared = alone(countedSource(piecesOf(4)), 100, 50);
  assertEquals([shared.canGive(49), shared.canGive(50)], [false, true]);
  assertEquals(await take(shared.reader(50)), numbers(0, 4));
  assertEquals(await take(shared.reader(52)), [2, 3]);
});

Deno.test("SharedSource keeps the last piece however large it is", async () => {
  const shared = alone(countedSource(piecesOf(2, 20)), 4);
  await take(shared.reader(0), 22);
  assertEquals([shared.canGive(1), shared.canGive(2)], [false, true]);
  assertEquals(await take(shared.reader(2)), numbers(2, 22));
});

Deno.test("SharedSource keeps the bytes of a read that an abandoned reader began", async () => {
  const gate = Promise.withResolvers<Piece>();
  let reads = 0;
  const shared = alone({ read: () => (reads++, gate.promise), cancel: () => {} }, 100);
  const abandoned = shared.reader(0).read();
  const next = shared.reader(0).read();
  gate.resolve(Uint8Array.of(7, 8));
  assertEquals(await next, Uint8Array.of(7, 8));
  assertEquals(await abandoned, Uint8Array.of(7, 8));
  assertEquals(reads, 1);
});

Deno.test("SharedSource.reader() throws what the source throws, and tries again afterwards", async () => {
  const [piece] = piecesOf(3);
  let isBroken = true;
  const read = () => isBroken ? Promise.reject(new Error("broken")) : Promise.resolve(piece);
  const shared = alone({ read, cancel: () => {} }, 100);
  await assertRejects(() => shared.reader(0).read(), Error, "broken");
  isBroken = false;
  assertEquals(await take(shared.reader(0), 3), [0, 1, 2]);
});

Deno.test("SharedSource.cancel() lets go of the source; cancelling a reader does not", async () => {
  const source = countedSource(piecesOf(3));
  const shared = alone(source, 100);
  const reader = shared.reader(0);
  await reader.read();
  reader.cancel("reader");
  assertEquals(source.cancelled, []);
  shared.cancel("all");
  assertEquals(source.cancelled, ["all"]);
  assertEquals(shared.canGive(0), false);
});

Deno.test("SharedSource gives memory back that is no longer kept and that everybody has read", async () => {
  const pieces = piecesOf(4, 4, 4, 4, 4);
  const source = countedSource(pieces);
  const shared = alone(source, 8);
  const [fast, slow] = [shared.reader(0), shared.reader(0)];
  await take(fast, 16);
  assertEquals(source.recycled, []);
  await take(slow, 8);
  await take(fast, 4);
  assertEquals(source.recycled, pieces.slice(0, 2));
});

/** Readers from the start of a source of a hundred bytes and more, in pieces of four. */
function together(
  source: ByteSource,
  count: number,
  options: { lag: number; patience: number },
): ByteSource[] {
  const shared = new SharedSource(source, { kept: 0, ...options });
  return Array.from({ length: count }, () => shared.reader(0));
}

const FOURS = Array<number>(30).fill(4);

Deno.test("SharedSource.reader() gives one reader the source's own pieces", async () => {
  const [piece] = piecesOf(3);
  const [reader] = together(countedSource(piece === undefined ? [] : [piece]), 1, {
    lag: 8,
    patience: 60_000,
  });
  assertStrictEquals(await reader?.read(), piece);
});

Deno.test("SharedSource.reader() gives each of many all bytes in buffers of its own, reading the source once", async () => {
  const source = countedSource(piecesOf(3, 4, 5));
  const all = await Promise.all(
    together(source, 3, { lag: 100, patience: 60_000 }).map(async (reader) => {
      const bytes: number[] = [];
      for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) {
        bytes.push(...piece);
        // As a runtime does that transfers what it is given.
        structuredClone(piece.buffer, { transfer: [piece.buffer] });
      }
      return bytes;
    }),
  );
  assertEquals(all, [numbers(0, 12), numbers(0, 12), numbers(0, 12)]);
  assertEquals(source.reads, 4);
});

Deno.test("SharedSource.isCopying gives the one reader who is there yet a piece that others may still want", async () => {
  const shared = alone(countedSource(piecesOf(4, 4)), 100);
  shared.isCopying = true;
  const piece = await shared.reader(0).read();
  structuredClone(piece?.buffer, { transfer: piece === undefined ? [] : [piece.buffer] });
  assertEquals(shared.canGive(0), true);
  assertEquals(await take(shared.reader(0)), numbers(0, 8));
});

Deno.test("SharedSource.reader() lets the fastest get no further ahead than the lag", async () => {
  const source = countedSource(piecesOf(...FOURS));
  const [fast, slow] = together(source, 2, { lag: 10, patience: 600_000 });
  const ended = take(fast ?? source);
  await settle();
  // Three pieces are 12 bytes, the first count above the lag.
  assertEquals(source.reads, 3);
  await slow?.read();
  await settle();
  assertEquals(source.reads, 4);
  slow?.cancel("enough");
  assertEquals((await ended).length, 120);
  assertEquals(source.cancelled, []);
});

Deno.test("SharedSource.reader() drops who does not move for the whole of the patience, the others go on", async () => {
  const [fast, stuck, other] = together(countedSource(piecesOf(...FOURS)), 3, { lag: 10, patience: 1 });
  const none = countedSource([]);
  const all = await Promise.all([take(fast ?? none), take(other ?? none)]);
  assertEquals(all.map(({ length }) => length), [120, 120]);
  await assertRejects(
    async () => await stuck?.read(),
    LaggardError,
    "it fell 12 bytes behind the other destinations",
  );
  await assertRejects(async () => await stuck?.read(), LaggardError);
});

Deno.test("SharedSource.reader() goes on for the others when one is cancelled", async () => {
  const source = countedSource(piecesOf(4, 4, 4));
  const [first, second] = together(source, 2, { lag: 100, patience: 60_000 });
  await first?.read();
  first?.cancel("one");
  first?.cancel("again");
  assertEquals(await first?.read(), undefined);
  assertEquals((await take(second ?? source)).length, 12);
  assertEquals(source.cancelled, []);
});

Deno.test("SharedSource.reader() gives a failure of the source to all, after the bytes that came before", async () => {
  const failure = new Error("source broke");
  const pieces = piecesOf(4, 4);
  const read = () => {
    const piece = pieces.shift();
    return piece === undefined ? Promise.reject(failure) : Promise.resolve(piece);
  };
  const readers = together({ read, cancel: () => {} }, 3, { lag: 100, patience: 60_000 });
  for (const reader of readers) {
    assertEquals((await take(reader, 8)).length, 8);
    assertStrictEquals(await assertRejects(() => reader.read()), failure);
  }
});

Deno.test("SharedSource.reader() never reads the source twice at once", async () => {
  let [reading, most, left] = [0, 0, 50];
  const source: ByteSource = {
    read: async () => {
      most = Math.max(most, ++reading);
      await settle();
      reading--;
      return left-- > 0 ? new Uint8Array(3) : undefined;
    },
    cancel: () => {},
  };
  const all = await Promise.all(together(source, 5, { lag: 9, patience: 60_000 }).map((one) => take(one)));
  assertEquals([all.map(({ length }) => length), most], [[150, 150, 150, 150, 150], 1]);
});

Deno.test("SlicedSource.take() cuts parts of any length out of pieces of any length", async () => {
  for (const lengths of [[1, 1, 8], [10], [3, 3, 3, 1], [5, 5]]) {
    for (const size of [1, 2, 3, 4, 7, 10]) {
      const sliced = new SlicedSource(countedSource(piecesOf(...lengths)));
      const parts: number[][] = [];
      for (let offset = 0; offset < 10; offset += size) {
        parts.push(await take(sliced.take(Math.min(size, 10 - offset))));
      }
      assertEquals(
        parts.map((part) => part.length),
        parts.map((_, index) => Math.min(size, 10 - index * size)),
      );
      assertEquals(parts.flat(), numbers(0, 10));
    }
  }
});

Deno.test("SlicedSource.take() ends early when the source does, and leaves it open when cancelled", async () => {
  const source = countedSource(piecesOf(3));
  const sliced = new SlicedSource(source);
  const part = sliced.take(2);
  await part.read();
  part.cancel("part");
  assertEquals(source.cancelled, []);
  assertEquals(await take(sliced.take(5)), [2]);
  assertEquals(await take(new SlicedSource(bytesSource(new Uint8Array())).take(5)), []);
});
