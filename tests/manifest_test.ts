/** Tests of manifests and indexes: what they are, and what they point at. */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  type Descriptor,
  DigestError,
  MEDIA_TYPE_DOCKER_LIST,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_DOCKER_SCHEMA1,
  MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
} from "../src/oci/descriptor.ts";
import {
  childrenOf,
  type Content,
  MANIFEST_SIZE_LIMIT,
  ManifestError,
  parseContent,
} from "../src/oci/manifest.ts";
import { buildImage, buildIndex, buildSchema1, encodeJson, foreignLayer, sha512Layer } from "./images.ts";
import { digestBytes } from "./registry.ts";

const DIGEST = `sha256:${"1".repeat(64)}`;
const OTHER = `sha256:${"2".repeat(64)}`;

function blob(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  return { mediaType: "application/octet-stream", digest: DIGEST, size: 5, ...overrides };
}

function parse(fields: unknown, contentType?: string): Promise<Content> {
  return parseContent(encodeJson(fields), contentType);
}

function digests(descriptors: readonly Descriptor[]): string[] {
  return descriptors.map(({ digest }) => digest);
}

Deno.test("parseContent() keeps the bytes and says type, digest and size", async () => {
  const image = buildImage();
  const content = await parseContent(image.bytes, image.mediaType, image.digest);
  assert(content.bytes === image.bytes);
  assertEquals(content.descriptor, {
    mediaType: image.mediaType,
    digest: image.digest,
    size: image.bytes.length,
  });
});

Deno.test("parseContent() refuses bytes that do not have the digest asked for", async () => {
  const image = buildImage();
  const wrong = image.bytes.slice();
  wrong[wrong.length - 2] = 0x20;
  const text = new TextDecoder().decode(image.bytes).replace("1024", "1025");
  const error = await assertRejects(
    () => parseContent(new TextEncoder().encode(text), image.mediaType, image.digest),
    DigestError,
  );
  assertEquals(error.expected, image.digest);
  assertEquals(error.actual, digestBytes(new TextEncoder().encode(text)));
  await assertRejects(() => parseContent(wrong, image.mediaType, image.digest));
});

Deno.test("parseContent() hashes with the algorithm of the digest asked for", async () => {
  const { bytes, mediaType } = buildImage();
  const digest = digestBytes(bytes, "sha512");
  assertEquals((await parseContent(bytes, mediaType, digest)).descriptor.digest, digest);
});

Deno.test("parseContent() leaves the signatures of schema 1 out of the digest", async () => {
  const image = buildSchema1();
  assert(digestBytes(image.bytes) !== image.digest);
  for (const type of [image.mediaType, "text/plain; charset=utf-8", undefined]) {
    const { descriptor } = await parseContent(image.bytes, type, image.digest);
    assertEquals(descriptor.mediaType, MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED);
    assertEquals(descriptor.digest, image.digest);
  }
});

Deno.test("parseContent() notices a changed payload of schema 1", async () => {
  const image = buildSchema1();
  const changed = new TextEncoder().encode(
    new TextDecoder().decode(image.bytes).replace('"amd64"', '"arm64"'),
  );
  await assertRejects(() => parseContent(changed, image.mediaType, image.digest), DigestError);
});

Deno.test("parseContent() refuses schema 1 whose signature header is malformed", async () => {
  const base = { schemaVersion: 1, fsLayers: [{ blobSum: DIGEST }] };
  const headers = [
    "%%%",
    btoa("not json"),
    btoa(JSON.stringify({ formatLength: -1, formatTail: "Cn0" })),
    btoa(JSON.stringify({ formatLength: 0.5, formatTail: "Cn0" })),
    btoa(JSON.stringify({ formatLength: 1e15, formatTail: "Cn0" })),
    // A length beyond the bytes must not make memory of that size.
    btoa(JSON.stringify({ formatLength: 3e9, formatTail: "Cn0" })),
    btoa(JSON.stringify({ formatLength: 10, formatTail: "%%%" })),
  ];
  for (const header of headers) {
    await assertRejects(() => parse({ ...base, signatures: [{ protected: header }] }), ManifestError);
  }
});

Deno.test("parseContent() tells the type by the header, then by the field, then by the shape", async () => {
  const config = blob();
  const cases: [unknown, string | undefined, string][] = [
    [{ config, layers: [] }, MEDIA_TYPE_DOCKER_MANIFEST, MEDIA_TYPE_DOCKER_MANIFEST],
    [{ config, layers: [] }, `${MEDIA_TYPE_OCI_MANIFEST}; charset=utf-8`, MEDIA_TYPE_OCI_MANIFEST],
    [
      { config, layers: [], mediaType: MEDIA_TYPE_DOCKER_MANIFEST },
      "text/plain",
      MEDIA_TYPE_DOCKER_MANIFEST,
    ],
    [{ config, layers: [] }, "application/json", MEDIA_TYPE_OCI_MANIFEST],
    [{ manifests: [] }, undefined, MEDIA_TYPE_OCI_INDEX],
    [{ manifests: [blob({ mediaType: MEDIA_TYPE_DOCKER_MANIFEST })] }, undefined, MEDIA_TYPE_DOCKER_LIST],
    [{ schemaVersion: 1, fsLayers: [] }, "application/json", MEDIA_TYPE_DOCKER_SCHEMA1],
    [
      { mediaType: "application/vnd.oci.artifact.manifest.v1+json", blobs: [] },
      undefined,
      "application/vnd.oci.artifact.manifest.v1+json",
    ],
  ];
  for (const [fields, contentType, expected] of cases) {
    assertEquals((await parse(fields, contentType)).descriptor.mediaType, expected);
  }
});

Deno.test("parseContent() refuses bytes that read as an image and as an index (CVE-2021-41190)", async () => {
  for (const both of [{ manifests: [], layers: [] }, { manifests: [], config: blob() }]) {
    for (const type of [undefined, MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST]) {
      await assertRejects(() => parse(both, type), ManifestError, `both "manifests" and "layers"`);
    }
  }
});

Deno.test("parseContent() refuses what is no manifest, in a sentence", async () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const cases: [Uint8Array<ArrayBuffer>, string][] = [
    [bytes("<html>Sign in</html>"), "not JSON"],
    [bytes(""), "not JSON"],
    [new Uint8Array([0x22, 0xff, 0x22]), "not JSON"],
    [bytes("[]"), "not a JSON object"],
    [bytes("null"), "not a JSON object"],
    [bytes("{}"), `unsupported manifest type "unknown"`],
    [bytes(`{"mediaType":"application/x"}`), `unsupported manifest type "application/x"`],
    [bytes(`{"schemaVersion":1}`), `unsupported manifest type "unknown"`],
  ];
  for (const [content, why] of cases) {
    const error = await assertRejects(() => parseContent(content), ManifestError);
    assertStringIncludes(error.message, why);
    assertEquals(/ {2}| :/.test(error.message), false, error.message);
  }
});

Deno.test("parseContent() refuses more than 4 MiB and takes just that", async () => {
  const most = encodeJson({ config: blob(), layers: [], pad: "" });
  const padded = (size: number) =>
    encodeJson({ config: blob(), layers: [], pad: "x".repeat(size - most.length) });
  assertEquals((await parseContent(padded(MANIFEST_SIZE_LIMIT))).bytes.length, MANIFEST_SIZE_LIMIT);
  await assertRejects(
    () => parseContent(padded(MANIFEST_SIZE_LIMIT + 1)),
    ManifestError,
    "larger than 4 MiB",
  );
});

Deno.test("childrenOf() gives config and layers in order, each digest once", async () => {
  const image = buildImage({ layers: 3 });
  const { manifests, blobs } = childrenOf(await parseContent(image.bytes));
  assertEquals(manifests, []);
  assertEquals(digests(blobs), [...image.blobs.keys()]);
  const twice = await parse({ config: blob(), layers: [blob(), blob({ digest: OTHER }), blob()] });
  assertEquals(digests(childrenOf(twice).blobs), [DIGEST, OTHER]);
});

Deno.test("childrenOf() carries urls, data, annotations and other algorithms", async () => {
  const image = buildImage({ layers: [foreignLayer(1), sha512Layer(2)], format: "docker" });
  const [, foreign, long] = childrenOf(await parseContent(image.bytes)).blobs;
  assertEquals(foreign?.urls, ["https://elsewhere.test/layer"]);
  assert(long?.digest.startsWith("sha512:"));
  const layer = blob({
    data: "aGVsbG8=",
    annotations: { a: "b", c: 1 },
    artifactType: "x/y",
    urls: ["u", 1],
  });
  const [only] = childrenOf(await parse({ config: layer, layers: [] })).blobs;
  assertEquals(only?.data, "aGVsbG8=");
  assertEquals(only?.annotations, { a: "b" });
  assertEquals(only?.artifactType, "x/y");
  assertEquals(only?.urls, ["u"]);
});

Deno.test("childrenOf() tells the manifests of an index from its blobs", async () => {
  const entries = [
    blob({ mediaType: MEDIA_TYPE_OCI_MANIFEST }),
    blob({ mediaType: "application/vnd.oci.artifact.manifest.v1+json", digest: OTHER }),
    blob({ mediaType: "application/vnd.oci.image.layer.v1.tar", digest: `sha256:${"3".repeat(64)}` }),
  ];
  const { manifests, blobs } = childrenOf(await parse({ manifests: entries }));
  assertEquals(digests(manifests), [DIGEST, OTHER]);
  assertEquals(digests(blobs), [`sha256:${"3".repeat(64)}`]);
});

Deno.test("childrenOf() keeps the platforms of an index", async () => {
  const platform = { os: "windows", architecture: "amd64", "os.version": "10.0", "os.features": ["win32k"] };
  const index = buildIndex([buildImage({ platform })]);
  const [child] = childrenOf(await parseContent(index.bytes)).manifests;
  assertEquals(child?.platform, platform);
  const bad = await parse({ manifests: [blob({ mediaType: MEDIA_TYPE_OCI_MANIFEST, platform: { os: 1 } })] });
  assertEquals(childrenOf(bad).manifests[0]?.platform, undefined);
});

Deno.test("childrenOf() gives the layers of schema 1 without sizes", async () => {
  const image = buildSchema1({ layers: 2 });
  const { blobs } = childrenOf(await parseContent(image.bytes, image.mediaType));
  assertEquals(digests(blobs), [...image.blobs.keys()]);
  assertEquals(blobs.map(({ size }) => size), [-1, -1]);
});

Deno.test("childrenOf() refuses pointers that are malformed", async () => {
  const bad: [unknown, string][] = [
    [null, "a descriptor is not an object"],
    ["sha256", "a descriptor is not an object"],
    [blob({ digest: "sha256:../../../etc" }), "a descriptor has no valid digest"],
    [blob({ digest: undefined }), "a descriptor has no valid digest"],
    [blob({ size: -1 }), "has no valid size"],
    [blob({ size: 1.5 }), "has no valid size"],
    [blob({ size: 2 ** 53 }), "has no valid size"],
    [blob({ size: "5" }), "has no valid size"],
  ];
  for (const [layer, why] of bad) {
    const content = await parse({ config: blob(), layers: [layer] });
    assertThrows(() => childrenOf(content), ManifestError, why);
    const index = await parse({ manifests: [layer] });
    assertThrows(() => childrenOf(index), ManifestError, why);
  }
  const noList = await parse({ config: blob(), layers: {} }, MEDIA_TYPE_OCI_MANIFEST);
  assertThrows(() => childrenOf(noList), ManifestError, `"layers" is not a list`);
  const noSum = await parse({ schemaVersion: 1, fsLayers: [{}] });
  assertThrows(() => childrenOf(noSum), ManifestError, "a layer has no digest");
});
