/** Tests of a fetch that keeps to time limits and follows redirects by rules. */

import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  deadlineFetch,
  type Fetch,
  followRedirects,
  RedirectError,
  TimeLimitError,
} from "../src/registry/fetch.ts";
import { RawServer } from "./raw_server.ts";

interface Sent {
  url: string;
  method: string;
  authorization: string | null;
  body: BodyInit | null | undefined;
}

/** A fetch that is answered from a table: a status, or a status and where it redirects to. */
function scripted(answers: Record<string, [number, string?]>): { send: Fetch; sent: Sent[] } {
  const sent: Sent[] = [];
  const send: Fetch = (url, init) => {
    const authorization = new Headers(init.headers).get("authorization");
    sent.push({ url, method: init.method ?? "GET", authorization, body: init.body });
    const [status, location] = answers[url] ?? [200];
    const headers: HeadersInit = location === undefined ? {} : { location };
    return Promise.resolve(new Response(null, { status, headers }));
  };
  return { send, sent };
}

const START = new URL("https://r.test/v2/a");
const WITH_LOGIN = { headers: { authorization: "Bearer secret", range: "bytes=5-" } };

function neverAnswers(): { fetch: Fetch; aborted: () => unknown } {
  let reason: unknown;
  const fetch: Fetch = (_url, { signal }) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener("abort", () => {
        reason = signal.reason;
        reject(new TypeError("fetch failed", { cause: signal.reason }));
      });
    });
  return { fetch, aborted: () => reason };
}

Deno.test("followRedirects() follows GET and HEAD through every kind of redirect", async () => {
  for (const status of [301, 302, 303, 307, 308]) {
    for (const method of ["GET", "HEAD"]) {
      const { send, sent } = scripted({ [START.href]: [status, "/v2/b"] });
      assertEquals((await followRedirects(send, START, { method })).status, 200);
      assertEquals(sent.map(({ url, method }) => [url, method]), [
        [START.href, method],
        ["https://r.test/v2/b", method],
      ]);
    }
  }
});

Deno.test("followRedirects() follows other methods only where method and body stay", async () => {
  const body = new Uint8Array([1]);
  for (const status of [301, 302, 303]) {
    const { send, sent } = scripted({ [START.href]: [status, "/v2/b"] });
    assertEquals((await followRedirects(send, START, { method: "PUT", body })).status, status);
    assertEquals(sent.length, 1);
  }
  for (const status of [307, 308]) {
    const { send, sent } = scripted({ [START.href]: [status, "/v2/b"] });
    assertEquals((await followRedirects(send, START, { method: "PUT", body })).status, 200);
    assertEquals(sent[1]?.method, "PUT");
    assertStrictEquals(sent[1]?.body, body);
  }
});

Deno.test("followRedirects() keeps credentials within the origin and never gets them back", async () => {
  const { send, sent } = scripted({
    "https://r.test/v2/a": [307, "/v2/b"],
    "https://r.test/v2/b": [307, "https://cdn.test/c?sig=1"],
    "https://cdn.test/c?sig=1": [307, "https://r.test/v2/d"],
  });
  await followRedirects(send, START, WITH_LOGIN);
  assertEquals(sent.map(({ authorization }) => authorization), [
    "Bearer secret",
    "Bearer secret",
    null,
    null,
  ]);
});

Deno.test("followRedirects() takes another port or a subdomain for another origin", async () => {
  for (const target of ["https://r.test:8443/x", "https://evil.r.test/x", "https://r.test.evil/x"]) {
    const { send, sent } = scripted({ [START.href]: [307, target] });
    await followRedirects(send, START, WITH_LOGIN);
    assertEquals(sent.at(-1), { url: target, method: "GET", authorization: null, body: undefined });
  }
});

Deno.test("followRedirects() keeps the other headers", async () => {
  let range: string | null = null;
  const send: Fetch = (url, init) => {
    range = new Headers(init.headers).get("range");
    const isFirst = url === START.href;
    return Promise.resolve(
      isFirst
        ? new Response(null, { status: 307, headers: { location: "https://cdn.test/" } })
        : new Response(),
    );
  };
  await followRedirects(send, START, WITH_LOGIN);
  assertEquals(range, "bytes=5-");
});

Deno.test("followRedirects() refuses what leads from https to http, elsewhere, or nowhere", async () => {
  const cases: [string, string][] = [
    ["http://r.test/v2/b", "it leads from https to http"],
    ["ftp://r.test/v2/b", "it leads to ftp: instead of https:"],
    ["file:///etc/passwd", "it leads to file: instead of https:"],
    ["https://", "its Location is not a URL"],
  ];
  for (const [location, why] of cases) {
    const { send, sent } = scripted({ [START.href]: [307, location] });
    await assertRejects(() => followRedirects(send, START, {}), RedirectError, why);
    assertEquals(sent.length, 1);
  }
});

Deno.test("followRedirects() may go from http to https", async () => {
  const { send, sent } = scripted({ "http://r.test/a": [308, "https://r.test/a"] });
  await followRedirects(send, new URL("http://r.test/a"), WITH_LOGIN);
  assertEquals(sent.map(({ authorization }) => authorization), ["Bearer secret", null]);
});

Deno.test("followRedirects() ends a loop", async () => {
  const { send, sent } = scripted({ [START.href]: [307, START.href] });
  await assertRejects(() => followRedirects(send, START, {}), RedirectError, "more than 5 in a row");
  assertEquals(sent.length, 6);
});

Deno.test("followRedirects() gives back a redirect without a Location", async () => {
  const { send } = scripted({ [START.href]: [304] });
  assertEquals((await followRedirects(send, START, {})).status, 304);
  const none = scripted({ [START.href]: [307] });
  assertEquals((await followRedirects(none.send, START, {})).status, 307);
});

Deno.test("deadlineFetch() ends a request that is not answered in time", async () => {
  const { fetch, aborted } = neverAnswers();
  const send = deadlineFetch(fetch, 5, undefined);
  const error = await assertRejects(
    () => send("https://r.test/", {}),
    TimeLimitError,
    "no answer within 0 s",
  );
  assertStrictEquals(aborted(), error);
});

Deno.test("deadlineFetch() asks for the time that remains when it has passed", async () => {
  const { fetch } = neverAnswers();
  const remaining = [2, 2, 2, 0];
  let asked = 0;
  const send = deadlineFetch(fetch, () => (asked++, remaining.shift() ?? 0), undefined);
  await assertRejects(() => send("https://r.test/", {}), TimeLimitError);
  assertEquals(asked, 4);
});

Deno.test("deadlineFetch() ends with the signal's own reason, before and during the request", async () => {
  const { fetch } = neverAnswers();
  const controller = new AbortController();
  const send = deadlineFetch(fetch, 60_000, controller.signal);
  const waiting = send("https://r.test/", {});
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => waiting), reason);
  assertStrictEquals(await assertRejects(() => send("https://r.test/", {})), reason);
});

Deno.test("deadlineFetch() leaves a failure and an answer as they are", async () => {
  const failure = new TypeError("fetch failed");
  const failing = deadlineFetch(() => Promise.reject(failure), 60_000, undefined);
  assertStrictEquals(await assertRejects(() => failing("https://r.test/", {})), failure);
  const response = new Response();
  const send = deadlineFetch(() => Promise.resolve(response), 60_000, undefined);
  assertStrictEquals(await send("https://r.test/", {}), response);
});

Deno.test("deadlineFetch() ends a real request to a server that never answers", async () => {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  let hasArrived = false;
  await using server = new RawServer(async ({ read }) => {
    hasArrived = true;
    while (await read() !== undefined);
    resolve();
  });
  const send = deadlineFetch((url, init) => fetch(url, init), () => hasArrived ? 0 : 10, undefined);
  await assertRejects(() => send(`http://${server.host}/slow`, {}), TimeLimitError);
  await gone;
  assertEquals(server.requests.length, 1);
});

Deno.test("deadlineFetch() does not end a body that takes longer than the headers may", async () => {
  const go = Promise.withResolvers<void>();
  await using server = new RawServer(async ({ write }) => {
    await write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
    await go.promise;
    await write("b");
  });
  const controller = new AbortController();
  const send = deadlineFetch((url, init) => fetch(url, init), 60_000, controller.signal);
  const response = await send(`http://${server.host}/x`, {});
  controller.abort(new Error("too late"));
  go.resolve();
  assertEquals(await response.text(), "ab");
  assert(response.ok);
});
