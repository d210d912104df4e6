/** Tests of the stream helpers, which must hold for the linked and for the genuine `@std/streams`. */

import { assertEquals, assertRejects } from "@std/assert";
import { LimitedBytesTransformStream, TextLineStream, toBytes, toJson, toText } from "@std/streams";

function bytesOf(...chunks: number[][]): ReadableStream<Uint8Array> {
  return ReadableStream.from(chunks.map((chunk) => new Uint8Array(chunk)));
}

async function linesOf(chunks: string[], options?: { allowCR?: boolean }): Promise<string[]> {
  return await Array.fromAsync(ReadableStream.from(chunks).pipeThrough(new TextLineStream(options)));
}

Deno.test("LimitedBytesTransformStream passes on what fits exactly", async () => {
  const stream = bytesOf([1, 2], [3, 4]).pipeThrough(new LimitedBytesTransformStream(4));
  assertEquals(await toBytes(stream), new Uint8Array([1, 2, 3, 4]));
});

Deno.test("LimitedBytesTransformStream ends before the chunk that is too much", async () => {
  const stream = bytesOf([1, 2], [3, 4], [5]).pipeThrough(new LimitedBytesTransformStream(3));
  assertEquals(await toBytes(stream), new Uint8Array([1, 2]));
});

Deno.test("LimitedBytesTransformStream throws a RangeError when asked to", async () => {
  const stream = bytesOf([1, 2], [3, 4]).pipeThrough(new LimitedBytesTransformStream(3, { error: true }));
  await assertRejects(() => toBytes(stream), RangeError, "Exceeded byte size limit of '3'");
});

Deno.test("LimitedBytesTransformStream cancels its source", async () => {
  const reasons: unknown[] = [];
  const source = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(2)),
    cancel: (reason) => void reasons.push(reason),
  });
  const stream = source.pipeThrough(new LimitedBytesTransformStream(5, { error: true }));
  await assertRejects(() => toBytes(stream), RangeError);
  assertEquals(reasons.length, 1);
});

Deno.test("toBytes() joins chunks and gives no bytes for an empty stream", async () => {
  assertEquals(await toBytes(bytesOf([1], [], [2, 3])), new Uint8Array([1, 2, 3]));
  assertEquals(await toBytes(bytesOf()), new Uint8Array());
});

Deno.test("toBytes() passes on the error of the stream", async () => {
  const stream = new ReadableStream<Uint8Array>({ pull: () => Promise.reject(new RangeError("broken")) });
  await assertRejects(() => toBytes(stream), RangeError, "broken");
});

Deno.test("toText() joins texts, and characters cut in two", async () => {
  assertEquals(await toText(ReadableStream.from(["a", "", "b"])), "ab");
  assertEquals(await toText(bytesOf([0x61, 0xe2, 0x82], [0xac, 0x62])), "a€b");
});

Deno.test("toJson() parses texts and bytes", async () => {
  assertEquals(await toJson(ReadableStream.from(['{"a":', "1}"])), { a: 1 });
  assertEquals(await toJson(bytesOf([0x5b], [0x5d])), []);
  await assertRejects(() => toJson(ReadableStream.from(["{"])), SyntaxError);
});

Deno.test("TextLineStream cuts at both line ends, wherever the chunks end", async () => {
  assertEquals(await linesOf(["a\nb\r\nc"]), ["a", "b", "c"]);
  assertEquals(await linesOf(["a\r", "\nb", "c\n", "\n", "d"]), ["a", "bc", "", "d"]);
});

Deno.test("TextLineStream passes on no empty line at the end", async () => {
  assertEquals(await linesOf(["a\n"]), ["a"]);
  assertEquals(await linesOf([""]), []);
  assertEquals(await linesOf(["\n\n"]), ["", ""]);
});

Deno.test("TextLineStream cuts at a lone carriage return only when allowed", async () => {
  assertEquals(await linesOf(["a\rb\nc"]), ["a\rb", "c"]);
  assertEquals(await linesOf(["a\rb\r", "\nc\r", "d"], { allowCR: true }), ["a", "b", "c", "d"]);
});

Deno.test("TextLineStream joins a line of many chunks", async () => {
  const chunks = [...Array<string>(1_000).fill("ab"), "\nend"];
  assertEquals(await linesOf(chunks), ["ab".repeat(1_000), "end"]);
});
