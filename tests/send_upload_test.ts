/** Tests of streamed bodies on the wire: their length, early answers, stalls and broken sources. */

import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { type ByteSource, bytesSource, LengthError, UploadBody } from "../src/registry/stream/body.ts";
import { SharedSource } from "../src/registry/stream/shared_source.ts";
import { deadlineFetch, type Fetch, TimeLimitError } from "../src/registry/fetch.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import type { Limits } from "../src/registry/request.ts";
import { Registries } from "../src/registry/registries.ts";
import type { UploadSession } from "../src/registry/repository/upload_session.ts";
import { FakeClock } from "./fake_clock.ts";
import { type RawExchange, type RawHandler, RawServer } from "./raw_server.ts";
import { generatedBytes, generatedContent } from "./registry.ts";

const DIGEST = `sha256:${"1".repeat(64)}`;
const MEBIBYTE = 1024 * 1024;

interface Setup {
  server: RawServer;
  put: (body: UploadBody, signal?: AbortSignal) => Promise<void>;
}

/** A server that handles the PUT of an upload. */
function setUp(handler: RawHandler, limits: Partial<Limits> = {}): Setup {
  const server = new RawServer(handler);
  const registries = new Registries({ isInsecure: () => true, clock: new FakeClock(), limits });
  const repository = registries.open({ registry: server.host, repository: "a/b" }, "pull,push");
  const put = (body: UploadBody, signal?: AbortSignal) => {
    const session = {
      location: `http://${server.host}/v2/a/b/blobs/uploads/1?state=x`,
      chunkMinimum: undefined,
    };
    return repository.putBlob(session satisfies UploadSession, DIGEST, { body, signal });
  };
  return { server, put };
}

/** A source of many pieces that never holds more than one, and knows how many it gave. */
function endless(size: number): ByteSource & { given: () => number; cancelled: unknown[] } {
  let given = 0;
  const cancelled: unknown[] = [];
  return {
    read: () => {
      if (given >= size) return Promise.resolve(undefined);
      const piece = new Uint8Array(Math.min(65_536, size - given));
      given += piece.length;
      return Promise.resolve(piece);
    },
    cancel: (reason) => cancelled.push(reason),
    given: () => given,
    cancelled,
  };
}

/** Gives some bytes and then nothing more, until it is cancelled. */
function stuck(first: number): ByteSource & { cancelled: Promise<unknown> } {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  let isFirst = true;
  return {
    read: () => {
      if (!isFirst) return promise;
      isFirst = false;
      return Promise.resolve(new Uint8Array(first));
    },
    cancel: () => resolve(undefined),
    cancelled: promise,
  };
}

async function readCount({ read }: RawExchange, count: number): Promise<number> {
  let received = 0;
  while (received < count) {
    const piece = await read();
    if (piece === undefined) break;
    received += piece.length;
  }
  return received;
}

Deno.test("putBlob() sends a stream with its true Content-Length and never in chunks", async () => {
  const received: number[] = [];
  const { server, put } = setUp(async (exchange) => {
    received.push(await readCount(exchange, Number(exchange.headers.get("content-length"))));
    await exchange.reply(201);
  });
  await using _ = server;
  for (const size of [1, 5000, 3 * MEBIBYTE + 17]) await put(new UploadBody(endless(size), size));
  await put(new UploadBody(endless(0), 0));
  const lengths = server.requests.map(({ headers }) => headers.get("content-length"));
  assertEquals(lengths, ["1", "5000", "3145745", "0"]);
  assertEquals(received, [1, 5000, 3_145_745, 0]);
  for (const { headers, method, path } of server.requests) {
    assertEquals(headers.get("transfer-encoding"), null);
    assertEquals(headers.get("content-type"), "application/octet-stream");
    assertEquals([method, path], [
      "PUT",
      `/v2/a/b/blobs/uploads/1?state=x&digest=${encodeURIComponent(DIGEST)}`,
    ]);
  }
});

Deno.test("putBlob() sends each branch of a fan-out byte by byte", async () => {
  const content = generatedContent(7, 700_001);
  const bodies: Uint8Array[] = [];
  const { server, put } = setUp(async (exchange) => {
    const whole = new Uint8Array(content.size);
    let offset = 0;
    while (offset < content.size) {
      const piece = await exchange.read();
      if (piece === undefined) break;
      whole.set(piece, offset);
      offset += piece.length;
    }
    bodies.push(whole);
    await exchange.reply(201);
  });
  await using _ = server;
  const source = bytesSource(generatedBytes(7, content.size));
  const shared = new SharedSource(source, { kept: 0, lag: MEBIBYTE, patience: 60_000 });
  const readers = [1, 2, 3].map(() => shared.reader(0));
  await Promise.all(readers.map((reader) => put(new UploadBody(reader, content.size))));
  assertEquals(bodies.length, 3);
  for (const body of bodies) assertEquals(body, generatedBytes(7, content.size));
});

Deno.test("putBlob() stops sending when the registry answers early", async () => {
  for (const status of [401, 403, 404, 411, 413, 429, 500]) {
    const { promise: received, resolve } = Promise.withResolvers<number>();
    const { server, put } = setUp(async (exchange) => {
      const first = (await exchange.read())?.length ?? 0;
      await exchange.reply(status);
      resolve(first + await readCount(exchange, Infinity));
    });
    await using _ = server;
    const source = endless(1024 * MEBIBYTE);
    const error = await assertRejects(() => put(new UploadBody(source, 1024 * MEBIBYTE)), RegistryError);
    assertEquals([error.status, server.requests.length], [status, 1]);
    assertEquals(source.cancelled.length, 1);
    assert(await received < 64 * MEBIBYTE && source.given() < 64 * MEBIBYTE, `${await received}`);
  }
});

Deno.test("putBlob() takes an early success for one", async () => {
  const { server, put } = setUp(async (exchange) => {
    await exchange.read();
    await exchange.reply(201);
    await readCount(exchange, Infinity);
  });
  await using _ = server;
  const source = endless(256 * MEBIBYTE);
  await put(new UploadBody(source, 256 * MEBIBYTE));
  assert(source.given() < 256 * MEBIBYTE);
  assertEquals(source.cancelled.length, 1);
});

Deno.test("putBlob() sends no whole body when the source is short or long", async () => {
  for (const given of [100_000, 300_000]) {
    let received = 0;
    const { server, put } = setUp(async (exchange) => {
      received = await readCount(exchange, 200_000);
    });
    await using _ = server;
    const source = endless(given);
    const error = await assertRejects(() => put(new UploadBody(source, 200_000)), RegistryError);
    assertInstanceOf(error.cause, LengthError);
    assertEquals([error.status, source.cancelled.length], [0, 1]);
    await server[Symbol.asyncDispose]();
    assert(received < 200_000, `${received}`);
  }
});

Deno.test("putBlob() passes the source's own refusal on as it is", async () => {
  const refusal = new RegistryError({
    action: "read blob",
    method: "GET",
    url: "https://source.test/",
    status: 404,
    errors: [{ code: "BLOB_UNKNOWN", message: "gone" }],
  });
  const { server, put } = setUp(async (exchange) => void await readCount(exchange, Infinity));
  await using _ = server;
  const source: ByteSource = { read: () => Promise.reject(refusal), cancel: () => {} };
  assertStrictEquals(await assertRejects(() => put(new UploadBody(source, 10))), refusal);
});

Deno.test("putBlob() gives up on a registry that takes no more bytes", async () => {
  const { server, put } = setUp(async ({ read, over }) => {
    await read();
    await over;
  }, { stall: 300 });
  await using _ = server;
  const source = endless(256 * MEBIBYTE);
  const error = await assertRejects(
    () => put(new UploadBody(source, 256 * MEBIBYTE)),
    RegistryError,
    "no answer",
  );
  assertEquals([error.status, error.isPermanent, source.cancelled.length], [0, false, 1]);
});

Deno.test("putBlob() waits for the commit by a limit of its own", async () => {
  const { server, put } = setUp(async (exchange) => {
    await readCount(exchange, 10);
    await exchange.read();
  }, { stall: 200, commit: 400 });
  await using _ = server;
  const error = await assertRejects(() => put(new UploadBody(endless(10), 10)), RegistryError);
  const seconds = Number(/no answer within ([\d.]+) s$/.exec(error.message)?.[1]);
  assert(seconds >= 0.4, error.message);
});

Deno.test("putBlob() does not blame the registry while the source is silent", async () => {
  const { promise: started, resolve } = Promise.withResolvers<void>();
  const { server, put } = setUp(async (exchange) => {
    await exchange.read();
    resolve();
    await readCount(exchange, Infinity);
  }, { stall: 200, commit: 200 });
  await using _ = server;
  const source = stuck(10);
  const controller = new AbortController();
  const body = new UploadBody(source, 20);
  const sending = put(body, controller.signal);
  await Promise.race([started, sending]);
  // Another request that is given up later than a registry would be.
  const never: Fetch = (_url, { signal }) =>
    new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  await assertRejects(() => deadlineFetch(never, 300, undefined)("https://x.test/", {}), TimeLimitError);
  assert(body.isReading);
  controller.abort(new Error("enough"));
  await assertRejects(() => sending, Error, "enough");
  await source.cancelled;
});

Deno.test("putBlob() ends with the signal and lets go of source and connection", async () => {
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  const { promise: gone, resolve: leave } = Promise.withResolvers<void>();
  const { server, put } = setUp(async (exchange) => {
    await exchange.read();
    start();
    await readCount(exchange, Infinity);
    leave();
  });
  await using _ = server;
  const source = stuck(10);
  const controller = new AbortController();
  const sending = put(new UploadBody(source, 20), controller.signal);
  await started;
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => sending), reason);
  await Promise.all([source.cancelled, gone]);
});

Deno.test("putBlob() does not replay a stream along a redirect", async () => {
  const { server, put } = setUp(async (exchange) => {
    await readCount(exchange, 10);
    await exchange.reply(307, { location: "/elsewhere" });
  });
  await using _ = server;
  const error = await assertRejects(() => put(new UploadBody(endless(10), 10)), RegistryError);
  assertEquals([error.status, server.requests.length], [307, 1]);
});

Deno.test("putBlob() says that the connection broke, without the query of the upload", async () => {
  const { server, put } = setUp(async (exchange) => void await exchange.read());
  await using _ = server;
  const error = await assertRejects(
    () => put(new UploadBody(endless(8 * MEBIBYTE), 8 * MEBIBYTE)),
    RegistryError,
  );
  assert(/connection was (?:reset|closed too early)/.test(error.message), error.message);
  assertEquals(error.url, `http://${server.host}/v2/a/b/blobs/uploads/1`);
  assert(!error.message.includes("state="));
});
