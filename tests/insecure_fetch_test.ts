/** The fetch that accepts any certificate: bodies both ways, at the reader's pace, cut off, given up. */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { createInsecureFetch } from "../src/machine/network/insecure_fetch.ts";
import type { FetchInit } from "../src/registry/fetch.ts";
import { bytesSource, UploadBody } from "../src/registry/stream/body.ts";
import { serve } from "./registry/serve.ts";
import { type Line, listen, serverIdentity } from "./tls_servers.ts";

const MIB = 1024 * 1024;

/** Bytes of which no two places near each other are alike. */
function pattern(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array(size / 4).map((_, index) => index * 2654435761).buffer);
}

/** Runs a test with a fetch that is closed afterwards. */
async function withFetch(test: (fetch: ReturnType<typeof createInsecureFetch>["fetch"]) => Promise<void>) {
  const { fetch, close } = createInsecureFetch();
  try {
    await test(fetch);
  } finally {
    close();
  }
}

/** Talks to a server while something else must stand still: nothing but traffic passes the time. */
async function passTime(fetch: ReturnType<typeof createInsecureFetch>["fetch"]): Promise<void> {
  await using server = serve(() => new Response("tick"), serverIdentity());
  for (let round = 0; round < 300; round++) await (await fetch(server.url, {})).text();
}

/** A stream that never ends, and how much was taken from it. */
function endless() {
  const taken = { bytes: 0 };
  const cancelled = Promise.withResolvers<void>();
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: (controller) => {
      taken.bytes += 64 * 1024;
      controller.enqueue(new Uint8Array(64 * 1024));
    },
    cancel: () => cancelled.resolve(),
  }, { highWaterMark: 0 });
  return { taken, stream, cancelled: cancelled.promise };
}

Deno.test("createInsecureFetch() gets an answer from a server nobody vouches for, on a kept connection", () =>
  withFetch(async (fetch) => {
    let connections = 0;
    const script = async (line: Line) => {
      connections++;
      for (let head = await line.readHead(); head !== undefined; head = await line.readHead()) {
        const text = head.split("\r\n")[0];
        const headers =
          `www-authenticate: Basic\r\nwww-authenticate: Bearer\r\ncontent-length: ${text?.length}`;
        await line.write(`HTTP/1.1 203 Fine Enough\r\n${headers}\r\n\r\n${text}`);
      }
    };
    await using server = listen(script);
    for (const path of ["/v2/", "/v2/?n=1"]) {
      const response = await fetch(`https://${server.host}${path}`, { headers: { accept: "a/b" } });
      assertEquals([response.status, response.statusText], [203, "Fine Enough"]);
      assertEquals(response.headers.get("www-authenticate"), "Basic, Bearer");
      assertEquals(await response.text(), `GET ${path} HTTP/1.1`);
    }
    assertEquals(connections, 1);
  }));

Deno.test("createInsecureFetch() gives no body for HEAD, 204 and 304, and follows no redirect", () =>
  withFetch(async (fetch) => {
    await using server = serve((request) => {
      const status = Number(new URL(request.url).pathname.slice(1));
      if (status === 200) return new Response("body");
      return new Response(null, { status, headers: { location: "/200" } });
    }, serverIdentity());
    const head = await fetch(`${server.url}/200`, { method: "HEAD" });
    assertEquals([head.status, head.body, head.headers.get("content-length")], [200, null, "4"]);
    for (const status of [204, 304]) assertEquals((await fetch(`${server.url}/${status}`, {})).body, null);
    for (const status of [301, 307]) {
      const response = await fetch(`${server.url}/${status}`, { redirect: "manual" });
      assertEquals([response.status, response.headers.get("location")], [status, "/200"]);
      await response.body?.cancel();
    }
  }));

Deno.test("createInsecureFetch() gets 8 MiB byte for byte, for either kind of reader", () =>
  withFetch(async (fetch) => {
    const bytes = pattern(8 * MIB);
    await using server = serve(() => new Response(bytes), serverIdentity());
    const whole = new Uint8Array(await (await fetch(server.url, {})).arrayBuffer());
    assert(whole.every((byte, index) => byte === bytes[index]) && whole.length === bytes.length);
    const reader = (await fetch(server.url, {})).body?.getReader({ mode: "byob" });
    let place = 0;
    for (;;) {
      const { done, value } = await reader?.read(new Uint8Array(100_000), { min: 100_000 }) ?? {};
      value?.forEach((byte, index) => assert(byte === bytes[place + index]));
      place += value?.length ?? 0;
      if (done || value === undefined) break;
    }
    assertEquals(place, bytes.length);
  }));

Deno.test("createInsecureFetch() sends 8 MiB with a true Content-Length, or in chunks where there is none", () =>
  withFetch(async (fetch) => {
    const bytes = pattern(8 * MIB);
    await using server = serve(async (request) => {
      const got = new Uint8Array(await request.arrayBuffer());
      const isSame = got.length === bytes.length && got.every((byte, index) => byte === bytes[index]);
      const header = (name: string) => request.headers.get(name);
      return Response.json([isSame, header("content-length"), header("transfer-encoding")]);
    }, serverIdentity());
    const put = async (init: FetchInit) => await (await fetch(server.url, { method: "PUT", ...init })).json();
    const upload = new UploadBody(bytesSource(bytes), bytes.length);
    assertEquals(await put(upload.init()), [true, "8388608", null]);
    assertEquals(await put({ body: bytes }), [true, "8388608", null]);
    assertEquals(await put({ body: new Blob([bytes]) }), [true, "8388608", null]);
    assertEquals(await put({ body: new Blob([bytes]).stream() }), [true, null, "chunked"]);
    assertEquals(await put({ body: "text" }), [false, "4", null]);
    assertEquals(await put({}), [false, "0", null]);
  }));

Deno.test("createInsecureFetch() leaves in the network what nobody reads", () =>
  withFetch(async (fetch) => {
    let sent = 0;
    await using server = listen(async (line) => {
      await line.readHead();
      await line.write("HTTP/1.1 200 OK\r\n\r\n");
      while (await line.write(new Uint8Array(64 * 1024))) sent += 64 * 1024;
    });
    for (const reads of [0, 1]) {
      sent = 0;
      const reader = (await fetch(`https://${server.host}/`, {})).body?.getReader();
      for (let read = 0; read < reads; read++) await reader?.read();
      await passTime(fetch);
      assertLess(sent, 16 * MIB, `after ${reads} reads`);
      // The server's script ends only when the connection does.
      await reader?.cancel();
    }
  }));

Deno.test("createInsecureFetch() takes no more of a body than the server does, and lets go of it on abort", () =>
  withFetch(async (fetch) => {
    const hasStarted = Promise.withResolvers<void>();
    const mayEnd = Promise.withResolvers<void>();
    await using server = listen(async (line) => {
      await line.readHead();
      hasStarted.resolve();
      await mayEnd.promise;
    });
    const { taken, stream, cancelled } = endless();
    const controller = new AbortController();
    const init = { method: "PUT", body: stream, signal: controller.signal };
    const rejected = assertRejects(() => fetch(`https://${server.host}/`, init), RangeError, "enough");
    await hasStarted.promise;
    await passTime(fetch);
    assertLess(taken.bytes, 32 * MIB);
    controller.abort(new RangeError("enough"));
    await rejected;
    mayEnd.resolve();
    await cancelled;
  }));

Deno.test("createInsecureFetch() rejects with the signal's reason: before, while waiting, while reading", () =>
  withFetch(async (fetch) => {
    const asked = Promise.withResolvers<void>();
    await using server = listen(async (line) => {
      const head = await line.readHead();
      if (head?.startsWith("GET /body")) await line.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      asked.resolve();
      await line.read();
    });
    const reason = new RangeError("enough");
    const url = `https://${server.host}`;
    await assertRejects(() => fetch(url, { signal: AbortSignal.abort(reason) }), RangeError, "enough");
    const waiting = new AbortController();
    const rejected = assertRejects(() => fetch(url, { signal: waiting.signal }), RangeError, "enough");
    await asked.promise;
    waiting.abort(reason);
    await rejected;
    const reading = new AbortController();
    const reader = (await fetch(`${url}/body`, { signal: reading.signal })).body?.getReader();
    assertEquals(new TextDecoder().decode((await reader?.read())?.value), "half");
    const read = reader?.read().catch((error) => error);
    reading.abort("a reason that is no error");
    assertEquals(await read, "a reason that is no error");
  }));

Deno.test("createInsecureFetch() fails the reader of a body that is cut off", () =>
  withFetch(async (fetch) => {
    for (
      const framing of ["content-length: 9\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
    ) {
      await using server = listen(async (line) => {
        await line.readHead();
        await line.write(`HTTP/1.1 200 OK\r\n${framing}`);
      });
      const response = await fetch(`https://${server.host}/`, {});
      await assertRejects(() => response.text(), Error);
    }
  }));

Deno.test("createInsecureFetch() closes the connection of a body that is cancelled", () =>
  withFetch(async (fetch) => {
    const isClosed = Promise.withResolvers<boolean>();
    await using server = listen(async (line) => {
      await line.readHead();
      await line.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      isClosed.resolve(await line.read() === undefined);
    });
    const response = await fetch(`https://${server.host}/`, {});
    await response.body?.cancel();
    assert(await isClosed.promise);
  }));

Deno.test("createInsecureFetch() gives an answer that comes before the body is sent, and its text after the body is killed", () =>
  withFetch(async (fetch) => {
    const isClosed = Promise.withResolvers<void>();
    const mayGoOn = Promise.withResolvers<void>();
    await using server = listen(async (line) => {
      await line.readHead();
      await line.write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\n\r\nlog");
      await mayGoOn.promise;
      await line.write(" in");
      while (await line.read() !== undefined) { /* The rest of the upload. */ }
      isClosed.resolve();
    });
    const { stream } = endless();
    const reader = stream.getReader();
    const source = { read: async () => (await reader.read()).value, cancel: () => void reader.cancel() };
    const upload = new UploadBody(source, 64 * 1024 * MIB);
    const response = await fetch(`https://${server.host}/`, { method: "PUT", ...upload.init() });
    assertEquals(response.status, 401);
    upload.kill(new DOMException("the request is over", "AbortError"));
    mayGoOn.resolve();
    assertEquals(await response.text(), "log in");
    await isClosed.promise;
  }));

Deno.test("createInsecureFetch() refuses a stream that is shorter or longer than announced", () =>
  withFetch(async (fetch) => {
    const got: string[] = [];
    await using server = serve(async (request) => {
      got.push(await request.text());
      return new Response();
    }, serverIdentity());
    const put = async (length: string) => {
      const init = {
        method: "PUT",
        body: new Blob(["four"]).stream(),
        headers: { "content-length": length },
      };
      await (await fetch(server.url, init)).text();
    };
    for (const [length, why] of [["9", "4 instead of 9 bytes"], ["3", "more than 3 bytes"]] as const) {
      const error = await assertRejects(() => put(length), TypeError, "fetch failed");
      assertEquals((error.cause as Error).message, `the body has ${why}`);
    }
    await put("4");
    assertEquals(got, ["four"]);
  }));

Deno.test("createInsecureFetch() asks again when a kept connection was just closed, but not with a stream", () =>
  withFetch(async (fetch) => {
    const stream = new Blob(["once"]).stream();
    const expected = ["GET of 0", "POST of 0", "POST of 1"];
    for (const [body, heads] of [["again", expected], [stream, expected.slice(0, 2)]] as const) {
      const seen: string[] = [];
      await using server = listen(async (line, index) => {
        const see = async () => seen.push(`${(await line.readHead())?.split(" ")[0]} of ${index}`);
        await see();
        await line.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        // The next request on the first connection gets no answer.
        if (index === 0) await see();
      });
      const url = `https://${server.host}/`;
      assertEquals(await (await fetch(url, {})).text(), "ok");
      const post = async () => await (await fetch(url, { method: "POST", body })).text();
      if (body === stream) {
        const { cause } = await assertRejects(post, TypeError, "fetch failed");
        assertEquals((cause as { code?: string }).code, "ECONNRESET");
      } else assertEquals(await post(), "ok");
      assertEquals(seen, heads);
    }
  }));

Deno.test("createInsecureFetch() does not send an aborted request again on another connection", () =>
  withFetch(async (fetch) => {
    const seen: string[] = [];
    const isSent = Promise.withResolvers<void>();
    await using server = listen(async (line, index) => {
      for (let head = await line.readHead(); head !== undefined; head = await line.readHead()) {
        seen.push(`${head.split(" ")[0]} of ${index}`);
        if (head.startsWith("GET")) await line.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        else isSent.resolve();
      }
    });
    const url = `https://${server.host}/`;
    await (await fetch(url, {})).text();
    const controller = new AbortController();
    const init = { method: "POST", body: "once", signal: controller.signal };
    const rejected = assertRejects(() => fetch(url, init), RangeError, "enough");
    await isSent.promise;
    controller.abort(new RangeError("enough"));
    await rejected;
    await (await fetch(url, {})).text();
    assertEquals(seen, ["GET of 0", "POST of 0", "GET of 1"]);
  }));

Deno.test("createInsecureFetch() says why it failed in the cause, and fails what is under way when closed", async () => {
  const { fetch, close } = createInsecureFetch();
  const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = free.addr as Deno.NetAddr;
  free.close();
  const error = await assertRejects(() => fetch(`https://127.0.0.1:${port}/`, {}), TypeError, "fetch failed");
  assertEquals((error.cause as { code?: string }).code, "ECONNREFUSED");
  const asked = Promise.withResolvers<void>();
  await using server = listen(async (line) => {
    await line.readHead();
    asked.resolve();
    await line.read();
  });
  const rejected = assertRejects(() => fetch(`https://${server.host}/`, {}), TypeError, "fetch failed");
  await asked.promise;
  close();
  await rejected;
});
