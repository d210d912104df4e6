/** A connection, over a wire that gives exactly the packets it is told: heads, bodies in every framing, what is left for another. */

import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import type { Duplex } from "../src/machine/network/duplex.ts";
import { HttpConnection } from "../src/machine/network/http_connection.ts";
import { HttpSyntaxError } from "../src/machine/network/http_head.ts";
import { withFakeTime } from "./fake_time.ts";

type Packet = string | Uint8Array | Error;

/** A wire that gives its packets one a read, and then ends. */
class FakeWire implements Duplex {
  written = "";
  closes = 0;
  reads = 0;
  readonly #packets: Packet[];
  readonly #onRead: () => void;

  constructor(packets: readonly Packet[], onRead: () => void = () => {}) {
    this.#packets = [...packets];
    this.#onRead = onRead;
  }

  async read(into: Uint8Array): Promise<number | null> {
    await Promise.resolve();
    this.reads++;
    this.#onRead();
    const packet = this.#packets.shift();
    if (packet instanceof Error) throw packet;
    if (packet === undefined) return null;
    const bytes = typeof packet === "string" ? latin1(packet) : packet;
    into.set(bytes.subarray(0, into.length));
    if (bytes.length > into.length) this.#packets.unshift(bytes.subarray(into.length));
    return Math.min(bytes.length, into.length);
  }

  /** Takes three bytes at a time. */
  write(bytes: Uint8Array): Promise<number> {
    this.written += String.fromCharCode(...bytes.subarray(0, 3));
    return Promise.resolve(Math.min(3, bytes.length));
  }

  close(): void {
    this.closes++;
    if (this.closes > 1) throw new Deno.errors.BadResource("closed twice");
  }
}

function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Text of which no two places near each other are alike. */
function longText(size: number): string {
  return Array.from({ length: size }, (_, index) => String.fromCharCode((index * 7919 >> 3) & 0xff)).join("");
}

function chunked(text: string, size: number): string {
  const chunks: string[] = [];
  for (let at = 0; at < text.length; at += size) {
    const chunk = text.slice(at, at + size);
    chunks.push(`${chunk.length.toString(16)}\r\n${chunk}\r\n`);
  }
  return `${chunks.join("")}0\r\n\r\n`;
}

type Read = () => Promise<{ done: boolean; value?: Uint8Array<ArrayBuffer> | undefined }>;
type Body = ReadableStream<Uint8Array<ArrayBuffer>>;

/** Every way of reading a body. */
const READERS: Record<string, (body: Body) => Read> = {
  default: (body) => {
    const reader = body.getReader();
    return () => reader.read();
  },
  byob: (body) => {
    const reader = body.getReader({ mode: "byob" });
    return () => reader.read(new Uint8Array(7000));
  },
  "byob with min": (body) => {
    const reader = body.getReader({ mode: "byob" });
    return () => reader.read(new Uint8Array(7000), { min: 7000 });
  },
};

/** What came of an answer. */
interface Outcome {
  text: string;
  error: unknown;
  releases: boolean[];
  wire: FakeWire;
}

/** Reads the head and the whole body of an answer. */
async function answerOf(
  packets: readonly Packet[],
  open = READERS.default,
  method = "GET",
): Promise<Outcome> {
  const outcome: Outcome = { text: "", error: undefined, releases: [], wire: new FakeWire(packets) };
  const connection = new HttpConnection(outcome.wire);
  try {
    const head = await connection.readHead();
    const body = connection.body(method, head, (isReusable) => outcome.releases.push(isReusable));
    const read = body === null ? undefined : open?.(body);
    for (let isDone = read === undefined; !isDone;) {
      const { done, value } = await read?.() ?? { done: true };
      outcome.text += Array.from(value ?? [], (byte) => String.fromCharCode(byte)).join("");
      isDone = done;
    }
  } catch (error) {
    outcome.error = error;
  }
  return outcome;
}

function readHead(...packets: Packet[]) {
  return new HttpConnection(new FakeWire(packets)).readHead();
}

Deno.test("readHead() understands a head however it is cut into packets, and lines without a carriage return", async () => {
  for (const text of ["HTTP/1.1 200 OK\r\na: b\r\n\r\n", "HTTP/1.1 200 OK\na: b\n\n"]) {
    for (const packets of [[text], [...text], [text.slice(0, 16), text.slice(16)]]) {
      const { status, headers } = await readHead(...packets);
      assertEquals([status, [...headers]], [200, [["a", "b"]]]);
    }
  }
});

Deno.test("readHead() passes over interim answers, but not over a change of protocol", async () => {
  const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
  const { status, headers } = await readHead(`${interim}HTTP/1.1 201 Created\r\na: b\r\n\r\n`);
  assertEquals([status, [...headers]], [201, [["a", "b"]]]);
  assertEquals((await readHead(`HTTP/1.1 101 Switching Protocols\r\n\r\n${interim}`)).status, 101);
});

Deno.test("readHead() refuses a head of more than 64 KiB, and takes one that is almost as large", async () => {
  const start = "HTTP/1.1 200 OK\r\n";
  const line = `a: ${"b".repeat(1021)}\r\n`;
  assertEquals((await readHead(`${start}a: ${"b".repeat(65_000)}\r\n\r\n`)).status, 200);
  assertEquals((await readHead(`${start}${line.repeat(63)}\r\n`)).status, 200);
  const tooLong = [
    `${start}a: ${"b".repeat(66_000)}\r\n\r\n`,
    `${start}${line.repeat(65)}\r\n`,
    // A line that never ends is not waited for.
    "b".repeat(1_000_000),
  ];
  for (const text of tooLong) {
    const wire = new FakeWire([text]);
    const reading = new HttpConnection(wire).readHead();
    await assertRejects(() => reading, HttpSyntaxError, "its head has more than 65536 bytes");
    assert(wire.reads < 10, `${wire.reads} reads`);
  }
});

Deno.test("readHead() fails when the connection ends before the head does", async () => {
  for (const text of ["", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"]) {
    await assertRejects(() => readHead(text), Error, "unexpected EOF");
  }
  const reset = new Deno.errors.ConnectionReset("reset");
  assertEquals(await assertRejects(() => readHead("HTTP/1.1 200 OK\r\n", reset)), reset);
});

Deno.test("body() gives every byte to every reader, in every framing, however they are cut into packets", async () => {
  const text = longText(20_000);
  const answers = {
    sized: `HTTP/1.1 200 OK\r\ncontent-length: 20000\r\n\r\n${text}`,
    chunked: `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunked(text, 777)}`,
    "until close": `HTTP/1.1 200 OK\r\n\r\n${text}`,
  };
  for (const [framing, answer] of Object.entries(answers)) {
    const head = answer.indexOf("\r\n\r\n") + 4;
    // The second mixes the head with the body's first bytes.
    const cuts = [[answer], [answer.slice(0, head + 9), answer.slice(head + 9)], [...answer]];
    for (const [reader, open] of Object.entries(READERS)) {
      for (const packets of cuts) {
        const outcome = await answerOf(packets, open);
        assertEquals(outcome.error, undefined);
        assert(outcome.text === text, `${framing}, ${reader}, ${packets.length} packets`);
        // An end of chunks that comes later is not waited for.
        const isReusable = framing === "sized" || framing === "chunked" && packets.length < text.length;
        assertEquals(outcome.releases, [isReusable]);
      }
    }
  }
});

Deno.test("body() is null where there is none, and the connection serves another at once", async () => {
  const empty: [string, string][] = [
    ["HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"],
    ["GET", "HTTP/1.1 204 No Content\r\n\r\n"],
    ["GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"],
    ["PUT", "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"],
  ];
  for (const [method, answer] of empty) {
    const connection = new HttpConnection(new FakeWire([answer, "HTTP/1.1 200 Next\r\n\r\n"]));
    const releases: boolean[] = [];
    const head = await connection.readHead();
    assertEquals(connection.body(method, head, (isReusable) => releases.push(isReusable)), null);
    assertEquals(releases, [true]);
    assertEquals((await connection.readHead()).statusText, "Next");
  }
});

Deno.test("body() says that a connection cannot be used again when its end is not sure or something is left on it", async () => {
  const answers = [
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\na: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 Evil\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 Evil\r\n\r\n",
  ];
  for (const answer of answers) {
    const { text, releases, error } = await answerOf([answer]);
    assertEquals([text, releases, error], ["ok", [false], undefined], answer);
  }
  const { releases } = await answerOf(["HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 Evil\r\n\r\n"]);
  assertEquals(releases, [false]);
});

Deno.test("body() is null for 205, after which nobody knows what comes", async () => {
  const { text, releases } = await answerOf(["HTTP/1.1 205 Reset\r\ncontent-length: 4\r\n\r\n", "evil"]);
  assertEquals([text, releases], ["", [false]]);
});

Deno.test("body() gives the bytes that came before a connection broke, and then fails", async () => {
  const starts = {
    sized: "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf",
    chunked: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\nhalf",
    "between chunks": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "in a chunk's size": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n1",
  };
  const reset = new Deno.errors.ConnectionReset("reset");
  for (const [where, start] of Object.entries(starts)) {
    for (const open of [READERS.default, READERS.byob]) {
      for (const packets of [[start], [...start]]) {
        const ended = await answerOf(packets, open);
        assertEquals([ended.text, ended.releases], ["half", [false]], where);
        assertStringIncludes(String(ended.error), "unexpected EOF", where);
        const broken = await answerOf([...packets, reset], open);
        assertEquals([broken.text, broken.releases, broken.error], ["half", [false], reset], where);
      }
    }
  }
});

Deno.test("body() hands on what a buffer was filled with when the connection breaks, and then fails", async () => {
  const head = "HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n";
  const reset = new Deno.errors.ConnectionReset("reset");
  const connection = new HttpConnection(new FakeWire([head, "p".repeat(16 * 1024), reset]));
  const releases: boolean[] = [];
  const answer = await connection.readHead();
  const body = connection.body("GET", answer, (isReusable) => releases.push(isReusable));
  const reader = body?.getReader({ mode: "byob" });
  assertEquals((await reader?.read(new Uint8Array(64 * 1024)))?.value?.length, 16 * 1024);
  assertEquals(releases, []);
  assertEquals(await assertRejects(async () => await reader?.read(new Uint8Array(9))), reset);
  assertEquals(releases, [false]);
});

Deno.test("body() fails a reader that waits for more bytes than come, instead of calling it the end", async () => {
  for (const framing of ["content-length: 20\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n8\r\nhalf"]) {
    const { releases, error } = await answerOf([`HTTP/1.1 200 OK\r\n${framing}`], READERS["byob with min"]);
    assertStringIncludes(String(error), "unexpected EOF");
    assertEquals(releases, [false]);
  }
});

Deno.test("body() fails when a body that ends with the connection is reset", async () => {
  const reset = new Deno.errors.ConnectionReset("reset");
  const { text, error } = await answerOf(["HTTP/1.1 200 OK\r\n\r\nhalf", reset]);
  assertEquals([text, error], ["half", reset]);
});

Deno.test("body() refuses chunks that are not as they should be", async () => {
  const bodies: [string, string][] = [
    ["half\r\n", "a chunk has no size"],
    ["\r\n4\r\nhalf\r\n0\r\n\r\n", "a chunk has no size"],
    ["4\r\nhalf0\r\n\r\n", "a chunk has no end"],
    ["4\r\nhalf!\r\n0\r\n\r\n", "a chunk has no end"],
    ["4\r\nhalf\r\n-1\r\n", "a chunk has no size"],
    [`4;${"n".repeat(70_000)}\r\nhalf\r\n0\r\n\r\n`, "its head has more than 65536 bytes"],
  ];
  for (const [body, why] of bodies) {
    const packets = [`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${body}`];
    const { error, releases } = await answerOf(packets);
    assertInstanceOf(error, HttpSyntaxError, body.slice(0, 20));
    assertStringIncludes(error.message, why);
    assertEquals(releases, [false]);
  }
});

Deno.test("body() passes over extensions of chunks and the fields after them", async () => {
  const body = "4;name=value\r\nhalf\r\n1 \r\n!\r\n0;last\r\netag: x\r\n\r\n";
  const { text, error } = await answerOf([`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${body}`]);
  assertEquals([text, error], ["half!", undefined]);
});

Deno.test("body() throws what the head says wrong before a stream is made of it", async () => {
  const { error, releases } = await answerOf(["HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"]);
  assertInstanceOf(error, HttpSyntaxError);
  assertEquals(releases, []);
});

Deno.test("body() lets go of the connection when it is cancelled, once", async () => {
  for (const framing of ["content-length: 9", "transfer-encoding: chunked", "a: b"]) {
    const connection = new HttpConnection(new FakeWire([`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n4\r\nhalf`]));
    const releases: boolean[] = [];
    const head = await connection.readHead();
    const body = connection.body("GET", head, (isReusable) => releases.push(isReusable));
    const reader = body?.getReader();
    await reader?.read();
    await reader?.cancel();
    assertEquals(releases, [false], framing);
  }
});

Deno.test("body() fills a reader's buffer out of many packets, for 50 ms", () =>
  withFakeTime(async (pass) => {
    const packet = "p".repeat(16 * 1024);
    const piecesOf = async (duration: number) => {
      const head = `HTTP/1.1 200 OK\r\ncontent-length: ${8 * packet.length}\r\n\r\n`;
      const wire = new FakeWire([head, ...Array(8).fill(packet)], () => pass(duration));
      const connection = new HttpConnection(wire);
      const body = connection.body("GET", await connection.readHead(), () => {});
      const reader = body?.getReader({ mode: "byob" });
      const pieces: number[] = [];
      for (let length = 1; length > 0;) {
        length = (await reader?.read(new Uint8Array(64 * 1024)))?.value?.length ?? 0;
        if (length > 0) pieces.push(length / packet.length);
      }
      return pieces;
    };
    assertEquals(await piecesOf(0), [4, 4]);
    // The first packet of a piece does not count: how long it took says nothing about the next.
    assertEquals(await piecesOf(30), [3, 3, 2]);
    assertEquals(await piecesOf(60), [2, 2, 2, 2]);
  }));

Deno.test("body() hands on what has come when nothing more does", async () => {
  const never = Promise.withResolvers<void>();
  const wire = new FakeWire(["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"]);
  const read = wire.read.bind(wire);
  wire.read = async (into) => {
    const count = await read(into);
    if (count === null) await never.promise;
    return count;
  };
  const connection = new HttpConnection(wire);
  const body = connection.body("GET", await connection.readHead(), () => {});
  const reader = body?.getReader({ mode: "byob" });
  assertEquals((await reader?.read(new Uint8Array(7000)))?.value, latin1("half"));
  never.resolve();
});

Deno.test("write() writes everything to a wire that takes little at a time", async () => {
  const wire = new FakeWire([]);
  await new HttpConnection(wire).write(latin1("twenty-one characters"));
  assertEquals(wire.written, "twenty-one characters");
});

Deno.test("close() closes the wire once, and forgives one that is closed already", () => {
  const wire = new FakeWire([]);
  const connection = new HttpConnection(wire);
  connection.close();
  connection.close();
  assertEquals(wire.closes, 1);
  new HttpConnection(wire).close();
  assertEquals(wire.closes, 2);
});

Deno.test("close() makes a read that waits for more give what has come, and the next one fail", async () => {
  const closed = Promise.withResolvers<never>();
  const isWaiting = Promise.withResolvers<void>();
  const packets = ["HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n", longText(16 * 1024)];
  const wire: Duplex = {
    read: (into) => {
      const packet = packets.shift();
      if (packet === undefined) {
        isWaiting.resolve();
        return closed.promise;
      }
      into.set(latin1(packet));
      return Promise.resolve(packet.length);
    },
    write: (bytes) => Promise.resolve(bytes.length),
    close: () => closed.reject(new Deno.errors.Interrupted("closed")),
  };
  const connection = new HttpConnection(wire);
  const body = connection.body("GET", await connection.readHead(), () => {});
  const reader = body?.getReader({ mode: "byob" });
  const reading = reader?.read(new Uint8Array(50_000));
  await isWaiting.promise;
  connection.close();
  assertEquals((await reading)?.value, latin1(longText(16 * 1024)));
  await assertRejects(async () => await reader?.read(new Uint8Array(50_000)), Deno.errors.Interrupted);
});
