/** Tests of the fetch without sockets: it must treat bodies, aborts and redirects as a real one does. */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  createBlobHost,
  createNetwork,
  createRegistry,
  generatedContent,
  type Handler,
  serve,
} from "../registry.ts";

const HERE = "https://here.test";

/** Answers with what arrived. */
const echo: Handler = async (request) => {
  const headers = Object.fromEntries(
    ["content-length", "transfer-encoding", "authorization"].map((name) => [name, request.headers.get(name)]),
  );
  return Response.json({ ...headers, body: await request.text() });
};

class SizedBlob extends Blob {
  readonly #size: number;
  readonly #text: string;
  constructor(size: number, text: string) {
    super();
    this.#size = size;
    this.#text = text;
  }
  override get size(): number {
    return this.#size;
  }
  override stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new Response(this.#text).body ?? new ReadableStream();
  }
}

async function send(body: BodyInit | null, headers: HeadersInit = {}): Promise<Record<string, unknown>> {
  const response = await createNetwork({ [HERE]: echo })(`${HERE}/`, { method: "PUT", headers, body });
  return await response.json();
}

Deno.test("createNetwork() sends a Content-Length with bodies of known size, else chunks", async () => {
  const chunked = { "content-length": null, "transfer-encoding": "chunked", authorization: null };
  const sized = (length: number) => ({
    ...chunked,
    "content-length": `${length}`,
    "transfer-encoding": null,
  });
  assertEquals(await send("abc"), { ...sized(3), body: "abc" });
  assertEquals(await send(new Uint8Array([97])), { ...sized(1), body: "a" });
  assertEquals(await send(new SizedBlob(3, "abc")), { ...sized(3), body: "abc" });
  assertEquals(await send(new Response("abc").body), { ...chunked, body: "abc" });
  assertEquals(await send(new Response("abc").body, { "content-length": "3" }), { ...chunked, body: "abc" });
  assertEquals(await send(null), { ...sized(0), body: "" });
});

Deno.test("createNetwork() cuts a body that is longer than said and fails with a shorter one", async () => {
  assertEquals((await send(new SizedBlob(2, "abc"))).body, "ab");
  await assertRejects(() => send(new SizedBlob(4, "abc")), TypeError, "fetch failed");
});

Deno.test("createNetwork() sends as a socket would", async () => {
  await using server = serve(echo);
  for (const body of ["abc", new Uint8Array([97]), new SizedBlob(2, "abc")]) {
    const onSocket = await (await fetch(server.url, { method: "PUT", body })).json();
    assertEquals(await send(body), onSocket);
  }
});

Deno.test("createNetwork() fails for hosts it does not know", async () => {
  await assertRejects(() => createNetwork({})("https://nowhere.test/"), TypeError, "fetch failed");
});

Deno.test("createNetwork() rejects with the signal's reason and ends both bodies", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  let cancelled: unknown;
  const body = new ReadableStream<Uint8Array>({ cancel: (why) => void (cancelled = why) });
  const reading = Promise.withResolvers<void>();
  const network = createNetwork({
    [HERE]: async (request) => {
      reading.resolve();
      return new Response(await request.text());
    },
  });
  const answer = network(`${HERE}/`, { method: "PUT", body, signal: stop.signal });
  await reading.promise;
  stop.abort(reason);
  assertStrictEquals(await assertRejects(() => answer), reason);
  assertStrictEquals(cancelled, reason);
});

Deno.test("createNetwork() ends an answer that is being read when the signal aborts", async () => {
  const stop = new AbortController();
  const registry = createRegistry();
  const blob = generatedContent(1, 1_000_000);
  registry.state.addBlob("a/b", blob);
  const response = await registry.fetch(`${HERE}/v2/a/b/blobs/${blob.digest}`, { signal: stop.signal });
  const reader = response.body?.getReader();
  await reader?.read();
  stop.abort(new Error("enough"));
  await assertRejects(async () => await reader?.read(), Error, "enough");
});

Deno.test("createNetwork() cancels a body nobody read", async () => {
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array>({ cancel: () => void (isCancelled = true) });
  const network = createNetwork({ [HERE]: () => new Response(null, { status: 401 }) });
  assertEquals((await network(`${HERE}/`, { method: "PUT", body })).status, 401);
  assertEquals(isCancelled, true);
});

Deno.test("createNetwork() follows redirects without taking Authorization to another host", async () => {
  const network = createNetwork({
    [HERE]: () => Response.redirect("https://there.test/"),
    "https://there.test": echo,
  });
  const headers = { authorization: "Bearer secret" };
  assertEquals((await (await network(`${HERE}/`, { headers })).json()).authorization, null);
  assertEquals((await network(`${HERE}/`, { headers, redirect: "manual" })).status, 302);
  const body = new ReadableStream<Uint8Array>();
  await assertRejects(() => network(`${HERE}/`, { method: "PUT", body }), TypeError, "fetch failed");
});

Deno.test("createBlobHost() serves redirected blobs, ranges too, and shows what arrived", async () => {
  const registry = createRegistry({ redirectBlobsTo: "https://cdn.test" });
  const cdn = createBlobHost(registry);
  const blob = generatedContent(1, 1000);
  registry.state.addBlob("a/b", blob);
  const network = createNetwork({ [HERE]: registry.handler, "https://cdn.test": cdn.handler });
  const url = `${HERE}/v2/a/b/blobs/${blob.digest}`;
  const headers = { authorization: "Bearer secret", range: "bytes=990-" };
  assertEquals((await (await network(url, { headers })).bytes()).length, 10);
  assertEquals(cdn.requests[0]?.authorizationHeader, null);
  assertEquals([cdn.requests[0]?.bytesOut, registry.requests[0]?.status], [10, 307]);
  const manual = await network(url, { redirect: "manual" });
  const target = manual.headers.get("location") ?? "";
  const withSecret = await network(target, { headers });
  await withSecret.body?.cancel();
  assertEquals([withSecret.status, cdn.requests[1]?.authorizationHeader], [400, "Bearer secret"]);
});
