/** Tests of bytes on their way: bodies of a known length. */

import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { type ByteSource, bytesSource, LengthError, UploadBody } from "../src/registry/stream/body.ts";
import { settle } from "./fake_clock.ts";
import { generatedBytes } from "./registry.ts";
import { readAll } from "./registry/blob_content.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A source that gives pieces, then ends or fails, and remembers what was done to it. */
class PieceSource implements ByteSource {
  reads = 0;
  cancelled: unknown[] = [];
  #pieces: Bytes[];
  #failure: Error | undefined;

  constructor(sizes: readonly number[], failure?: Error) {
    this.#pieces = sizes.map((size, index) => generatedBytes(index, size));
    this.#failure = failure;
  }

  read(): Promise<Bytes | undefined> {
    this.reads++;
    const piece = this.#pieces.shift();
    if (piece === undefined && this.#failure !== undefined) return Promise.reject(this.#failure);
    return Promise.resolve(piece);
  }

  cancel(reason: unknown): void {
    this.cancelled.push(reason);
  }
}

function streamOf(body: UploadBody): ReadableStream<Bytes> {
  const { body: sent } = body.init();
  assertInstanceOf(sent, Blob);
  assertEquals(sent.size, body.size);
  return sent.stream();
}

Deno.test("bytesSource() gives its bytes once, and none after a cancel", async () => {
  const bytes = generatedBytes(1, 10);
  const source = bytesSource(bytes);
  assertStrictEquals(await source.read(), bytes);
  assertEquals(await source.read(), undefined);
  assertEquals(await bytesSource(new Uint8Array()).read(), undefined);
  const cancelled = bytesSource(bytes);
  cancelled.cancel("over");
  assertEquals(await cancelled.read(), undefined);
});

Deno.test("UploadBody gives all bytes of its source, counts them, and ends with the last one", async () => {
  const source = new PieceSource([10, 20, 5]);
  const body = new UploadBody(source, 35);
  assert(!body.isComplete);
  const bytes = await readAll(streamOf(body));
  assertEquals(
    bytes,
    new Uint8Array([...generatedBytes(0, 10), ...generatedBytes(1, 20), ...generatedBytes(2, 5)]),
  );
  assertEquals([body.sent, body.isComplete], [35, true]);
  // A source that is kept open after its last byte must not keep the request open.
  assertEquals(source.reads, 3);
  assertEquals([body.sourceFailure, source.cancelled], [undefined, []]);
});

Deno.test("UploadBody fails when its source gives fewer bytes or more", async () => {
  for (const [sizes, why] of [[[10], "got 10"], [[10, 20], "got more"], [[], "got 0"]] as const) {
    const source = new PieceSource(sizes);
    const body = new UploadBody(source, 25);
    const error = await assertRejects(
      () => readAll(streamOf(body)),
      LengthError,
      `expected 25 bytes, ${why}`,
    );
    assertStrictEquals(body.sourceFailure, error);
    assertEquals(source.cancelled, [error]);
    assert(!body.isComplete);
  }
});

Deno.test("UploadBody keeps the source's own failure", async () => {
  const failure = new Error("source broke");
  const body = new UploadBody(new PieceSource([10], failure), 25);
  assertStrictEquals(await assertRejects(() => readAll(streamOf(body))), failure);
  assertStrictEquals(body.sourceFailure, failure);
  assertEquals(body.sent, 10);
});

Deno.test("UploadBody.kill() fails the body, lets go of the source, and does so once", async () => {
  const source = new PieceSource([10, 10]);
  const body = new UploadBody(source, 20);
  const reader = streamOf(body).getReader();
  await reader.read();
  const reason = new Error("over");
  body.kill(reason);
  body.kill(new Error("again"));
  assertStrictEquals(await assertRejects(() => reader.read()), reason);
  assertEquals(source.cancelled, [reason]);
  assertEquals(body.sourceFailure, undefined);
});

Deno.test("UploadBody.kill() while the source is being read drops what still comes", async () => {
  const { promise, resolve } = Promise.withResolvers<Bytes>();
  let isCancelled = false;
  const body = new UploadBody({ read: () => promise, cancel: () => isCancelled = true }, 20);
  const reader = streamOf(body).getReader();
  const read = assertRejects(() => reader.read(), Error, "over");
  await settle();
  assert(body.isReading);
  body.kill(new Error("over"));
  resolve(generatedBytes(1, 20));
  await read;
  await settle();
  assertEquals([body.sent, isCancelled, body.isReading], [0, true, false]);
});

Deno.test("UploadBody.kill() does nothing to a body that is complete", async () => {
  const source = new PieceSource([10]);
  const body = new UploadBody(source, 10);
  await readAll(streamOf(body));
  body.kill(new Error("late"));
  assertEquals(source.cancelled, []);
});

Deno.test("UploadBody lets go of the source when the runtime cancels the body", async () => {
  const source = new PieceSource([10, 10]);
  const reader = streamOf(new UploadBody(source, 20)).getReader();
  await reader.read();
  await reader.cancel("gone");
  assertEquals(source.cancelled, ["gone"]);
});

Deno.test("UploadBody of no bytes is sent as an empty array and reads nothing", () => {
  const source = new PieceSource([]);
  const body = new UploadBody(source, 0);
  assertEquals(body.init().body, new Uint8Array());
  assert(body.isComplete);
  assertEquals(source.reads, 0);
});

Deno.test("UploadBody cannot be sent twice by a redirect that is replayed", () => {
  const sent = new UploadBody(new PieceSource([5]), 5).init().body;
  assertInstanceOf(sent, Blob);
  sent.stream();
  let message = "";
  try {
    sent.stream();
  } catch (error) {
    message = error instanceof TypeError ? error.message : "";
  }
  assertEquals(message, "Cannot send a streaming body twice");
});
