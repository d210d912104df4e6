/** Tests of what is known to be where: what a run saw, what a store says, and what happens when that is wrong. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { KnownBlobs } from "../src/mirror/copy/known_blobs.ts";
import { blobKey, tagKey } from "../src/mirror/store/store.ts";
import type { Repository } from "../src/registry/repository/repository.ts";
import { Registries } from "../src/registry/registries.ts";
import { blobsOf, buildImage, buildLayer, buildMultiPlatform, type Image, pushImage } from "./images.ts";
import {
  assertHolds,
  assertSentOnce,
  DESTINATION,
  type MirrorSetup,
  mountsAt,
  setUpMirror,
  SOURCE,
  uploadsTo,
} from "./mirror_setup.ts";
import { type InterceptContext, RepositoryState } from "./registry.ts";

const DIGEST = buildLayer(1).digest;
const REGISTRIES = new Registries();

function repository(name: string, registry = DESTINATION): Repository {
  return REGISTRIES.open({ registry, repository: name }, "pull,push");
}

Deno.test("KnownBlobs.has() knows what was added, for that repository alone", () => {
  const known = new KnownBlobs();
  known.add(repository("a"), DIGEST);
  assertEquals(known.has(repository("a"), DIGEST), true);
  assertEquals(known.has(repository("b"), DIGEST), false);
  assertEquals(known.has(repository("a", SOURCE), DIGEST), false);
  assertEquals(known.has(repository("a"), buildLayer(2).digest), false);
});

Deno.test("KnownBlobs.has() takes no hint for a fact", () => {
  const known = new KnownBlobs();
  known.addHint(DESTINATION, "a", DIGEST);
  assertEquals(known.has(repository("a"), DIGEST), false);
  assertEquals(known.isHinted(repository("a"), DIGEST), true);
  assertEquals(known.isHinted(repository("b"), DIGEST), false);
});

Deno.test("KnownBlobs.holderOf() names another repository of the same registry, seen rather than hinted", () => {
  const known = new KnownBlobs();
  assertEquals(known.holderOf(repository("a"), DIGEST), undefined);
  known.addHint(DESTINATION, "a", DIGEST);
  assertEquals(known.holderOf(repository("a"), DIGEST), undefined);
  known.addHint(DESTINATION, "hinted", DIGEST);
  known.addHint(SOURCE, "elsewhere", DIGEST);
  assertEquals(known.holderOf(repository("a"), DIGEST), "hinted");
  known.add(repository("seen"), DIGEST);
  assertEquals(known.holderOf(repository("a"), DIGEST), "seen");
  assertEquals(known.holderOf(repository("seen"), DIGEST), "a");
});

Deno.test("KnownBlobs.forget() forgets all of one repository, also as one to mount from", () => {
  const known = new KnownBlobs();
  known.setEmpty(repository("a"));
  known.add(repository("a"), DIGEST);
  known.add(repository("b"), DIGEST);
  known.forget(repository("a"));
  assertEquals(known.has(repository("a"), DIGEST), false);
  assertEquals(known.has(repository("b"), DIGEST), true);
  assertEquals(known.isEmpty(repository("a"), DIGEST), false);
  assertEquals(known.holderOf(repository("c"), DIGEST), "b");
});

Deno.test("KnownBlobs.isEmpty() holds for an empty repository, but not for content hinted to be there", () => {
  const known = new KnownBlobs();
  assertEquals(known.isEmpty(repository("a"), DIGEST), false);
  known.setEmpty(repository("a"));
  assertEquals(known.isEmpty(repository("a"), DIGEST), true);
  assertEquals(known.isEmpty(repository("b"), DIGEST), false);
  known.addHint(DESTINATION, "a", DIGEST);
  assertEquals(known.isEmpty(repository("a"), DIGEST), false);
});

Deno.test("KnownBlobs.unreadable() is known for one source alone, and for one pass", () => {
  const known = new KnownBlobs();
  const error = new Error("missing");
  known.setUnreadable(repository("a", SOURCE), DIGEST, error);
  assertStrictEquals(known.unreadable(repository("a", SOURCE), DIGEST), error);
  assertEquals(known.unreadable(repository("b", SOURCE), DIGEST), undefined);
  known.forgetUnreadable();
  assertEquals(known.unreadable(repository("a", SOURCE), DIGEST), undefined);
});

Deno.test("KnownBlobs.has() knows each of many repositories, and none that was forgotten", () => {
  const places = ["a", "b", "c"].map((name) => repository(name));
  for (const count of [1, 2, 3]) {
    const known = new KnownBlobs();
    const added = places.slice(0, count);
    for (const place of [...added, repository("a", SOURCE)]) known.add(place, DIGEST);
    for (const place of places) assertEquals(known.has(place, DIGEST), added.includes(place));
    const [first] = places;
    if (first === undefined) continue;
    known.forget(first);
    for (const place of places) {
      assertEquals(known.has(place, DIGEST), place !== first && added.includes(place));
    }
    assertEquals(known.has(repository("a", SOURCE), DIGEST), true);
    known.add(first, DIGEST);
    assertEquals(known.has(first, DIGEST), true);
  }
});

Deno.test("KnownBlobs.isDoubted() holds for a repository that has shown that what was known is wrong", () => {
  const known = new KnownBlobs();
  assertEquals(known.isDoubted(repository("a")), false);
  known.forget(repository("a"));
  assertEquals([known.isDoubted(repository("a")), known.isDoubted(repository("b"))], [true, false]);
});

const IMAGE = buildMultiPlatform(["amd64", "arm64"]);
const RULE = { [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` };

function withImage(image: Image = IMAGE): MirrorSetup {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", image);
  return setup;
}

Deno.test("mirror() asks about blobs that the store says are there, and sends those that are not", async () => {
  const setup = withImage();
  for (const [digest, { size }] of blobsOf(IMAGE)) {
    await setup.store.set(blobKey(DESTINATION, "to/image", digest), { size, seenAt: 1 });
  }
  const report = await setup.run(RULE);
  assertEquals(report.totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
  assertEquals(uploadsTo(setup.destination).length, blobsOf(IMAGE).size);
});

Deno.test("mirror() uploads blobs that the store says are in another repository, when they are not", async () => {
  const setup = withImage();
  for (const digest of blobsOf(IMAGE).keys()) {
    await setup.store.set(blobKey(DESTINATION, "not/there", digest), { size: 1, seenAt: 1 });
  }
  const report = await setup.run(RULE);
  assertEquals(report.totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
  assertEquals(mountsAt(setup.destination), []);
});

Deno.test("fault 87: mirror() deletes what the store says of blobs that could not be mounted from there", async () => {
  const setup = withImage();
  for (const digest of blobsOf(IMAGE).keys()) {
    await setup.store.set(blobKey(DESTINATION, "not/there", digest), { size: 1, seenAt: 1 });
  }
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertEquals(await Array.fromAsync(setup.store.list(["blob", DESTINATION, "not/there"])), []);
  const kept = await Array.fromAsync(setup.store.list(["blob", DESTINATION, "to/image"]));
  assertEquals(kept.length, blobsOf(IMAGE).size);
});

Deno.test("mirror() mounts blobs that the store rightly says are in another repository", async () => {
  const setup = withImage();
  pushImage(setup.destination, "other/image", "v1", IMAGE);
  for (const digest of blobsOf(IMAGE).keys()) {
    await setup.store.set(blobKey(DESTINATION, "other/image", digest), { size: 1, seenAt: 1 });
  }
  const report = await setup.run(RULE);
  assertEquals(report.bytes.copied, 0);
  assertEquals(mountsAt(setup.destination).length, blobsOf(IMAGE).size);
  assertEquals(setup.source.count({ kind: "blob" }), 0);
});

Deno.test("mirror() copies a tag that the store says was copied, when it is not there", async () => {
  const setup = withImage();
  const value = { digest: IMAGE.digest, source: "x", copiedAt: 1 };
  await setup.store.set(tagKey(DESTINATION, "to/image", "v1"), value);
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});

Deno.test("mirror() is not misled by values in the store that are not what they should be", async () => {
  const setup = withImage();
  for (const value of [null, 1, "x", [], {}, { digest: 5 }]) {
    await setup.store.set(tagKey(DESTINATION, "to/image", "v1"), value);
    for (const digest of blobsOf(IMAGE).keys()) {
      await setup.store.set(blobKey(DESTINATION, "to/image", digest), value);
    }
    setup.destination.repositories.clear();
    assertEquals((await setup.run(RULE)).totals.copied, 1);
    assertHolds(setup.destination, "to/image", "v1", IMAGE);
  }
});

Deno.test("mirror() sends everything again to a registry that was emptied behind the records", async () => {
  const setup = withImage();
  await setup.run(RULE);
  setup.destination.repositories.clear();
  setup.destination.blobs.clear();
  setup.destination.resetLog();
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
  assertSentOnce(setup.destination);
});

/** The destination loses a blob when the manifest that names it comes for the first time. */
function losing(times: number): MirrorSetup {
  let lost = 0;
  const intercept = (request: Request, { kind, state, repository }: InterceptContext) => {
    if (request.method !== "PUT" || kind !== "manifest" || lost >= times) return undefined;
    lost++;
    const { blobs } = state.repositories.get(repository) ?? new RepositoryState();
    for (const digest of blobs.keys()) blobs.delete(digest);
    return undefined;
  };
  const setup = setUpMirror({ destination: { intercept } });
  pushImage(setup.source, "from/image", "v1", buildImage({ layers: 3 }));
  return setup;
}

Deno.test("copyImage() pushes blobs once more when the registry says they are missing", async () => {
  const setup = losing(1);
  const report = await setup.run(RULE, { retries: 0 });
  assertEquals(report.totals.copied, 1, JSON.stringify(report.tasks));
  assertHolds(setup.destination, "to/image", "v1", buildImage({ layers: 3 }));
  assertEquals(setup.destination.count({ method: "PUT", kind: "manifest" }), 2);
});

Deno.test("fault 87: copyImage() deletes what the store says of a repository that says something is missing", async () => {
  const setup = losing(1);
  const gone = `sha256:${"0".repeat(64)}`;
  const image = buildImage({ layers: 3 });
  for (const digest of [gone, ...blobsOf(image).keys()]) {
    await setup.store.set(blobKey(DESTINATION, "to/image", digest), { size: 1, seenAt: 1 });
  }
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  const kept = await Array.fromAsync(setup.store.list(["blob", DESTINATION, "to/image"]));
  assertEquals(kept.map(({ key }) => key[3]).sort(), [...blobsOf(image).keys()].sort());
});

Deno.test("copyImage() gives up when the registry says so again", async () => {
  const setup = losing(100);
  const report = await setup.run(RULE, { retries: 0 });
  assertEquals(report.totals.failed, 1);
  assertEquals(report.tasks[0]?.error?.includes("MANIFEST_BLOB_UNKNOWN"), true);
  assertEquals(setup.destination.count({ method: "PUT", kind: "manifest" }), 2);
});

Deno.test("copyImage() pushes a child of an index once more when the registry has lost it", async () => {
  let isLost = false;
  const setup = setUpMirror({
    destination: {
      intercept: (request, { kind, state, reference, repository }) => {
        if (request.method !== "PUT" || kind !== "manifest" || reference !== "v1" || isLost) return undefined;
        isLost = true;
        state.repository(repository).deleteManifest(IMAGE.children[0]?.digest ?? "");
        return undefined;
      },
    },
  });
  pushImage(setup.source, "from/image", "v1", IMAGE);
  const report = await setup.run(RULE, { retries: 0 });
  assertEquals(report.totals.copied, 1, JSON.stringify(report.tasks));
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});
