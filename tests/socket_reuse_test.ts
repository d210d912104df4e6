/** Which connections the fetch over sockets uses again, and which it closes. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { FetchInit } from "../src/registry/fetch.ts";
import { withFakeTime } from "./fake_time.ts";
import { drain, OK, tellNumber, textOf, withFetch } from "./socket_fetch_setup.ts";
import { listen } from "./tls_servers.ts";

Deno.test("createSocketFetch() uses a connection again after a whole answer, and one for each at the same time", () =>
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

Deno.test("createSocketFetch() closes connections of which the end is not sure, and asks on new ones", () =>
  withFetch(async (fetch) => {
    const chunks = "2\r\nok\r\n0\r\n\r\n";
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

Deno.test("createSocketFetch() takes no bytes that a server sent too many for the next answer", () =>
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

Deno.test("createSocketFetch() asks again when a kept connection was closed meanwhile, but not with a body", () =>
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
      if (body === undefined) assertEquals(await asking, "ok");
      else await assertRejects(() => asking, TypeError, "fetch failed");
      assertEquals(seen, ["0 opened", "0 asked again", ...(body === undefined ? ["1 opened"] : [])]);
    }
  }));

Deno.test("createSocketFetch() closes a connection that nobody used for 4 s", () =>
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

Deno.test("createSocketFetch() does not ask again for a request that was given up on a kept connection", () =>
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
  "createSocketFetch() does not ask again on a new connection when it was closed",
  async () => {
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
    await withFetch(async (fetch, close) => {
      const url = `http://${server.host}/`;
      await textOf(fetch, url);
      const failing = assertRejects(() => fetch(url, {}), TypeError);
      await asked.promise;
      close();
      await failing;
      await assertRejects(() => fetch(url, {}), TypeError, "closed");
      assertEquals(connections, 1);
    });
  },
);

Deno.test(
  "createSocketFetch() opens no connection for a request that was given up before",
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

Deno.test("createSocketFetch() gives an answer no power over its connection once its body is over", () =>
  withFetch(async (fetch) => {
    await using server = listen(tellNumber, false);
    const url = `http://${server.host}/`;
    const response = await fetch(url, {});
    assertEquals(await response.text(), "0");
    response.interrupt?.();
    assertEquals(await textOf(fetch, url), "0");
  }));
