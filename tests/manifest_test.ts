/** Tests of manifests and indexes: what they are, and what they point at. */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  type Descriptor,
  DigestError,
  MANIFEST_MEDIA_TYPES,
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
  hasDigest,
  MANIFEST_SIZE_LIMIT,
  ManifestError,
  mayBeBlob,
  parseContent,
  parseIndexEntries,
} from "../src/oci/manifest.ts";
import { buildImage, buildIndex, buildSchema1, encodeJson, foreignLayer, sha512Layer } from "./images.ts";
import { digestBytes } from "./registry.ts";
import { manifestDigest } from "./registry/manifest_facts.ts";

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
  const content = await parseContent(image.bytes, image.mediaType, { expected: image.digest });
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
    () => parseContent(new TextEncoder().encode(text), image.mediaType, { expected: image.digest }),
    DigestError,
  );
  assertEquals(error.expected, image.digest);
  assertEquals(error.actual, digestBytes(new TextEncoder().encode(text)));
  await assertRejects(() => parseContent(wrong, image.mediaType, { expected: image.digest }));
});

Deno.test("parseContent() hashes with the algorithm of the digest asked for", async () => {
  const { bytes, mediaType } = buildImage();
  const digest = digestBytes(bytes, "sha512");
  assertEquals((await parseContent(bytes, mediaType, { expected: digest })).descriptor.digest, digest);
});

Deno.test("parseContent() leaves the signatures of schema 1 out of the digest", async () => {
  const image = buildSchema1();
  assert(digestBytes(image.bytes) !== image.digest);
  for (const type of [image.mediaType, "text/plain; charset=utf-8", undefined]) {
    const { descriptor } = await parseContent(image.bytes, type, { expected: image.digest });
    assertEquals(descriptor.mediaType, MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED);
    assertEquals(descriptor.digest, image.digest);
  }
});

Deno.test("parseContent() notices a changed payload of schema 1", async () => {
  const image = buildSchema1();
  const changed = new TextEncoder().encode(
    new TextDecoder().decode(image.bytes).replace('"amd64"', '"arm64"'),
  );
  await assertRejects(() => parseContent(changed, image.mediaType, { expected: image.digest }), DigestError);
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
    [new Uint8Array([0x22, 0xff, 0x22]), "not a JSON object"],
    [new Uint8Array([0xff, 0xfe]), "not JSON"],
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
  const noSum = await parse({ schemaVersion: 1, fsLayers: [{}] });
  assertThrows(() => childrenOf(noSum), ManifestError, "a layer has no digest");
});

Deno.test("fault 4: childrenOf() takes for a blob only what is known to be one", async () => {
  const types = [
    undefined,
    "",
    "application/json",
    "application/octet-stream",
    "Application/Vnd.OCI.Image.Manifest.v1+JSON",
    "application/vnd.acme.thing+json",
    "application/vnd.acme.layer",
  ];
  for (const mediaType of types) {
    const [entry] = childrenOf(await parse({ manifests: [blob({ mediaType })] })).manifests;
    assertEquals(entry?.digest, DIGEST, `${mediaType}`);
  }
  const blobs = [
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
  ];
  for (const mediaType of blobs) {
    assertEquals(digests(childrenOf(await parse({ manifests: [blob({ mediaType })] })).blobs), [DIGEST]);
  }
});

Deno.test("fault 4: mayBeBlob() tells entries that say what they are from those that do not", () => {
  for (const mediaType of [MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_DOCKER_MANIFEST, MEDIA_TYPE_DOCKER_SCHEMA1]) {
    assertEquals(mayBeBlob({ mediaType }), false);
  }
  assertEquals(mayBeBlob({ mediaType: "Application/Vnd.OCI.Image.Manifest.v1+JSON" }), false);
  assertEquals(mayBeBlob({ mediaType: "application/vnd.acme.thing+json" }), true);
});

Deno.test("fault 6: parseContent() refuses a body without the lists of a manifest under any type", async () => {
  const bodies = [
    {},
    { errors: [{ code: "DENIED" }] },
    { schemaVersion: 2 },
    { schemaVersion: 1 },
    { manifests: null },
    { manifests: {} },
    { layers: null },
    { config: blob(), layers: {} },
    { schemaVersion: 1, fsLayers: null },
  ];
  const types = [...MANIFEST_MEDIA_TYPES, "application/json", "application/vnd.acme.thing+json", undefined];
  for (const type of types) {
    for (const fields of bodies) {
      await assertRejects(() => parse(fields, type), ManifestError, "unsupported manifest type");
      await assertRejects(() => parse({ ...fields, mediaType: type ?? "" }, type), ManifestError);
    }
  }
  await assertRejects(
    () => parse({ blobs: [] }, "application/json"),
    ManifestError,
    "nothing says what type",
  );
});

Deno.test("fault 6: parseContent() refuses lists of another kind of manifest than the type names", async () => {
  const cases: [unknown, string, string][] = [
    [{ layers: [] }, MEDIA_TYPE_OCI_INDEX, "an image"],
    [{ manifests: [] }, MEDIA_TYPE_OCI_MANIFEST, "an index"],
    [{ layers: [] }, MEDIA_TYPE_DOCKER_SCHEMA1, "an image"],
    [{ fsLayers: [] }, MEDIA_TYPE_DOCKER_MANIFEST, "a schema 1 manifest"],
    [{ blobs: [] }, MEDIA_TYPE_OCI_MANIFEST, "an artifact"],
  ];
  for (const [fields, type, shape] of cases) {
    const why = `it was served as "${type}", but it has the fields of ${shape}`;
    await assertRejects(() => parse(fields, type), ManifestError, why);
  }
});

Deno.test("fault 7: parseContent() takes the body's own type before the header's", async () => {
  const image = { mediaType: MEDIA_TYPE_OCI_MANIFEST, config: blob(), layers: [] };
  for (const header of [MEDIA_TYPE_DOCKER_MANIFEST, MEDIA_TYPE_OCI_INDEX, "text/plain", "Application/JSON"]) {
    assertEquals((await parse(image, header)).descriptor.mediaType, MEDIA_TYPE_OCI_MANIFEST);
  }
  const list = { mediaType: MEDIA_TYPE_DOCKER_LIST, manifests: [] };
  assertEquals((await parse(list, MEDIA_TYPE_OCI_INDEX)).descriptor.mediaType, MEDIA_TYPE_DOCKER_LIST);
  const thing = { mediaType: "application/vnd.acme.thing+json", layers: [] };
  assertEquals((await parse(thing, MEDIA_TYPE_OCI_MANIFEST)).descriptor.mediaType, thing.mediaType);
  assertEquals((await parse({ layers: [] }, thing.mediaType)).descriptor.mediaType, thing.mediaType);
});

Deno.test("fault 7: parseContent() names both types where the body's own does not fit", async () => {
  const body = { mediaType: MEDIA_TYPE_OCI_INDEX, config: blob(), layers: [] };
  const error = await assertRejects(() => parse(body, MEDIA_TYPE_OCI_MANIFEST), ManifestError);
  assertStringIncludes(error.message, `it says that it is "${MEDIA_TYPE_OCI_INDEX}"`);
  assertStringIncludes(error.message, `was served as "${MEDIA_TYPE_OCI_MANIFEST}"`);
});

Deno.test("fault 11: childrenOf() refuses one digest with two sizes", async () => {
  const twice = await parse({ config: blob(), layers: [blob({ size: 6 })] });
  assertThrows(() => childrenOf(twice), ManifestError, "5 bytes in one place and of 6 in another");
  const index = await parse({ manifests: [blob(), blob({ size: 6 })] });
  assertThrows(() => childrenOf(index), ManifestError, "5 bytes in one place and of 6 in another");
});

Deno.test("fault 40: ManifestError shows no control characters of a media type", async () => {
  const forged = "application/x\n\u001b[2J\u202eFinished, 0 sync tasks failed";
  const error = await assertRejects(() => parse({ mediaType: forged }), ManifestError);
  assertStringIncludes(error.message, `"application/x [2J Finished`);
  assertEquals(/[\p{Cc}\p{Cf}]/u.test(error.message), false);
});

Deno.test("fault 67: parseContent() keeps a byte that is not UTF-8 and reads what it needs", async () => {
  const text = new TextDecoder().decode(
    encodeJson({ config: blob(), layers: [blob({ digest: OTHER })], annotations: { author: "José" } }),
  );
  const latin = Uint8Array.from(text, (character) => character.charCodeAt(0));
  assert(latin.includes(0xe9));
  const content = await parseContent(latin, MEDIA_TYPE_OCI_MANIFEST, { expected: digestBytes(latin) });
  assertEquals(content.bytes, latin);
  assertEquals(digests(childrenOf(content).blobs), [DIGEST, OTHER]);
});

Deno.test("fault 68: childrenOf() takes null fields for absent ones", async () => {
  const empty = { config: null, layers: null, fsLayers: null, mediaType: null, subject: null };
  const index = await parse({ ...empty, manifests: [blob({ mediaType: MEDIA_TYPE_OCI_MANIFEST })] });
  assertEquals(index.descriptor.mediaType, MEDIA_TYPE_OCI_INDEX);
  assertEquals(digests(childrenOf(index).manifests), [DIGEST]);
  const entry = blob({ platform: null, annotations: null, urls: null, data: null, mediaType: null });
  const image = await parse({ manifests: null, config: null, layers: [entry] });
  assertEquals(childrenOf(image).blobs, [{ mediaType: "application/octet-stream", digest: DIGEST, size: 5 }]);
});

Deno.test("fault 57: hasDigest() hashes with the algorithm of the digest it is asked about", async () => {
  const image = buildImage();
  const content = await parseContent(image.bytes, image.mediaType);
  assert(await hasDigest(content, image.digest));
  for (const algorithm of ["sha384", "sha512"]) {
    assert(await hasDigest(content, digestBytes(image.bytes, algorithm)));
    assertEquals(await hasDigest(content, digestBytes(new Uint8Array(), algorithm)), false);
  }
  assertEquals(await hasDigest(content, OTHER), false);
  assertEquals(await hasDigest(content, `md5-of-mine:${"1".repeat(32)}`), false);
  assertEquals(await hasDigest(content, "nothing"), false);
  const signed = buildSchema1();
  const old = await parseContent(signed.bytes, signed.mediaType);
  assert(await hasDigest(old, manifestDigest(signed.bytes, signed.mediaType, "sha512")));
});

Deno.test("parseIndexEntries() gives the entries of a list, each once, whatever they point at", () => {
  const entries = [blob(), blob({ digest: OTHER, mediaType: MEDIA_TYPE_OCI_MANIFEST }), blob()];
  const list = parseIndexEntries(encodeJson({ schemaVersion: 2, manifests: entries }), "it");
  assertEquals(digests(list), [DIGEST, OTHER]);
  assertEquals(parseIndexEntries(encodeJson({ schemaVersion: 2, manifests: null }), "it"), []);
  for (
    const fields of [{}, { manifests: {} }, { manifests: [{}] }, { manifests: [blob(), blob({ size: 6 })] }]
  ) {
    assertThrows(() => parseIndexEntries(encodeJson(fields), "it"), ManifestError);
  }
});

Deno.test("parseContent() asks who hashes for it, and believes no other", async () => {
  const bytes = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, manifests: [] }));
  const asked: string[] = [];
  const digest = `sha256:${"a".repeat(64)}` as const;
  const hash = (_: Uint8Array, algorithm: string) => {
    asked.push(algorithm);
    return digest;
  };
  const content = await parseContent(bytes, "application/vnd.oci.image.index.v1+json", {
    expected: digest,
    hash,
  });
  assertEquals(content.descriptor.digest, digest);
  assertEquals(asked, ["sha256"]);
});
