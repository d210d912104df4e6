/** Tests of bringing one blob to every destination that lacks it: looking, mounting, uploading, remembering. */

import { assert, assertEquals } from "@std/assert";
import { copyTask } from "../src/mirror/copy/copy.ts";
import { makePlan } from "../src/mirror/plan/plan.ts";
import { blobKey } from "../src/mirror/store/store.ts";
import { settle } from "./fake_clock.ts";
import { buildImage, buildLayer, pushImage } from "./images.ts";
import {
  assertHolds,
  assertSentOnce,
  DESTINATION,
  mountsAt,
  setUpMirror,
  SOURCE,
  uploadsTo,
} from "./mirror_setup.ts";
import { createRegistry, type RegistryOptions } from "./registry.ts";

const IMAGE = buildImage({ layers: [buildLayer(1, 1000), buildLayer(2, 3_000_000)] });
const RULE = { [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` };

function withImage(destination: RegistryOptions = {}) {
  const setup = setUpMirror({ destination });
  pushImage(setup.source, "from/image", "v1", IMAGE);
  return setup;
}

Deno.test("copyBlob() sends nothing that the destination has", async () => {
  const setup = withImage();
  for (const blob of IMAGE.blobs.values()) setup.destination.state.addBlob("to/image", blob);
  const report = await setup.run(RULE);
  assertEquals(report.totals.copied, 1);
  assertEquals(setup.destination.count({ kind: "upload" }), 0);
  assertEquals(setup.source.count({ kind: "blob" }), 0);
  assertEquals(report.bytes.copied, 0);
  assertEquals(setup.eventsOf("blob-skipped").map(({ reason }) => reason), ["exists", "exists", "exists"]);
});

Deno.test("copyBlob() sends nothing that a repository has whose tags were listed", async () => {
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

Deno.test("copyBlob() takes one request for a small blob where the registry allows that", async () => {
  const setup = withImage();
  await setup.run(RULE);
  const uploads = setup.destination.requests.filter(({ kind }) => kind === "upload");
  assertEquals(uploads.map(({ method }) => method).sort(), ["POST", "POST", "POST", "PUT"]);
});

Deno.test("copyBlob() stops sending blobs with the first request where the registry does not take them", async () => {
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

Deno.test("copyBlob() tries again where the first blob of a registry failed", async () => {
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
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});

Deno.test("copyBlob() does not let two blobs wait for each other at two registries", async () => {
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

Deno.test("copyBlob() opens an upload where a POST with the blob is refused", async () => {
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

Deno.test("copyBlob() mounts from the source where that is in the same registry", async () => {
  const setup = await copyWithin({});
  assertEquals(mountsAt(setup.destination).length, 3);
  assertEquals(setup.destination.count({ method: "GET", kind: "blob" }), 0);
});

Deno.test("copyBlob() uploads where a mount is answered with an upload", async () => {
  const setup = await copyWithin({ quirks: { refuseMount: true } });
  assertEquals(uploadsTo(setup.destination).length, 3);
});

for (const status of [400, 401, 403, 404, 405]) {
  Deno.test(`copyBlob() uploads where a mount is refused with ${status}, and asks for no other`, async () => {
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

Deno.test("copyBlob() asks for no more mounts in a registry that refused one", async () => {
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
  const mounts: number[] = [];
  for (const name of ["one", "two"]) {
    const rule = { source: `${DESTINATION}/from/image:v1`, destinations: [`${DESTINATION}/to/${name}`] };
    for (const task of (await makePlan([rule], context)).tasks) await copyTask(context, task);
    assertHolds(setup.destination, `to/${name}`, "v1", IMAGE);
    mounts.push(setup.destination.requests.filter(({ path }) => path.includes("mount=")).length);
  }
  assertEquals(mounts, [3, 3]);
});

Deno.test("copyBlob() sends a blob where looking for it is forbidden", async () => {
  const setup = withImage({
    intercept: (request, { kind }) =>
      request.method === "HEAD" && kind === "blob" ? new Response(null, { status: 403 }) : undefined,
  });
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});

Deno.test("copyBlob() remembers in the store what it sent and what it saw", async () => {
  const setup = withImage();
  await setup.run(RULE);
  for (const { digest, size } of IMAGE.blobs.values()) {
    const value = await setup.store.get(blobKey(DESTINATION, "to/image", digest));
    assertEquals(value, { size, seenAt: setup.clock.now() });
  }
});

Deno.test("copyBlob() remembers nothing of a blob that it could not send", async () => {
  const setup = withImage({
    intercept: (request, { kind }) =>
      kind === "upload" ? new Response(request.method, { status: 403 }) : undefined,
  });
  assertEquals((await setup.run(RULE)).totals.failed, 1);
  const facts = await Array.fromAsync(setup.store.list(["blob"]));
  assertEquals(facts, []);
});

Deno.test("copyBlob() tells how many bytes went where", async () => {
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
