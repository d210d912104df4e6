/** Tests of bytes that can be given once more, and of bytes that are cut into parts. */

import { assertEquals, assertRejects } from "@std/assert";
import { type ByteSource, bytesSource } from "../src/registry/stream/body.ts";
import { ReplaySource, SlicedSource } from "../src/registry/stream/replay_source.ts";

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

Deno.test("ReplaySource.from() gives all bytes, reading the source once", async () => {
  const source = countedSource(piecesOf(3, 3, 4));
  const replay = new ReplaySource(source, 100);
  assertEquals(await take(replay.from(0)), numbers(0, 10));
  assertEquals(source.reads, 4);
});

Deno.test("ReplaySource.from() gives kept bytes again from any position, then those not yet read", async () => {
  const source = countedSource(piecesOf(3, 3, 4));
  const replay = new ReplaySource(source, 100);
  await take(replay.from(0), 6);
  for (let offset = 0; offset <= 6; offset++) {
    assertEquals(replay.canReplay(offset), true);
    assertEquals(await take(replay.from(offset), 6 - offset), numbers(offset, 6));
  }
  assertEquals(source.reads, 2);
  assertEquals(await take(replay.from(2)), numbers(2, 10));
});

Deno.test("ReplaySource.canReplay() holds for kept bytes alone", async () => {
  const replay = new ReplaySource(countedSource(piecesOf(4, 4, 4, 4)), 8);
  assertEquals([replay.canReplay(0), replay.canReplay(1)], [true, false]);
  await take(replay.from(0), 16);
  assertEquals(numbers(0, 18).filter((offset) => replay.canReplay(offset)), numbers(8, 17));
  assertEquals(await take(replay.from(8)), numbers(8, 16));
});

Deno.test("ReplaySource.canReplay() does not hold where a runtime has taken the memory", async () => {
  const replay = new ReplaySource(countedSource(piecesOf(4, 4)), 100);
  const piece = await replay.from(0).read();
  assertEquals(replay.canReplay(0), true);
  structuredClone(piece?.buffer, { transfer: piece === undefined ? [] : [piece.buffer] });
  assertEquals(replay.canReplay(0), false);
});

Deno.test("ReplaySource.canReplay() counts from where the source starts", async () => {
  const replay = new ReplaySource(countedSource(piecesOf(4)), 100, 50);
  assertEquals([replay.canReplay(49), replay.canReplay(50)], [false, true]);
  assertEquals(await take(replay.from(50)), numbers(0, 4));
  assertEquals(await take(replay.from(52)), [2, 3]);
});

Deno.test("ReplaySource keeps the last piece however large it is", async () => {
  const replay = new ReplaySource(countedSource(piecesOf(2, 20)), 4);
  await take(replay.from(0), 22);
  assertEquals([replay.canReplay(1), replay.canReplay(2)], [false, true]);
  assertEquals(await take(replay.from(2)), numbers(2, 22));
});

Deno.test("ReplaySource keeps the bytes of a read that an abandoned reader began", async () => {
  const gate = Promise.withResolvers<Piece>();
  let reads = 0;
  const replay = new ReplaySource({ read: () => (reads++, gate.promise), cancel: () => {} }, 100);
  const abandoned = replay.from(0).read();
  const next = replay.from(0).read();
  gate.resolve(Uint8Array.of(7, 8));
  assertEquals(await next, Uint8Array.of(7, 8));
  assertEquals(await abandoned, Uint8Array.of(7, 8));
  assertEquals(reads, 1);
});

Deno.test("ReplaySource.from() throws what the source throws, and tries again afterwards", async () => {
  const [piece] = piecesOf(3);
  let isBroken = true;
  const read = () => isBroken ? Promise.reject(new Error("broken")) : Promise.resolve(piece);
  const replay = new ReplaySource({ read, cancel: () => {} }, 100);
  await assertRejects(() => replay.from(0).read(), Error, "broken");
  isBroken = false;
  assertEquals(await take(replay.from(0), 3), [0, 1, 2]);
});

Deno.test("ReplaySource.cancel() lets go of the source; cancelling a reader does not", async () => {
  const source = countedSource(piecesOf(3));
  const replay = new ReplaySource(source, 100);
  const reader = replay.from(0);
  await reader.read();
  reader.cancel("reader");
  assertEquals(source.cancelled, []);
  replay.cancel("all");
  assertEquals(source.cancelled, ["all"]);
  assertEquals(replay.canReplay(0), false);
});

Deno.test("ReplaySource gives memory back only when it is told to, and only what is no longer kept", async () => {
  const pieces = piecesOf(4, 4, 4, 4);
  const source = countedSource(pieces);
  const replay = new ReplaySource(source, 8);
  await take(replay.from(0), 12);
  assertEquals(source.recycled, []);
  replay.isRecycling = true;
  await take(replay.from(12), 4);
  assertEquals(source.recycled, pieces.slice(1, 2));
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
