/** Tests of what arrives with an image: everything that belongs to it, in whichever way a registry holds it. */

import { assert, assertEquals } from "@std/assert";
import { compileFilter } from "../src/mirror/rules/belongings_policy.ts";
import { MemoryStore } from "../src/mirror/store/memory_store.ts";
import { assertSameTrees, tagsOf, treeOf } from "./belongings_setup.ts";
import {
  buildArtifact,
  buildImage,
  buildIndex,
  buildMultiPlatform,
  type Image,
  pushImage,
} from "./images.ts";
import { DESTINATION, type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";
import { pushLayout } from "./oci_layout.ts";

const TESTDATA = new URL("../../shared/testdata/", import.meta.url);
const LAYOUTS = [
  { layout: "referrers-api", source: true, manifests: 43 },
  { layout: "fallback-tags", source: false, manifests: 43 },
  { layout: "fallback-tags", source: true, manifests: 43 },
];
const NAMED = "v1,v2,v2-oci-artifact,unsigned,wrong";

function isThere(folder: URL): boolean {
  try {
    return Deno.statSync(folder).isDirectory;
  } catch {
    console.warn(`not tested: there is no "${folder.pathname.split("/").slice(-3).join("/")}" here`);
    return false;
  }
}

async function setUpLayout(
  layout: string,
  has: { source: boolean; destination: boolean },
): Promise<MirrorSetup> {
  const setup = setUpMirror({
    source: { quirks: { noReferrers: !has.source } },
    destination: { quirks: { noReferrers: !has.destination } },
  });
  const options = { fetch: setup.source.fetch, baseUrl: `https://${SOURCE}`, repository: "app" };
  await pushLayout(new URL(`belongings/${layout}/`, TESTDATA), options);
  setup.source.resetLog();
  return setup;
}

for (const { layout, source, manifests } of LAYOUTS) {
  for (const destination of [true, false]) {
    for (const rule of [`${SOURCE}/app`, `${SOURCE}/app:${NAMED}`]) {
      const how = `${layout} from a registry ${source ? "with" : "without"} the API to one ${
        destination ? "with" : "without"
      }, ${rule.includes(":") ? "by named tags" : "all tags"}`;
      Deno.test(`mirror() brings all that belongs to images: ${how}`, async () => {
        if (!isThere(TESTDATA)) return;
        const setup = await setUpLayout(layout, { source, destination });
        const report = await setup.run({ [rule]: `${DESTINATION}/to/app` });
        assertEquals(report.totals.failed + report.totals.rulesFailed, 0, JSON.stringify(report.tasks));
        assertEquals(report.totals.copied, 5);
        assertSameTrees([setup.source, "app"], [setup.destination, "to/app"]);
        const lists = destination ? 0 : Object.keys(treeOf(setup.destination, "to/app")).length;
        const stored = setup.destination.state.repository("to/app");
        const there = [...stored.manifests.keys()].filter((digest) =>
          ![...stored.tags].some(([tag, held]) => /^sha256-[0-9a-f]{64}$/.test(tag) && held === digest)
        );
        assertEquals(there.length >= manifests, true, `${there.length} of ${manifests} (${lists} lists)`);
        assertEquals(Object.keys(tagsOf(setup.destination, "to/app")).length, 15);
        assert(setup.eventsOf("warning").length === 0, JSON.stringify(setup.eventsOf("warning")));
      });
    }
  }
}

const FROM = `${SOURCE}/from/image`;
const TO = `${DESTINATION}/to/image`;
const SBOM = "application/vnd.test.sbom";
const SIGNATURE = "application/vnd.test.signature";

/** An image with a signed SBOM, and a signature of one of its children. */
function pushSigned(setup: MirrorSetup, tag = "v1", seed = 1): Signed {
  const image = buildMultiPlatform(["amd64", "arm64"], { seed });
  const [child] = image.children;
  assert(child !== undefined);
  const sbom = buildArtifact({
    seed: seed + 1,
    artifactType: SBOM,
    subject: image,
    annotations: { of: "image" },
  });
  const signature = buildArtifact({ seed: seed + 2, artifactType: SIGNATURE, subject: sbom });
  const ofChild = buildArtifact({ seed: seed + 3, artifactType: SIGNATURE, subject: child });
  pushImage(setup.source, "from/image", tag, image);
  for (const one of [sbom, signature, ofChild]) pushImage(setup.source, "from/image", undefined, one);
  return { image, sbom, signature, ofChild };
}

interface Signed {
  image: Image;
  sbom: Image;
  signature: Image;
  ofChild: Image;
}

function setUp(has: { source?: boolean; destination?: boolean } = {}): MirrorSetup {
  const { source = true, destination = true } = has;
  return setUpMirror({
    source: { quirks: { noReferrers: !source } },
    destination: { quirks: { noReferrers: !destination } },
  });
}

function manifestPuts({ destination }: MirrorSetup): string[] {
  const puts = destination.requests.filter(({ method, kind }) => method === "PUT" && kind === "manifest");
  return puts.map(({ path }) => path.slice(path.lastIndexOf("/") + 1));
}

function forgetRequests({ source, destination }: MirrorSetup): void {
  source.resetLog();
  destination.resetLog();
}

const isFound = (setup: MirrorSetup, { digest }: Image) =>
  setup.destination.state.repository("to/image").findManifest(digest) !== undefined;

Deno.test("mirror() puts an image by digest, then what belongs to it, then its tag", async () => {
  const setup = setUp();
  const { image, sbom, signature, ofChild } = pushSigned(setup);
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
  const puts = manifestPuts(setup).filter((one) => !image.children.some(({ digest }) => digest === one));
  assertEquals(puts[0], image.digest);
  assertEquals(puts.at(-1), "v1");
  assert(puts.indexOf(sbom.digest) < puts.indexOf(signature.digest));
  assertEquals(
    [...puts].sort(),
    [image, sbom, signature, ofChild].map(({ digest }) => digest).concat("v1").sort(),
  );
});

Deno.test("mirror() brings what came late to an unchanged image, with the next run and without its tag", async () => {
  for (const destination of [true, false]) {
    const setup = setUp({ destination });
    const { image } = pushSigned(setup);
    await setup.run({ [FROM]: TO });
    const late = buildArtifact({ seed: 50, artifactType: SIGNATURE, subject: image });
    pushImage(setup.source, "from/image", undefined, late);
    forgetRequests(setup);
    const report = await setup.run({ [FROM]: TO });
    assertEquals([report.totals.copied, report.totals.unchanged], [1, 0]);
    assertEquals(manifestPuts(setup).filter((one) => one === "v1" || one === late.digest), [late.digest]);
    assertSameTrees([setup.source, "from/image"], [setup.destination, "to/image"]);
  }
});

Deno.test("mirror() brings what came late to a child once a day", async () => {
  const setup = setUp();
  const { image } = pushSigned(setup);
  await setup.run({ [FROM]: TO });
  const [child] = image.children;
  const late = buildArtifact({ seed: 50, artifactType: SIGNATURE, subject: child ?? image });
  pushImage(setup.source, "from/image", undefined, late);
  assertEquals((await setup.run({ [FROM]: TO })).totals.unchanged, 1);
  assertEquals(isFound(setup, late), false);
  setup.clock.advance(86_400_000);
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
  assert(isFound(setup, late));
  forgetRequests(setup);
  assertEquals((await setup.run({ [FROM]: TO })).totals.unchanged, 1);
  assertEquals(setup.source.count({ kind: "referrers" }), 1);
});

Deno.test("mirror() asks an unchanged image's registry one thing more, its destination nothing", async () => {
  const setup = setUp();
  for (let tag = 0; tag < 10; tag++) pushSigned(setup, `v${tag}`, 10 * tag);
  await setup.run({ [FROM]: TO });
  forgetRequests(setup);
  assertEquals((await setup.run({ [FROM]: TO })).totals.unchanged, 10);
  assertEquals(setup.source.count({ kind: "referrers" }), 10);
  assertEquals(setup.source.requests.filter(({ kind }) => kind !== "ping").length, 10 + 10 + 1);
  assertEquals(setup.destination.requests.filter(({ kind }) => kind !== "ping").length, 10);
});

Deno.test("mirror() asks nothing more of a source without the API whose tags show that nothing is there", async () => {
  const setup = setUp({ source: false });
  for (let tag = 0; tag < 10; tag++) {
    pushImage(setup.source, "from/image", `v${tag}`, buildImage({ seed: tag }));
  }
  await setup.run({ [FROM]: TO });
  assertEquals(setup.source.count({ kind: "referrers" }), 1);
  forgetRequests(setup);
  assertEquals((await setup.run({ [FROM]: TO })).totals.unchanged, 10);
  assertEquals(setup.source.requests.filter(({ kind }) => kind !== "ping").length, 10 + 1);
});

Deno.test("mirror() without records asks the destination of an unchanged image one thing more", async () => {
  for (const destination of [true, false]) {
    const setup = setUp({ destination });
    pushSigned(setup);
    await setup.run({ [FROM]: TO });
    forgetRequests(setup);
    const store = new MemoryStore();
    assertEquals((await setup.run({ [FROM]: TO }, { store })).totals.unchanged, 1);
    assertEquals(setup.source.count({ kind: "referrers" }), 1);
    assertEquals(setup.destination.count({ kind: "referrers" }), 1);
    assertEquals(manifestPuts(setup), []);
  }
});

Deno.test("mirror() brings what filters leave, and reports what they leave out", async () => {
  const setup = setUp();
  const { sbom, signature, ofChild } = pushSigned(setup);
  const rule = { source: FROM, destinations: [TO], referrers: { exclude: ["**/*.sbom"] } };
  const report = await setup.run([rule]);
  assertEquals([sbom, signature, ofChild].map((one) => isFound(setup, one)), [false, false, true]);
  assertEquals(report.tasks[0]?.belongings, {
    [SBOM]: { found: 1, copied: 0, skipped: 1 },
    [SIGNATURE]: { found: 2, copied: 1, skipped: 1 },
  });
});

Deno.test("mirror() refuses an image that lacks what its rule requires, before anything of it has moved", async () => {
  const setup = setUp();
  pushSigned(setup);
  const rule = { source: FROM, destinations: [TO], referrers: { require: ["application/vnd.test.other"] } };
  const report = await setup.run([rule]);
  assertEquals(report.totals.failed, 1);
  assertEquals(
    report.tasks[0]?.error,
    `Cannot let in "${FROM}:v1": nothing of type application/vnd.test.other belongs to it`,
  );
  assertEquals(setup.destination.repositories.size, 0);
  const good = { ...rule, referrers: { require: [SBOM] } };
  assertEquals((await setup.run([good])).totals.copied, 1);
  assertEquals((await setup.run([good])).totals.unchanged, 1);
  // What is there and fails now is said, and stays.
  assertEquals((await setup.run([rule])).totals.failed, 1);
  assert(setup.destination.state.repository("to/image").tags.has("v1"));
});

Deno.test("mirror() copies tags of signatures like all others where nothing is to come along", async () => {
  const setup = setUp({ source: false, destination: false });
  const image = buildImage();
  pushImage(setup.source, "from/image", "v1", image);
  const tag = `${image.digest.replace(":", "-")}.sig`;
  pushImage(setup.source, "from/image", tag, buildImage({ seed: 2 }));
  const rule = { source: FROM, destinations: [TO], referrers: false as const };
  assertEquals((await setup.run([rule])).totals.copied, 2);
  assertEquals((await setup.run({ [FROM]: TO }, { referrers: false })).totals.unchanged, 2);
  assertEquals((await setup.run({ [FROM]: TO })).totals.unchanged, 1);
});

Deno.test("mirror() copies an image whose tag looks like a list of referrers", async () => {
  const setup = setUp();
  const tag = `sha256-${"ab".repeat(32)}`;
  pushImage(setup.source, "from/image", tag, buildMultiPlatform(["amd64", "arm64"]));
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
  assert(setup.destination.state.repository("to/image").tags.has(tag));
  forgetRequests(setup);
  assertEquals((await setup.run({ [FROM]: TO })).totals.unchanged, 1);
  assertEquals(setup.source.count({ method: "GET", kind: "manifest" }), 0);
});

Deno.test("mirror() never overwrites somebody's image with a list of referrers", async () => {
  const setup = setUp({ destination: false });
  const { image } = pushSigned(setup);
  const tag = image.digest.replace(":", "-");
  pushImage(setup.destination, "to/image", tag, buildImage({ seed: 9 }));
  const report = await setup.run({ [FROM]: TO });
  assertEquals(report.totals.failed, 1);
  const error = report.tasks[0]?.error ?? "";
  assert(error.includes(`"${TO}:${tag}"`) && error.includes("no list of referrers"), error);
  assertEquals(setup.destination.state.repository("to/image").tags.has("v1"), false);
});

Deno.test("mirror() brings a thousand referrers of one digest, in pages, and a circle of them", async () => {
  for (const destination of [true, false]) {
    const setup = setUp({ destination });
    setup.source.quirks.referrersPageSize = 100;
    const image = buildImage();
    pushImage(setup.source, "from/image", "v1", image);
    for (let seed = 0; seed < 1000; seed++) {
      pushImage(
        setup.source,
        "from/image",
        undefined,
        buildArtifact({ seed, layerSize: 8, artifactType: SBOM, subject: image }),
      );
    }
    assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
    assertSameTrees([setup.source, "from/image"], [setup.destination, "to/image"]);
  }
});

Deno.test("mirror() says of what is listed and not there that it is left out", async () => {
  const setup = setUp();
  const { image, sbom } = pushSigned(setup);
  setup.source.state.repository("from/image").manifests.delete(sbom.digest);
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
  assertEquals(setup.eventsOf("warning").map(({ message }) => message), [
    `What belongs to "${image.digest}" names "${FROM}@${sbom.digest}", which is not there; it is left out`,
  ]);
});

Deno.test("mirror() fails an image whose belongings its source refuses to list, and copies nothing of it under its tag", async () => {
  const setup = setUpMirror({
    source: {
      intercept: (_, { kind }) =>
        kind === "referrers" ? Response.json({ errors: [{ code: "DENIED" }] }, { status: 403 }) : undefined,
    },
  });
  pushSigned(setup);
  const report = await setup.run({ [FROM]: TO });
  assertEquals(report.totals.failed, 1);
  assert(
    report.tasks[0]?.error?.startsWith(`Cannot list what belongs to "${FROM}@sha256:`),
    report.tasks[0]?.error,
  );
  assertEquals(setup.destination.state.repository("to/image").tags.has("v1"), false);
});

Deno.test("mirror() says once that signatures of indexes that it rewrites stay behind, and brings those of children", async () => {
  const setup = setUp();
  const { image, sbom, ofChild } = pushSigned(setup);
  const report = await setup.run({ [FROM]: [TO, `${DESTINATION}/to/other`] }, { platforms: ["linux/amd64"] });
  assertEquals(report.totals.copied, 2);
  assertEquals([isFound(setup, sbom), isFound(setup, ofChild)], [false, true]);
  assertEquals(setup.eventsOf("warning").length, 1);
  assert(setup.eventsOf("warning")[0]?.message.includes("no longer match"));
  assert(image.children.length === 2);
});

Deno.test("mirror() loses none of what two images bring to one list at once", async () => {
  const setup = setUp({ destination: false });
  const image = buildImage();
  const rules: Record<string, string> = {};
  for (let place = 0; place < 10; place++) {
    pushImage(setup.source, `from/image${place}`, "v1", image);
    const subject = image;
    const artifact = buildArtifact({ seed: 10 + place, artifactType: SBOM, subject });
    pushImage(setup.source, `from/image${place}`, undefined, artifact);
    rules[`${SOURCE}/from/image${place}:v1`] = `${TO}:v${place}`;
  }
  assertEquals((await setup.run(rules)).totals.copied, 10);
  assertEquals(treeOf(setup.destination, "to/image")[image.digest]?.length, 10);
});

for (const source of [true, false]) {
  for (const destination of [true, false]) {
    const how = `from a registry ${source ? "with" : "without"} the API to one ${
      destination ? "with" : "without"
    }`;
    Deno.test(`mirror() brings regclient's shapes tree for tree: ${how}`, async () => {
      if (!isThere(TESTDATA)) return;
      const setup = setUp({ source, destination });
      const options = { fetch: setup.source.fetch, baseUrl: `https://${SOURCE}`, repository: "app" };
      await pushLayout(new URL("shapes/", TESTDATA), options);
      const report = await setup.run({ [`${SOURCE}/app`]: `${DESTINATION}/to/app` });
      assertEquals(report.totals.failed, 0, JSON.stringify(report.tasks.find(({ error }) => error)));
      assertSameTrees([setup.source, "app"], [setup.destination, "to/app"]);
    });
  }
}

Deno.test("mirror() brings cosign's signatures of an index and its children, named by its tag", async () => {
  if (!isThere(TESTDATA)) return;
  const setup = setUp();
  const options = { fetch: setup.source.fetch, baseUrl: `https://${SOURCE}`, repository: "app" };
  await pushLayout(new URL("multi-platform/", TESTDATA), { ...options, tag: "v1" });
  for await (const { name } of Deno.readDir(new URL("signatures/", TESTDATA))) {
    await pushLayout(new URL(`signatures/${name}/`, TESTDATA), { ...options, tag: `${name}.sig` });
  }
  assertEquals((await setup.run({ [`${SOURCE}/app:v1`]: `${DESTINATION}/to/app` })).totals.copied, 1);
  assertEquals(Object.keys(tagsOf(setup.destination, "to/app")).length, 6);
  assertSameTrees([setup.source, "app"], [setup.destination, "to/app"]);
});

Deno.test("mirror() brings a referrer that is an index, with its children and what belongs to them", async () => {
  for (const destination of [true, false]) {
    const setup = setUp({ destination });
    const image = buildImage();
    pushImage(setup.source, "from/image", "v1", image);
    const part = buildArtifact({ seed: 2, artifactType: SBOM });
    const index = buildIndex([part], { withoutPlatforms: true, subject: image, artifactType: SBOM });
    const ofPart = buildArtifact({ seed: 3, artifactType: SIGNATURE, subject: part });
    for (const one of [index, ofPart]) pushImage(setup.source, "from/image", undefined, one);
    assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
    assertEquals([part, index, ofPart].map((one) => isFound(setup, one)), [true, true, true]);
    assertSameTrees([setup.source, "from/image"], [setup.destination, "to/image"]);
  }
});

Deno.test("mirror() takes a web page in place of a list of referrers for a registry without the API", async () => {
  const setup = setUpMirror({
    source: {
      intercept: (_, { kind }) =>
        kind === "referrers"
          ? new Response("<html>", { headers: { "content-type": "text/html" } })
          : undefined,
    },
  });
  pushImage(setup.source, "from/image", "v1", buildImage());
  pushImage(setup.source, "from/image", "v2", buildImage({ seed: 2 }));
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 2);
  assertEquals(setup.source.count({ kind: "referrers" }), 1);
});

Deno.test("mirror() says of a list that names what belongs to something else that this is left out", async () => {
  const setup = setUp({ source: false });
  const image = buildImage();
  const foreign = buildArtifact({ seed: 2, artifactType: SBOM, subject: buildImage({ seed: 7 }) });
  pushImage(setup.source, "from/image", "v1", image);
  const list = buildIndex([foreign], { withoutPlatforms: true });
  pushImage(setup.source, "from/image", image.digest.replace(":", "-"), list);
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
  assertEquals(isFound(setup, foreign), false);
  assertEquals(setup.eventsOf("warning").map(({ message }) => message), [
    `What belongs to "${image.digest}" names "${FROM}@${foreign.digest}", whose manifest does not say so; it is left out`,
  ]);
});

Deno.test("mirror() brings a signature that came late under a tag of its own to an unchanged image", async () => {
  const setup = setUp({ source: false });
  const image = buildImage();
  pushImage(setup.source, "from/image", "v1", image);
  await setup.run({ [FROM]: TO });
  const tag = `${image.digest.replace(":", "-")}.sig`;
  pushImage(setup.source, "from/image", tag, buildImage({ seed: 2 }));
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
  assert(setup.destination.state.repository("to/image").tags.has(tag));
  assertEquals((await setup.run({ [FROM]: TO })).totals.unchanged, 1);
});

Deno.test("mirror() remembers that a source has no referrers API, and finds out when it has learned it", async () => {
  const setup = setUp({ source: false });
  pushImage(setup.source, "from/image", "v1", buildImage());
  const store = new MemoryStore({ now: () => setup.clock.now() });
  await setup.run({ [FROM]: TO }, { store });
  const asked: number[] = [];
  for (const days of [0, 2]) {
    setup.clock.advance(days * 86_400_000);
    setup.source.resetLog();
    await setup.run({ [FROM]: TO }, { store });
    asked.push(setup.source.count({ kind: "referrers" }));
  }
  assertEquals(asked, [0, 1]);
});

Deno.test("mirror() reads ten pages of tags while images of the first are looked at", async () => {
  const setup = setUp({ source: false });
  setup.source.quirks.pageSize = 3;
  for (let tag = 0; tag < 30; tag++) {
    pushImage(setup.source, "from/image", `v${tag}`, buildImage({ seed: tag }));
  }
  const signed = buildImage({ seed: 3 });
  pushImage(setup.source, "from/image", `${signed.digest.replace(":", "-")}.sig`, buildImage({ seed: 99 }));
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 30);
  assertEquals(tagsOf(setup.destination, "to/image"), tagsOf(setup.source, "from/image"));
});

Deno.test("compileFilter() takes artifact types whole, as globs and as patterns", async () => {
  const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
  const matches = async (include: string) => (await compileFilter({ include: [include] }))(bundle);
  for (const one of [bundle, "**/*sigstore*", "application/*", "application/*+json", "/bundle/"]) {
    assert(await matches(one), one);
  }
  for (const one of ["application/json", "*.sbom", "/^bundle/"]) assertEquals(await matches(one), false, one);
});

Deno.test("mirror() looks for what belongs to images named by tag when they are copied, and then once a day", async () => {
  for (const source of [true, false]) {
    const setup = setUp({ source });
    const image = buildImage();
    pushImage(setup.source, "from/image", "v1", image);
    pushImage(setup.source, "from/image", `${image.digest.replace(":", "-")}.sig`, buildImage({ seed: 2 }));
    assertEquals((await setup.run({ [`${FROM}:v1`]: TO })).totals.copied, 1);
    assertEquals(tagsOf(setup.destination, "to/image"), tagsOf(setup.source, "from/image"));
    const asked: number[] = [];
    for (const hours of [0, 25, 0]) {
      setup.clock.advance(hours * 3_600_000);
      setup.source.resetLog();
      assertEquals((await setup.run({ [`${FROM}:v1`]: TO })).totals.unchanged, 1);
      asked.push(
        setup.source.requests.filter(({ kind, method }) => kind !== "ping" && method === "GET").length,
      );
    }
    const each = source ? 1 : 0;
    assertEquals([asked[0], asked[2]], [each, each]);
    assert((asked[1] ?? 0) > each);
  }
});

Deno.test("mirror() writes a list whose registry refuses every condition", async () => {
  const setup = setUpMirror({
    destination: {
      quirks: { noReferrers: true },
      intercept: (request) =>
        request.headers.has("if-match")
          ? Response.json({ errors: [{ code: "DENIED" }] }, { status: 412 })
          : undefined,
    },
  });
  const { image } = pushSigned(setup);
  await setup.run({ [FROM]: TO });
  const late = buildArtifact({ seed: 50, artifactType: SIGNATURE, subject: image });
  pushImage(setup.source, "from/image", undefined, late);
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
  assertSameTrees([setup.source, "from/image"], [setup.destination, "to/image"]);
});

Deno.test("mirror() takes a registry that calls the referrers API a bad request for one without it", async () => {
  const setup = setUpMirror({
    source: {
      intercept: (_, { kind }) =>
        kind === "referrers"
          ? Response.json({ errors: [{ code: "UNSUPPORTED" }] }, { status: 400 })
          : undefined,
    },
  });
  pushImage(setup.source, "from/image", "v1", buildImage());
  assertEquals((await setup.run({ [FROM]: TO })).totals.copied, 1);
  assertEquals(setup.source.count({ kind: "referrers" }), 1);
});
