/** Uploads over sockets: their true length, sources that fail, and servers that answer before they have everything. */

import { assert, assertEquals, assertLess, assertRejects, assertStrictEquals } from "@std/assert";
import { bytesSource, UploadBody } from "../src/registry/stream/body.ts";
import type { FetchInit } from "../src/registry/fetch.ts";
import { serve } from "./registry/serve.ts";
import { drain, endless, isSame, MIB, OK, pattern, upload, withFetch } from "./http_client_setup.ts";
import { type Line, listen, pem, serverIdentity } from "./tls_servers.ts";

const CA = { caCerts: [pem("ca.pem")] };

type Pieces = readonly (string | Error)[];

/** A stream that gives pieces, one when asked, and fails with the error among them. */
function streamOf(pieces: Pieces): ReadableStream<Uint8Array<ArrayBuffer>> {
  const left = [...pieces];
  return new ReadableStream({
    pull: (controller) => {
      const piece = left.shift();
      if (piece === undefined) controller.close();
      else if (piece instanceof Error) controller.error(piece);
      else controller.enqueue(new TextEncoder().encode(piece));
    },
  }, { highWaterMark: 0 });
}

/** Reads the head of a request and as much of its body as comes; returns both as one text. */
async function readAll(line: Line): Promise<string> {
  let text = "";
  for (let bytes = await line.read(); bytes !== undefined; bytes = await line.read()) {
    text += new TextDecoder().decode(bytes);
  }
  return text;
}

Deno.test("createHttpClient() sends 8 MiB byte for byte with a true Content-Length", () =>
  withFetch(async (fetch) => {
    const bytes = pattern(8 * MIB);
    for (const identity of [{}, serverIdentity()]) {
      await using server = serve(async (request) => {
        const got = new Uint8Array(await request.arrayBuffer());
        const header = (name: string) => request.headers.get(name);
        return Response.json([isSame(got, bytes), header("content-length"), header("transfer-encoding")]);
      }, identity);
      const put = async (init: FetchInit) =>
        await (await fetch(server.url, { method: "PUT", ...init })).json();
      const body = new UploadBody(bytesSource(bytes), bytes.length);
      assertEquals(await put(body.init()), [true, "8388608", null]);
      assertEquals(await put(upload(new Blob([bytes]).stream(), bytes.length)), [true, "8388608", null]);
      assertEquals(await put({ body: new Blob([bytes]) }), [true, "8388608", null]);
      assertEquals(await put({ body: bytes }), [true, "8388608", null]);
      assertEquals(await put({ body: "text", headers: { "content-length": "9" } }), [false, "4", null]);
      assertEquals(await put({}), [false, "0", null]);
    }
  }, CA));

Deno.test("createHttpClient() uses a connection again after an upload that was taken whole", () =>
  withFetch(async (fetch) => {
    await using server = listen(async (line, index) => {
      for (let head = await line.readHead(); head !== undefined; head = await line.readHead()) {
        for (let left = 4; left > 0 && !head.endsWith("four");) {
          const bytes = await line.read() ?? new Uint8Array(left);
          left -= bytes.length;
        }
        await line.write(`HTTP/1.1 201 Created\r\nx-index: ${index}\r\ncontent-length: 0\r\n\r\n`);
      }
    }, false);
    for (let round = 0; round < 3; round++) {
      const body = new UploadBody(bytesSource(new TextEncoder().encode("four")), 4);
      const { status, headers } = await fetch(`http://${server.host}/`, { method: "PUT", ...body.init() });
      assertEquals([status, headers.get("x-index")], [201, "0"]);
    }
  }));

Deno.test("createHttpClient() fails an upload that is shorter or longer than announced, which the server never gets whole", () =>
  withFetch(async (fetch) => {
    const cases: [Pieces, string][] = [
      [[], "0 instead of 9 bytes"],
      [["four", "four"], "8 instead of 9 bytes"],
      [["more than nine"], "more than 9 bytes"],
      [["four", "more than five"], "more than 9 bytes"],
    ];
    for (const [pieces, why] of cases) {
      const got = Promise.withResolvers<string>();
      await using server = listen(async (line) => got.resolve(await readAll(line)), false);
      const put = () => fetch(`http://${server.host}/`, upload(streamOf(pieces), 9));
      const error = await assertRejects(put, TypeError, "fetch failed");
      assertEquals((error.cause as Error).message, `the body has ${why}`);
      const [head, body = ""] = (await got.promise).split("\r\n\r\n");
      assert(head?.includes("content-length: 9"), head);
      assertLess(body.length, 9);
    }
  }));

Deno.test("createHttpClient() fails with what the source of an upload failed with", () =>
  withFetch(async (fetch) => {
    const failure = new RangeError("the source broke");
    for (const pieces of [[failure], ["four", failure]]) {
      const got = Promise.withResolvers<string>();
      await using server = listen(async (line) => got.resolve(await readAll(line)), false);
      const put = () => fetch(`http://${server.host}/`, upload(streamOf(pieces), 9));
      const error = await assertRejects(put, TypeError, "fetch failed");
      assertStrictEquals(error.cause, failure);
      assert((await got.promise).endsWith(pieces.length > 1 ? "\r\n\r\nfour" : "\r\n\r\n"));
    }
  }));

Deno.test("createHttpClient() takes no more of a body than the server does", () =>
  withFetch(async (fetch) => {
    const [hasStarted, mayGoOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    await using server = listen(async (line, index) => {
      await line.readHead();
      if (index > 0) return void await line.write(OK);
      hasStarted.resolve();
      await mayGoOn.promise;
    }, false);
    const source = endless();
    const url = `http://${server.host}/`;
    const failing = assertRejects(() => fetch(url, upload(source.stream, 2 ** 40)), TypeError);
    await hasStarted.promise;
    // Nothing but traffic passes the time; each of these takes a new connection.
    for (let round = 0; round < 100; round++) await (await fetch(url, {})).text();
    assertLess(source.taken, 32 * MIB);
    mayGoOn.resolve();
    await failing;
    await source.cancelled;
  }));

Deno.test("createHttpClient() gives an answer that comes before the upload is sent, and lets go of its source", () =>
  withFetch(async (fetch) => {
    for (const isTls of [false, true]) {
      for (const status of [401, 413]) {
        for (const afterwards of ["close", "read nothing", "read on"]) {
          const isRead = Promise.withResolvers<void>();
          await using server = listen(async (line) => {
            await line.readHead();
            await line.write(`HTTP/1.1 ${status} Words\r\ncontent-length: 6\r\n\r\ntoo mu`);
            if (afterwards === "read on") await drain(line);
            if (afterwards === "read nothing") await isRead.promise;
          }, isTls);
          const source = endless();
          const url = `http${isTls ? "s" : ""}://${server.host}/`;
          const response = await fetch(url, upload(source.stream, 2 ** 40));
          assertEquals(response.status, status);
          assertEquals(await response.text(), "too mu", `${isTls} ${status} ${afterwards}`);
          assertEquals(String(await source.cancelled), "TypeError: the request is over");
          isRead.resolve();
        }
      }
    }
  }, CA));

Deno.test("createHttpClient() does not use a connection again on which an upload was not sent whole", () =>
  withFetch(async (fetch) => {
    for (const body of ["", "no"]) {
      const isClosed = Promise.withResolvers<void>();
      await using server = listen(async (line, index) => {
        await line.readHead();
        if (index > 0) return void await line.write(OK);
        await line.write(`HTTP/1.1 413 Too Large\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
        await drain(line);
        isClosed.resolve();
      }, false);
      const url = `http://${server.host}/`;
      const response = await fetch(url, upload(endless().stream, 2 ** 40));
      assertEquals([response.status, await response.text()], [413, body]);
      assertEquals(await (await fetch(url, {})).text(), "ok");
      await isClosed.promise;
    }
  }));

Deno.test(
  "createHttpClient() fails with what the source failed with, also while the server takes nothing",
  () =>
    withFetch(async (fetch) => {
      const isOver = Promise.withResolvers<void>();
      await using server = listen(async (line) => {
        await line.readHead();
        await isOver.promise;
      }, false);
      const failure = new RangeError("the source broke");
      const pieces = [new Uint8Array(64 * MIB)];
      const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
        pull: (controller) => {
          const piece = pieces.shift();
          if (piece === undefined) controller.error(failure);
          else controller.enqueue(piece);
        },
      }, { highWaterMark: 0 });
      const put = () => fetch(`http://${server.host}/`, upload(body, 2 ** 40));
      const error = await assertRejects(put, TypeError, "fetch failed");
      assertStrictEquals(error.cause, failure);
      isOver.resolve();
    }),
);

Deno.test(
  "createHttpClient() sends no stream of which the length is not known",
  () =>
    withFetch(async (fetch) => {
      const got = Promise.withResolvers<string>();
      await using server = listen(async (line) => got.resolve(await readAll(line)), false);
      const put = () =>
        fetch(`http://${server.host}/`, { method: "PUT", body: streamOf(["GET / HTTP/1.1"]) });
      await assertRejects(put, TypeError);
      assertEquals(await got.promise, "");
    }),
);
