/** Tests of copying in bad company, by the numbers of the faults: destinations that do not answer, lie, or take blobs in ways of their own. */

import { createHash } from "node:crypto";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { uploadKey } from "../src/mirror/store/store.ts";
import { buildImage, buildLayer, type Image, pushImage } from "./images.ts";
import {
  assertHolds,
  blobBytesFrom,
  blobBytesOf,
  DESTINATION,
  type MirrorSetup,
  type MirrorSetupOptions,
  setUpMirror,
  SOURCE,
  uploadsTo,
} from "./mirror_setup.ts";
import {
  bytesContent,
  createRegistry,
  type Handler,
  type Intercept,
  type InterceptContext,
  type RegistryOptions,
  type TestRegistry,
} from "./registry.ts";

const MIB = 1024 * 1024;
const IMAGE = buildImage({ layers: [buildLayer(1, 1000), buildLayer(2, 3 * MIB), buildLayer(3, 8 * MIB)] });
const LARGE = buildImage({ layers: [buildLayer(4, 8 * MIB)] });
const RULE = { [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` };
/** Limits on what does not move that pass quickly; nothing is given up for them alone. */
const SHORT = { stall: 600, commit: 600_000 };

function withImage(image: Image, options: MirrorSetupOptions = {}): MirrorSetup {
  const setup = setUpMirror(options);
  pushImage(setup.source, "from/image", "v1", image);
  return setup;
}

/** A registry that never answers some requests until it is told to. */
function silent(isHeld: Intercept): { registry: TestRegistry; answer: () => void; asked: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const registry = createRegistry({
    intercept: async (request, context) => {
      if (isHeld(request, context) === undefined) return undefined;
      const response = await context.next();
      asked.resolve();
      await promise;
      return response;
    },
  });
  return { registry, answer: resolve, asked: asked.promise };
}

const YES = new Response();
/** Which requests are held, by what they are. */
const HELD: Record<string, Intercept> = {
  "looking for a blob": ({ method }, { kind }) => method === "HEAD" && kind === "blob" ? YES : undefined,
  "opening an upload": ({ method }, { kind }) => method === "POST" && kind === "upload" ? YES : undefined,
  "a large blob": ({ method }, { kind, entry }) =>
    method === "PUT" && kind === "upload" && (entry.contentLength ?? 0) > MIB ? YES : undefined,
  "every blob": ({ method }, { kind }) => method !== "HEAD" && kind === "upload" ? YES : undefined,
  "a manifest": ({ method }, { kind }) => method === "PUT" && kind === "manifest" ? YES : undefined,
};

for (const [what, isHeld] of Object.entries(HELD)) {
  Deno.test(`fault 16: copyImage() is done at each destination when it is done, though another does not answer ${what}`, async () => {
    const { registry, answer, asked } = silent(isHeld);
    const setup = withImage(IMAGE, {
      others: { "silent.test": registry, "third.test": createRegistry() },
      registries: { limits: SHORT },
    });
    const copied = new Set<string>();
    const done = Promise.withResolvers<void>();
    const running = setup.run({
      [`${SOURCE}/from/image:v1`]: ["silent.test", DESTINATION, "third.test"].map((host) =>
        `${host}/to/image`
      ),
    }, {
      onEvent: (event) => {
        if (event.type === "destination-copied" && copied.add(event.destination).size === 2) done.resolve();
      },
    });
    await Promise.all([asked, done.promise]);
    assertEquals([...copied].filter((name) => name.startsWith("silent")), []);
    assertHolds(setup.destination, "to/image", "v1", IMAGE);
    answer();
    assertEquals((await running).totals.copied, 3);
    assertHolds(registry, "to/image", "v1", IMAGE);
    // Who has not opened an upload when the others begin reads by itself.
    if (["a large blob", "a manifest"].includes(what)) {
      assertEquals(blobBytesFrom(setup.source), blobBytesOf(IMAGE));
    }
  });
}

Deno.test("fault 16: copyImage() does not hold up other rules that share a layer, nor their places", async () => {
  const { registry, answer, asked } = silent(HELD["a large blob"] ?? (() => undefined));
  const setup = withImage(IMAGE, { others: { "silent.test": registry }, registries: { limits: SHORT } });
  const other = buildImage({ seed: 7, layers: [buildLayer(3, 8 * MIB), buildLayer(8, 2 * MIB)] });
  pushImage(setup.source, "from/other", "v1", other);
  const done = Promise.withResolvers<void>();
  const running = setup.run({
    [`${SOURCE}/from/image:v1`]: "silent.test/to/image",
    [`${SOURCE}/from/other:v1`]: `${DESTINATION}/to/other`,
  }, {
    concurrency: 1,
    onEvent: (event) => {
      if (event.type === "destination-copied" && event.destination.startsWith(DESTINATION)) done.resolve();
    },
  });
  await Promise.all([asked, done.promise]);
  assertHolds(setup.destination, "to/other", "v1", other);
  answer();
  assertEquals((await running).totals.copied, 2);
});

Deno.test("fault 16: copyImage() tells of a destination that failed when it has failed", async () => {
  const { registry, answer, asked } = silent(HELD["a manifest"] ?? (() => undefined));
  const setup = withImage(IMAGE, {
    others: { "silent.test": registry },
    destination: {
      intercept: (_, { kind }) => kind === "upload" ? new Response(null, { status: 403 }) : undefined,
    },
  });
  const failed = Promise.withResolvers<void>();
  const running = setup.run({
    [`${SOURCE}/from/image:v1`]: ["silent.test/to/image", `${DESTINATION}/to/image`],
  }, { onEvent: (event) => event.type === "destination-failed" && failed.resolve(), retries: 0 });
  await Promise.all([asked, failed.promise]);
  answer();
  const { totals } = await running;
  assertEquals([totals.copied, totals.failed], [1, 1]);
});

const CUT = { "cut short": 100, empty: 0 };

for (const [how, length] of Object.entries(CUT)) {
  for (const createHasher of [undefined, hasherOf]) {
    for (const force of [false, true]) {
      Deno.test(`fault 5: mirror() sends a blob that is ${how} at its destination (force ${force}, verified ${createHasher !== undefined})`, async () => {
        const setup = withImage(LARGE);
        const repository = setup.destination.state.repository("to/image");
        const [[digest] = [""]] = [...LARGE.blobs].filter(([, { size }]) => size === 8 * MIB);
        repository.blobs.set(digest, bytesContent(new Uint8Array(length), digest));
        const options = { force, ...(createHasher === undefined ? {} : { createHasher }) };
        assertEquals((await setup.run(RULE, options)).totals.copied, 1);
        assertHolds(setup.destination, "to/image", "v1", LARGE);
        assertEquals(repository.blobs.get(digest)?.size, 8 * MIB);
        const heads = setup.destination.requests.filter(({ method, kind, path }) =>
          method === "HEAD" && kind === "blob" && path.endsWith(digest)
        );
        // Once before, and once after it: distribution may not have replaced it.
        assertEquals(heads.length, 2);
      });
    }
  }
}

Deno.test("fault 5: mirror() fails where a registry does not replace a blob that is cut short", async () => {
  const [[digest] = [""]] = [...LARGE.blobs].filter(([, { size }]) => size === 8 * MIB);
  const setup = withImage(LARGE, {
    destination: {
      intercept: async (request, { kind, state, next }) => {
        const response = await next();
        if (request.method !== "HEAD" || kind !== "blob" || !request.url.endsWith(digest)) return response;
        state.repository("to/image").blobs.set(digest, bytesContent(new Uint8Array(10), digest));
        return new Response(null, { headers: { "content-length": "10" } });
      },
    },
  });
  const report = await setup.run(RULE);
  assertEquals(report.totals.failed, 1);
  assertStringIncludes(
    report.tasks[0]?.error ?? "",
    `has 10 of its ${8 * MIB} bytes and does not replace them`,
  );
  assertEquals(setup.destination.count({ method: "PUT", kind: "manifest" }), 0);
});

function hasherOf(name: string): { update(bytes: Uint8Array): void; digest(): string } {
  const hash = createHash(name);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("hex") };
}

Deno.test("fault 12: mirror() asks for each tag after its put where it verifies, and for none where it does not", async () => {
  for (const [createHasher, asked] of [[undefined, 0], [hasherOf, 1]] as const) {
    const setup = withImage(IMAGE);
    const report = await setup.run(RULE, createHasher === undefined ? {} : { createHasher });
    assertEquals(report.totals.copied, 1);
    const put = setup.destination.requests.findIndex(({ method, kind }) =>
      method === "PUT" && kind === "manifest"
    );
    assertEquals(setup.destination.requests.length - 1 - put, asked);
  }
});

const LIES: Record<string, Intercept> = {
  "cannot serve it": ({ method }, { kind, reference }) =>
    method === "HEAD" && kind === "manifest" && reference === "v1"
      ? new Response(null, { status: 404 })
      : undefined,
  "serves another": ({ method }, { kind, reference }) => {
    if (method !== "HEAD" || kind !== "manifest" || reference !== "v1") return undefined;
    const headers = {
      "docker-content-digest": buildImage({ seed: 9 }).digest,
      "content-type": "application/vnd.oci.image.manifest.v1+json",
      "content-length": "7",
    };
    return new Response(null, { headers });
  },
};

for (const [what, intercept] of Object.entries(LIES)) {
  Deno.test(`fault 12: mirror() fails a tag that was put at a destination that ${what}`, async () => {
    const setup = withImage(IMAGE, { destination: { intercept } });
    const report = await setup.run(RULE, { createHasher: hasherOf, retries: 0 });
    assertEquals(report.totals.failed, 1, JSON.stringify(report.tasks));
    assertStringIncludes(report.tasks[0]?.error ?? "", IMAGE.digest);
  });
}

/** Copies within one registry, where every blob could be mounted. */
async function mountWithin(intercept: Intercept): Promise<MirrorSetup> {
  const setup = setUpMirror({ destination: { intercept } });
  pushImage(setup.destination, "from/image", "v1", IMAGE);
  const rule = { [`${DESTINATION}/from/image:v1`]: `${DESTINATION}/to/image` };
  const report = await setup.run(rule, { retries: 0, concurrency: 1 });
  assertEquals(report.totals.copied, 1, JSON.stringify(report.tasks));
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
  return setup;
}

function isMount({ method, url }: Request): boolean {
  return method === "POST" && new URL(url).searchParams.has("mount");
}

for (const status of [500, 502, 503]) {
  Deno.test(`fault 24: mirror() tries a mount that answers ${status} once more, then uploads, and asks for no other`, async () => {
    const setup = await mountWithin((request) =>
      isMount(request) ? new Response(null, { status }) : undefined
    );
    const mounts = setup.destination.requests.filter(({ path }) => path.includes("mount="));
    assertEquals(mounts.length, 2 * IMAGE.blobs.size);
    assertEquals(uploadsTo(setup.destination).length, IMAGE.blobs.size);
  });
}

const REFUSED: Record<string, { isRefused: Intercept; size: number }> = {
  "the opening of an upload": {
    isRefused: (_, { kind }) => kind === "upload" ? YES : undefined,
    size: 8 * MIB,
  },
  "a POST with a small blob": { isRefused: (_, { kind }) => kind === "upload" ? YES : undefined, size: 1000 },
  "the bytes of a large blob": {
    isRefused: ({ method }, { kind }) => method === "PUT" && kind === "upload" ? YES : undefined,
    size: 8 * MIB,
  },
  "the bytes of a blob": {
    isRefused: ({ method }, { kind }) => method === "PUT" && kind === "upload" ? YES : undefined,
    size: 100_000,
  },
};

for (const [what, { isRefused, size }] of Object.entries(REFUSED)) {
  Deno.test(`fault 24: mirror() gives a blob up after its own attempts where ${what} answers 500 for ever`, async () => {
    const image = buildImage({ layers: [buildLayer(5, size)] });
    const setup = withImage(image, {
      destination: {
        quirks: { noSinglePost: size > 1000 },
        intercept: (request, context) =>
          isRefused(request, context) === undefined ? undefined : new Response(null, { status: 500 }),
      },
    });
    const [config] = [...image.blobs.values()].filter((blob) => blob.size !== size);
    assert(config !== undefined);
    setup.destination.state.addBlob("to/image", config);
    const report = await setup.run(RULE, { retries: 0 });
    assertEquals(report.totals.failed, 1);
    const uploads = setup.destination.requests.filter(({ kind, method }) =>
      kind === "upload" && ["POST", "PUT"].includes(method)
    );
    const count = (method: string) => uploads.filter((one) => one.method === method).length;
    assert(count("POST") <= 6 && count("PUT") <= 6, `${count("POST")} POSTs, ${count("PUT")} PUTs`);
  });
}

const PATCH_ONLY: Record<string, { status: number; code: string }> = {
  "405": { status: 405, code: "UNSUPPORTED" },
  "400 UNSUPPORTED": { status: 400, code: "UNSUPPORTED" },
  "DIGEST_INVALID": { status: 400, code: "DIGEST_INVALID" },
};

for (const [how, { status, code }] of Object.entries(PATCH_ONLY)) {
  Deno.test(`fault 50: mirror() sends bytes with PATCH where a PUT with bytes is refused with ${how}, and remembers it`, async () => {
    const refusal = () =>
      Response.json({ errors: [{ code, message: "bytes belong into PATCH" }] }, { status });
    const setup = withImage(IMAGE, {
      destination: {
        quirks: { noSinglePost: true },
        intercept: async (request, { kind, entry }) => {
          if (request.method !== "PUT" || kind !== "upload" || entry.contentLength === 0) return undefined;
          await request.body?.cancel();
          return refusal();
        },
      },
    });
    assertEquals((await setup.run(RULE, { retries: 0, concurrency: 1 })).totals.copied, 1);
    assertHolds(setup.destination, "to/image", "v1", IMAGE);
    const refused = () =>
      setup.destination.requests.filter(({ method, status: got }) => method === "PUT" && got === status);
    assert(refused().length <= 6, `${refused().length} PUTs were refused`);
  });
}

for (const limit of [64 * 1024, MIB / 2, MIB]) {
  Deno.test(`fault 51: mirror() sends blobs of every size behind a limit of ${limit} bytes a request, in few steps`, async () => {
    const sizes = [70_000, 900_000, 1_500_000, 3_000_000, 8 * MIB];
    const image = buildImage({ layers: sizes.map((size, seed) => buildLayer(50 + seed, size)) });
    const setup = withImage(image, { destination: { quirks: { maxRequestBytes: limit } } });
    const report = await setup.run(RULE, { retries: 0, concurrency: 1 });
    assertEquals(report.totals.copied, 1, report.tasks[0]?.error);
    assertHolds(setup.destination, "to/image", "v1", image);
    const refused = setup.destination.requests.filter(({ status }) => status === 413);
    assert(refused.length <= 10, `${refused.length} requests were refused`);
  });
}

const FORGETTING: Intercept = ({ method }, { kind, state, repository, count }) => {
  if (method !== "PUT" || kind !== "manifest" || count > 1) return undefined;
  state.repository(repository).blobs.clear();
  return undefined;
};

Deno.test("fault 58: mirror() uploads where a mount was answered with a 201 that is not true", async () => {
  const setup = await mountWithin(async (request, { next }) =>
    isMount(request) ? new Response(null, { status: 201 }) : await next()
  );
  assertEquals(uploadsTo(setup.destination).length, IMAGE.blobs.size);
  assertEquals(setup.destination.count({ method: "PUT", kind: "manifest" }), 2);
});

Deno.test("fault 58: mirror() opens an upload where a POST with the blob was answered with a 201 that is not true", async () => {
  const setup = withImage(IMAGE, {
    destination: {
      intercept: (request, { kind }) =>
        request.method === "POST" && kind === "upload" && new URL(request.url).searchParams.has("digest")
          ? new Response(null, { status: 201 })
          : undefined,
    },
  });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});

Deno.test("fault 58: mirror() sends everything again to a registry that has lost what it was sent", async () => {
  const setup = withImage(IMAGE, { destination: { intercept: FORGETTING } });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", IMAGE);
});

const LOST = [
  { status: 404, body: "" },
  { status: 404, body: "<html>not found</html>" },
  { status: 404, body: `{"errors":[{"code":"NOT_FOUND"}]}` },
  { status: 410, body: "" },
  { status: 416, body: "" },
  { status: 400, body: `{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}` },
];

for (const { status, body } of LOST) {
  for (const size of [1000, 200_000, 8 * MIB]) {
    Deno.test(`fault 65: mirror() begins an upload of ${size} bytes anew that is lost with ${status} ${body}`, async () => {
      const image = buildImage({ layers: [buildLayer(6, size)] });
      let isLost = false;
      const setup = withImage(image, {
        destination: {
          quirks: { noSinglePost: true },
          intercept: async (request, { kind }) => {
            if (isLost || request.method !== "PUT" || kind !== "upload") return undefined;
            isLost = true;
            await request.body?.cancel();
            return new Response(body, { status });
          },
        },
      });
      assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
      assertHolds(setup.destination, "to/image", "v1", image);
    });
  }
}

Deno.test("fault 65: mirror() does not begin an upload anew for ever", async () => {
  const setup = withImage(LARGE, {
    destination: {
      intercept: async (request, { kind }) => {
        if (request.method !== "PUT" || kind !== "upload") return undefined;
        await request.body?.cancel();
        return new Response(null, { status: 404 });
      },
    },
  });
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.failed, 1);
  assert(setup.destination.count({ method: "PUT", kind: "upload" }) <= 3);
});

/** Mirrors the large image and aborts when its destination has taken some bytes of it. */
async function interrupted(): Promise<MirrorSetup> {
  const controller = new AbortController();
  const setup = withImage(LARGE, {
    source: {
      intercept: async (request, { kind, next }) => {
        const response = await next();
        if (request.method !== "GET" || kind !== "blob" || response.body === null) return response;
        if (Number(response.headers.get("content-length")) !== 8 * MIB || controller.signal.aborted) {
          return response;
        }
        return new Response(abortingAfter(response.body, 5 * MIB, controller), response);
      },
    },
  });
  const report = await setup.run(RULE, { signal: controller.signal });
  assertEquals([report.isInterrupted, report.totals.pending], [true, 1]);
  return setup;
}

function abortingAfter(
  body: ReadableStream<Uint8Array>,
  limit: number,
  controller: AbortController,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let left = limit;
  return new ReadableStream<Uint8Array>({
    async pull(stream) {
      const { value } = await reader.read();
      if (value === undefined) return stream.close();
      stream.enqueue(value.slice());
      left -= value.length;
      if (left <= 0) controller.abort(new Error("interrupted"));
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

async function keptUploads(setup: MirrorSetup): Promise<number> {
  return (await Array.fromAsync(setup.store.list(["upload"]))).length;
}

Deno.test("fault 76: mirror() goes on in the next run with an upload that was interrupted", async () => {
  const setup = await interrupted();
  assertEquals(await keptUploads(setup), 1);
  for (const registry of [setup.source, setup.destination]) registry.resetLog();
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  assertEquals(await keptUploads(setup), 0);
  assert(blobBytesFrom(setup.source) < blobBytesOf(LARGE), "everything was read again");
  assertEquals(setup.destination.requests.some(({ method }) => method === "PATCH"), true);
});

Deno.test("fault 76: mirror() begins anew, and says so, where the registry has forgotten the upload", async () => {
  const setup = await interrupted();
  setup.destination.state.repository("to/image").uploads.clear();
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", LARGE);
  const [warning] = setup.eventsOf("warning");
  assertStringIncludes(warning?.message ?? "", "kept nothing of an upload that was interrupted");
});

Deno.test("fault 76: mirror() believes no store that sends an upload elsewhere", async () => {
  for (
    const value of [null, 1, {}, { location: 1 }, { location: "http://else.test/x" }, {
      location: "https://u:p@else.test/",
    }]
  ) {
    const setup = withImage(LARGE);
    const [[digest] = [""]] = [...LARGE.blobs].filter(([, { size }]) => size === 8 * MIB);
    await setup.store.set(uploadKey(DESTINATION, "to/image", digest), value);
    assertEquals((await setup.run(RULE)).totals.copied, 1);
    assertHolds(setup.destination, "to/image", "v1", LARGE);
  }
});

/** A run whose time is up when its source has given some bytes of a large blob. */
function timedSetUp(destination: RegistryOptions = {}): { setup: MirrorSetup; size: number; image: Image } {
  const size = 20 * MIB;
  const image = buildImage({ layers: [buildLayer(7, size)] });
  const setup: MirrorSetup = withImage(image, {
    destination,
    source: {
      intercept: async (request, { kind, next }) => {
        const response = await next();
        const isLarge = Number(response.headers.get("content-length")) > 2 * MIB;
        if (request.method !== "GET" || kind !== "blob" || !isLarge || response.body === null) {
          return response;
        }
        const tick = () => void (setup.clock.time += 1000);
        return new Response(calling(response.body, tick), response);
      },
    },
  });
  return { setup, size, image };
}

function calling(body: ReadableStream<Uint8Array>, tick: () => void): ReadableStream<Uint8Array> {
  return body.pipeThrough(
    new TransformStream({
      transform: (piece, controller) => {
        tick();
        controller.enqueue(piece);
      },
    }),
  );
}

Deno.test("fault 76: mirror() leaves a large blob when its time is up, and is through with it after some runs", async () => {
  const { setup, image } = timedSetUp();
  let runs = 0;
  for (; runs < 20; runs++) {
    const report = await setup.run(RULE, { stopAt: setup.clock.time + 100_000 });
    if (report.totals.copied === 1) break;
    assertEquals(
      [report.totals.pending, report.totals.failed, await keptUploads(setup)],
      [1, 0, 1],
      report.tasks[0]?.error,
    );
  }
  assert(runs > 0 && runs < 20, `${runs} runs`);
  assertHolds(setup.destination, "to/image", "v1", image);
  assert(blobBytesFrom(setup.source) < 1.5 * blobBytesOf(image));
});

Deno.test("fault 76: mirror() says that a blob outlasts its time where the registry cannot go on with it", async () => {
  const { setup, image } = timedSetUp({ quirks: { noUploadStatus: true } });
  const totals: number[] = [];
  for (let run = 0; run < 2; run++) {
    totals.push((await setup.run(RULE, { stopAt: setup.clock.time + 100_000 })).totals.copied);
  }
  assertEquals(totals, [0, 1]);
  assertHolds(setup.destination, "to/image", "v1", image);
  const messages = setup.eventsOf("warning").map(({ message }) => message);
  assertEquals(messages.length, 2, messages.join("\n"));
  assertStringIncludes(messages[0] ?? "", "kept nothing of an upload that was interrupted");
  assertStringIncludes(messages[1] ?? "", "although the time for this run is up");
});

Deno.test("fault 16: mirror() serves a destination alone that takes no bytes while others do, and from then on", async () => {
  const layers = [buildLayer(21, 24 * MIB), buildLayer(22, 24 * MIB)];
  const image = buildImage({ layers });
  const freed = Promise.withResolvers<void>();
  let isStuck = true;
  // It takes the first bytes of its first large blob, and no more until the other destination is done.
  const wrap = (handler: Handler): Handler => (request) => {
    if (request.method !== "PUT" || request.body === null || !isStuck) return handler(request);
    if (Number(request.headers.get("content-length")) < MIB) return handler(request);
    isStuck = false;
    return handler(new Request(request, { body: stickingAfter(request.body, MIB, freed.promise) }));
  };
  const setup: MirrorSetup = withImage(image, {
    others: { "stuck.test": createRegistry() },
    wrap: { "stuck.test": wrap },
    registries: { limits: SHORT, onEvent: (event) => setup.events.push(event) },
  });
  const report = await setup.run(
    { [`${SOURCE}/from/image:v1`]: ["stuck.test/to/image", `${DESTINATION}/to/image`] },
    {
      concurrency: 1,
      onEvent: (event) => {
        if (event.type === "destination-copied" && event.destination.startsWith(DESTINATION)) freed.resolve();
      },
    },
  );
  assertEquals(report.totals.copied, 2, report.tasks[0]?.error);
  assertHolds(setup.destination, "to/image", "v1", image);
  const reasons = setup.eventsOf("request-retried").map(({ reason }) => reason);
  assert(reasons.some((reason) => reason.includes("behind the other destinations")), reasons.join("\n"));
});

function stickingAfter(
  body: ReadableStream<Uint8Array>,
  limit: number,
  freed: Promise<void>,
): ReadableStream<Uint8Array> {
  let left = limit;
  return body.pipeThrough(
    new TransformStream({
      transform: async (piece, controller) => {
        if (left < 0) await freed;
        left -= piece.length;
        controller.enqueue(piece);
      },
    }),
  );
}

Deno.test("mirror() reads a blob once for rules that bring it to several registries", async () => {
  const opened = Promise.withResolvers<void>();
  let openings = 0;
  const counting = {
    intercept: (request: Request, { kind, entry }: InterceptContext) => {
      const isOpening = request.method === "POST" && kind === "upload" && entry.contentLength === 0;
      if (isOpening && ++openings === 3) opened.resolve();
      return undefined;
    },
  };
  const setup = withImage(LARGE, {
    source: {
      // The source answers when everybody has opened an upload; whoever asked first reads for all.
      intercept: async (request, { kind, reference }) => {
        const isLarge = LARGE.blobs.get(reference)?.size === 8 * MIB;
        if (request.method === "GET" && kind === "blob" && isLarge) await opened.promise;
        return undefined;
      },
    },
    destination: counting,
    others: { "two.test": createRegistry(counting), "three.test": createRegistry(counting) },
  });
  for (const tag of ["v2", "v3"]) pushImage(setup.source, "from/image", tag, LARGE);
  const report = await setup.run({
    [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image`,
    [`${SOURCE}/from/image:v2`]: "two.test/to/image",
    [`${SOURCE}/from/image:v3`]: "three.test/to/image",
  });
  assertEquals(report.totals.copied, 3);
  // The config is so small that one rule may be through with it before another begins.
  const gets = setup.source.requests.filter(({ method, bytesOut }) =>
    method === "GET" && bytesOut === 8 * MIB
  );
  assertEquals(gets.length, 1);
});

Deno.test("mirror() reads a blob once though one destination opens its upload when the other is far in", async () => {
  const image = buildImage({ layers: [buildLayer(23, 24 * MIB)] });
  const isFarIn = Promise.withResolvers<void>();
  // More than is kept of a blob for its own sake.
  const wrap = (handler: Handler): Handler => (request) => {
    if (request.method !== "PUT" || request.body === null) return handler(request);
    let count = 0;
    const body = request.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (piece, controller) => {
          count += piece.length;
          if (count > 3.5 * MIB) isFarIn.resolve();
          controller.enqueue(piece);
        },
      }),
    );
    return handler(new Request(request, { body }));
  };
  const late = createRegistry({
    intercept: async ({ method }, { kind, entry }) => {
      if (method === "POST" && kind === "upload" && entry.contentLength === 0) await isFarIn.promise;
      return undefined;
    },
  });
  const setup = withImage(image, {
    others: { "late.test": late },
    wrap: { [DESTINATION]: wrap },
    registries: { limits: { stall: 3000 } },
  });
  const report = await setup.run({
    [`${SOURCE}/from/image:v1`]: [`${DESTINATION}/to/image`, "late.test/to/image"],
  });
  assertEquals(report.totals.copied, 2, report.tasks[0]?.error);
  assertHolds(late, "to/image", "v1", image);
  const gets = setup.source.requests.filter((one) => one.method === "GET" && one.path.includes("/blobs/"));
  assertEquals(gets.length, 2, "one for the config and one for the layer");
});
