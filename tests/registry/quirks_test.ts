/** Tests of the test registry's quirks: each one set, and what a client then sees. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { buildArtifact, buildImage, buildLayer, pushImage } from "../images.ts";
import { createRegistry, digestBytes, generatedBytes, type Quirks, type TestRegistry } from "../registry.ts";

const BASE = "https://registry.test";
const BYTES = generatedBytes(1, 10);
const DIGEST = digestBytes(BYTES);

/** A registry with one tagged image, one blob in a repository of its own, and the quirks. */
function createQuirky(quirks: Quirks): TestRegistry {
  const registry = createRegistry({ quirks });
  pushImage(registry, "a/b", "v1", buildImage());
  registry.state.addBlob("a/from", buildLayer(1));
  return registry;
}

async function answer(response: Response): Promise<string> {
  const text = await response.text();
  const code = text.startsWith('{"errors"') ? ` ${JSON.parse(text).errors[0].code}` : "";
  return `${response.status}${code}`;
}

async function start(registry: TestRegistry, query = ""): Promise<Response> {
  const response = await registry.fetch(`${BASE}/v2/a/b/blobs/uploads/${query}`, { method: "POST" });
  return response;
}

/** Sends chunks and closes the upload; the answers' statuses and codes. */
async function uploadInChunks(registry: TestRegistry, sizes: readonly number[]): Promise<string[]> {
  let url = new URL((await start(registry)).headers.get("location") ?? "", BASE);
  const answers: string[] = [];
  let offset = 0;
  for (const size of sizes) {
    const body = BYTES.slice(offset, offset + size);
    const headers = { "content-range": `${offset}-${offset + size - 1}` };
    const response = await registry.fetch(url, { method: "PATCH", headers, body });
    url = new URL(response.headers.get("location") ?? url.href, BASE);
    answers.push(await answer(response));
    offset += size;
  }
  url.searchParams.set("digest", DIGEST);
  return [...answers, await answer(await registry.fetch(url, { method: "PUT" }))];
}

async function putBlob(registry: TestRegistry, body: BodyInit): Promise<string> {
  const url = new URL((await start(registry)).headers.get("location") ?? "", BASE);
  url.searchParams.set("digest", DIGEST);
  return answer(await registry.fetch(url, { method: "PUT", body }));
}

function stream(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> {
  return new Response(bytes).body ?? new ReadableStream();
}

function putImage(registry: TestRegistry, reference: string, image = buildImage()): Promise<Response> {
  const headers = { "content-type": image.mediaType };
  return registry.fetch(`${BASE}/v2/a/b/manifests/${reference}`, {
    method: "PUT",
    headers,
    body: image.bytes,
  });
}

Deno.test("createRegistry() can leave digest and length out of HEAD answers", async () => {
  const registry = createQuirky({ headWithoutDigest: true, headWithoutLength: true });
  const [config = ""] = buildImage().blobs.keys();
  for (const path of ["manifests/v1", `blobs/${config}`]) {
    const head = await registry.fetch(`${BASE}/v2/a/b/${path}`, { method: "HEAD" });
    assertEquals([head.headers.get("docker-content-digest"), head.headers.get("content-length")], [
      null,
      null,
    ]);
    const get = await registry.fetch(`${BASE}/v2/a/b/${path}`);
    assert(get.headers.has("docker-content-digest") && get.headers.has("content-length"));
    await get.body?.cancel();
  }
});

Deno.test("createRegistry() can ignore ranges", async () => {
  const registry = createQuirky({ noRangeRequests: true });
  const [config = ""] = buildImage().blobs.keys();
  const response = await registry.fetch(`${BASE}/v2/a/b/blobs/${config}`, { headers: { range: "bytes=5-" } });
  assertEquals([response.status, response.headers.get("accept-ranges")], [200, null]);
  await response.body?.cancel();
});

Deno.test("createRegistry() can refuse mounts in every way seen", async () => {
  const { digest } = buildLayer(1);
  const mount = async (quirks: Quirks, query: string) => answer(await start(createQuirky(quirks), query));
  const query = `?mount=${digest}&from=a/from`;
  assertEquals(await mount({}, query), "201");
  assertEquals(await mount({ refuseMount: true }, query), "202");
  assertEquals(await mount({ mountNeedsManifest: true }, query), "202");
  assertEquals(await mount({}, `${query}&origin=elsewhere.test`), "201");
  assertEquals(
    await mount({ refuseForeignOrigin: true }, `${query}&origin=elsewhere.test`),
    "400 UNSUPPORTED",
  );
  assertEquals(await mount({}, `?mount=${digest}`), "202");
  assertEquals(await mount({ mountWithoutFromStatus: 201 }, `?mount=${digest}`), "201");
  assertEquals(await mount({ mountWithoutFromStatus: 400 }, `?mount=${digest}`), "400 NAME_INVALID");
});

Deno.test("createRegistry() that needs a manifest for mounts takes blobs a manifest names", async () => {
  const registry = createRegistry({ quirks: { mountNeedsManifest: true } });
  pushImage(registry, "a/from", "v1", buildImage());
  const [config = ""] = buildImage().blobs.keys();
  assertEquals(await answer(await start(registry, `?mount=${config}&from=a/from`)), "201");
});

Deno.test("createRegistry() can spell locations as absolute URLs, also at another origin", async () => {
  const absolute = await start(createQuirky({ locationAbsolute: true }));
  assert(absolute.headers.get("location")?.startsWith(`${BASE}/v2/a/b/blobs/uploads/`));
  const elsewhere = await start(createQuirky({ locationOrigin: "https://upload.test" }));
  assert(elsewhere.headers.get("location")?.startsWith("https://upload.test/v2/a/b/blobs/uploads/"));
});

Deno.test("createRegistry() can insist on the newest upload state", async () => {
  const registry = createQuirky({ uploadState: true });
  assertEquals(await uploadInChunks(registry, [4, 6]), ["202", "202", "201"]);
  const url = new URL((await start(registry)).headers.get("location") ?? "", BASE);
  const send = async () => answer(await registry.fetch(url, { method: "PATCH", body: BYTES }));
  assertEquals(await send(), "202");
  assertEquals(await send(), "400 BLOB_UPLOAD_INVALID");
});

Deno.test("createRegistry() can cut tag lists into pages and limit n", async () => {
  const registry = createQuirky({ pageSize: 2, locationAbsolute: true, maxPageParameter: 1000 });
  for (const tag of ["v2", "v3"]) pushImage(registry, "a/b", tag, buildImage());
  const response = await registry.fetch(`${BASE}/v2/a/b/tags/list?n=1000`);
  assertEquals(response.headers.get("link"), `<${BASE}/v2/a/b/tags/list?n=2&last=v2>; rel="next"`);
  assertEquals((await response.json()).tags, ["v1", "v2"]);
  assertEquals(
    await answer(await registry.fetch(`${BASE}/v2/a/b/tags/list?n=1001`)),
    "400 PAGINATION_NUMBER_INVALID",
  );
});

Deno.test("createRegistry() can list referrers in pages or without its filter", async () => {
  const registry = createQuirky({ referrersPageSize: 2, noReferrersFilter: true });
  for (const seed of [1, 2, 3]) {
    pushImage(
      registry,
      "a/b",
      undefined,
      buildArtifact({ seed, artifactType: `test/${seed}`, subject: buildImage() }),
    );
  }
  const found: string[] = [];
  let next: string | undefined = `/v2/a/b/referrers/${buildImage().digest}?artifactType=test/1`;
  while (next !== undefined) {
    const response: Response = await registry.fetch(BASE + next);
    assertEquals(response.headers.get("oci-filters-applied"), null);
    found.push(
      ...(await response.json()).manifests.map((entry: { artifactType: string }) => entry.artifactType),
    );
    next = /<(.+)>/.exec(response.headers.get("link") ?? "")?.[1];
  }
  assertEquals(found, ["test/1", "test/2", "test/3"]);
  assertEquals(registry.count({ kind: "referrers" }), 2);
});

Deno.test("createRegistry() can do without the referrers API", async () => {
  const registry = createQuirky({ noReferrers: true });
  const artifact = buildArtifact({ subject: buildImage() });
  for (const blob of artifact.blobs.values()) registry.state.addBlob("a/b", blob);
  const pushed = await putImage(registry, "sig", artifact);
  assertEquals([pushed.status, pushed.headers.get("oci-subject")], [201, null]);
  assertEquals(await answer(await registry.fetch(`${BASE}/v2/a/b/referrers/${DIGEST}`)), "404 NOT_FOUND");
});

Deno.test("createRegistry() can answer 403 for what is not there", async () => {
  const registry = createQuirky({ missingStatus: 403 });
  for (const path of ["a/b/manifests/v2", "no/such/tags/list", `a/b/blobs/${DIGEST}`]) {
    const response = await registry.fetch(`${BASE}/v2/${path}`);
    await response.body?.cancel();
    assertEquals(response.status, 403);
  }
});

Deno.test("createRegistry() can insist on a Content-Length", async () => {
  const registry = createQuirky({ requireContentLength: true });
  assertEquals(await putBlob(registry, stream(BYTES)), "411 SIZE_INVALID");
  assertEquals(registry.requests.at(-1)?.transferEncoding, "chunked");
  assertEquals(await putBlob(registry, BYTES), "201");
  assertEquals(registry.requests.at(-1)?.contentLength, 10);
});

Deno.test("createRegistry() can limit blobs, requests, PUTs and manifests", async () => {
  assertEquals(await putBlob(createQuirky({ maxUploadBytes: 9 }), BYTES), "413 SIZE_INVALID");
  assertEquals(await putBlob(createQuirky({ maxUploadBytes: 9 }), stream(BYTES)), "413 SIZE_INVALID");
  assertEquals(await putBlob(createQuirky({ maxUploadBytes: 10 }), BYTES), "201");
  const limited = createQuirky({ maxRequestBytes: 9 });
  assertEquals(await putBlob(limited, BYTES), "413 SIZE_INVALID");
  assertEquals(limited.requests.at(-1)?.bytesIn, 0);
  assertEquals(await uploadInChunks(createQuirky({ maxRequestBytes: 9 }), [5, 5]), ["202", "202", "201"]);
  assertEquals((await uploadInChunks(createQuirky({ maxUploadBytes: 9 }), [5, 5]))[1], "413 SIZE_INVALID");
  assertEquals(await putBlob(createQuirky({ maxPutBytes: 9 }), BYTES), "413 SIZE_INVALID");
  assertEquals(await uploadInChunks(createQuirky({ maxPutBytes: 9 }), [10]), ["202", "201"]);
  assertEquals(await answer(await putImage(createQuirky({ maxManifestBytes: 9 }), "v2")), "413 SIZE_INVALID");
});

Deno.test("createRegistry() can ask for chunks of a least size", async () => {
  const registry = createQuirky({ chunkMinLength: 4 });
  assertEquals((await start(registry)).headers.get("oci-chunk-min-length"), "4");
  assertEquals(await uploadInChunks(registry, [4, 4, 2]), ["202", "202", "202", "201"]);
  assertEquals((await uploadInChunks(registry, [3, 7]))[1], "400 SIZE_INVALID");
});

Deno.test("createRegistry() can break chunked uploads in every way seen", async () => {
  assertEquals(await uploadInChunks(createQuirky({ lastPatchWins: true }), [5, 5]), [
    "202",
    "202",
    "400 DIGEST_INVALID",
  ]);
  assertEquals(await uploadInChunks(createQuirky({ lastPatchWins: true }), [10]), ["202", "201"]);
  assertEquals((await uploadInChunks(createQuirky({ noChunkedUpload: true }), [10]))[0], "405 UNSUPPORTED");
  assertEquals(await uploadInChunks(createQuirky({ patchStatus: 201 }), [10]), ["201", "201"]);
});

Deno.test("createRegistry() can forget what came of a PATCH that broke off", async () => {
  const registry = createQuirky({ dropPartialChunk: true });
  const url = new URL((await start(registry)).headers.get("location") ?? "", BASE);
  await (await registry.fetch(url, { method: "PATCH", body: BYTES.slice(0, 4) })).body?.cancel();
  const parts = [BYTES.slice(4, 8)];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = parts.pop();
      if (part === undefined) controller.error(new Error("source broke"));
      else controller.enqueue(part);
    },
  });
  await assertRejects(() => registry.fetch(url, { method: "PATCH", body }), TypeError, "fetch failed");
  assertEquals((await registry.fetch(url)).headers.get("range"), "0-3");
  url.searchParams.set("digest", DIGEST);
  assertEquals((await registry.fetch(url, { method: "PUT", body: BYTES.slice(4) })).status, 201);
  assertEquals(registry.blobs.get(DIGEST)?.size, 10);
});

Deno.test("createRegistry() can refuse single POSTs and upload status", async () => {
  const registry = createQuirky({ noSinglePost: true, noUploadStatus: true });
  const started = await start(registry, `?digest=${DIGEST}`);
  assertEquals(started.status, 202);
  const url = new URL(started.headers.get("location") ?? "", BASE);
  assertEquals(await answer(await registry.fetch(url)), "404 BLOB_UPLOAD_UNKNOWN");
});

Deno.test("createRegistry() can keep tags as they are", async () => {
  const registry = createQuirky({ immutableTags: true });
  assertEquals(await answer(await putImage(registry, "v1")), "400 TAG_INVALID");
  assertEquals((await putImage(registry, "v2")).status, 201);
  assertEquals((await putImage(registry, buildImage().digest)).status, 201);
});

Deno.test("createRegistry() tags a manifest pushed by digest, or ignores the parameter", async () => {
  const put = (registry: TestRegistry) => putImage(registry, `${buildImage().digest}?tag=x&tag=y`);
  assertEquals((await put(createQuirky({}))).headers.get("oci-tag"), "x, y");
  const ignoring = createQuirky({ noTagParameters: true });
  assertEquals((await put(ignoring)).headers.get("oci-tag"), null);
  assertEquals([...ignoring.repositories.get("a/b")?.tags.keys() ?? []], ["v1"]);
});

Deno.test("createRegistry() can be strict about Accept and about media types", async () => {
  const registry = createQuirky({ strictAccept: true, acceptedMediaTypes: ["application/other"] });
  const get = async (accept: string) =>
    answer(await registry.fetch(`${BASE}/v2/a/b/manifests/v1`, { headers: { accept } }));
  assertEquals(await get("application/json"), "404 MANIFEST_UNKNOWN");
  assertEquals(await get(`text/html, ${buildImage().mediaType};q=0.9`), "200");
  assertEquals(await answer(await putImage(registry, "v2")), "400 MANIFEST_INVALID");
});

Deno.test("createRegistry() can refuse to delete tags, or anything", async () => {
  const remove = async (quirks: Quirks, reference: string) => {
    const url = `${BASE}/v2/a/b/manifests/${reference}`;
    return answer(await createQuirky(quirks).fetch(url, { method: "DELETE" }));
  };
  assertEquals(await remove({ refuseTagDelete: true }, "v1"), "405 UNSUPPORTED");
  assertEquals(await remove({ refuseTagDelete: true }, buildImage().digest), "202");
  assertEquals(await remove({ refuseDelete: true }, buildImage().digest), "405 UNSUPPORTED");
});

Deno.test("createRegistry() can answer another status for missing references", async () => {
  const registry = createQuirky({ missingReferenceStatus: 400 });
  assertEquals(
    await answer(await putImage(registry, "v2", buildImage({ seed: 9 }))),
    "400 MANIFEST_BLOB_UNKNOWN",
  );
});

Deno.test("createRegistry() can know no HEAD and no digests of manifests", async () => {
  const registry = createQuirky({ headStatus: 405, noManifestByDigest: true });
  const [config = ""] = buildImage().blobs.keys();
  const ask = async (method: string, path: string) =>
    answer(await registry.fetch(`${BASE}/v2/a/b/${path}`, { method }));
  assertEquals(await ask("HEAD", "manifests/v1"), "405");
  assertEquals(await ask("HEAD", `blobs/${config}`), "405");
  assertEquals(await ask("GET", `blobs/${config}`), "200");
  assertEquals(await ask("GET", "manifests/v1"), "200");
  assertEquals(await ask("GET", `manifests/${buildImage().digest}`), "404 MANIFEST_UNKNOWN");
});

Deno.test("createRegistry() can list tags in every way seen", async () => {
  const list = async (quirks: Quirks, query: string) => {
    const registry = createQuirky(quirks);
    for (const tag of ["v2", "v3"]) pushImage(registry, "a/b", tag, buildImage());
    const response = await registry.fetch(`${BASE}/v2/a/b/tags/list${query}`);
    const text = await response.text();
    const { tags, errors } = JSON.parse(text);
    return [response.status, response.headers.get("link"), tags ?? errors[0].message, text.length > 99];
  };
  assertEquals(await list({ noTagLinks: true }, "?n=2"), [200, null, ["v1", "v2"], false]);
  assertEquals(await list({ ignoreLast: true }, "?last=v2"), [200, null, ["v1", "v2", "v3"], false]);
  const writeLink = () => "next!";
  assertEquals(await list({ pageSize: 1, writeLink }, ""), [200, "next!", ["v1"], false]);
  assertEquals(await list({ listedBesides: ["-"] }, "?last=v2"), [200, null, ["v3", "-"], false]);
  assertEquals(await list({ errorWithOk: "rebuilding" }, ""), [200, null, "rebuilding", false]);
  assertEquals(await list({ tagPagePadding: 100 }, "?last=v3"), [200, null, [], true]);
  const refused = { maxPageParameter: 9, pageParameterStatus: 413 };
  assertEquals((await list(refused, "?n=10"))[0], 413);
});

Deno.test("createRegistry() can label blobs, compress JSON and refuse ranges", async () => {
  const [config = ""] = buildImage().blobs.keys();
  const labelled = await createQuirky({ blobEncoding: "x-gzip" }).fetch(`${BASE}/v2/a/b/blobs/${config}`);
  assertEquals(labelled.headers.get("content-encoding"), "x-gzip");
  assertEquals(digestBytes(await labelled.bytes()), config);
  const packed = await createQuirky({ compressJson: true }).fetch(`${BASE}/v2/a/b/manifests/v1`);
  assertEquals([packed.headers.get("content-encoding"), (await packed.bytes())[0]], ["gzip", 0x1f]);
  for (const rangeStatus of [206, 416]) {
    const registry = createQuirky({ rangeStatus });
    const headers = { range: "bytes=5-" };
    const response = await registry.fetch(`${BASE}/v2/a/b/blobs/${config}`, { headers });
    await response.body?.cancel();
    assertEquals(response.status, rangeStatus);
  }
});

Deno.test("createRegistry() can lose uploads once, name content by sha256, and answer a PUT its own way", async () => {
  const registry = createQuirky({ loseUploadsWith: 410, canonicalSha256: true, manifestStatus: 204 });
  assertEquals(await putBlob(registry, BYTES), "410 NOT_FOUND");
  assertEquals(await putBlob(registry, BYTES), "201");
  const digest = digestBytes(buildImage().bytes, "sha512");
  const pushed = await putImage(registry, digest);
  assertEquals([pushed.status, pushed.headers.get("docker-content-digest")], [204, buildImage().digest]);
});

Deno.test("createRegistry() can take bytes in PATCH alone", async () => {
  for (const patchOnly of ["refused", "ignored"] as const) {
    const registry = createQuirky({ patchOnly });
    assertEquals(
      await putBlob(registry, BYTES),
      patchOnly === "refused" ? "405 UNSUPPORTED" : "400 DIGEST_INVALID",
    );
    assertEquals((await start(registry, `?digest=${DIGEST}`)).status, 202);
    assertEquals(await uploadInChunks(registry, [10]), ["202", "201"]);
  }
});

Deno.test("createRegistry() can say that it has created what it has not", async () => {
  const registry = createQuirky({ falseMounts: true, falsePosts: true });
  const { digest } = buildLayer(1);
  assertEquals(await answer(await start(registry, `?mount=${digest}&from=a/from`)), "201");
  const url = `${BASE}/v2/a/b/blobs/uploads/?digest=${DIGEST}`;
  assertEquals(await answer(await registry.fetch(url, { method: "POST", body: BYTES })), "201");
  const { blobs } = registry.state.repository("a/b");
  assertEquals([blobs.has(digest), blobs.has(DIGEST)], [false, false]);
});

Deno.test("createRegistry() minds If-Match of a manifest", async () => {
  const registry = createQuirky({});
  const put = async (etag: string, reference: string) => {
    const image = buildImage({ seed: 2, layers: 0, created: "2020-01-01T00:00:00Z" });
    for (const blob of image.blobs.values()) registry.state.addBlob("a/b", blob);
    const headers = { "content-type": image.mediaType, "if-match": etag };
    const url = `${BASE}/v2/a/b/manifests/${reference}`;
    return answer(await registry.fetch(url, { method: "PUT", headers, body: image.bytes }));
  };
  assertEquals(await put(`"sha256:other"`, "v1"), "412 DENIED");
  assertEquals(await put(`"${buildImage().digest}"`, "none"), "412 DENIED");
  assertEquals(await put(`"${buildImage().digest}"`, "v1"), "201");
});
