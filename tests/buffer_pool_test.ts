/** Memory that comes back: what is kept of it, what is not, and when a source that can be replayed gives it back. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import type { ByteSource } from "../src/registry/stream/body.ts";
import { BufferPool } from "../src/registry/stream/buffer_pool.ts";
import { SharedSource } from "../src/registry/stream/shared_source.ts";

const MIB = 1024 * 1024;

Deno.test("BufferPool.take() gives a buffer that came back, once, for its own size", () => {
  const buffers = new BufferPool();
  const first = buffers.take(64);
  assertEquals(first.byteLength, 64);
  assert(buffers.take(64) !== first);
  buffers.give(first);
  assertEquals(buffers.take(128).byteLength, 128);
  assertStrictEquals(buffers.take(64), first);
  assert(buffers.take(64) !== first);
});

/** A pool that was asked for these sizes before. */
function poolOf(...sizes: number[]): BufferPool {
  const buffers = new BufferPool();
  for (const size of sizes) buffers.take(size);
  return buffers;
}

Deno.test("BufferPool.give() keeps 32 MiB at most, of all sizes together", () => {
  const buffers = poolOf(MIB, MIB / 2);
  const given = Array.from({ length: 40 }, (_, index) => new ArrayBuffer(index % 2 === 0 ? MIB : MIB / 2));
  for (const buffer of given) buffers.give(buffer);
  // 20 of each size are 30 MiB; there is room for two more.
  const more = Array.from({ length: 3 }, () => new ArrayBuffer(MIB));
  for (const buffer of more) buffers.give(buffer);
  const taken = new Set(Array.from({ length: 30 }, () => [buffers.take(MIB), buffers.take(MIB / 2)]).flat());
  assertEquals([...given, ...more].map((buffer) => taken.has(buffer)), [...Array(42).fill(true), false]);
});

Deno.test("BufferPool.give() lets go of sizes that nobody asks for", () => {
  const buffers = poolOf(64);
  const odd = new ArrayBuffer(63);
  buffers.give(odd);
  assert(buffers.take(63) !== odd);
});

Deno.test("BufferPool.give() has room again for what was taken", () => {
  const buffers = poolOf(MIB, 1);
  const given = Array.from({ length: 32 }, () => new ArrayBuffer(MIB));
  for (const buffer of given) buffers.give(buffer);
  const refused = new ArrayBuffer(1);
  buffers.give(refused);
  assert(buffers.take(1) !== refused);
  const last = buffers.take(MIB);
  assert(given.includes(last));
  const other = new ArrayBuffer(MIB);
  buffers.give(other);
  assertStrictEquals(buffers.take(MIB), other);
});

Deno.test("BufferPool.give() forgets a buffer that a runtime has taken", () => {
  const buffers = new BufferPool();
  const gone = buffers.take(64);
  structuredClone(gone, { transfer: [gone] });
  buffers.give(gone);
  assert(buffers.take(0) !== gone);
  assertEquals(buffers.take(64).byteLength, 64);
});

type Piece = Uint8Array<ArrayBuffer>;

/** A source of pieces that notes what comes back. */
function sourceOf(pieces: readonly Piece[]): ByteSource & { recycled: Piece[] } {
  const left = [...pieces];
  const recycled: Piece[] = [];
  return {
    recycled,
    read: () => Promise.resolve(left.shift()),
    cancel: () => {},
    recycle: (piece) => void recycled.push(piece),
  };
}

const OPTIONS = { kept: 8, lag: 100, patience: 60_000 };

async function readAll(reader: ByteSource): Promise<void> {
  while (await reader.read() !== undefined) { /* Only what is kept of it counts. */ }
}

Deno.test("SharedSource.finish() gives all memory back, each piece once", async () => {
  const pieces = [1, 2, 3, 4].map((byte) => new Uint8Array(4).fill(byte));
  const source = sourceOf(pieces);
  const shared = new SharedSource(source, OPTIONS);
  await readAll(shared.reader(0));
  assertEquals(source.recycled, pieces.slice(0, 2));
  shared.finish();
  assertEquals(source.recycled, pieces);
  assertEquals([8, 15, 16].map((offset) => shared.canGive(offset)), [false, false, true]);
  shared.finish();
  assertEquals(source.recycled.length, 4);
});

Deno.test("SharedSource.finish() gives nothing back that was not read, and of a source that takes nothing", async () => {
  const source = sourceOf([new Uint8Array(4), new Uint8Array(4)]);
  new SharedSource(source, OPTIONS).finish();
  assertEquals(source.recycled, []);
  const { read, cancel } = sourceOf([new Uint8Array(4)]);
  const other = new SharedSource({ read, cancel }, OPTIONS);
  await readAll(other.reader(0));
  other.finish();
  assertEquals(other.canGive(0), false);
});

Deno.test("SharedSource.cancel() gives no memory back: somebody may still be sending it", async () => {
  const source = sourceOf([new Uint8Array(4)]);
  const shared = new SharedSource(source, OPTIONS);
  await readAll(shared.reader(0));
  shared.cancel("enough");
  shared.finish();
  assertEquals(source.recycled, []);
});
