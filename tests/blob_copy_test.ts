/** Tests of bringing one blob to every destination that lacks it: looking, mounting, uploading, remembering. */

import { assertEquals } from "@std/assert";
import { copyTask } from "../src/mirror/copy.ts";
import { makePlan } from "../src/mirror/plan.ts";
import { blobKey } from "../src/mirror/store.ts";
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
import type { RegistryOptions } from "./registry.ts";

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

Deno.test("copyBlob() takes one request for a small blob where the registry allows that", async () => {
  const setup = withImage();
  await setup.run(RULE);
  const uploads = setup.destination.requests.filter(({ kind }) => kind === "upload");
  assertEquals(uploads.map(({ method }) => method).sort(), ["POST", "POST", "POST", "PUT"]);
});

Deno.test("copyBlob() stops sending blobs with the first request where the registry does not take them", async () => {
  const setup = withImage({ quirks: { noSinglePost: true } });
  await setup.run(RULE, { concurrency: 1 });
  await setup.run({ [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image:v2` });
  const sent = setup.destination.requests.filter(({ method, bytesIn }) => method === "POST" && bytesIn > 0);
  assertEquals(sent.length <= 2, true);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
  assertSentOnce(setup.destination);
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
