/** Tests of bringing one blob to every destination that lacks it: looking, mounting, uploading, remembering. */

import { assert, assertEquals } from "@std/assert";
import { ImageCopier } from "../src/mirror/copy/image_copy.ts";
import { makePlan } from "../src/mirror/plan/planner.ts";
import { blobKey } from "../src/mirror/store/store.ts";
import { settle } from "./fake_clock.ts";
import { buildImage, buildIndex, buildLayer, pushImage } from "./images.ts";
import {
  assertHolds,
  assertSentOnce,
  DESTINATION,
  mountsAt,
  setUpMirror,
  SOURCE,
  uploadsTo,
} from "./mirror_setup.ts";
import { bytesContent, createRegistry, type RegistryOptions } from "./registry.ts";

const IMAGE = buildImage({ layers: [buildLayer(1, 1000), buildLayer(2, 3_000_000)] });
const RULE = { [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` };

function withImage(destination: RegistryOptions = {}) {
  const setup = setUpMirror({ destination });
  pushImage(setup.source, "from/image", "v1", IMAGE);
  return setup;
}

Deno.test("BlobCourier.bring() sends nothing that the destination has", async () => {
  const setup = withImage();
  for (const blob of IMAGE.blobs.values()) setup.destination.state.addBlob("to/image", blob);
  const report = await setup.run(RULE);
  assertEquals(report.totals.copied, 1);
  assertEquals(setup.destination.count({ kind: "upload" }), 0);
  assertEquals(setup.source.count({ kind: "blob" }), 0);
  assertEquals(report.bytes.copied, 0);
  assertEquals(setup.eventsOf("blob-skipped").map(({ reason }) => reason), ["exists", "exists", "exists"]);
});

Deno.test("BlobCourier.bring() sends nothing that a repository has whose tags were listed", async () => {
  const setup = setUpMirror();
  const shared = buildLayer(50, 5000);
  const images = [1, 2, 3].map((seed) => buildImage({ seed, layers: [shared, buildLayer(seed)] }));
  for (const [index, image] of images.entries()) {
    pushImage(setup.source, "from/image", `t${index}`, image);
    if (index === 0) pushImage(setup.destination, "to/image", "t0", image);
  }
  const report = await setup.run({ [`${SOURCE}/from/image`]: `${DESTINATION}/to/image` });
  assertEquals([report.totals.copied, report.totals.unchanged], [2, 1]);
  assertEquals(setup.destination.count({ kind: "tags" }), 1);
  assertEquals(uploadsTo(setup.destination).filter(({ digest }) => digest === shared.digest), []);
});

Deno.test("BlobCourier.bring() takes one request for a small blob where the registry allows that", async () => {
  const setup = withImage();
  await setup.run(RULE);
  const uploads = setup.destination.requests.filter(({ kind }) => kind === "upload");
  assertEquals(uploads.map(({ method }) => method).sort(), ["POST", "POST", "POST", "PUT"]);
});

Deno.test("BlobCourier.bring() stops sending blobs with the first request where the registry does not take them", async () => {
  const setup = setUpMirror({ destination: { quirks: { noSinglePost: true } } });
  const image = buildImage({ layers: 20 });
  pushImage(setup.source, "from/image", "v1", image);
  await setup.run(RULE, { concurrency: 2 });
  const sent = setup.destination.requests.filter(({ method, contentLength = 0 }) =>
    method === "POST" && contentLength > 0
  );
  assert(sent.length > 0 && sent.length <= 2, `${sent.length} blobs were sent in vain`);
  assertHolds(setup.destination, "to/image", "v1", image);
  assertSentOnce(setup.destination);
});

Deno.test("BlobCourier.bring() tries again where the first blob of a registry failed", async () => {
  let left = 2;
  const setup = setUpMirror({
    destination: {
      intercept: (_, { kind, entry: { method, contentLength = 0 } }) =>
        method === "POST" && kind === "upload" && contentLength > 0 && left-- > 0
          ? new Response(null, { status: 500 })
          : undefined,
    },
    registries: { limits: { attempts: 2 } },
  });
  pushImage(setup.source, "from/image", "v1", IMAGE);
  assertEquals((await setup.run(RULE, { retries: 1 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});

Deno.test("BlobCourier.bring() does not let two blobs wait for each other at two registries", async () => {
  const image = buildImage({ layers: [buildLayer(1, 1000), buildLayer(2, 1000)] });
  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  let checks = 0;
  /** Answers the check of one of the layers only after everything was asked. */
  const holding = (held: number): RegistryOptions => ({
    intercept: async (request, { kind, reference }) => {
      if (request.method !== "HEAD" || kind !== "blob") return undefined;
      if (++checks === 6) asked.resolve();
      if (reference === buildLayer(held, 1000).digest) await gate.promise;
      return undefined;
    },
  });
  const other = createRegistry(holding(1));
  const setup = setUpMirror({ destination: holding(2), others: { "other.test": other } });
  pushImage(setup.source, "from/image", "v1", image);
  // The config is there already, so that the layers are the first blobs that the registries are sent.
  const [config] = image.blobs.values();
  assert(config !== undefined);
  for (const registry of [setup.destination, other]) registry.state.addBlob("to/image", config);
  const running = setup.run({
    [`${SOURCE}/from/image:v1`]: [`${DESTINATION}/to/image`, "other.test/to/image"],
  });
  await asked.promise;
  await settle();
  gate.resolve();
  assertEquals((await running).totals.copied, 2);
});

Deno.test("BlobCourier.bring() opens an upload where a POST with the blob is refused", async () => {
  const setup = withImage({
    intercept: (request, { kind, entry }) =>
      kind === "upload" && request.method === "POST" && entry.path.includes("digest=")
        ? new Response(null, { status: 400 })
        : undefined,
  });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});

/** Copies between two repositories of one registry. */
async function copyWithin(options: RegistryOptions) {
  const setup = setUpMirror({ destination: options });
  pushImage(setup.destination, "from/image", "v1", IMAGE);
  const report = await setup.run({ [`${DESTINATION}/from/image:v1`]: `${DESTINATION}/to/image` }, {
    retries: 0,
  });
  assertEquals(report.totals.copied, 1, report.tasks[0]?.error);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
  return setup;
}

Deno.test("BlobCourier.bring() mounts from the source where that is in the same registry", async () => {
  const setup = await copyWithin({});
  assertEquals(mountsAt(setup.destination).length, 3);
  assertEquals(setup.destination.count({ method: "GET", kind: "blob" }), 0);
});

Deno.test("BlobCourier.bring() uploads where a mount is answered with an upload", async () => {
  const setup = await copyWithin({ quirks: { refuseMount: true } });
  assertEquals(uploadsTo(setup.destination).length, 3);
});

for (const status of [400, 401, 403, 404, 405]) {
  Deno.test(`BlobCourier.bring() uploads where a mount is refused with ${status}, and asks for no other`, async () => {
    const setup = await copyWithin({
      intercept: (request, { entry }) =>
        request.method === "POST" && entry.path.includes("mount=")
          ? new Response(null, { status })
          : undefined,
    });
    assertEquals(uploadsTo(setup.destination).length, 3);
    await setup.run({ [`${DESTINATION}/from/image:v1`]: `${DESTINATION}/to/other` }, { retries: 0 });
    assertHolds(setup.destination, "to/other", "v1", IMAGE);
  });
}

Deno.test("BlobCourier.bring() asks for no more mounts in a registry that refused one", async () => {
  const setup = setUpMirror({
    destination: {
      intercept: (request, { entry }) =>
        request.method === "POST" && entry.path.includes("mount=")
          ? new Response(null, { status: 400 })
          : undefined,
    },
  });
  pushImage(setup.destination, "from/image", "v1", IMAGE);
  const context = setup.context();
  const copier = new ImageCopier(context);
  const mounts: number[] = [];
  for (const name of ["one", "two"]) {
    const rule = { source: `${DESTINATION}/from/image:v1`, destinations: [`${DESTINATION}/to/${name}`] };
    for (const task of (await makePlan([rule], context)).tasks) await copier.copyImage(task);
    assertHolds(setup.destination, `to/${name}`, "v1", IMAGE);
    mounts.push(setup.destination.requests.filter(({ path }) => path.includes("mount=")).length);
  }
  assertEquals(mounts, [3, 3]);
});

Deno.test("BlobCourier.bring() sends a blob where looking for it is forbidden", async () => {
  const setup = withImage({
    intercept: (request, { kind }) =>
      request.method === "HEAD" && kind === "blob" ? new Response(null, { status: 403 }) : undefined,
  });
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});

Deno.test("BlobCourier.bring() remembers in the store what it sent and what it saw", async () => {
  const setup = withImage();
  await setup.run(RULE);
  for (const { digest, size } of IMAGE.blobs.values()) {
    const value = await setup.store.get(blobKey(DESTINATION, "to/image", digest));
    assertEquals(value, { size, seenAt: setup.clock.now() });
  }
});

Deno.test("BlobCourier.bring() remembers nothing of a blob that it could not send", async () => {
  const setup = withImage({
    intercept: (request, { kind }) =>
      kind === "upload" ? new Response(request.method, { status: 403 }) : undefined,
  });
  assertEquals((await setup.run(RULE)).totals.failed, 1);
  const facts = await Array.fromAsync(setup.store.list(["blob"]));
  assertEquals(facts, []);
});

Deno.test("BlobCourier.bring() tells how many bytes went where", async () => {
  const setup = withImage();
  const report = await setup.run({
    [`${SOURCE}/from/image:v1`]: [`${DESTINATION}/to/one`, `${DESTINATION}/to/two`],
  });
  const size = [...IMAGE.blobs.values()].reduce((sum, blob) => sum + blob.size, 0);
  assertEquals(report.bytes, { copied: size, mounted: size, skipped: 0 });
  const progress = setup.eventsOf("blob-progress").reduce((sum, { bytes }) => sum + bytes, 0);
  assertEquals(progress, size);
  assertEquals(setup.eventsOf("blob-started").length, setup.eventsOf("blob-ended").length);
});

Deno.test("mirror() reads and sends a blob that many tags share once", async () => {
  const setup = setUpMirror();
  const shared = buildLayer(100, 5000);
  const images = Array.from(
    { length: 20 },
    (_, seed) => buildImage({ seed, layers: [shared, buildLayer(seed)] }),
  );
  for (const [index, image] of images.entries()) pushImage(setup.source, "from/image", `t${index}`, image);
  const report = await setup.run({ [`${SOURCE}/from/image`]: `${DESTINATION}/to/image` });
  assertEquals(report.totals.copied, 20);
  assertSentOnce(setup.destination);
  const path = `/v2/from/image/blobs/${shared.digest}`;
  assertEquals(setup.source.requests.filter((one) => one.path === path).length, 1);
});

Deno.test("mirror() brings a child that many indexes share once", async () => {
  const setup = setUpMirror();
  const shared = buildImage({ seed: 1 });
  for (let seed = 2; seed < 12; seed++) {
    const index = buildIndex([shared, buildImage({ seed })]);
    pushImage(setup.source, "from/image", `t${seed}`, index);
  }
  const report = await setup.run({ [`${SOURCE}/from/image`]: `${DESTINATION}/to/image` });
  assertEquals(report.totals.copied, 10);
  const of = (path: string) => ({ path: `${path}/manifests/${shared.digest}` });
  const gets = setup.source.requests.filter(({ path }) => path === of("/v2/from/image").path);
  const puts = setup.destination.requests.filter(({ path }) => path === of("/v2/to/image").path);
  assertEquals([gets.length, puts.length], [1, 1]);
});

Deno.test("mirror() sends a blob once to a registry and mounts it in its other repositories", async () => {
  const setup = setUpMirror();
  const base = [buildLayer(100, 5000), buildLayer(101, 5000)];
  const rules: Record<string, string> = {};
  for (let seed = 0; seed < 10; seed++) {
    const image = buildImage({ seed, layers: [...base, buildLayer(seed)] });
    pushImage(setup.source, `from/r${seed}`, "v1", image);
    rules[`${SOURCE}/from/r${seed}:v1`] = `${DESTINATION}/to/r${seed}`;
  }
  const report = await setup.run(rules);
  assertEquals(report.totals.copied, 10);
  for (const { digest } of base) {
    assertEquals(uploadsTo(setup.destination).filter((one) => one.digest === digest).length, 1);
    assertEquals(mountsAt(setup.destination).filter((one) => one.digest === digest).length, 9);
  }
  assertEquals(report.bytes.mounted, 2 * 9 * 5000);
});

Deno.test("BlobCourier.bring() brings a blob itself when the repository it would have mounted it from got none", async () => {
  const setup = setUpMirror({
    destination: {
      intercept: (request, { kind, repository }) =>
        kind === "upload" && repository === "to/full"
          ? new Response(request.method, { status: 403 })
          : undefined,
    },
  });
  const image = buildImage();
  pushImage(setup.source, "from/image", "v1", image);
  const destinations = ["to/full", "to/one", "to/two"].map((name) => `${DESTINATION}/${name}`);
  const report = await setup.run({ [`${SOURCE}/from/image:v1`]: destinations });
  assertEquals(report.totals.copied, 2);
  assertEquals(report.totals.failed, 1);
  assertHolds(setup.destination, "to/one", "v1", image);
  assertHolds(setup.destination, "to/two", "v1", image);
});

Deno.test("BlobCourier.bring() does not fail for another source's bad copy of the same blob", async () => {
  const layer = buildLayer(1);
  const [isLeading, isFollowing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const setup = setUpMirror({
    source: {
      intercept: async ({ method }, { kind, repository, reference }) => {
        if (method !== "GET") return undefined;
        // The good image begins when the bad one has claimed the layer, whose bytes come when the good one waits for it.
        if (kind === "manifest" && repository === "good/image") await isLeading.promise;
        if (kind !== "blob" || repository !== "bad/image" || reference !== layer.digest) return undefined;
        isLeading.resolve();
        await isFollowing.promise;
        return undefined;
      },
    },
  });
  const [bad, good] = [buildImage({ seed: 1, layers: [layer] }), buildImage({ seed: 2, layers: [layer] })];
  pushImage(setup.source, "bad/image", "v1", bad);
  pushImage(setup.source, "good/image", "v1", good);
  const { blobs } = setup.source.state.repository("bad/image");
  blobs.set(layer.digest, bytesContent(new Uint8Array(1024), layer.digest));
  const report = await setup.run({
    [`${SOURCE}/bad/image:v1`]: `${DESTINATION}/to/image:bad`,
    [`${SOURCE}/good/image:v1`]: `${DESTINATION}/to/image:good`,
  }, {
    retries: 0,
    onEvent: (event) => {
      if (event.type === "blob-copied" && event.task.includes("good/")) isFollowing.resolve();
    },
  });
  assertEquals(report.totals, { copied: 1, unchanged: 0, skipped: 0, failed: 1, pending: 0, rulesFailed: 0 });
  assertHolds(setup.destination, "to/image", "good", good);
});
