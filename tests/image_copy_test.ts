/** Tests of copying images: every shape to the byte, children before parents, and registries with habits of their own. */

import { assert, assertEquals } from "@std/assert";
import { ImageCopier } from "../src/mirror/copy/image_copy.ts";
import { makePlan } from "../src/mirror/plan/planner.ts";
import { tagKey } from "../src/mirror/store/store.ts";
import {
  buildArtifact,
  buildAttestation,
  buildHelmChart,
  buildImage,
  buildIndex,
  buildLayer,
  buildMultiPlatform,
  buildRandomImage,
  buildSchema1,
  emptyLayer,
  foreignLayer,
  type Image,
  pushImage,
  sha512Layer,
} from "./images.ts";
import {
  assertHolds,
  assertSentOnce,
  DESTINATION,
  type MirrorSetup,
  rulesOf,
  setUpMirror,
  SOURCE,
} from "./mirror_setup.ts";
import { digestBytes, type InterceptContext, type Quirks } from "./registry.ts";

const LOOSE = { allowSparse: true, allowMissingBlobs: true };

/** A setup whose destination takes anything, but notes each manifest that came before something it points at. */
function setUpWatched(quirks: Quirks = {}): { setup: MirrorSetup; early: string[] } {
  const early: string[] = [];
  const intercept = async (request: Request, context: InterceptContext) => {
    const response = await context.next();
    if (request.method === "PUT" && context.kind === "manifest") early.push(...lackingOf(context));
    return response;
  };
  const setup = setUpMirror({ source: LOOSE, destination: { ...LOOSE, quirks, intercept } });
  return { setup, early };
}

/** What the manifest that was just put points at and is not there. */
function lackingOf({ state, repository, reference }: InterceptContext): string[] {
  const held = state.repository(repository);
  const manifest = held.findManifest(reference);
  const children = manifest?.children.filter(({ digest }) => !held.manifests.has(digest)) ?? [];
  const blobs = manifest?.blobs.filter(({ digest }) => !held.blobs.has(digest)) ?? [];
  return [...children, ...blobs].map(({ digest }) => `${reference} before ${digest}`);
}

/** Copies one image and looks at every byte of what arrived, and at the order in which it did. */
async function assertCopies(image: Image, quirks: Quirks = {}): Promise<MirrorSetup> {
  const { setup, early } = setUpWatched(quirks);
  pushImage(setup.source, "from/image", "v1", image);
  const report = await setup.run({ [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` });
  assertEquals(report.totals, totals({ copied: 1 }), JSON.stringify(report.tasks));
  assertHolds(setup.destination, "to/image", "v1", image);
  assertEquals(early, []);
  assertSentOnce(setup.destination);
  const last = setup.destination.requests.filter(({ method }) => method === "PUT").at(-1);
  assertEquals(last?.path, "/v2/to/image/manifests/v1");
  return setup;
}

function totals(some: Partial<Record<string, number>>): Record<string, number> {
  return { copied: 0, unchanged: 0, skipped: 0, failed: 0, pending: 0, rulesFailed: 0, ...some };
}

const AMD = buildImage({ seed: 1 });
const ARM = buildImage({ seed: 2, format: "docker", platform: { os: "linux", architecture: "arm64" } });

/** Every shape by name. */
const SHAPES: Record<string, () => Image> = {
  "an OCI image": () => AMD,
  "a schema 2 image": () => ARM,
  "a signed schema 1 image": () => buildSchema1({ layers: 3 }),
  "an OCI index": () => buildMultiPlatform(["amd64", "arm64", "arm/v7"]),
  "a Docker list": () => buildMultiPlatform(["amd64", "arm/v6", "arm/v7"], { format: "docker" }),
  "an index of both formats": () => buildIndex([AMD, ARM]),
  "a nested index": () => buildIndex([buildIndex([AMD, buildIndex([ARM])]), buildIndex([ARM])]),
  "an index without platforms": () => buildIndex([AMD, ARM], { withoutPlatforms: true }),
  "an index with attestations": () => buildIndex([AMD, ARM], { attestations: true }),
  "an empty index": () => buildIndex([]),
  "an attestation alone": () => buildAttestation(AMD),
  "an artifact": () => buildArtifact({ artifactType: "application/vnd.test.thing", subject: AMD }),
  "an artifact without layers": () => buildArtifact({ layerMediaType: "" }),
  "a Helm chart": () => buildHelmChart(3),
  "an image without layers": () => buildImage({ layers: 0 }),
  "an empty blob": () => buildImage({ layers: [emptyLayer(), buildLayer(4)] }),
  "sha512 layers": () => buildImage({ layers: [sha512Layer(5), buildLayer(6)] }),
  "the same layer twice": () => buildImage({ layers: [buildLayer(7), buildLayer(7)] }),
  "unknown fields": () => buildImage({ extraFields: { "x-kept": [1.0, 2e3] }, annotations: { a: "b" } }),
};

for (const [name, build] of Object.entries(SHAPES)) {
  Deno.test(`copyImage() copies ${name} to the byte`, async () => {
    await assertCopies(build());
  });
}

Deno.test("copyImage() copies random graphs to the byte", async () => {
  for (let seed = 1; seed <= 150; seed++) {
    await assertCopies(buildRandomImage(seed));
  }
});

Deno.test("copyImage() copies random graphs into one repository and another, each blob once", async () => {
  const setup = setUpMirror({ source: LOOSE });
  const images = Array.from({ length: 60 }, (_, seed) => buildRandomImage(seed));
  for (const [seed, image] of images.entries()) pushImage(setup.source, "from/all", `t${seed}`, image);
  const report = await setup.run({
    [`${SOURCE}/from/all`]: [`${DESTINATION}/to/one`, `${DESTINATION}/to/two`],
  }, { concurrency: 8 });
  assertEquals(report.totals, totals({ copied: 120 }));
  for (const [seed, image] of images.entries()) {
    for (const repository of ["to/one", "to/two"]) {
      assertHolds(setup.destination, repository, `t${seed}`, image);
    }
  }
  assertSentOnce(setup.destination);
});

/** Registries that leave the beaten track, by what they do. */
const QUIRKS: Record<string, Quirks> = {
  "answers HEAD without a digest": { headWithoutDigest: true },
  "answers HEAD without a length": { headWithoutLength: true },
  "takes no blob with a POST": { noSinglePost: true },
  "names other absolute locations": { locationAbsolute: true },
  "has a state in its upload locations": { uploadState: true, noSinglePost: true },
  "wants a Content-Length": { requireContentLength: true, noSinglePost: true },
  "answers 403 for what is not there": { missingStatus: 403 },
  "refuses chunks": { noChunkedUpload: true, noSinglePost: true },
  "looks at Accept": { strictAccept: true },
  "pages its tags": { pageSize: 1 },
};

for (const [name, quirks] of Object.entries(QUIRKS)) {
  Deno.test(`copyImage() copies to a registry that ${name}`, async () => {
    for (const build of Object.values(SHAPES)) await assertCopies(build(), quirks);
  });
}

for (const quirk of ["headWithoutDigest", "headWithoutLength", "noRangeRequests", "strictAccept"] as const) {
  Deno.test(`copyImage() copies from a registry with the quirk ${quirk}`, async () => {
    for (const build of Object.values(SHAPES)) {
      const setup = setUpMirror({ source: { ...LOOSE, quirks: { [quirk]: true } } });
      pushImage(setup.source, "from/image", "v1", build());
      const report = await setup.run({ [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` });
      assertEquals(report.totals, totals({ copied: 1 }), JSON.stringify(report.tasks));
      assertHolds(setup.destination, "to/image", "v1", build());
    }
  });
}

Deno.test("copyImage() leaves out a layer with urls that the source does not serve", async () => {
  const setup = setUpMirror({ destination: { allowMissingBlobs: true } });
  const layer = foreignLayer(8);
  const image = buildImage({ layers: [layer, buildLayer(9)] });
  pushImage(setup.source, "from/image", "v1", image);
  const report = await setup.run({ [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` });
  assertEquals(report.totals, totals({ copied: 1 }));
  assertHolds(setup.destination, "to/image", "v1", image);
  assert("content" in layer);
  assertEquals(setup.destination.blobs.has(layer.content.digest), false);
  const foreign = setup.eventsOf("blob-skipped").filter(({ reason }) => reason === "foreign");
  assertEquals(foreign.map(({ digest }) => digest), [layer.content.digest]);
  assertEquals(report.bytes.skipped, 0);
});

Deno.test("copyImage() copies a layer with urls that the source serves itself", async () => {
  const setup = setUpMirror();
  const layer = foreignLayer(8);
  assert("content" in layer);
  const image = buildImage({ layers: [layer, buildLayer(9)] });
  pushImage(setup.source, "from/image", "v1", image);
  setup.source.state.addBlob("from/image", layer.content);
  await setup.run({ [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` });
  assertHolds(setup.destination, "to/image", "v1", image);
  assert(setup.destination.state.repository("to/image").blobs.has(layer.content.digest));
});

Deno.test("copyImage() copies by digest, to a digest and to a tag", async () => {
  const setup = setUpMirror();
  const image = buildMultiPlatform(["amd64", "arm64"]);
  pushImage(setup.source, "from/image", undefined, image);
  const source = `${SOURCE}/from/image@${image.digest}`;
  await setup.run({ [source]: [`${DESTINATION}/to/digest`, `${DESTINATION}/to/tag:x`] });
  assertHolds(setup.destination, "to/digest", undefined, image);
  assertHolds(setup.destination, "to/tag", "x", image);
  assertEquals([...setup.destination.state.repository("to/digest").tags.keys()], []);
});

const RULE = { [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` };

Deno.test("copyImage() puts nothing but the tag where the image is there under another", async () => {
  const setup = setUpMirror();
  const image = buildMultiPlatform(["amd64", "arm64"]);
  pushImage(setup.source, "from/image", "v1", image);
  pushImage(setup.destination, "to/image", "other", image);
  await setup.run(RULE);
  assertHolds(setup.destination, "to/image", "v1", image);
  const changes = setup.destination.requests.filter(({ method }) => !["GET", "HEAD"].includes(method));
  assertEquals(changes.map(({ method, path }) => `${method} ${path}`), ["PUT /v2/to/image/manifests/v1"]);
  assertEquals(setup.source.count({ kind: "blob" }), 0);
});

Deno.test("copyImage() asks for no child that the destination has, and looks for each once", async () => {
  const setup = setUpMirror();
  const [old, fresh] = [buildImage({ seed: 1 }), buildImage({ seed: 2 })];
  pushImage(setup.source, "from/image", "v1", buildIndex([old, fresh]));
  pushImage(setup.destination, "to/image", "old", old);
  await setup.run(RULE);
  assertHolds(setup.destination, "to/image", "v1", buildIndex([old, fresh]));
  const asked = (method: string, digest: string) =>
    [...setup.source.requests, ...setup.destination.requests]
      .filter((one) => one.method === method && one.path.endsWith(`/manifests/${digest}`)).length;
  assertEquals([asked("GET", old.digest), asked("HEAD", old.digest)], [0, 1]);
  assertEquals([asked("GET", fresh.digest), asked("HEAD", fresh.digest)], [1, 1]);
});

/** The same image with other white space, as a tag that cannot be changed. */
function withImmutable(change: (text: string) => string): MirrorSetup {
  const setup = setUpMirror({ destination: { quirks: { immutableTags: true } } });
  pushImage(setup.source, "from/image", "v1", AMD);
  const bytes = new TextEncoder().encode(change(new TextDecoder().decode(AMD.bytes)));
  const there = { ...AMD, bytes, digest: digestBytes(bytes) };
  pushImage(setup.destination, "to/image", "v1", there);
  return setup;
}

Deno.test("copyImage() leaves an unchangeable tag as it is that differs in white space alone", async () => {
  const setup = withImmutable((text) => JSON.stringify(JSON.parse(text)));
  assertEquals((await setup.run(RULE)).totals, totals({ copied: 1 }));
  assertEquals(setup.eventsOf("warning").length, 1);
});

Deno.test("copyImage() fails at an unchangeable tag that is another image", async () => {
  const setup = withImmutable((text) => text.replace("schemaVersion", "schemaVersion2"));
  const report = await setup.run(RULE);
  assertEquals(report.totals, totals({ failed: 1 }));
  assert(report.tasks[0]?.error?.includes("ImageTagAlreadyExistsException"), report.tasks[0]?.error);
});

Deno.test("copyImage() refuses indexes that are nested without end", async () => {
  let image = AMD;
  for (let depth = 0; depth < 20; depth++) image = buildIndex([image]);
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", image);
  const report = await setup.run(RULE);
  assertEquals(report.totals, totals({ failed: 1 }));
  assert(report.tasks[0]?.error?.includes("nested more than 16 deep"), report.tasks[0]?.error);
});

Deno.test("copyImage() copies what the plan saw, although the tag has moved since", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", AMD);
  const context = setup.context();
  const copier = new ImageCopier(context);
  const plan = await makePlan(rulesOf(RULE), context);
  pushImage(setup.source, "from/image", "v1", ARM);
  for (const task of plan.tasks) await copier.copyImage(task);
  assertHolds(setup.destination, "to/image", "v1", AMD);
});

Deno.test("copyImage() remembers in the store which digest a tag got", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", AMD);
  await setup.run(RULE);
  const value = await setup.store.get(tagKey(DESTINATION, "to/image", "v1"));
  assertEquals(value, { digest: AMD.digest, source: `${SOURCE}/from/image:v1`, copiedAt: setup.clock.now() });
});
