/** Tests of the bytes of one blob: read once, sent to several, gone on with where they broke off, sent as registries take them. */

import { createHash } from "node:crypto";
import { assert, assertEquals } from "@std/assert";
import { ImageCopier } from "../src/mirror/copy/image_copy.ts";
import { makePlan } from "../src/mirror/plan/planner.ts";
import { buildImage, buildLayer, buildSchema1, type Image, pushImage } from "./images.ts";
import {
  assertHolds,
  assertSentOnce,
  blobBytesFrom,
  blobBytesOf,
  cutting,
  DESTINATION,
  type MirrorSetup,
  type MirrorSetupOptions,
  setUpMirror,
  SOURCE,
} from "./mirror_setup.ts";
import { bytesContent, createRegistry, generatedBytes, type TestRegistry } from "./registry.ts";

const MIB = 1024 * 1024;
const LARGE = buildImage({ layers: [buildLayer(1, 8 * MIB)] });
const LARGE_SIZE = 8 * MIB;
const RULE = { [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` };
const SLOW = { stall: 300, commit: 300, attempts: 1 };

function withImage(image: Image, options: MirrorSetupOptions = {}): MirrorSetup {
  const setup = setUpMirror(options);
  pushImage(setup.source, "from/image", "v1", image);
  return setup;
}

/** A registry whose large uploads are answered by a function in its place. */
function answeringUploads(answer: (request: Request) => Response | Promise<Response>): TestRegistry {
  return createRegistry({
    intercept: (request, { entry }) => (entry.contentLength ?? 0) > MIB ? answer(request) : undefined,
  });
}

function ruleTo(...hosts: string[]): Record<string, string[]> {
  return { [`${SOURCE}/from/image:v1`]: hosts.map((host) => `${host}/to/image`) };
}

/** Requests of the large blob's upload, with where each part began. */
function partsOf(registry: TestRegistry): string[] {
  return registry.requests
    .filter(({ kind, contentLength = 0, bytesIn }) =>
      kind === "upload" && (contentLength >= MIB || bytesIn >= MIB)
    )
    .map(({ method, bytesIn, status }) => `${method} ${bytesIn} ${status}`);
}

Deno.test("BlobDelivery.run() reads a source once for three destinations", async () => {
  const [two, three] = [createRegistry(), createRegistry()];
  const setup = withImage(LARGE, { others: { "two.test": two, "three.test": three } });
  const report = await setup.run(ruleTo(DESTINATION, "two.test", "three.test"));
  assertEquals(report.totals.copied, 3);
  for (const registry of [setup.destination, two, three]) {
    assertHolds(registry, "to/image", "v1", LARGE);
    assertSentOnce(registry);
  }
  assertEquals(blobBytesFrom(setup.source), blobBytesOf(LARGE));
  assertEquals(setup.source.count({ method: "GET", kind: "manifest" }), 1);
});

Deno.test("BlobDelivery.run() goes on without a destination that refuses", async () => {
  const full = answeringUploads(() => new Response("quota exceeded", { status: 403 }));
  const setup = withImage(LARGE, { others: { "full.test": full } });
  const report = await setup.run(ruleTo("full.test", DESTINATION));
  assertEquals([report.totals.copied, report.totals.failed], [1, 1]);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(blobBytesFrom(setup.source), blobBytesOf(LARGE));
  assertEquals(report.tasks[0]?.destinations[0]?.isPermanent, true);
});

Deno.test("BlobDelivery.run() goes on without a destination that takes no more bytes", async () => {
  const stalled = answeringUploads(({ signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
  );
  const setup = withImage(LARGE, { others: { "stalled.test": stalled }, registries: { limits: SLOW } });
  const report = await setup.run(ruleTo("stalled.test", DESTINATION), { retries: 0 });
  assertEquals([report.totals.copied, report.totals.failed], [1, 1]);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(blobBytesFrom(setup.source), blobBytesOf(LARGE));
  const failure = report.tasks[0]?.destinations.find(({ status }) => status === "failed");
  assertEquals(failure?.isPermanent, true);
});

Deno.test("fault 16: mirror() sends a registry nothing more that leaves whole uploads without an answer", async () => {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const mute = createRegistry({
    quirks: { noSinglePost: true },
    intercept: async (request) => {
      if (request.method !== "PUT") return undefined;
      await request.arrayBuffer();
      await ended;
      return undefined;
    },
  });
  const limits = { headers: 300, stall: 300, commit: 300, attempts: 4 };
  const setup = setUpMirror({ others: { "mute.test": mute }, registries: { limits } });
  for (let tag = 0; tag < 60; tag++) {
    pushImage(
      setup.source,
      "from/image",
      `t${tag}`,
      buildImage({ layers: [buildLayer(tag, 2 * MIB)], seed: tag }),
    );
  }
  const rules = { [`${SOURCE}/from/image:/^t/`]: ["mute.test/to/image", `${DESTINATION}/to/image`] };
  const report = await setup.run(rules);
  end();
  assertEquals([report.totals.copied, report.totals.failed], [60, 60]);
  // Twenty images are under way at once: their layers are sent twice, their configs four times, and after that nothing.
  const puts = mute.requests.filter(({ method }) => method === "PUT");
  const layers = puts.filter(({ contentLength = 0 }) => contentLength >= MIB).length;
  assert(layers <= 2 * 20 && puts.length <= 6 * 20, `${layers} layers in ${puts.length} PUTs`);
  const reasons = report.tasks.flatMap(({ destinations }) => destinations.map(({ error }) => error));
  assert(reasons.includes('Cannot push to "mute.test": no answer within 0.3 s'), reasons.join("\n"));
});

Deno.test("BlobDelivery.run() gives up the uploads that it does not finish", async () => {
  const setup = withImage(LARGE, {
    destination: { quirks: { noSinglePost: true } },
    source: {
      intercept: (request, { kind }) =>
        request.method === "GET" && kind === "blob" ? new Response(null, { status: 404 }) : undefined,
    },
  });
  assertEquals((await setup.run(RULE)).totals.failed, 1);
  assertEquals(setup.destination.state.repository("to/image").uploads.size, 0);
});

Deno.test("BlobDelivery.run() sends chunks where a blob is too large for one request", async () => {
  const setup = withImage(LARGE, { destination: { quirks: { maxRequestBytes: 3 * MIB } } });
  const report = await setup.run(RULE, { retries: 0 });
  assertEquals(report.totals.copied, 1, JSON.stringify(report.tasks));
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  const parts = partsOf(setup.destination).filter((part) => part.startsWith("PATCH"));
  assertEquals(parts.filter((part) => part === `PATCH ${MIB} 202`).length, 8);
});

Deno.test("BlobDelivery.run() sends chunks where many blobs at once are too large", async () => {
  const layers = Array.from({ length: 12 }, (_, seed) => buildLayer(seed, 2 * MIB + seed));
  const image = buildImage({ layers });
  const setup = withImage(image, { destination: { quirks: { maxPutBytes: 3 * MIB / 2 } } });
  const report = await setup.run(RULE, { retries: 0, concurrency: 12 });
  assertEquals(report.totals.copied, 1, JSON.stringify(report.tasks[0]?.error));
  assertHolds(setup.destination, "to/image", "v1", image);
});

Deno.test("BlobDelivery.run() makes chunks as large as a registry wants them", async () => {
  const quirks = { maxPutBytes: 3 * MIB, chunkMinLength: 5 * MIB };
  const setup = withImage(LARGE, { destination: { quirks } });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
});

/** A setup whose destination's first large upload breaks off. */
function cutOnce(
  cut: { after: number; lost?: number },
  options: MirrorSetupOptions = {},
  image = LARGE,
): MirrorSetup {
  let isCut = false;
  const wrap = cutting((request) => {
    if (isCut || !["PUT", "PATCH"].includes(request.method) || !request.url.includes("/uploads/")) {
      return undefined;
    }
    if (Number(request.headers.get("content-length")) < cut.after) return undefined;
    isCut = true;
    return cut;
  });
  return withImage(image, { ...options, wrap: { [DESTINATION]: wrap } });
}

Deno.test("BlobDelivery.run() goes on where the registry is, with bytes it still has", async () => {
  const setup = cutOnce({ after: 3 * MIB, lost: 2 * MIB });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(partsOf(setup.destination), [`PUT ${3 * MIB} 0`, `PATCH ${5 * MIB} 202`]);
  assertEquals(blobBytesFrom(setup.source), blobBytesOf(LARGE));
  assertEquals(setup.source.count({ method: "GET", kind: "blob" }), 2);
});

Deno.test("BlobDelivery.run() asks the source for the rest when too much was lost to have it still", async () => {
  const setup = cutOnce({ after: MIB, lost: 6 * MIB });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(partsOf(setup.destination).at(-1), `PATCH ${7 * MIB} 202`);
  const ranges = setup.source.requests.flatMap(({ range }) => range === undefined ? [] : [range]);
  assertEquals(ranges, [`bytes=${MIB}-`]);
});

Deno.test("BlobDelivery.run() starts over where a registry does not say how far it is", async () => {
  const setup = cutOnce({ after: 3 * MIB }, { destination: { quirks: { noUploadStatus: true } } });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(partsOf(setup.destination).at(-1), `PUT ${LARGE_SIZE} 201`);
});

Deno.test("BlobDelivery.run() starts over where a registry keeps nothing of a part that broke off", async () => {
  const setup = cutOnce({ after: 3 * MIB }, { destination: { quirks: { dropPartialChunk: true } } });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(partsOf(setup.destination).at(-1), `PUT ${LARGE_SIZE} 201`);
});

Deno.test("BlobDelivery.run() starts over where only the last part of an upload counts", async () => {
  const setup = cutOnce({ after: 3 * MIB }, { destination: { quirks: { lastPatchWins: true } } });
  const report = await setup.run(RULE, { retries: 0 });
  assertEquals(report.totals.copied, 1, JSON.stringify(report.tasks));
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(partsOf(setup.destination).at(-1), `PUT ${LARGE_SIZE} 201`);
});

Deno.test("BlobDelivery.run() goes on with no other upload where only the last part of one counted", async () => {
  const cuts = new Set<string | null>();
  const wrap = cutting(({ method, url, headers }) => {
    const digest = new URL(url).searchParams.get("digest");
    if (method !== "PUT" || headers.get("content-length") !== `${LARGE_SIZE}` || cuts.has(digest)) {
      return undefined;
    }
    cuts.add(digest);
    return { after: 3 * MIB };
  });
  const quirks = { lastPatchWins: true };
  const setup = setUpMirror({ destination: { quirks }, wrap: { [DESTINATION]: wrap } });
  const context = setup.context();
  const copier = new ImageCopier(context);
  for (const seed of [1, 2]) {
    const tag = `v${seed}`;
    pushImage(setup.source, "from/image", tag, buildImage({ layers: [buildLayer(seed, LARGE_SIZE)] }));
    const rule = { source: `${SOURCE}/from/image:${tag}`, destinations: [`${DESTINATION}/to/image`] };
    for (const task of (await makePlan([rule], context)).tasks) await copier.copyImage(task);
  }
  const methods = partsOf(setup.destination).map((part) => part.split(" ")[0]);
  assertEquals(methods, ["PUT", "PATCH", "PUT", "PUT", "PUT"]);
});

Deno.test("BlobDelivery.run() goes on with one destination while the others are through", async () => {
  const [two, three] = [createRegistry(), createRegistry()];
  const setup = cutOnce({ after: 3 * MIB, lost: MIB }, { others: { "two.test": two, "three.test": three } });
  const report = await setup.run(ruleTo("two.test", DESTINATION, "three.test"), { retries: 0 });
  assertEquals(report.totals.copied, 3);
  for (const registry of [setup.destination, two, three]) assertHolds(registry, "to/image", "v1", LARGE);
  assertEquals(partsOf(two).length, 1);
});

Deno.test("BlobDelivery.run() sends a small blob afresh when its upload broke off, and learns nothing wrong from it", async () => {
  const image = buildImage({ layers: [buildLayer(2, MIB / 2)] });
  const setup = cutOnce({ after: MIB / 4 }, { destination: { quirks: { noSinglePost: true } } }, image);
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", image);
  const refused = setup.destination.requests.filter(({ kind, status }) =>
    kind === "upload" && status === 400
  );
  assertEquals(refused, []);
});

Deno.test("BlobDelivery.run() starts over when the registry has forgotten the upload", async () => {
  let isForgotten = false;
  const setup = withImage(LARGE, {
    destination: {
      intercept: (request, { kind, state, repository }) => {
        if (request.method !== "PUT" || kind !== "upload" || isForgotten) return undefined;
        isForgotten = true;
        state.repository(repository).uploads.clear();
        return undefined;
      },
    },
  });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
});

Deno.test("BlobDelivery.run() goes on reading where the source broke off", async () => {
  let isCut = false;
  const setup = withImage(LARGE, {
    source: {
      intercept: async (request, { kind, next }) => {
        const response = await next();
        const isLarge = Number(response.headers.get("content-length")) === LARGE_SIZE;
        if (request.method !== "GET" || kind !== "blob" || !isLarge || isCut) return response;
        isCut = true;
        return new Response(breakAfter(response, 2 * MIB), response);
      },
    },
  });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(partsOf(setup.destination), [`PUT ${LARGE_SIZE} 201`]);
});

function breakAfter({ body }: Response, limit: number): ReadableStream<Uint8Array> {
  const reader = (body ?? new ReadableStream<Uint8Array>()).getReader();
  let left = limit;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value } = await reader.read();
      if (left > 0 && value !== undefined) {
        return controller.enqueue(value.subarray(0, (left -= value.length) + value.length));
      }
      controller.error(new TypeError("connection reset by peer"));
      await reader.cancel();
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

/** A source that does not say how long its blobs are. */
const UNSIZED: MirrorSetupOptions["source"] = {
  intercept: async (request, { kind, next }) => {
    const response = await next();
    if (request.method === "GET" && kind === "blob") response.headers.delete("content-length");
    return response;
  },
};

Deno.test("BlobDelivery.run() sends blobs of unknown length in parts", async () => {
  const image = buildSchema1({ layers: 3 });
  const setup = withImage(image, {
    source: UNSIZED,
    destination: { quirks: { requireContentLength: true } },
  });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", image);
});

Deno.test("BlobDelivery.run() sends a large blob whose answer has no length", async () => {
  const setup = withImage(LARGE, { source: UNSIZED });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
});

function corrupt(setup: MirrorSetup, image: Image, size: number): void {
  const { blobs } = setup.source.state.repository("from/image");
  for (const [digest, blob] of image.blobs) {
    if (blob.size === size) blobs.set(digest, bytesContent(generatedBytes(99, size), digest));
  }
}

Deno.test("BlobDelivery.run() never has all of a wrong blob sent where blobs are hashed as they pass", async () => {
  const setup = withImage(LARGE);
  corrupt(setup, LARGE, LARGE_SIZE);
  const report = await setup.run(RULE, { createHasher: (name) => hasherOf(name) });
  assertEquals([report.totals.failed, report.tasks[0]?.destinations[0]?.isPermanent], [1, true]);
  assert(report.tasks[0]?.error?.includes("sha256:"), report.tasks[0]?.error);
  assertEquals(setup.destination.count({ kind: "upload", status: 400 }), 0);
  assert(setup.destination.requests.every(({ bytesIn }) => bytesIn < LARGE_SIZE));
});

function hasherOf(name: string): { update(bytes: Uint8Array): void; digest(): string } {
  const hash = createHash(name);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("hex") };
}

Deno.test("BlobDelivery.run() hashes right blobs right, also those that broke off", async () => {
  const setup = cutOnce({ after: 3 * MIB, lost: MIB });
  const report = await setup.run(RULE, { createHasher: hasherOf, retries: 0 });
  assertEquals(report.totals.copied, 1, report.tasks[0]?.error);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
});

Deno.test("BlobDelivery.run() sends all again where the rest alone could not be hashed", async () => {
  const setup = cutOnce({ after: MIB, lost: 6 * MIB });
  const report = await setup.run(RULE, { createHasher: hasherOf, retries: 0 });
  assertEquals(report.totals.copied, 1, report.tasks[0]?.error);
  assertEquals(partsOf(setup.destination).at(-1), `PUT ${LARGE_SIZE} 201`);
});

Deno.test("BlobDelivery.run() sends nothing of a small blob that is wrong", async () => {
  const image = buildImage({ layers: [buildLayer(3, 1000)] });
  const setup = withImage(image);
  corrupt(setup, image, 1000);
  const report = await setup.run(RULE);
  assertEquals(report.tasks[0]?.destinations[0]?.isPermanent, true);
  const layer = [...image.blobs.values()].find(({ size }) => size === 1000);
  assert(layer !== undefined);
  const sent = setup.destination.requests.filter(({ path }) =>
    path.includes(`digest=${encodeURIComponent(layer.digest)}`)
  );
  assertEquals(sent, []);
});
