/** Tests of the test registry behind a socket. */

import { assertEquals, assertRejects } from "@std/assert";
import { buildMultiPlatform, pushOverHttp } from "../images.ts";
import { createRegistry, digestBytes, generatedContent, serve } from "../registry.ts";

Deno.test("serve() goes on after a client broke off", async () => {
  const registry = createRegistry();
  await using server = serve(registry);
  const started = await fetch(`${server.url}/v2/a/b/blobs/uploads/`, { method: "POST" });
  await started.body?.cancel();
  const url = new URL(started.headers.get("location") ?? "", server.url);
  const stop = new AbortController();
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new Uint8Array(1000)),
    // Nothing more comes, so the request hangs until it is cut off.
    pull: () => stop.abort(),
  });
  await assertRejects(() => fetch(url, { method: "PATCH", body, signal: stop.signal }));
  const status = await fetch(url);
  await status.body?.cancel();
  assertEquals(status.status, 204);
});

Deno.test("serve() answers over a socket as without one", async () => {
  const registry = createRegistry();
  await using server = serve(registry);
  const image = buildMultiPlatform(["amd64", "arm/v7"], { attestations: true });
  await pushOverHttp(fetch, server.url, "a/b", "v1", image);
  const large = generatedContent(3, 5_000_000);
  registry.state.addBlob("a/b", large);
  const head = await fetch(`${server.url}/v2/a/b/manifests/v1`, { method: "HEAD" });
  assertEquals(head.headers.get("content-length"), `${image.bytes.length}`);
  const blob = await fetch(`${server.url}/v2/a/b/blobs/${large.digest}`);
  assertEquals(blob.headers.get("content-length"), "5000000");
  assertEquals(digestBytes(await blob.bytes()), large.digest);
  assertEquals(registry.requests.at(-1)?.bytesOut, 5_000_000);
  const put = registry.requests.find(({ method, kind }) => method === "PUT" && kind === "upload");
  assertEquals([put?.contentLength, put?.transferEncoding], [put?.bytesIn, undefined]);
  assertEquals(registry.count({ method: "PUT", kind: "manifest" }), 5);
});
