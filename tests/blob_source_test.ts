/** Tests of reading one blob, and of going on where it broke off. */

import { assert, assertEquals, assertMatch, assertRejects, assertStrictEquals } from "@std/assert";
import { BlobSource } from "../src/registry/repository/blob_source.ts";
import { AuthError, RegistryError } from "../src/registry/registry_error.ts";
import type { RegistriesOptions, RegistryEvent } from "../src/registry/request.ts";
import { Registries } from "../src/registry/registries.ts";
import { FakeClock } from "./fake_clock.ts";
import { type RawHandler, RawServer } from "./raw_server.ts";
import {
  type BlobContent,
  bytesContent,
  createRegistry,
  generatedBytes,
  type RegistryOptions,
  type TestRegistry,
} from "./registry.ts";
import { concatenate } from "./registry/blob_content.ts";

const BYTES = generatedBytes(4, 300_000);
const BLOB = bytesContent(BYTES);

interface Setup {
  source: BlobSource;
  clock: FakeClock;
  events: RegistryEvent[];
}

function openSource(
  host: string,
  options: RegistriesOptions & { size?: number; offset?: number; blob?: BlobContent; data?: string } = {},
): Setup {
  const { size, offset = 0, blob = BLOB, data, ...rest } = options;
  const clock = new FakeClock();
  const events: RegistryEvent[] = [];
  const onEvent = (event: RegistryEvent) => events.push(event);
  const registries = new Registries({ isInsecure: () => true, clock, onEvent, ...rest });
  const repository = registries.open({ registry: host, repository: "a/b" }, "pull");
  const descriptor = {
    mediaType: "x",
    digest: blob.digest,
    size: size ?? blob.size,
    ...data !== undefined && { data },
  };
  return { source: new BlobSource(repository, descriptor, { offset }), clock, events };
}

/** A source whose blob a test registry serves, without sockets. */
function setUp(
  registryOptions: RegistryOptions = {},
  options: Parameters<typeof openSource>[1] = {},
): Setup & { registry: TestRegistry } {
  const registry = createRegistry(registryOptions);
  registry.state.addBlob("a/b", options.blob ?? BLOB);
  const fetchFor = () => registry.fetch;
  return { registry, ...openSource("registry.test", { fetchFor, isInsecure: () => false, ...options }) };
}

async function readAll(source: BlobSource): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let piece = await source.read(); piece !== undefined; piece = await source.read()) pieces.push(piece);
  return concatenate(pieces);
}

/** The range an answer was asked for, from its first byte. */
function startOf(headers: Headers): number {
  return Number(/^bytes=(\d+)-$/.exec(headers.get("range") ?? "")?.[1] ?? 0);
}

/** Serves the blob with ranges and cuts the connection after some bytes of each answer, as often as told. */
function cutting(step: number, cuts: number): RawHandler {
  let left = cuts;
  return async ({ headers, reply, write }) => {
    const start = startOf(headers);
    const range = start > 0 ? `content-range: bytes ${start}-${BYTES.length - 1}/${BYTES.length}\r\n` : "";
    if (left-- <= 0 && start === 0) return await reply(200, {}, BYTES);
    const status = start > 0 ? 206 : 200;
    await write(`HTTP/1.1 ${status} OK\r\n${range}content-length: ${BYTES.length - start}\r\n\r\n`);
    await write(BYTES.subarray(start, left < 0 ? undefined : start + step));
  };
}

/** Answers with fixed bytes and headers. */
function fixed(status: number, headers: Record<string, string>, body: Uint8Array = BYTES): RegistryOptions {
  return {
    intercept: (_request, { kind }) =>
      kind === "blob" ? new Response(body.slice(), { status, headers }) : undefined,
  };
}

async function failureOf(promise: Promise<unknown>): Promise<RegistryError> {
  return await assertRejects(() => promise, RegistryError);
}

Deno.test("BlobSource reads a blob to its end with one request", async () => {
  const { registry, source } = setUp();
  assertEquals(registry.count(), 0);
  assertEquals(await readAll(source), BYTES);
  assertEquals([source.position, source.size, source.repeated], [BYTES.length, BYTES.length, 0]);
  assertEquals(await source.read(), undefined);
  assertEquals(registry.count({ kind: "blob" }), 1);
});

Deno.test("BlobSource.open() learns of a refusal before anything is read", async () => {
  const { source } = setUp({}, { blob: bytesContent(generatedBytes(1, 10)) });
  await source.open();
  await source.open();
  source.cancel("enough");
  const missing = openSource("registry.test", {
    fetchFor: () => createRegistry().fetch,
    isInsecure: () => false,
  });
  const error = await failureOf(missing.source.open());
  assertEquals([error.status, error.isPermanent], [404, true]);
});

Deno.test("BlobSource reads an empty blob without asking", async () => {
  const { registry, source } = setUp({}, { blob: bytesContent(new Uint8Array()) });
  assertEquals(await source.read(), undefined);
  assertEquals(registry.count({ kind: "blob" }), 0);
});

Deno.test("BlobSource starts at an offset", async () => {
  const { registry, source } = setUp({}, { offset: 299_000 });
  assertEquals(await readAll(source), BYTES.slice(299_000));
  assertEquals(registry.requests.at(-1)?.range, "bytes=299000-");
});

Deno.test("BlobSource takes the size from the registry where the manifest does not say it", async () => {
  const { source } = setUp({}, { size: -1 });
  assertEquals(source.size, -1);
  await source.open();
  assertEquals(source.size, BYTES.length);
  assertEquals(await readAll(source), BYTES);
});

Deno.test("BlobSource reads a blob of unknown size to the end of the answer", async () => {
  await using server = new RawServer(async ({ write }) => {
    await write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  });
  const { source } = openSource(server.host, { size: -1 });
  assertEquals(new TextDecoder().decode(await readAll(source)), "hello");
});

Deno.test("BlobSource goes on with Range from the byte that is missing", async () => {
  await using server = new RawServer(cutting(90_000, 3));
  const { source, events, clock } = openSource(server.host);
  assertEquals(await readAll(source), BYTES);
  const ranges = server.requests.map(({ headers }) => startOf(headers));
  assertEquals(ranges.length, 4);
  assert(ranges.every((start, index) => index === 0 || start > (ranges[index - 1] ?? 0)), `${ranges}`);
  assertEquals([source.repeated, clock.waits.length], [0, 3]);
  const [event] = events;
  assert(event?.type === "request-retried");
  assert(/on from byte \d+$/.test(event.action), event.action);
});

Deno.test("BlobSource goes on for as long as bytes come in between", async () => {
  await using server = new RawServer(cutting(10_000, 29));
  const { source } = openSource(server.host, { limits: { attempts: 2 } });
  assertEquals(await readAll(source), BYTES);
  assertEquals(server.requests.length, 30);
});

Deno.test("BlobSource gives up when no byte comes in between", async () => {
  await using server = new RawServer(async ({ headers, write }) => {
    const start = startOf(headers);
    const range = start > 0 ? `content-range: bytes ${start}-299999/300000\r\n` : "";
    await write(`HTTP/1.1 ${start > 0 ? 206 : 200} OK\r\n${range}content-length: ${300_000 - start}\r\n\r\n`);
    if (start === 0) await write(BYTES.subarray(0, 1000));
  });
  const { source } = openSource(server.host);
  const error = await failureOf(readAll(source));
  assertEquals(
    error.message,
    `Cannot read blob "${BLOB.digest}" from "${server.host}/a/b": ` +
      `the connection was closed too early (${server.host})`,
  );
  assertEquals([error.status, error.retry, server.requests.length], [0, "later", 6]);
});

Deno.test("BlobSource skips what it has where a registry does not know Range", async () => {
  let isFirst = true;
  await using server = new RawServer(async ({ write, reply }) => {
    if (!isFirst) return await reply(200, {}, BYTES);
    isFirst = false;
    await write("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n");
    await write(BYTES.subarray(0, 123_456));
  });
  const { source } = openSource(server.host);
  assertEquals(await readAll(source), BYTES);
  assert(source.repeated > 0 && source.repeated <= 123_456, `${source.repeated}`);
  const offset = setUp({ quirks: { noRangeRequests: true } }, { offset: 100_001 });
  assertEquals(await readAll(offset.source), BYTES.slice(100_001));
  assertEquals(offset.source.repeated, 100_001);
});

Deno.test("fault 66: BlobSource reads from the start where a registry gives another range than it was asked for", async () => {
  const ranges = [
    "bytes 0-299999/300000",
    "bytes 101-299999/300000",
    "bytes 100-299999/300001",
    "bytes 100-299999",
    "100-299999",
    "",
  ];
  for (const range of ranges) {
    const { source, registry } = setUp({
      intercept: (request, { kind }) => {
        if (kind !== "blob") return undefined;
        const isWhole = startOf(request.headers) === 0;
        const headers: Record<string, string> = isWhole ? {} : { "content-range": range };
        return new Response(BYTES.slice(), { status: isWhole ? 200 : 206, headers });
      },
    }, { offset: 100 });
    assertEquals(await readAll(source), BYTES.slice(100), range);
    assertEquals([source.repeated, registry.count({ kind: "blob" })], [100, 2]);
  }
  const unsized = setUp(fixed(206, { "content-range": "bytes 100-299999/*" }, BYTES.slice(100)), {
    offset: 100,
  });
  assertEquals(await readAll(unsized.source), BYTES.slice(100));
});

Deno.test("fault 66: BlobSource reads from the start where a registry refuses to go on, and asks it no more", async () => {
  for (const status of [400, 403, 404, 405, 409, 412, 416, 501]) {
    let left = 3;
    const { source, registry } = setUp({
      intercept: (request, { kind }) => {
        if (kind !== "blob") return undefined;
        if (startOf(request.headers) > 0) return new Response(null, { status });
        return new Response(BYTES.slice(0, left-- > 0 ? 300_000 - left * 100_000 : undefined));
      },
    });
    assertEquals(await readAll(source), BYTES, `${status}`);
    assertEquals(registry.requests.filter(({ range }) => range !== undefined).length, 1);
  }
});

Deno.test("BlobSource asks for the rest of a range that ends early", async () => {
  const { source, registry } = setUp({
    intercept: (request, { kind }) => {
      if (kind !== "blob") return undefined;
      const start = startOf(request.headers);
      const end = Math.min(start + 100_000, BYTES.length);
      const headers = { "content-range": `bytes ${start}-${end - 1}/${BYTES.length}` };
      return new Response(BYTES.slice(start, end), { status: start === 0 ? 200 : 206, headers });
    },
  });
  assertEquals(await readAll(source), BYTES);
  assertEquals(registry.count({ kind: "blob" }), 3);
});

Deno.test("fault 53: BlobSource takes a content-encoding for a label where the bytes are those of the blob", async () => {
  for (const encoding of ["x-gzip", "aws-chunked", "binary", "utf-8", "gzip", "br", "identity"]) {
    const { source } = setUp(fixed(200, { "content-encoding": encoding, "content-length": "300000" }));
    assertEquals(await readAll(source), BYTES);
  }
});

Deno.test("fault 53: BlobSource names the encoding where a blob comes compressed", async () => {
  const packed = new Response(new Blob([BYTES]).stream().pipeThrough(new CompressionStream("gzip")));
  const body = await packed.bytes();
  await using server = new RawServer((exchange) => exchange.reply(200, { "content-encoding": "gzip" }, body));
  const { source } = openSource(server.host);
  const error = await failureOf(source.open());
  assert(error.message.endsWith(`announces ${body.length} with content-encoding "gzip"`), error.message);
  assertEquals(server.requests[0]?.headers.get("accept-encoding"), "identity");
  const chunked = setUp(fixed(200, { "content-encoding": "x-gzip" }, generatedBytes(4, 300_010)));
  const late = await failureOf(readAll(chunked.source));
  assert(
    late.message.endsWith(`expected 300000 bytes, got more with content-encoding "x-gzip"`),
    late.message,
  );
});

Deno.test("BlobSource refuses a blob of another size before and after reading it", async () => {
  const announced = setUp(fixed(200, { "content-length": "299999" }));
  const error = await failureOf(announced.source.open());
  assert(error.message.endsWith("expected 300000 bytes, the registry announces 299999"), error.message);
  const longer = setUp(fixed(200, {}, generatedBytes(4, 300_010)));
  const late = await failureOf(readAll(longer.source));
  assertEquals([late.isPermanent, /expected 300000 bytes, got more/.test(late.message)], [true, true]);
});

Deno.test("BlobSource gives up on a blob that is always short", async () => {
  const { source, registry } = setUp({
    intercept: (request, { kind }) => {
      if (kind !== "blob") return undefined;
      const start = startOf(request.headers);
      const headers: Record<string, string> = start > 0
        ? { "content-range": `bytes ${start}-299999/300000` }
        : {};
      return new Response(BYTES.slice(start, 250_000), { status: start > 0 ? 206 : 200, headers });
    },
  });
  const error = await failureOf(readAll(source));
  assert(error.message.endsWith("expected 300000 bytes, got 250000"), error.message);
  assertEquals(registry.count({ kind: "blob" }), 6);
});

Deno.test("fault 66: BlobSource minds no entity tag, for the digest decides", async () => {
  const { source } = setUp({
    intercept: (request, { kind, count }) => {
      if (kind !== "blob") return undefined;
      const start = startOf(request.headers);
      const headers = { etag: `"${count}"`, "content-range": `bytes ${start}-299999/300000` };
      return new Response(BYTES.slice(start, start + 100_000), { status: start > 0 ? 206 : 200, headers });
    },
  });
  assertEquals(await readAll(source), BYTES);
});

Deno.test("BlobSource passes on a registry's refusal to go on and to begin anew", async () => {
  const { source, registry } = setUp({
    intercept: (_request, { kind, count }) => {
      if (kind !== "blob") return undefined;
      return count === 1 ? new Response(BYTES.slice(0, 1000)) : new Response(null, { status: 403 });
    },
  });
  const error = await failureOf(readAll(source));
  assertEquals([error.status, registry.count({ kind: "blob" })], [403, 3]);
});

Deno.test("fault 59: BlobSource takes a blob from its descriptor after a look at its digest", async () => {
  const blob = bytesContent(generatedBytes(1, 1000));
  const data = btoa(String.fromCharCode(...generatedBytes(1, 1000)));
  const { source, registry } = setUp({}, { blob, data });
  await source.open();
  assertEquals([await readAll(source), registry.count()], [generatedBytes(1, 1000), 0]);
  const resumed = setUp({}, { blob, data, offset: 900 });
  assertEquals(await readAll(resumed.source), generatedBytes(1, 1000).slice(900));
  for (const wrong of ["", "no base64!", btoa("other bytes"), data.slice(4)]) {
    const other = setUp({}, { blob, data: wrong });
    assertEquals(await readAll(other.source), generatedBytes(1, 1000));
    assertEquals(other.registry.count({ kind: "blob" }), 1);
  }
});

Deno.test("BlobSource passes a failed login on as it is, and tries it once", async () => {
  const auth = { type: "bearer", users: {}, realm: "ftp://evil.test/" } as const;
  const { source, clock } = setUp({ auth });
  await assertRejects(() => source.read(), AuthError);
  assertEquals(clock.waits, []);
});

Deno.test("BlobSource goes on after a server that stalls", async () => {
  let isFirst = true;
  await using server = new RawServer(async (exchange) => {
    if (!isFirst) return await cutting(0, 0)(exchange);
    isFirst = false;
    await exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n");
    await exchange.write(BYTES.subarray(0, 50_000));
    await exchange.over;
  });
  const { source, events } = openSource(server.host, { limits: { stall: 300 } });
  assertEquals(await readAll(source), BYTES);
  const reasons = events.map((event) => event.type === "request-retried" ? event.reason : "");
  assertEquals(reasons.length, 1);
  assertMatch(reasons[0] ?? "", /^Cannot read blob .*: no answer within [\d.]+ s$/);
});

Deno.test("BlobSource ends with the signal in the middle of a piece", async () => {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  await using server = new RawServer(async ({ write, read }) => {
    await write("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n");
    await write(BYTES.subarray(0, 1000));
    while (await read() !== undefined);
    resolve();
  });
  const controller = new AbortController();
  const { source } = openSource(server.host, { signal: controller.signal });
  assertEquals((await source.read())?.length, 1000);
  const reading = source.read();
  const reason = new Error("enough");
  const abortedAt = performance.now();
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => reading), reason);
  assert(performance.now() - abortedAt < 5000, "it was the limit on stalls that ended it");
  assertStrictEquals(await assertRejects(() => source.read()), reason);
  await gone;
});

Deno.test("BlobSource.cancel() lets go of the connection and reads no more", async () => {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  await using server = new RawServer(async ({ write, read }) => {
    await write("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n");
    await write(BYTES.subarray(0, 1000));
    while (await read() !== undefined);
    resolve();
  });
  const { source } = openSource(server.host);
  await source.read();
  const reason = new Error("over");
  source.cancel(reason);
  source.cancel(new Error("again"));
  assertStrictEquals(await assertRejects(() => source.read()), reason);
  await gone;
  assertEquals(server.requests.length, 1);
});
