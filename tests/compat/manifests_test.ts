/** Compatibility, items 57 to 70: manifests of every kind, platforms, and what counts as unchanged. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Digest, Platform } from "../../mod.ts";
import {
  buildArtifact,
  buildHelmChart,
  buildImage,
  buildIndex,
  buildMultiPlatform,
  buildSchema1,
  encodeJson,
  type Image,
  pushImage,
} from "../images.ts";
import {
  assertHolds,
  DESTINATION,
  type MirrorSetup,
  setUpMirror,
  SOURCE,
  uploadsTo,
} from "../mirror_setup.ts";
import { digestBytes, type TestRegistry } from "../registry.ts";
import { compat } from "./item.ts";
import { assertExit, DONE, type Scene, withScene } from "./scene.ts";

const RULE = { [`${SOURCE}/ns/image:v1`]: `${DESTINATION}/copy/image` };

/** A mirror whose source has one image. */
function setUpWith(image: Image): MirrorSetup {
  const setup = setUpMirror();
  pushImage(setup.source, "ns/image", "v1", image);
  return setup;
}

async function assertCopied(image: Image): Promise<void> {
  const setup = setUpWith(image);
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "copy/image", "v1", image);
}

function imageFor(architecture: string, variant?: string, seed = 1): Image {
  const platform: Platform = { os: "linux", architecture, ...(variant !== undefined && { variant }) };
  return buildImage({ seed, platform });
}

/** Digests that the index under a tag of the destination lists. */
function childrenAt(registry: TestRegistry, tag = "v1"): Digest[] {
  const found = registry.state.repository("copy/image").findManifest(tag);
  const { manifests } = JSON.parse(new TextDecoder().decode(found?.bytes)) as {
    manifests: { digest: Digest }[];
  };
  return manifests.map(({ digest }) => digest);
}

function rule({ S, D }: Scene, tag = "v1"): Record<string, string> {
  return { [`${S}/ns/image:${tag}`]: `${D}/copy/image` };
}

compat(
  57,
  "schema 2 is copied byte for byte, with its media type",
  () => assertCopied(buildImage({ format: "docker" })),
);

compat(
  57,
  "signed schema 1 is copied byte for byte, with its media type",
  () => assertCopied(buildSchema1()),
);

for (const format of ["docker", "oci"] as const) {
  const image = buildMultiPlatform(["amd64", "arm64", "arm/v7"], { format });
  const name = format === "docker" ? "a Docker list" : "an OCI index";
  // v1.0.3 refused lists; they are what most tags are by now.
  compat(58, `${name} is copied with all its children, which are there by digest`, () => assertCopied(image));

  // Both read it into a structure and wrote that, so the digest was another one and signatures were void.
  compat(59, `${name} keeps its bytes and its digest, also when it is named by digest`, async () => {
    const setup = setUpWith(image);
    await setup.run({ ...RULE, [`${SOURCE}/ns/image@${image.digest}`]: `${DESTINATION}/copy/pinned` });
    assertHolds(setup.destination, "copy/image", "v1", image);
    assertHolds(setup.destination, "copy/pinned", image.digest, image);
    assertEquals(setup.destination.repositories.get("copy/image")?.tags.get("v1"), image.digest);
  });

  compat(
    60,
    `--arch amd64 leaves amd64 of ${name}, and nothing else is copied`,
    () =>
      withScene(async (scene) => {
        scene.push("ns/image", "v1", image);
        const result = await scene.sync(rule(scene), ["--arch", "amd64"]);
        assertExit(result, 0);
        // The digest differs from the source's now, and whoever checks signatures must know why.
        assertStringIncludes(result.stdout, "rewrite 1 index");
        assertEquals(childrenAt(scene.destination), [image.children[0]?.digest]);
        assertEquals(scene.destination.state.repository("copy/image").manifests.size, 2);
      }),
  );

  compat(61, `--arch tells variants of ${name} apart only where one is named`, async () => {
    const variants = buildMultiPlatform(["arm/v6", "arm/v7", "amd64"], { format });
    const digests = variants.children.map(({ digest }) => digest);
    await withScene(async (scene) => {
      scene.push("ns/image", "v1", variants);
      assertExit(await scene.sync(rule(scene), ["--arch", "arm:v7"]), 0);
      assertEquals(childrenAt(scene.destination), digests.slice(1, 2));
      assertExit(await scene.sync(rule(scene), ["--arch", "arm"]), 0);
      assertEquals(childrenAt(scene.destination), digests.slice(0, 2));
    });
  });
}

const NOTHING_FITS = "skip synchronization because no manifest fits platform filters";

compat(
  62,
  "an image without the platform that is wanted is skipped, which is no failure",
  () =>
    withScene(async (scene) => {
      scene.push("ns/image", "v1", buildMultiPlatform(["amd64", "arm64"]));
      const report = scene.workspace.path("report.json");
      const result = await scene.sync(rule(scene), ["--arch", "s390x", "--report", report]);
      assertExit(result, 0);
      assertStringIncludes(result.stdout, NOTHING_FITS);
      assertEquals(scene.destination.repositories.get("copy/image")?.tags.size ?? 0, 0);
      assertEquals(JSON.parse(await scene.workspace.read("report.json")).totals.skipped, 1);
    }),
);

compat(63, "a single image of another platform is skipped, which its config tells", async () => {
  const image = imageFor("arm64");
  const configs = (registry: TestRegistry) => registry.count({ method: "GET", kind: "blob" });
  const filtered = setUpWith(image);
  const { totals, tasks } = await filtered.run(RULE, { platforms: ["*/amd64"] });
  assertEquals([totals.skipped, totals.copied, totals.failed], [1, 0, 0]);
  assertEquals(tasks[0]?.reason, `${NOTHING_FITS} (it has linux/arm64)`);
  assertEquals(configs(filtered.source), 1);
  // Without a filter nobody asks, and an image that is unchanged is not read at all.
  const plain = setUpWith(image);
  pushImage(plain.destination, "copy/image", "v1", image);
  assertEquals((await plain.run(RULE)).totals.unchanged, 1);
  assertEquals(configs(plain.source), 0);
  assertEquals((await setUpWith(image).run(RULE, { platforms: ["*/arm64"] })).totals.copied, 1);
});

const MIXED: Record<string, () => Image> = {
  "an index without platforms": () =>
    buildIndex([imageFor("amd64"), imageFor("arm64", undefined, 2)], { withoutPlatforms: true }),
  "an index in an index": () => buildIndex([buildMultiPlatform(["amd64", "arm64"]), imageFor("s390x")]),
  "an index with attestations": () => buildMultiPlatform(["amd64", "arm64"], { attestations: true }),
  "an index of Docker's and OCI's images": () =>
    buildIndex([buildImage({ format: "docker" }), imageFor("arm64")]),
};

for (const [name, build] of Object.entries(MIXED)) {
  compat(64, `${name} is copied whole, and filtered without a failure`, async () => {
    const image = build();
    await assertCopied(image);
    const setup = setUpWith(image);
    assertEquals((await setup.run(RULE, { platforms: ["linux/arm64"] })).totals.copied, 1);
    const amd = imageFor("amd64").digest;
    assert(!setup.destination.state.repository("copy/image").manifests.has(amd));
  });
}

compat(64, "attestations follow the images they describe", async () => {
  const image = buildMultiPlatform(["amd64", "arm64"], { attestations: true });
  const setup = setUpWith(image);
  await setup.run(RULE, { platforms: ["linux/arm64"] });
  assertEquals(childrenAt(setup.destination), [image.children[1]?.digest, image.children[3]?.digest]);
});

compat(65, "a Helm chart is copied byte for byte", () => assertCopied(buildHelmChart(3)));

compat(
  65,
  "an artifact with a config of its own kind is copied byte for byte",
  () =>
    assertCopied(buildArtifact({ configMediaType: "application/vnd.test.config.v1+json", config: { a: 1 } })),
);

compat(65, "a filter of platforms leaves a Helm chart alone", async () => {
  const chart = buildHelmChart(4);
  const setup = setUpWith(chart);
  assertEquals((await setup.run(RULE, { platforms: ["linux/amd64"] })).totals.copied, 1);
  assertHolds(setup.destination, "copy/image", "v1", chart);
});

compat(
  66,
  "a manifest of an unknown kind is a failure that is counted, and the others go on",
  () =>
    withScene(async (scene) => {
      const mediaType = "application/vnd.test.unheard-of+json";
      const bytes = encodeJson({ schemaVersion: 7, mediaType });
      const state = scene.source.state.repository("ns/image");
      state.manifests.set(digestBytes(bytes), { ...strange(bytes, mediaType) });
      state.tags.set("v1", digestBytes(bytes));
      const result = await scene.sync({ ...rule(scene), [`${scene.S}/ns/app:v1`]: `${scene.D}/besides/app` });
      assertExit(result, 1);
      assertStringIncludes(result.stdout, "unsupported manifest type");
      assertEquals(result.lines.at(-1), "Finished, 1 sync tasks failed, 0 tasks generate failed");
      assertEquals(scene.tagsAt("besides/app"), ["v1"]);
    }),
);

function strange(bytes: Uint8Array<ArrayBuffer>, mediaType: string) {
  return { bytes, mediaType, digest: digestBytes(bytes), blobs: [], children: [] };
}

compat(67, "a second run finds everything unchanged and moves nothing", () =>
  withScene(async (scene) => {
    scene.push("ns/image", "v1", buildMultiPlatform(["amd64", "arm64"]));
    assertExit(await scene.sync(rule(scene)), 0);
    for (const registry of [scene.source, scene.destination]) registry.resetLog();
    const result = await scene.sync(rule(scene));
    assertExit(result, 0);
    assertStringIncludes(result.stdout, "1 unchanged");
    assertEquals(result.lines.at(-1), DONE);
    assertEquals(scene.countTraffic(), 0);
  }));

compat(
  67,
  "a second run through a filter of platforms finds everything unchanged too",
  () =>
    withScene(async (scene) => {
      scene.push("ns/image", "v1", buildMultiPlatform(["amd64", "arm64", "s390x"]));
      assertExit(await scene.sync(rule(scene), ["--arch", "arm64"]), 0);
      for (const registry of [scene.source, scene.destination]) registry.resetLog();
      const result = await scene.sync(rule(scene), ["--arch", "arm64"]);
      assertStringIncludes(result.stdout, "1 unchanged");
      assertEquals(scene.countTraffic(), 0);
    }),
);

/** The same index as image-syncer v1.5.5 would have written it. */
function rewritten(image: Image, reverse: boolean): Image {
  const value = Object.entries(JSON.parse(new TextDecoder().decode(image.bytes)));
  const text = JSON.stringify(Object.fromEntries(reverse ? value.reverse() : value));
  const bytes = new TextEncoder().encode(text);
  return { ...image, bytes, digest: digestBytes(bytes) };
}

for (const reverse of [false, true]) {
  const how = reverse ? "with its keys in another order" : "with other white space";
  // There it counted as unchanged, since a copy never had the source's digest. Here it has, so it is made so once.
  compat(68, `the same index ${how} is replaced by the source's own bytes`, async () => {
    const image = buildMultiPlatform(["amd64", "arm64"]);
    const setup = setUpWith(image);
    pushImage(setup.destination, "copy/image", "v1", rewritten(image, reverse));
    assertEquals((await setup.run(RULE)).totals.copied, 1);
    assertHolds(setup.destination, "copy/image", "v1", image);
    assertEquals(uploadsTo(setup.destination).length, 0);
  });

  compat(68, `the same index ${how} is left under a tag that cannot be changed`, async () => {
    const image = buildMultiPlatform(["amd64", "arm64"]);
    const setup = setUpMirror({ destination: { quirks: { immutableTags: true } } });
    pushImage(setup.source, "ns/image", "v1", image);
    const there = rewritten(image, reverse);
    pushImage(setup.destination, "copy/image", "v1", there);
    const { totals } = await setup.run(RULE);
    assertEquals(totals.failed, 0);
    assertEquals(setup.destination.repositories.get("copy/image")?.tags.get("v1"), there.digest);
  });
}

// v1.5.5 asked for every child in every run. Registries refuse to delete a child, or hide the index with it, and a mirror that
// is asked each hour would pay for each of its platforms; so a run that finds the index believes it, unless told otherwise.
compat(69, "an index that lost a child at the destination is made whole with --force", async () => {
  const image = buildMultiPlatform(["amd64", "arm64"]);
  const setup = setUpWith(image);
  await setup.run(RULE);
  setup.destination.state.repository("copy/image").deleteManifest(image.children[1]?.digest ?? "");
  const { totals } = await setup.run(RULE, { force: true });
  assertEquals([totals.copied, totals.failed], [1, 0]);
  assertHolds(setup.destination, "copy/image", "v1", image);
});

compat(69, "an index whose destination lost its tag with the child is made whole", async () => {
  const image = buildMultiPlatform(["amd64", "arm64"]);
  const setup = setUpWith(image);
  await setup.run(RULE);
  const state = setup.destination.state.repository("copy/image");
  for (const { digest } of [image, image.children[1] ?? image]) state.deleteManifest(digest);
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "copy/image", "v1", image);
});

compat(70, "--force puts manifests again and sends no blob that is there", () =>
  withScene(async (scene) => {
    const image = scene.push("ns/image", "v1", buildMultiPlatform(["amd64", "arm64"]));
    assertExit(await scene.sync(rule(scene)), 0);
    scene.destination.resetLog();
    assertExit(await scene.sync(rule(scene), ["--force"]), 0);
    assert(scene.destination.count({ method: "PUT", kind: "manifest" }) >= 1);
    assertEquals(uploadsTo(scene.destination), []);
    assertEquals(scene.destination.repositories.get("copy/image")?.tags.get("v1"), image.digest);
  }));
