/** Which connections the HTTP client uses again, and which it closes. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { FetchInit } from "../src/registry/fetch.ts";
import { withFakeTime } from "./fake_time.ts";
import { drain, OK, tellNumber, textOf, upload, withFetch } from "./http_client_setup.ts";
import { listen, pem } from "./tls_servers.ts";

const CA = { caCerts: [pem("ca.pem")] };

Deno.test("createHttpClient() uses a connection again after a whole answer, and one for each at the same time", () =>
  withFetch(async (fetch) => {
    await using server = listen(tellNumber, false);
    const url = `http://${server.host}/`;
    for (let round = 0; round < 3; round++) assertEquals(await textOf(fetch, url), "0");
    const first = await fetch(url, {});
    assertEquals(await textOf(fetch, url), "1");
    assertEquals(await first.text(), "0");
    assertEquals(await textOf(fetch, url), "0");
    // A connection leads to one server only.
    await using other = listen(tellNumber, false);
    assertEquals(await textOf(fetch, `http://${other.host}/`), "0");
  }));

Deno.test("createHttpClient() closes connections of which the end is not sure, and asks on new ones", () =>
  withFetch(async (fetch) => {
    const chunks = "2\r\nok\r\n0\r\nlast: one\r\n\r\n";
    const answers: [string, (response: Response) => unknown][] = [
      [`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks}`, (response) => response.text()],
      ["HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", (response) => response.text()],
      ["HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", (response) => response.text()],
      ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", (response) => response.body?.cancel()],
      ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more", (response) => response.text()],
    ];
    for (const [answer, finish] of answers) {
      const isClosed = Promise.withResolvers<boolean>();
      await using server = listen(async (line, index) => {
        if (index > 0) return await tellNumber(line, index);
        await line.readHead();
        await line.write(answer);
        isClosed.resolve(await line.read() === undefined);
      }, false);
      await finish(await fetch(`http://${server.host}/`, {}));
      assertEquals(await textOf(fetch, `http://${server.host}/`), "1", answer);
      assert(await isClosed.promise, answer);
    }
  }));

Deno.test("createHttpClient() takes no bytes that a server sent too many for the next answer", () =>
  withFetch(async (fetch) => {
    const mayLie = Promise.withResolvers<void>();
    await using server = listen(async (line, index) => {
      if (index > 0) return await tellNumber(line, index);
      await line.readHead();
      await line.write(OK);
      await mayLie.promise;
      await line.write("and more");
      await tellNumber(line, index);
    }, false);
    const url = `http://${server.host}/`;
    assertEquals(await textOf(fetch, url), "ok");
    mayLie.resolve();
    assertEquals(await textOf(fetch, url), "1");
  }));

Deno.test("createHttpClient() asks again when a kept connection was closed meanwhile, but not with a stream", () =>
  withFetch(async (fetch) => {
    const bodies = [undefined, "once", new Blob(["once"]), new Blob(["once"]).stream()];
    for (const body of bodies) {
      const seen: string[] = [];
      await using server = listen(async (line, index) => {
        seen.push(`${index} opened`);
        await line.readHead();
        await line.write(OK);
        // The next request on the first connection gets no answer.
        if (index === 0 && await line.readHead() !== undefined) seen.push("0 asked again");
      }, false);
      const url = `http://${server.host}/`;
      assertEquals(await textOf(fetch, url), "ok");
      const init = { method: "PUT", body, headers: { "content-length": "4" } };
      const asking = textOf(fetch, url, body === undefined ? {} : init as FetchInit);
      const isOnce = typeof body === "object";
      if (isOnce) await assertRejects(() => asking, TypeError, "fetch failed");
      else assertEquals(await asking, "ok");
      assertEquals(seen, ["0 opened", "0 asked again", ...(isOnce ? [] : ["1 opened"])]);
    }
  }));

Deno.test("createHttpClient() closes a connection that nobody used for 4 s", () =>
  withFakeTime((pass) =>
    withFetch(async (fetch) => {
      const isClosed = Promise.withResolvers<void>();
      await using server = listen(async (line, index) => {
        await tellNumber(line, index);
        isClosed.resolve();
      }, false);
      const url = `http://${server.host}/`;
      assertEquals(await textOf(fetch, url), "0");
      pass(3999);
      assertEquals(await textOf(fetch, url), "0");
      pass(4000);
      assertEquals(await textOf(fetch, url), "1");
      await isClosed.promise;
    })
  ));

Deno.test("createHttpClient() does not ask again for a request that was given up on a kept connection", () =>
  withFetch(async (fetch) => {
    let heads = 0;
    const asked = Promise.withResolvers<void>();
    await using server = listen(async (line) => {
      for (let head = await line.readHead(); head !== undefined; head = await line.readHead()) {
        if (++heads === 1) await line.write(OK);
        else asked.resolve();
      }
    }, false);
    const url = `http://${server.host}/`;
    await textOf(fetch, url);
    const controller = new AbortController();
    const failing = assertRejects(() => fetch(url, { signal: controller.signal }), RangeError, "enough");
    await asked.promise;
    controller.abort(new RangeError("enough"));
    await failing;
    assertEquals(heads, 2);
  }));

Deno.test(
  "createHttpClient() does not ask again on a new connection when it was closed",
  () =>
    withFetch(async (fetch, close) => {
      let connections = 0;
      const asked = Promise.withResolvers<void>();
      await using server = listen(async (line) => {
        connections++;
        await line.readHead();
        await line.write(OK);
        await line.readHead();
        asked.resolve();
        await drain(line);
      }, false);
      const url = `http://${server.host}/`;
      await textOf(fetch, url);
      const failing = assertRejects(() => fetch(url, {}), TypeError);
      await asked.promise;
      close();
      await failing;
      await assertRejects(() => fetch(url, {}), TypeError, "closed");
      assertEquals(connections, 1);
    }),
);

Deno.test(
  "createHttpClient() opens no connection for a request that was given up before",
  () =>
    withFetch(async (fetch) => {
      await using server = listen(tellNumber, false);
      for (const scheme of ["http", "https"]) {
        const init = { signal: AbortSignal.abort(new RangeError("enough")) };
        await assertRejects(() => fetch(`${scheme}://${server.host}/`, init), RangeError, "enough");
      }
      assertEquals(await textOf(fetch, `http://${server.host}/`), "0");
      const init = { signal: AbortSignal.abort(new RangeError("enough")) };
      await assertRejects(() => fetch(`http://${server.host}/`, init), RangeError, "enough");
      assertEquals(await textOf(fetch, `http://${server.host}/`), "0");
    }),
);

Deno.test("createHttpClient() gives an answer no power over its connection once its body is over", () =>
  withFetch(async (fetch) => {
    await using server = listen(tellNumber, false);
    const url = `http://${server.host}/`;
    const response = await fetch(url, {});
    assertEquals(await response.text(), "0");
    response.interrupt?.();
    assertEquals(await textOf(fetch, url), "0");
  }));

Deno.test("createHttpClient() uses a connection again after chunks whose end came with them", () =>
  withFetch(async (fetch) => {
    await using server = listen(async (line, index) => {
      while (await line.readHead() !== undefined) {
        await line.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n${index}\r\n0\r\n\r\n`);
      }
    }, false);
    for (let round = 0; round < 3; round++) assertEquals(await textOf(fetch, `http://${server.host}/`), "0");
  }));

for (const isTls of [false, true]) {
  Deno.test(`fault 42: an answer that nobody asked for is not the next request's, TLS ${isTls}`, () =>
    withFetch(async (fetch) => {
      const mayLie = Promise.withResolvers<void>();
      const isDropped = Promise.withResolvers<void>();
      await using server = listen(async (line, index) => {
        if (index > 0) return await tellNumber(line, index);
        await line.readHead();
        await line.write(OK);
        await mayLie.promise;
        await line.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
        await drain(line);
        isDropped.resolve();
      }, isTls);
      const url = `http${isTls ? "s" : ""}://${server.host}/`;
      assertEquals(await textOf(fetch, url), "ok");
      mayLie.resolve();
      // Nothing is asked meanwhile: what is said is noticed by itself.
      await isDropped.promise;
      assertEquals(await textOf(fetch, url), "1");
    }, CA));
}

Deno.test("fault 42: a connection that was closed while idle costs no stream", () =>
  withFetch(async (fetch) => {
    const mayClose = Promise.withResolvers<void>();
    const isClosed = Promise.withResolvers<void>();
    await using server = listen(async (line, index) => {
      await line.readHead();
      await line.write(OK);
      if (index > 0) return;
      await mayClose.promise;
      line.close();
      isClosed.resolve();
    }, false);
    const url = `http://${server.host}/`;
    assertEquals(await textOf(fetch, url), "ok");
    mayClose.resolve();
    await isClosed.promise;
    // Nothing but traffic passes the time in which the end arrives.
    await using other = listen(tellNumber, false);
    for (let round = 0; round < 20; round++) await textOf(fetch, `http://${other.host}/`);
    const body = new Blob(["once"]).stream();
    assertEquals(await textOf(fetch, url, upload(body, 4)), "ok");
  }));
