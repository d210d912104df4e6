/** The HTTP client: answers byte for byte, requests given up, and what it leaves to another fetch. */

import { assert, assertEquals, assertLess, assertRejects, assertStrictEquals } from "@std/assert";
import { createHttpClient } from "../src/machine/network/http_client.ts";
import { nodeSockets } from "../src/machine/network/node_sockets.ts";
import { serve } from "./registry/serve.ts";
import { drain, endless, isSame, MIB, pattern, textOf, upload, withFetch } from "./http_client_setup.ts";
import { listen, pem, serveMutual, serverIdentity } from "./tls_servers.ts";

const CA = { caCerts: [pem("ca.pem")] };

Deno.test("createHttpClient() gives the answer as it came, where it came from, and that it fills buffers", () =>
  withFetch(async (fetch) => {
    const heads: (string | undefined)[] = [];
    await using server = listen(async (line) => {
      heads.push(await line.readHead());
      await line.write("HTTP/1.1 203 Fine Enough\r\nEtag: x\r\ncontent-length: 2\r\n\r\nok");
    }, false);
    const url = `http://${server.host}/v2/?n=1`;
    const response = await fetch(url, { headers: { accept: "a/b" } });
    assertEquals([response.status, response.statusText, response.headers.get("etag")], [
      203,
      "Fine Enough",
      "x",
    ]);
    assertEquals([response.url, typeof response.interrupt], [url, "function"]);
    assertEquals(await response.text(), "ok");
    assertEquals(heads, [`GET /v2/?n=1 HTTP/1.1\r\nhost: ${server.host}\r\naccept: a/b\r\n\r\n`]);
  }));

Deno.test("createHttpClient() gives no body for HEAD, 204 and 304, follows no redirect, and keeps the connection", () =>
  withFetch(async (fetch) => {
    let connections = 0;
    await using server = listen(async (line) => {
      connections++;
      for (let head = await line.readHead(); head !== undefined; head = await line.readHead()) {
        const status = /^\w+ \/(\d+)/.exec(head)?.[1];
        const length = status === "307" ? 0 : 5;
        await line.write(`HTTP/1.1 ${status} Words\r\nlocation: /200\r\ncontent-length: ${length}\r\n\r\n`);
      }
    }, false);
    const requests: [string, number][] = [["HEAD", 200], ["GET", 204], ["GET", 304], ["GET", 307]];
    for (const [method, status] of requests) {
      const response = await fetch(`http://${server.host}/${status}`, { method });
      assertEquals([response.status, response.body], [status, null]);
      assertEquals(response.headers.get("location"), "/200");
    }
    assertEquals(connections, 1);
  }));

Deno.test("createHttpClient() gets 4 MiB byte for byte, in every framing, with and without TLS", () =>
  withFetch(async (fetch) => {
    const bytes = pattern(4 * MIB);
    const hex = bytes.length.toString(16);
    const framings = [["content-length: 4194304\r\n\r\n", ""], [
      `transfer-encoding: chunked\r\n\r\n${hex}\r\n`,
      "\r\n0\r\n\r\n",
    ], ["a: b\r\n\r\n", ""]] as const;
    for (const isTls of [false, true]) {
      for (const [before, after] of framings) {
        await using server = listen(async (line) => {
          await line.readHead();
          await line.write(`HTTP/1.1 200 OK\r\n${before}`);
          await line.write(bytes);
          await line.write(after);
        }, isTls);
        const response = await fetch(`http${isTls ? "s" : ""}://${server.host}/`, {});
        assert(isSame(new Uint8Array(await response.arrayBuffer()), bytes), `${isTls} ${before}`);
      }
    }
  }, CA));

Deno.test("createHttpClient() reads into a reader's own buffers", () =>
  withFetch(async (fetch) => {
    const bytes = pattern(4 * MIB);
    await using server = serve(() => new Response(bytes), serverIdentity());
    for (const min of [1, 100_000]) {
      const reader = (await fetch(server.url, {})).body?.getReader({ mode: "byob" });
      const whole = new Uint8Array(bytes.length);
      let length = 0;
      for (let isDone = false; !isDone;) {
        const { done, value } = await reader?.read(new Uint8Array(100_000), { min }) ?? { done: true };
        if (value !== undefined) whole.set(value, length);
        length += value?.length ?? 0;
        isDone = done;
      }
      assert(isSame(whole, bytes), `at least ${min}`);
    }
  }, CA));

Deno.test("createHttpClient() shows the client's certificate to a server that asks for one", async () => {
  await using server = await serveMutual();
  const identity = { cert: pem("client.pem"), key: pem("client.key"), origin: `https://${server.host}` };
  await withFetch(async (fetch) => {
    assertEquals(await textOf(fetch, `https://${server.host}/`), "test client");
  }, { ...CA, identity });
});

Deno.test("createHttpClient() gives the bytes that came before a connection broke, and then fails", () =>
  withFetch(async (fetch) => {
    for (const isReset of [false, true]) {
      await using server = listen(async (line) => {
        // Closing with bytes unread resets the connection.
        if (isReset) await line.read();
        else await line.readHead();
        await line.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      }, false);
      const headers = { "x-long": "x".repeat(isReset ? 500_000 : 1) };
      const reader = (await fetch(`http://${server.host}/`, { headers })).body?.getReader();
      assertEquals(new TextDecoder().decode((await reader?.read())?.value), "half");
      await assertRejects(async () => await reader?.read());
    }
  }));

Deno.test("createHttpClient() rejects with the signal's own reason: before, and while the server does not shake hands", () =>
  withFetch(async (fetch) => {
    const begun = Promise.withResolvers<void>();
    await using server = listen(async (line) => {
      await line.read();
      begun.resolve();
      await drain(line);
    }, false);
    const reason = { why: "enough" };
    const caught = (promise: Promise<unknown>) => promise.then(() => "no failure", (error) => error);
    const aborted = AbortSignal.abort(reason);
    assertStrictEquals(await caught(fetch(`http://${server.host}/`, { signal: aborted })), reason);
    const controller = new AbortController();
    const connecting = caught(fetch(`https://${server.host}/`, { signal: controller.signal }));
    await begun.promise;
    controller.abort(reason);
    assertStrictEquals(await connecting, reason);
  }));

Deno.test("createHttpClient() rejects with the signal's own reason while it waits or sends, and closes the connection", () =>
  withFetch(async (fetch) => {
    for (const isTls of [false, true]) {
      for (const isUpload of [false, true]) {
        const [asked, isClosed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        await using server = listen(async (line) => {
          await line.readHead();
          asked.resolve();
          await drain(line);
          isClosed.resolve();
        }, isTls);
        const controller = new AbortController();
        const { stream, cancelled } = endless();
        const init = isUpload ? upload(stream, 2 ** 40) : {};
        const url = `http${isTls ? "s" : ""}://${server.host}/`;
        const failing = fetch(url, { ...init, signal: controller.signal }).catch((error) => error);
        await asked.promise;
        controller.abort("a reason that is no error");
        assertEquals(await failing, "a reason that is no error");
        await isClosed.promise;
        if (isUpload) await cancelled;
      }
    }
  }, CA));

Deno.test("createHttpClient() reads a body to its end when the signal is aborted after the head", () =>
  withFetch(async (fetch) => {
    const mayGoOn = Promise.withResolvers<void>();
    await using server = listen(async (line) => {
      await line.readHead();
      await line.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      await mayGoOn.promise;
      await line.write(" more");
    }, false);
    const controller = new AbortController();
    const response = await fetch(`http://${server.host}/`, { signal: controller.signal });
    controller.abort();
    mayGoOn.resolve();
    assertEquals(await response.text(), "half more");
  }));

Deno.test("createHttpClient() sends nothing of a body to where it cannot connect", () =>
  withFetch(async (fetch) => {
    const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = free.addr as Deno.NetAddr;
    free.close();
    await using plain = listen(async (line) => void await line.read(), false);
    for (const url of [`http://127.0.0.1:${port}/`, `https://127.0.0.1:${port}/`, `https://${plain.host}/`]) {
      const source = endless();
      await assertRejects(() => fetch(url, upload(source.stream, 2 ** 40)), TypeError, "fetch failed");
      assertEquals([source.stream.locked, source.taken], [false, 0]);
    }
  }));

Deno.test("createHttpClient() says in the cause why it failed", () =>
  withFetch(async (fetch) => {
    const answers = [
      ["HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "the answer is not HTTP/1.1: a header field has no name"],
      ["SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is not HTTP/1.1: it has no status line"],
      ["", "unexpected EOF: the connection was closed before the answer's end"],
    ] as const;
    for (const [answer, why] of answers) {
      const isClosed = Promise.withResolvers<void>();
      await using server = listen(async (line) => {
        await line.readHead();
        await line.write(answer);
        if (answer !== "") await drain(line);
        isClosed.resolve();
      }, false);
      const failing = () => fetch(`http://${server.host}/`, {});
      const error = await assertRejects(failing, TypeError, "fetch failed");
      assertEquals((error.cause as Error).message, why);
      await isClosed.promise;
    }
  }));

Deno.test("createHttpClient() fails what is under way when it is closed", async () => {
  const { fetch, close } = createHttpClient({ sockets: nodeSockets });
  const asked = Promise.withResolvers<void>();
  await using server = listen(async (line) => {
    const head = await line.readHead();
    if (head?.startsWith("GET /body")) await line.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    else asked.resolve();
    await drain(line);
  }, false);
  const { body } = await fetch(`http://${server.host}/body`, {});
  const waiting = assertRejects(() => fetch(`http://${server.host}/`, {}), TypeError, "fetch failed");
  await asked.promise;
  close();
  await waiting;
  const reader = body?.getReader();
  await assertRejects(async () => {
    while (!(await reader?.read())?.done) { /* What came before may still be read. */ }
  });
});

Deno.test("createHttpClient() fails what is still being connected when it is closed", async () => {
  const begun = Promise.withResolvers<void>();
  await using server = listen(async (line) => {
    await line.read();
    begun.resolve();
    await drain(line);
  }, false);
  await withFetch(async (fetch, close) => {
    const failing = assertRejects(() => fetch(`https://${server.host}/`, {}), TypeError);
    await begun.promise;
    close();
    await failing;
  });
});

for (const isTls of [false, true]) {
  Deno.test(`createHttpClient() leaves in the network what nobody reads, TLS ${isTls}`, () =>
    withFetch(async (fetch) => {
      let sent = 0;
      await using server = listen(async (line) => {
        await line.readHead();
        await line.write("HTTP/1.1 200 OK\r\n\r\n");
        while (await line.write(new Uint8Array(64 * 1024))) sent += 64 * 1024;
      }, isTls);
      await using other = serve(() => new Response("tick"), serverIdentity());
      for (const reads of [0, 3]) {
        sent = 0;
        const { body } = await fetch(`http${isTls ? "s" : ""}://${server.host}/`, {});
        const reader = body?.getReader();
        for (let read = 0; read < reads; read++) await reader?.read();
        // Nothing but traffic passes the time.
        for (let round = 0; round < 100; round++) await textOf(fetch, other.url);
        assertLess(sent, 16 * MIB, `after ${reads} reads`);
        // The server's script ends only when the connection does.
        await reader?.cancel();
      }
    }, CA));
}
