/** Registries with manners of their own: images are copied into and out of each, small blobs at once and large ones streamed. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Descriptor, MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "../src/oci/descriptor.ts";
import type { Report } from "../src/mirror/report.ts";
import { buildImage, buildIndex, buildLayer, encodeJson, type Image, pushImage } from "./images.ts";
import { assertHolds, type MirrorSetup, setUpMirror } from "./mirror_setup.ts";
import { digestBytes, type Intercept, type Quirks, type RegistryOptions } from "./registry.ts";

const FROM = "source.test/a/b";
const TO = "destination.test/a/b";
const MEGABYTE = 1024 * 1024;

/** An index of a small image and one whose layer is streamed, because it is larger than what is held whole. */
const IMAGE = buildIndex([
  buildImage(),
  buildImage({ seed: 7, layers: [buildLayer(7, 1.5 * MEGABYTE), buildLayer(8, 70_000)] }),
]);

/** A source that has images under tags, and an empty destination. */
function setUp(
  { source, destination, images = { v1: IMAGE } }: {
    source?: RegistryOptions;
    destination?: RegistryOptions;
    images?: Readonly<Record<string, Image>>;
  },
): MirrorSetup {
  const setup = setUpMirror({ source: source ?? {}, destination: destination ?? {} });
  for (const [tag, image] of Object.entries(images)) pushImage(setup.source, "a/b", tag, image);
  return setup;
}

/** Why something failed, of a whole report. */
function failuresOf({ tasks, rules }: Report): string {
  return [...tasks.map(({ error }) => error ?? ""), ...rules.map(({ error }) => error ?? "")].join("\n")
    .trim();
}

/** Copies one image and looks whether all of it has arrived, and whether a second run has anything to do. */
async function assertCopies(setup: MirrorSetup, image = IMAGE): Promise<void> {
  assertEquals(failuresOf(await setup.run({ [`${FROM}:v1`]: TO })), "");
  assertHolds(setup.destination, "a/b", "v1", image);
  const again = await setup.run({ [`${FROM}:v1`]: TO });
  assertEquals([failuresOf(again), again.totals.unchanged], ["", 1]);
}

/** Tags at the destination. */
function tagsOf({ destination }: MirrorSetup): string[] {
  return [...destination.repositories.get("a/b")?.tags.keys() ?? []].sort();
}

/** Manners that make no difference, at the source, at the destination, or at both. */
const HARMLESS: readonly [name: string, quirks: Quirks, sides: "source" | "both"][] = [
  ["fault 48: HEAD answers 405", { headStatus: 405 }, "source"],
  ["fault 48: HEAD answers 501", { headStatus: 501 }, "source"],
  ["fault 48: HEAD answers 406", { headStatus: 406 }, "source"],
  ["fault 48: HEAD answers 400", { headStatus: 400 }, "source"],
  ["fault 48: HEAD answers 500", { headStatus: 500 }, "source"],
  ["fault 49: manifests by tag alone, for one image", { noManifestByDigest: true }, "source"],
  ["fault 53: blobs labelled x-gzip", { blobEncoding: "x-gzip" }, "source"],
  ["fault 53: blobs labelled gzip", { blobEncoding: "gzip" }, "source"],
  ["fault 53: JSON compressed unasked", { compressJson: true }, "both"],
  ["fault 72: PUT of a manifest answers 204", { manifestStatus: 204 }, "both"],
  ["fault 72: PUT of a manifest answers 202", { manifestStatus: 202 }, "both"],
];

for (const [name, quirks, sides] of HARMLESS) {
  const image = quirks.noManifestByDigest ? buildImage({ layers: [buildLayer(7, 1.5 * MEGABYTE)] }) : IMAGE;
  Deno.test(`${name}; mirror() copies out of such a registry`, async () => {
    await assertCopies(setUp({ source: { quirks }, images: { v1: image } }), image);
  });
  if (sides === "source") continue;
  Deno.test(`${name}; mirror() copies into such a registry`, async () => {
    await assertCopies(setUp({ destination: { quirks } }));
  });
}

Deno.test("fault 48: mirror() copies into a registry that knows no HEAD, and asks for manifests with GET", async () => {
  for (const headStatus of [400, 405, 406, 500, 501]) {
    const setup = setUp({ destination: { quirks: { headStatus } } });
    await assertCopies(setup);
    assert(setup.destination.count({ method: "GET", kind: "manifest" }) > 0);
    const heads = setup.destination.count({ method: "HEAD" });
    assertEquals([405, 501].includes(headStatus) ? heads <= 6 : heads > 6, true, `${headStatus}: ${heads}`);
    assertEquals(setup.destination.count({ method: "GET", kind: "blob" }), 0);
  }
});

Deno.test("fault 48: mirror() copies a layer with urls that a source without HEAD has, and leaves one that it has not", async () => {
  const content = buildLayer(3);
  const urls = ["https://elsewhere.test/layer"];
  const image = buildImage({ layers: [{ content, urls }] });
  for (const headStatus of [400, 405]) {
    for (const isThere of [true, false]) {
      const setup = setUp({ source: { quirks: { headStatus } }, images: { v1: image } });
      if (isThere) setup.source.state.addBlob("a/b", content);
      assertEquals(failuresOf(await setup.run({ [`${FROM}:v1`]: TO })), "");
      assertEquals(setup.destination.state.repository("a/b").blobs.has(content.digest), isThere);
    }
  }
});

Deno.test("fault 48: mirror() gives a source's own words where GET is refused like HEAD", async () => {
  const setup = setUp({
    source: {
      intercept: (_request, { kind }) => {
        if (kind !== "manifest") return undefined;
        return Response.json({ errors: [{ code: "UNSUPPORTED", message: "closed on Sundays" }] }, {
          status: 405,
        });
      },
    },
  });
  assertStringIncludes(failuresOf(await setup.run({ [`${FROM}:v1`]: TO })), "closed on Sundays");
});

Deno.test("fault 49: mirror() takes what a tag stands for now where it has moved and manifests are served by tag alone", async () => {
  const setup = setUp({ source: { quirks: { noManifestByDigest: true } }, images: { v1: buildImage() } });
  let moved = false;
  const plan = {
    onEvent: (event: { type: string }) => {
      if (event.type === "planned" && !moved) pushImage(setup.source, "a/b", "v1", buildImage({ seed: 9 }));
      moved ||= event.type === "planned";
    },
  };
  const report = await setup.run({ [`${FROM}:v1`]: TO }, { ...plan, retries: 0 });
  // The digest that the tag has now cannot be read either: such a source serves manifests by tag alone, and that is read.
  assertEquals(report.totals.copied, 1, failuresOf(report));
  assertEquals(setup.destination.state.repository("a/b").tags.get("v1"), buildImage({ seed: 9 }).digest);
});

/** An index whose entries are spelled otherwise than what they point at. */
function indexOf(image: Image, change: (descriptor: Descriptor) => unknown): Image {
  const manifests = image.children.map(({ descriptor }) => change(descriptor));
  const bytes = encodeJson({ schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests });
  return { ...image, bytes, digest: digestBytes(bytes) };
}

Deno.test("fault 4: mirror() copies children of an index whose media type says nothing", async () => {
  const types = [
    undefined,
    "",
    "application/json",
    "application/octet-stream",
    "application/vnd.acme.thing+json",
  ];
  for (const mediaType of types) {
    const image = indexOf(IMAGE, (descriptor) => ({ ...descriptor, mediaType }));
    for (const alsoBlob of [false, true]) {
      const setup = setUp({ images: { v1: image }, destination: { allowSparse: true } });
      for (const { bytes, digest } of alsoBlob ? image.children : []) {
        setup.source.state.addBlob("a/b", { ...buildLayer(1), digest, size: bytes.length });
      }
      await assertCopies(setup, image);
    }
  }
});

Deno.test("fault 4: mirror() copies a child of a vendor's own media type", async () => {
  const mediaType = "application/vnd.acme.thing+json";
  const plain = buildImage();
  const bytes = encodeJson({ ...JSON.parse(new TextDecoder().decode(plain.bytes)), mediaType });
  const digest = digestBytes(bytes);
  const child: Image = {
    ...plain,
    bytes,
    mediaType,
    digest,
    descriptor: { mediaType, digest, size: bytes.length },
  };
  const image = indexOf({ ...IMAGE, children: [child] }, (descriptor) => descriptor);
  await assertCopies(setUp({ images: { v1: image } }), image);
});

Deno.test("fault 4: mirror() copies an entry of no known type as a blob where it is no manifest", async () => {
  const [small, large] = [buildLayer(3, 900), buildLayer(4, 1.5 * MEGABYTE)];
  const entries = [small, large].map(({ digest, size }) => ({
    mediaType: "application/x-thing",
    digest,
    size,
  }));
  const image = indexOf({ ...IMAGE, children: [] }, (descriptor) => descriptor);
  const bytes = encodeJson({ schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: entries });
  const blobs = new Map([small, large].map((blob) => [blob.digest, blob]));
  const index: Image = { ...image, bytes, digest: digestBytes(bytes), blobs };
  await assertCopies(setUp({ images: { v1: index } }), index);
});

Deno.test("fault 6: mirror() refuses bodies that are no manifest, whatever they were served as", async () => {
  for (const fields of [{}, { schemaVersion: 2 }, { manifests: null }]) {
    const bytes = encodeJson(fields);
    const image: Image = { ...buildImage(), bytes, digest: digestBytes(bytes) };
    const setup = setUp({ images: { v1: image } });
    assertStringIncludes(failuresOf(await setup.run({ [`${FROM}:v1`]: TO })), "it has none of the lists");
    assertEquals(tagsOf(setup), []);
  }
});

Deno.test("fault 7: mirror() pushes a manifest as what its body says that it is", async () => {
  const wrong = "application/vnd.docker.distribution.manifest.v2+json";
  const setup = setUp({
    images: { v1: buildImage() },
    source: {
      intercept: async (_request, { kind, next }) => {
        if (kind !== "manifest") return undefined;
        const response = await next();
        response.headers.set("content-type", wrong);
        return response;
      },
    },
  });
  await assertCopies(setup, buildImage());
  const put = setup.destination.state.repository("a/b").findManifest("v1");
  assertEquals(put?.mediaType, MEDIA_TYPE_OCI_MANIFEST);
});

Deno.test("fault 11: mirror() refuses what has another size than its descriptor, also where it is there already", async () => {
  const layer = buildLayer(3, 900);
  const large = buildLayer(4, 1.5 * MEGABYTE);
  for (const content of [layer, large]) {
    const image = buildImage({ layers: [{ content, size: content.size + 1 }] });
    for (const isThere of [false, true]) {
      const setup = setUp({ images: { v1: image } });
      if (isThere) setup.destination.state.addBlob("a/b", content);
      const failures = failuresOf(await setup.run({ [`${FROM}:v1`]: TO }));
      assertStringIncludes(
        failures,
        `expected ${content.size + 1} bytes, the registry announces ${content.size}`,
      );
      assertEquals(tagsOf(setup), []);
    }
  }
});

Deno.test("fault 11: mirror() refuses a child of an index that has another size, also where it is there already", async () => {
  const image = indexOf(IMAGE, (descriptor) => ({ ...descriptor, size: descriptor.size + 1 }));
  for (const isThere of [false, true]) {
    const setup = setUp({ images: { v1: image } });
    for (const child of isThere ? image.children : []) pushImage(setup.destination, "a/b", undefined, child);
    const failures = failuresOf(await setup.run({ [`${FROM}:v1`]: TO }));
    const match = /expected (\d+) bytes, got (\d+)/.exec(failures);
    assertEquals(Number(match?.[1]), Number(match?.[2]) + 1, failures);
    assertEquals(tagsOf(setup), []);
  }
});

Deno.test("fault 57: mirror() copies a tag that the source calls by sha512, and finds it unchanged", async () => {
  const image = buildImage();
  const renamed: Image = { ...image, digest: digestBytes(image.bytes, "sha512") };
  const setup = setUp({ images: { v1: renamed } });
  for (const source of [`${FROM}:v1`, `${FROM}@${renamed.digest}`]) {
    const to = source.includes("@") ? `${TO}:pinned` : TO;
    const report = await setup.run({ [source]: to });
    assertEquals([failuresOf(report), report.totals.copied], ["", 1]);
    const again = await setup.run({ [source]: to });
    assertEquals([failuresOf(again), again.totals.unchanged], ["", 1]);
  }
  assertHolds(setup.destination, "a/b", "v1", image);
  assertEquals(setup.destination.count({ method: "PUT", kind: "manifest" }), 2);
});

Deno.test("fault 57: mirror() copies into a registry that calls everything by sha256", async () => {
  const bytes = [buildLayer(5, 900), buildLayer(6, 1.5 * MEGABYTE)];
  const layers = bytes.map((one) => one);
  const image = buildImage({ layers, layerAlgorithm: "sha512" });
  await assertCopies(
    setUp({ images: { v1: image }, destination: { quirks: { canonicalSha256: true } } }),
    image,
  );
});

Deno.test("fault 59: mirror() copies a blob that only its descriptor has", async () => {
  const image = buildImage({ layers: 0 });
  const empty = new TextEncoder().encode("{}");
  const entry = {
    mediaType: "application/vnd.oci.empty.v1+json",
    digest: digestBytes(empty),
    size: 2,
    data: btoa("{}"),
  };
  const body = { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_MANIFEST, config: entry, layers: [entry] };
  const bytes = encodeJson(body);
  const artifact: Image = { ...image, bytes, digest: digestBytes(bytes), blobs: new Map() };
  const setup = setUp({ images: { v1: artifact } });
  await assertCopies(setup, artifact);
  assert(setup.destination.state.repository("a/b").blobs.has(entry.digest));
  assertEquals(setup.source.count({ kind: "blob" }), 0);
});

/** Breaks the first whole answer of every large blob off in its middle. */
function breakingOff(): Intercept {
  const broken = new Set<string>();
  return async (request, { kind, reference, next }) => {
    const isWhole = kind === "blob" && request.method === "GET" && !request.headers.has("range");
    if (!isWhole || broken.has(reference)) return undefined;
    const response = await next();
    const bytes = await response.bytes();
    if (bytes.length < MEGABYTE) return new Response(bytes, response);
    broken.add(reference);
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(bytes.slice(0, MEGABYTE));
        controller.error(new TypeError("connection reset by peer"));
      },
    });
    return new Response(body, response);
  };
}

Deno.test("fault 53: mirror() reads a token that comes compressed", async () => {
  const auth = { type: "bearer", users: {}, anonymousPull: true } as const;
  const setup = setUp({ source: { auth, quirks: { compressJson: true } } });
  await assertCopies(setup);
  assert(setup.source.count({ kind: "token" }) > 0);
});

Deno.test("fault 59: mirror() takes a child from the entry of its index", async () => {
  const data = ({ bytes }: Image) => btoa(String.fromCharCode(...bytes));
  const byDigest = new Map(IMAGE.children.map((child) => [child.digest, data(child)]));
  const image = indexOf(IMAGE, (entry) => ({ ...entry, data: byDigest.get(entry.digest) }));
  const setup = setUp({ images: { v1: image } });
  for (const { digest } of image.children) setup.source.state.repository("a/b").deleteManifest(digest);
  await assertCopies(setup, image);
});

Deno.test("fault 72: mirror() copies from and to registries whose root answers 500 for ever", async () => {
  const broken: RegistryOptions = {
    intercept: (_, { kind }) => kind === "ping" ? new Response(null, { status: 500 }) : undefined,
  };
  await assertCopies(setUp({ source: broken }));
  await assertCopies(setUp({ destination: broken }));
});

Deno.test("fault 48: mirror() reads from a source whose proxy answers 502 to every HEAD", async () => {
  await assertCopies(setUp({ source: { quirks: { headStatus: 502 } } }));
});

Deno.test("fault 49: mirror() filters platforms of an image that is found by its tag alone", async () => {
  const image = buildImage();
  const setup = setUp({ source: { quirks: { noManifestByDigest: true } }, images: { v1: image } });
  const report = await setup.run({ [`${FROM}:v1`]: TO }, { platforms: ["linux/amd64"] });
  assertEquals(failuresOf(report), "");
  assertHolds(setup.destination, "a/b", "v1", image);
});

Deno.test("fault 66: mirror() reads a blob once more from its start where the source refuses to go on", async () => {
  for (const rangeStatus of [206, 400, 403, 404, 416, 501]) {
    const setup = setUp({ source: { quirks: { rangeStatus }, intercept: breakingOff() } });
    await assertCopies(setup);
    const large = setup.source.requests.filter(({ kind, bytesOut }) =>
      kind === "blob" && bytesOut > MEGABYTE
    );
    assertEquals(large.length, 2, `${rangeStatus}`);
  }
});

Deno.test("fault 67: mirror() carries a byte that is not UTF-8", async () => {
  const plain = buildImage({ annotations: { author: "José" } });
  const text = new TextDecoder().decode(plain.bytes);
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const image: Image = { ...plain, bytes, digest: digestBytes(bytes) };
  const lenient: RegistryOptions = { allowMissingBlobs: true };
  await assertCopies(setUp({ images: { v1: image }, source: lenient, destination: lenient }), image);
});

/** Images v001, v002 … by tag. */
function manyTags(count: number): Record<string, Image> {
  const image = buildImage({ layers: 0 });
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`v${1001 + index}`, image]));
}

const LISTINGS: readonly [name: string, quirks: Quirks][] = [
  ["fault 1: no Link, and a full page", { noTagLinks: true, maxPageParameter: 1000 }],
  ["fault 1: neither Link nor last", { noTagLinks: true, ignoreLast: true }],
  ["fault 52: n=1000 refused with 400", { maxPageParameter: 100, pageSize: 100 }],
  ["fault 52: n=1000 refused with 413", { maxPageParameter: 100, pageSize: 100, pageParameterStatus: 413 }],
  ["fault 52: n=1000 refused with 422", { maxPageParameter: 100, pageSize: 100, pageParameterStatus: 422 }],
  ["fault 69: a page of 11 MB", { tagPagePadding: 11_000_000 }],
  ["fault 2: a comma in a parameter", {
    pageSize: 400,
    writeLink: (to) => `<${to}>; title="a, b"; rel="next"`,
  }],
  ["fault 2: two relations", { pageSize: 400, writeLink: (to) => `<${to}>; rel="last next"` }],
  ["fault 2: single quotes", { pageSize: 400, writeLink: (to) => `<${to}>; rel='next'` }],
  ["fault 2: no brackets", { pageSize: 400, writeLink: (to) => `${to}; rel="next"` }],
  ["fault 2: no relation", { pageSize: 400, writeLink: (to) => `<${to}>` }],
];

for (const [name, quirks] of LISTINGS) {
  Deno.test(`${name}; mirror() finds every tag of such a listing`, async () => {
    const count = quirks.ignoreLast ? 1000 : 1005;
    const setup = setUp({ source: { quirks }, images: manyTags(count) });
    const report = await setup.run({ [`${FROM}:/./`]: TO });
    assertEquals(failuresOf(report), "");
    assertEquals(tagsOf(setup).length, count);
  });
}

Deno.test("fault 2: mirror() fails the rule where a Link cannot be read", async () => {
  const writeLink = (to: string) => `<${to}; rel="next"`;
  const setup = setUp({ source: { quirks: { pageSize: 2, writeLink } }, images: manyTags(5) });
  const report = await setup.run({ [FROM]: TO }, { retries: 0 });
  assertStringIncludes(failuresOf(report), "its Link header cannot be read");
  assertEquals(tagsOf(setup), []);
});

Deno.test("fault 3: mirror() fails the rule where a list is an error with status 200", async () => {
  const setup = setUp({ source: { quirks: { errorWithOk: "index rebuilding" } } });
  for (const rule of [FROM, `${FROM}:v1`]) {
    const report = await setup.run({ [rule]: TO }, { retries: 0 });
    assertStringIncludes(failuresOf(report), "200 UNAVAILABLE: index rebuilding");
  }
});

Deno.test("fault 39: mirror() leaves out names that are no tags, with one warning, and none gets into a URL", async () => {
  const listedBesides = [
    "../../../admin/secret?x=1",
    `prod@sha256:${"1".repeat(64)}`,
    "-ot",
    "",
    "a b",
    "\u001b[2J",
    "x".repeat(129),
  ];
  const setup = setUp({ source: { quirks: { listedBesides } } });
  const warnings: string[] = [];
  const registries = setup.registries({
    onEvent: (event) => event.type === "warning" && warnings.push(event.message),
  });
  const report = await setup.run([
    { source: FROM, destinations: [TO] },
    { source: `${FROM}:/1/`, destinations: ["destination.test/a/c"] },
  ], { registries });
  assertEquals([failuresOf(report), tagsOf(setup)], ["", ["v1"]]);
  assertEquals(warnings, [
    `"source.test/a/b" lists names that are no tags, which are left out: "../../../admin/secret?x=1" for example`,
  ]);
  for (const { path } of [...setup.source.requests, ...setup.destination.requests]) {
    assert(/^\/v2\/(?:a\/[bc]\/.*)?$/.test(path) && !path.includes("secret"), path);
  }
});
