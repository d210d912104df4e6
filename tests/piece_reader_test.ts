/** How much is asked of a body at once: of one that fills buffers, of one that does not, of slow lines. */

import { assertEquals, assertRejects } from "@std/assert";
import { BufferPool } from "../src/registry/stream/buffer_pool.ts";
import type { SourceResponse } from "../src/registry/fetch.ts";
import {
  openPieceReader,
  type PieceReader,
  type PieceReaderOptions,
} from "../src/registry/stream/piece_reader.ts";
import { withFakeTime } from "./fake_time.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** What a reader asked for: bytes at most and bytes at least, in KiB (1 byte is 0). */
type Asked = [size: number, min: number];

/** A body and what is asked of it. */
interface TestBody {
  response: SourceResponse;
  asked: Asked[];
}

/**
 * A body that answers each request with as many bytes as `give` says, of as many as are asked for; 0 is its end.
 *
 * @param give Throws to fail the body.
 */
function testBody(give: (wanted: number) => number, fillsBuffers?: boolean): TestBody {
  const body: SourceResponse["body"] = new ReadableStream({
    type: "bytes",
    pull: (controller: ReadableByteStreamController) => {
      const request = controller.byobRequest;
      const count = give(request?.view?.byteLength ?? 0);
      if (count === 0) controller.close();
      request?.respond(count);
    },
  });
  const asked: Asked[] = [];
  const getReader = body.getReader.bind(body) as (options: { mode: "byob" }) => ReadableStreamBYOBReader;
  const noting = (options: { mode: "byob" }) => {
    const reader = getReader(options);
    const read = reader.read.bind(reader);
    reader.read = (view, readOptions) => {
      asked.push([view.byteLength / KIB, Math.floor((readOptions?.min ?? 0) / KIB)]);
      return read(view, readOptions);
    };
    return reader;
  };
  Object.defineProperty(body, "getReader", { value: noting });
  const response = { body, ...(fillsBuffers === true ? { interrupt: () => {} } : {}) };
  return { response: response as SourceResponse, asked };
}

function open(response: SourceResponse, options: Partial<PieceReaderOptions> = {}): PieceReader {
  const reader = openPieceReader(response, {
    size: -1,
    isSlow: false,
    buffers: new BufferPool(),
    ...options,
  });
  if (reader === undefined) throw new Error("there is no body");
  return reader;
}

/** What is asked for in so many reads of a body. */
async function askedOf({ response, asked }: TestBody, reads: number, options?: Partial<PieceReaderOptions>) {
  const reader = open(response, options);
  for (let read = 0; read < reads; read++) await reader.read();
  return asked;
}

Deno.test("openPieceReader() asks for more and more of a body that fills buffers, up to 1 MiB", async () => {
  const body = testBody((wanted) => wanted, true);
  const sizes: Asked[] = [[64, 0], [128, 0], [256, 0], [512, 0], [1024, 0], [1024, 0]];
  assertEquals(await askedOf(body, 6), sizes);
  // Full pieces come anyway, so no size makes it wait for them.
  assertEquals(await askedOf(testBody((wanted) => wanted, true), 6, { size: 1024 * MIB }), sizes);
});

Deno.test("openPieceReader() asks for less where much of a piece stays empty, down to 64 KiB", async () => {
  let share = 1;
  const body = testBody((wanted) => Math.ceil(wanted * share), true);
  const reader = open(body.response);
  const sizesAfter = async (next: number, reads: number) => {
    share = next;
    body.asked.length = 0;
    for (let read = 0; read < reads; read++) await reader.read();
    return body.asked.map(([size]) => size);
  };
  assertEquals(await sizesAfter(1, 4), [64, 128, 256, 512]);
  assertEquals(await sizesAfter(0.75, 3), [1024, 1024, 1024]);
  assertEquals(await sizesAfter(0.5, 2), [1024, 1024]);
  assertEquals(await sizesAfter(0.4, 6), [1024, 512, 256, 128, 64, 64]);
  assertEquals(await sizesAfter(1, 2), [64, 128]);
});

Deno.test("openPieceReader() waits for 512 KiB of a plain body of 64 MiB, and takes shorter ones as they come", async () => {
  const plain = () => testBody((wanted) => Math.min(wanted, 64 * KIB));
  const whole: Asked[] = [[512, 512], [512, 512]];
  const asTheyCome: Asked[] = [[64, 0], [64, 0]];
  assertEquals(await askedOf(plain(), 2, { size: 64 * MIB }), whole);
  assertEquals(await askedOf(plain(), 2, { size: 1024 * MIB }), whole);
  assertEquals(await askedOf(plain(), 2, { size: 64 * MIB - 1 }), asTheyCome);
  assertEquals(await askedOf(plain(), 2), asTheyCome);
  assertEquals(await askedOf(plain(), 2, { size: 64 * MIB, isSlow: true }), asTheyCome);
  assertEquals(
    await askedOf(testBody((wanted) => Math.min(wanted, 64 * KIB), false), 2, { size: 64 * MIB }),
    whole,
  );
});

Deno.test("openPieceReader() takes a plain body as it comes once a piece took over a second, to come or to be taken", () =>
  withFakeTime(async (pass) => {
    for (const isLateBy of ["source", "taker"]) {
      let delay = 0;
      const body = testBody((wanted) => {
        pass(delay);
        delay = 0;
        return wanted;
      });
      const reader = open(body.response, { size: 64 * MIB });
      const readAfter = async (milliseconds: number) => {
        if (isLateBy === "source") delay = milliseconds;
        else pass(milliseconds);
        await reader.read();
      };
      // Nobody is slow before the first piece is there.
      await readAfter(isLateBy === "source" ? 1000 : 5000);
      await readAfter(1000);
      await readAfter(1001);
      await readAfter(0);
      await readAfter(0);
      const isSmallFrom = body.asked.findIndex(([size]) => size === 64);
      // What came late is noticed afterwards.
      assertEquals(isSmallFrom, isLateBy === "source" ? 3 : 2, isLateBy);
      assertEquals(body.asked.slice(isSmallFrom).every(([size, min]) => size === 64 && min === 0), true);
    }
  }));

Deno.test("openPieceReader() asks for 64 KiB after a second, and grows again when the line is fast again", () =>
  withFakeTime(async (pass) => {
    let delay = 0;
    const body = testBody((wanted) => {
      pass(delay);
      delay = 0;
      return wanted;
    }, true);
    const reader = open(body.response);
    for (let read = 0; read < 3; read++) await reader.read();
    pass(1001);
    for (let read = 0; read < 3; read++) await reader.read();
    delay = 1001;
    for (let read = 0; read < 3; read++) await reader.read();
    const sizes = body.asked.map(([size]) => size);
    assertEquals(sizes, [64, 128, 256, 64, 128, 256, 512, 64, 128]);
  }));

Deno.test("openPieceReader() begins small on a line that is known to break, and grows", async () => {
  const body = testBody((wanted) => wanted, true);
  assertEquals(await askedOf(body, 3, { size: 64 * MIB, isSlow: true }), [[64, 0], [128, 0], [256, 0]]);
});

Deno.test("openPieceReader() gives every byte up to the end, also where it waits for more than there is", async () => {
  for (const fillsBuffers of [true, false]) {
    for (const size of [64 * MIB, -1]) {
      const bytes = Uint8Array.from({ length: 700_000 }, (_, index) => index * 31 >> 4);
      const { body } = new Response(new Blob([bytes]));
      const reader = open({ body, ...(fillsBuffers && { interrupt: () => {} }) } as SourceResponse, { size });
      const pieces: Uint8Array<ArrayBuffer>[] = [];
      for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) {
        pieces.push(piece);
      }
      const whole = new Uint8Array(await new Blob(pieces).arrayBuffer());
      assertEquals(whole.length, bytes.length);
      assertEquals(whole.every((byte, index) => byte === bytes[index]), true);
      assertEquals(await reader.read(), undefined);
    }
  }
});

Deno.test("openPieceReader() reads into memory that came back", async () => {
  for (const fillsBuffers of [true, false]) {
    const counts = [64 * KIB, 3, 3];
    const { response } = testBody(() => counts.shift() ?? 0, fillsBuffers);
    const buffers = new BufferPool();
    const reader = open(response, { buffers });
    const first = await reader.read() ?? new Uint8Array();
    first.fill(7);
    buffers.give(first.buffer);
    // After a full piece it asks for more than came back, once.
    if (fillsBuffers) await reader.read();
    const piece = await reader.read() ?? new Uint8Array();
    assertEquals([piece.length, new Uint8Array(piece.buffer)[99]], [3, 7], `${fillsBuffers}`);
  }
});

Deno.test("openPieceReader() takes what comes from a body that reads into no buffer", async () => {
  const pieces = [Uint8Array.of(1, 2), Uint8Array.of(3)];
  const reasons: unknown[] = [];
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: (controller) => {
      const piece = pieces.shift();
      if (piece === undefined) controller.close();
      else controller.enqueue(piece);
    },
    cancel: (reason) => void reasons.push(reason),
  });
  const reader = open({ body } as SourceResponse, { size: 64 * MIB });
  assertEquals(await reader.read(), Uint8Array.of(1, 2));
  assertEquals(await reader.read(), Uint8Array.of(3));
  assertEquals(await reader.read(), undefined);
  assertEquals(
    openPieceReader({ body: null } as SourceResponse, {
      size: 0,
      isSlow: false,
      buffers: new BufferPool(),
    }),
    undefined,
  );
});

Deno.test("openPieceReader() fails as the body does, and lets go of it with the reason it is given", async () => {
  for (const fillsBuffers of [true, false]) {
    const broken = testBody(() => {
      throw new RangeError("broken");
    }, fillsBuffers);
    await assertRejects(() => open(broken.response).read(), RangeError, "broken");
  }
  for (const type of ["bytes", undefined] as const) {
    const reasons: unknown[] = [];
    const source = { type, cancel: (reason: unknown) => void reasons.push(reason) };
    const body = new ReadableStream(source as UnderlyingDefaultSource<Uint8Array<ArrayBuffer>>);
    await open({ body } as SourceResponse).cancel("enough");
    assertEquals(reasons, ["enough"]);
  }
});
