/** Tests of the test registry's hooks and of its log. */

import { assertEquals } from "@std/assert";
import { createRegistry, generatedContent } from "../registry.ts";

const BASE = "https://registry.test";

Deno.test("createRegistry() lets a hook answer, count, and change answers", async () => {
  const registry = createRegistry({
    intercept: async (_request, { kind, count, next }) => {
      if (kind !== "ping") return undefined;
      if (count === 1) return new Response(null, { status: 503, headers: { "retry-after": "1" } });
      const response = await next();
      response.headers.set("ratelimit-remaining", "0");
      return response;
    },
  });
  assertEquals((await registry.fetch(`${BASE}/v2/`)).status, 503);
  assertEquals((await registry.fetch(`${BASE}/v2/`)).headers.get("ratelimit-remaining"), "0");
  assertEquals((await registry.fetch(`${BASE}/v2/x/tags/list`)).status, 404);
  assertEquals(registry.count({ kind: "ping", status: 503 }), 1);
});

Deno.test("createRegistry() logs bytes as they are sent, and who was under way at once", async () => {
  const registry = createRegistry();
  const blob = generatedContent(7, 200_000);
  registry.state.addBlob("a/b", blob);
  const get = async () => (await registry.fetch(`${BASE}/v2/a/b/blobs/${blob.digest}`)).body?.getReader();
  const readers = [await get(), await get()];
  await readers[0]?.read();
  assertEquals(registry.requests[0]?.bytesOut, 65536);
  await Promise.all(readers.map((reader) => reader?.cancel()));
  await (await registry.fetch(`${BASE}/v2/a/b/blobs/${blob.digest}`)).bytes();
  assertEquals(registry.requests[2]?.bytesOut, 200_000);
  assertEquals(registry.peak, 2);
  registry.resetLog();
  assertEquals([registry.count(), registry.peak], [0, 0]);
});
