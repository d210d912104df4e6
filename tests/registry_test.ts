/** Tests of the test registry's endpoints, without a socket. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  buildArtifact,
  buildImage,
  buildIndex,
  buildLayer,
  buildSchema1,
  foreignLayer,
  pushImage,
  pushOverHttp,
} from "./images.ts";
import {
  createRegistry,
  digestBytes,
  generatedBytes,
  generatedContent,
  type TestRegistry,
} from "./registry.ts";
import { readAll } from "./registry/blob_content.ts";

const BASE = "https://registry.test";
const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";

async function errorCode(response: Response): Promise<string> {
  return `${response.status} ${(await response.json()).errors[0].code}`;
}

async function startUpload(registry: TestRegistry, query = ""): Promise<string> {
  const response = await registry.fetch(`${BASE}/v2/a/b/blobs/uploads/${query}`, { method: "POST" });
  assertEquals(response.status, 202);
  return new URL(response.headers.get("location") ?? "", BASE).href;
}

function patch(
  registry: TestRegistry,
  url: string,
  body: Uint8Array<ArrayBuffer>,
  range?: string,
): Promise<Response> {
  const headers = range === undefined ? {} : { "content-range": range };
  return registry.fetch(url, { method: "PATCH", headers, body });
}

/** The bytes of a blob that was pushed. */
function stored(registry: TestRegistry, digest: string): Promise<Uint8Array> {
  return readAll(registry.blobs.get(digest)?.stream() ?? new ReadableStream());
}

function withDigest(url: string, digest: string): string {
  return `${url}${url.includes("?") ? "&" : "?"}digest=${digest}`;
}

function putManifest(
  registry: TestRegistry,
  reference: string,
  body: BodyInit,
  type = OCI_MANIFEST,
): Promise<Response> {
  const headers = { "content-type": type };
  return registry.fetch(`${BASE}/v2/a/b/manifests/${reference}`, { method: "PUT", headers, body });
}

Deno.test("createRegistry() answers the ping with its API version", async () => {
  const registry = createRegistry();
  const response = await registry.fetch(`${BASE}/v2/`);
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("docker-distribution-api-version"), "registry/2.0");
  assertEquals(registry.requests[0]?.kind, "ping");
});

Deno.test("createRegistry() serves a manifest byte by byte by tag and digest", async () => {
  const registry = createRegistry();
  const image = buildImage();
  await pushOverHttp(registry.fetch, BASE, "a/b", "v1", image);
  for (const reference of ["v1", image.digest]) {
    const response = await registry.fetch(`${BASE}/v2/a/b/manifests/${reference}`);
    assertEquals(response.headers.get("content-type"), image.mediaType);
    assertEquals(response.headers.get("docker-content-digest"), image.digest);
    assertEquals(response.headers.get("content-length"), `${image.bytes.length}`);
    assertEquals(new Uint8Array(await response.arrayBuffer()), image.bytes);
  }
});

Deno.test("createRegistry() answers HEAD with headers and no body", async () => {
  const registry = createRegistry();
  const image = buildImage();
  pushImage(registry, "a/b", "v1", image);
  const response = await registry.fetch(`${BASE}/v2/a/b/manifests/v1`, { method: "HEAD" });
  assertEquals(response.headers.get("content-length"), `${image.bytes.length}`);
  assertEquals(await response.text(), "");
  assertEquals(registry.requests[0]?.bytesOut, 0);
});

Deno.test("createRegistry() refuses a manifest whose blobs or children are missing", async () => {
  const registry = createRegistry();
  const image = buildImage();
  assertEquals(await errorCode(await putManifest(registry, "v1", image.bytes)), "404 MANIFEST_BLOB_UNKNOWN");
  const index = buildIndex([image]);
  const response = await putManifest(registry, "v1", index.bytes, index.mediaType);
  assertEquals(await errorCode(response), "404 MANIFEST_BLOB_UNKNOWN");
});

Deno.test("createRegistry() takes a sparse index when told to", async () => {
  const registry = createRegistry({ allowSparse: true });
  const index = buildIndex([], { sparseEntries: [buildImage().descriptor] });
  const response = await putManifest(registry, "v1", index.bytes, index.mediaType);
  assertEquals(response.status, 201);
});

Deno.test("createRegistry() takes a manifest without its blobs when told to", async () => {
  const registry = createRegistry({ allowMissingBlobs: true });
  assertEquals((await putManifest(registry, "v1", buildImage().bytes)).status, 201);
});

Deno.test("createRegistry() asks for no blob that lives at urls", async () => {
  const registry = createRegistry();
  const image = buildImage({ layers: [foreignLayer(1), buildLayer(2)], format: "docker" });
  assertEquals(image.blobs.size, 2);
  await pushOverHttp(registry.fetch, BASE, "a/b", "v1", image);
  assertEquals(registry.repositories.get("a/b")?.tags.get("v1"), image.digest);
});

Deno.test("createRegistry() refuses manifests that contradict themselves", async () => {
  const registry = createRegistry();
  const image = buildArtifact();
  const other = "application/vnd.docker.distribution.manifest.v2+json";
  assertEquals(
    await errorCode(await putManifest(registry, "v1", image.bytes, other)),
    "400 MANIFEST_INVALID",
  );
  assertEquals(await errorCode(await putManifest(registry, "v1", "{")), "400 MANIFEST_INVALID");
  assertEquals(await errorCode(await putManifest(registry, "v1", "[]")), "400 MANIFEST_INVALID");
  const index = buildIndex([], { sparseEntries: [{ ...image.descriptor, digest: "nonsense" }] });
  const pushed = await putManifest(registry, "v1", index.bytes, index.mediaType);
  assertEquals(await errorCode(pushed), "400 MANIFEST_INVALID");
  const wrong = digestBytes(new Uint8Array([1]));
  assertEquals(await errorCode(await putManifest(registry, wrong, image.bytes)), "400 DIGEST_INVALID");
  assertEquals(await errorCode(await putManifest(registry, "-v1", image.bytes)), "400 TAG_INVALID");
});

Deno.test("createRegistry() files signed schema 1 under the digest of its payload", async () => {
  const registry = createRegistry();
  const image = buildSchema1();
  assert(image.digest !== digestBytes(image.bytes));
  await pushOverHttp(registry.fetch, BASE, "a/b", undefined, image);
  const response = await registry.fetch(`${BASE}/v2/a/b/manifests/${image.digest}`);
  assertEquals(new Uint8Array(await response.arrayBuffer()), image.bytes);
});

Deno.test("createRegistry() deletes a tag alone, and a digest with its tags", async () => {
  const registry = createRegistry();
  pushImage(registry, "a/b", "v1", buildImage());
  pushImage(registry, "a/b", "v2", buildImage());
  const remove = (reference: string) =>
    registry.fetch(`${BASE}/v2/a/b/manifests/${reference}`, { method: "DELETE" });
  assertEquals((await remove("v1")).status, 202);
  assertEquals([...registry.repositories.get("a/b")?.tags.keys() ?? []], ["v2"]);
  assertEquals((await remove(buildImage().digest)).status, 202);
  assertEquals(registry.repositories.get("a/b")?.tags.size, 0);
  assertEquals(await errorCode(await remove("v2")), "404 MANIFEST_UNKNOWN");
});

Deno.test("createRegistry() serves ranges of a blob", async () => {
  const registry = createRegistry();
  const blob = generatedContent(7, 200_000);
  const whole = generatedBytes(7, 200_000);
  registry.state.addBlob("a/b", blob);
  const cases: [string, number, number][] = [
    ["bytes=0-0", 0, 1],
    ["bytes=65530-65545", 65530, 65546],
    ["bytes=199990-", 199990, 200_000],
    ["bytes=-5", 199995, 200_000],
    ["bytes=100-999999", 100, 200_000],
  ];
  for (const [range, start, end] of cases) {
    const response = await registry.fetch(`${BASE}/v2/a/b/blobs/${blob.digest}`, { headers: { range } });
    assertEquals(response.status, 206, range);
    assertEquals(response.headers.get("content-range"), `bytes ${start}-${end - 1}/200000`);
    assertEquals(new Uint8Array(await response.arrayBuffer()), whole.slice(start, end), range);
  }
});

Deno.test("createRegistry() answers 416 past the end and honours If-Range", async () => {
  const registry = createRegistry();
  const blob = generatedContent(7, 100);
  registry.state.addBlob("a/b", blob);
  const get = (headers: Record<string, string>) =>
    registry.fetch(`${BASE}/v2/a/b/blobs/${blob.digest}`, { headers });
  const past = await get({ range: "bytes=100-" });
  assertEquals(past.headers.get("content-range"), "bytes */100");
  assertEquals(await errorCode(past), "416 RANGE_INVALID");
  const changed = await get({ range: "bytes=5-", "if-range": '"other"' });
  assertEquals(changed.status, 200);
  assertEquals((await changed.bytes()).length, 100);
  const same = await get({ range: "bytes=5-", "if-range": `"${blob.digest}"` });
  assertEquals(same.status, 206);
  assertEquals((await same.bytes()).length, 95);
});

Deno.test("createRegistry() takes a blob in one POST", async () => {
  const registry = createRegistry();
  const bytes = generatedBytes(1, 10);
  const url = `${BASE}/v2/a/b/blobs/uploads/?digest=${digestBytes(bytes)}`;
  const response = await registry.fetch(url, { method: "POST", body: bytes });
  assertEquals(response.status, 201);
  assertEquals(response.headers.get("location"), `/v2/a/b/blobs/${digestBytes(bytes)}`);
  assert(registry.blobs.has(digestBytes(bytes)));
});

Deno.test("createRegistry() takes a blob in chunks and tells the offset", async () => {
  const registry = createRegistry();
  const bytes = generatedBytes(1, 10);
  const url = await startUpload(registry);
  const first = await patch(registry, url, bytes.slice(0, 4), "0-3");
  assertEquals([first.status, first.headers.get("range")], [202, "0-3"]);
  const skipped = await patch(registry, url, bytes.slice(6), "6-9");
  assertEquals([skipped.status, skipped.headers.get("range")], [416, "0-3"]);
  await skipped.body?.cancel();
  const status = await registry.fetch(url);
  assertEquals([status.status, status.headers.get("range")], [204, "0-3"]);
  const closing = { method: "PUT", headers: { "content-range": "4-9" }, body: bytes.slice(4) };
  assertEquals((await registry.fetch(withDigest(url, digestBytes(bytes)), closing)).status, 201);
  assertEquals(await stored(registry, digestBytes(bytes)), bytes);
  assertEquals(await errorCode(await registry.fetch(url)), "404 BLOB_UPLOAD_UNKNOWN");
});

Deno.test("createRegistry() refuses a wrong, missing or unknown digest", async () => {
  const registry = createRegistry();
  const body = generatedBytes(1, 10);
  const put = async (query: string) =>
    errorCode(await registry.fetch(await startUpload(registry) + query, { method: "PUT", body }));
  assertEquals(await put(`?digest=${digestBytes(new Uint8Array())}`), "400 DIGEST_INVALID");
  assertEquals(await put("?digest=md5:d41d8cd98f00b204e9800998ecf8427e"), "400 DIGEST_INVALID");
  assertEquals(await put(""), "400 DIGEST_INVALID");
  assertEquals(registry.blobs.size, 0);
});

Deno.test("createRegistry() takes sha512 blobs, also in chunks", async () => {
  const registry = createRegistry();
  const bytes = generatedBytes(1, 10);
  const digest = digestBytes(bytes, "sha512");
  const url = await startUpload(registry);
  await patch(registry, url, bytes.slice(0, 4));
  const body = bytes.slice(4);
  assertEquals((await registry.fetch(withDigest(url, digest), { method: "PUT", body })).status, 201);
  assertEquals((await registry.fetch(`${BASE}/v2/a/b/blobs/${digest}`, { method: "HEAD" })).status, 200);
});

Deno.test("createRegistry() keeps its bytes apart from those of its clients", async () => {
  const registry = createRegistry();
  const bytes = generatedBytes(1, 10);
  const buffer = new Uint8Array(5);
  let offset = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (offset === 10) return controller.close();
      buffer.set(bytes.slice(offset, offset += 5));
      controller.enqueue(buffer);
    },
  }, { highWaterMark: 0 });
  const url = withDigest(await startUpload(registry), digestBytes(bytes));
  assertEquals((await registry.fetch(url, { method: "PUT", body })).status, 201);
  const response = await registry.fetch(`${BASE}/v2/a/b/blobs/${digestBytes(bytes)}`);
  for await (const chunk of response.body ?? []) chunk.fill(0);
  assertEquals(await stored(registry, digestBytes(bytes)), bytes);
});

Deno.test("createRegistry() knows no repository that only has uploads", async () => {
  const registry = createRegistry();
  await startUpload(registry);
  assertEquals(await errorCode(await registry.fetch(`${BASE}/v2/a/b/tags/list`)), "404 NAME_UNKNOWN");
});

Deno.test("createRegistry() forgets an upload that is cancelled", async () => {
  const registry = createRegistry();
  const url = await startUpload(registry);
  assertEquals((await registry.fetch(url, { method: "DELETE" })).status, 204);
  assertEquals(await errorCode(await registry.fetch(url)), "404 BLOB_UPLOAD_UNKNOWN");
});

Deno.test("createRegistry() keeps the bytes of a PATCH that broke off", async () => {
  const registry = createRegistry();
  const url = await startUpload(registry);
  const parts = [new Uint8Array([1, 2, 3])];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = parts.pop();
      if (part === undefined) controller.error(new Error("source broke"));
      else controller.enqueue(part);
    },
  });
  await assertRejects(() => registry.fetch(url, { method: "PATCH", body }), TypeError, "fetch failed");
  assertEquals((await registry.fetch(url)).headers.get("range"), "0-2");
});

Deno.test("createRegistry() mounts a blob and shares its content", async () => {
  const registry = createRegistry();
  const blob = buildLayer(1);
  registry.state.addBlob("a/from", blob);
  const mount = (query: string) =>
    registry.fetch(`${BASE}/v2/a/to/blobs/uploads/?${query}`, { method: "POST" });
  const response = await mount(`mount=${blob.digest}&from=a/from`);
  assertEquals([response.status, response.headers.get("location")], [201, `/v2/a/to/blobs/${blob.digest}`]);
  assert(registry.repositories.get("a/to")?.blobs.get(blob.digest) === blob);
  assertEquals((await mount(`mount=${digestBytes(new Uint8Array())}&from=a/from`)).status, 202);
  registry.state.addBlob("a/other", buildLayer(1));
  assert(registry.repositories.get("a/other")?.blobs.get(blob.digest) === blob);
});

Deno.test("createRegistry() hashes and forgets uploads when told to", async () => {
  const registry = createRegistry({ discardBlobs: true });
  const blob = generatedContent(5, 3_000_000);
  const url = withDigest(await startUpload(registry), blob.digest);
  assertEquals((await registry.fetch(url, { method: "PUT", body: blob.stream() })).status, 201);
  const head = await registry.fetch(`${BASE}/v2/a/b/blobs/${blob.digest}`, { method: "HEAD" });
  assertEquals(head.headers.get("content-length"), "3000000");
  const got = await registry.fetch(`${BASE}/v2/a/b/blobs/${blob.digest}`);
  await assertRejects(() => got.bytes(), TypeError, "bytes were discarded");
});

Deno.test("createRegistry() lists tags in order and in pages", async () => {
  const registry = createRegistry();
  for (const tag of ["b", "a", "c"]) pushImage(registry, "a/b", tag, buildImage());
  const list = async (query: string) => {
    const response = await registry.fetch(`${BASE}/v2/a/b/tags/list${query}`);
    return [(await response.json()).tags, response.headers.get("link")];
  };
  assertEquals(await list(""), [["a", "b", "c"], null]);
  assertEquals(await list("?n=2"), [["a", "b"], '</v2/a/b/tags/list?n=2&last=b>; rel="next"']);
  assertEquals(await list("?n=2&last=b"), [["c"], null]);
  assertEquals(await list("?last=aa"), [["b", "c"], null]);
  assertEquals(await list("?n=0"), [[], null]);
  pushImage(registry, "a/b", "aa", buildImage());
  assertEquals(await list(""), [["a", "aa", "b", "c"], null]);
});

Deno.test("createRegistry() lists referrers, filtered by their type", async () => {
  const registry = createRegistry();
  const image = buildImage();
  const signature = buildArtifact({
    artifactType: "test/signature",
    subject: image,
    annotations: { by: "me" },
  });
  const chart = buildArtifact({ configMediaType: "test/config", subject: image });
  pushImage(registry, "a/b", "v1", image);
  for (const referrer of [signature, chart]) {
    for (const blob of referrer.blobs.values()) registry.state.addBlob("a/b", blob);
    const pushed = await putManifest(registry, referrer.digest, referrer.bytes);
    assertEquals(pushed.headers.get("oci-subject"), image.digest);
  }
  const list = (query = "") => registry.fetch(`${BASE}/v2/a/b/referrers/${image.digest}${query}`);
  const types = (await (await list()).json()).manifests.map((entry: { artifactType: string }) =>
    entry.artifactType
  );
  assertEquals(types, ["test/signature", "test/config"]);
  const filtered = await list("?artifactType=test/signature");
  assertEquals(filtered.headers.get("oci-filters-applied"), "artifactType");
  const expected = { ...signature.descriptor, artifactType: "test/signature", annotations: { by: "me" } };
  assertEquals((await filtered.json()).manifests, [expected]);
  const absent = await registry.fetch(`${BASE}/v2/a/b/referrers/${digestBytes(new Uint8Array())}`);
  assertEquals((await absent.json()).manifests, []);
});

Deno.test("createRegistry() answers with the spec's errors for what is not there", async () => {
  const registry = createRegistry();
  pushImage(registry, "a/b", "v1", buildImage());
  const get = async (path: string) => errorCode(await registry.fetch(BASE + path));
  const digest = digestBytes(new Uint8Array());
  assertEquals(await get("/v2/a/b/manifests/v2"), "404 MANIFEST_UNKNOWN");
  assertEquals(await get("/v2/no/such/manifests/v1"), "404 NAME_UNKNOWN");
  assertEquals(await get("/v2/no/such/tags/list"), "404 NAME_UNKNOWN");
  assertEquals(await get(`/v2/a/b/blobs/${digest}`), "404 BLOB_UNKNOWN");
  assertEquals(await get("/v2/a/b/blobs/nonsense"), "400 DIGEST_INVALID");
  assertEquals(await get("/v2/A/b/manifests/v1"), "400 NAME_INVALID");
  assertEquals(await get("/elsewhere"), "404 NOT_FOUND");
});
