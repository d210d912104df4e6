/** Tests of whole runs: how much at once, what is tried again, how they end early, and what several workers share. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { planOnly } from "../src/mirror/run.ts";
import type { CopyTask, Plan } from "../src/mirror/plan/plan.ts";
import type { TaskStatus } from "../src/mirror/copy/copy_event.ts";
import {
  buildImage,
  buildIndex,
  buildLayer,
  buildMultiPlatform,
  foreignLayer,
  type Image,
  pushImage,
} from "./images.ts";
import {
  assertHolds,
  DESTINATION,
  type MirrorSetup,
  type MirrorSetupOptions,
  rulesOf,
  setUpMirror,
  SOURCE,
} from "./mirror_setup.ts";
import { settle } from "./fake_clock.ts";
import { bytesContent, createRegistry, type InterceptContext } from "./registry.ts";

const FROM = `${SOURCE}/from/image`;
const TO = `${DESTINATION}/to/image`;
const ONCE = { limits: { attempts: 1 } };

function withImages(images: Record<string, Image>, options: MirrorSetupOptions = {}): MirrorSetup {
  const setup = setUpMirror(options);
  for (const [tag, image] of Object.entries(images)) pushImage(setup.source, "from/image", tag, image);
  return setup;
}

function numbered(count: number, layers = 1, layerSize = 1024): Record<string, Image> {
  const images: Record<string, Image> = {};
  for (let seed = 0; seed < count; seed++) images[`t${seed}`] = buildImage({ seed, layers, layerSize });
  return images;
}

function totals(some: Partial<Record<TaskStatus | "rulesFailed", number>>): Record<string, number> {
  return { copied: 0, unchanged: 0, skipped: 0, failed: 0, pending: 0, rulesFailed: 0, ...some };
}

function isManifestPut(request: Request, { kind }: InterceptContext): boolean {
  return request.method === "PUT" && kind === "manifest";
}

Deno.test("mirror() copies what is new, then finds everything unchanged", async () => {
  const setup = withImages(numbered(4));
  assertEquals((await setup.run({ [FROM]: TO })).totals, totals({ copied: 4 }));
  for (const registry of [setup.source, setup.destination]) registry.resetLog();
  assertEquals((await setup.run({ [FROM]: TO })).totals, totals({ unchanged: 4 }));
  const asked = [...setup.source.requests, ...setup.destination.requests]
    .filter(({ kind }) => kind !== "ping" && kind !== "tags")
    .map(({ method, kind }) => `${method} ${kind}`);
  const each = ["GET referrers", "HEAD manifest", "HEAD manifest"];
  assertEquals(asked.sort(), Array.from({ length: 4 }, () => each).flat().sort());
});

Deno.test("mirror() reports images, rules and bytes of all fates", async () => {
  const setup = withImages(numbered(2));
  pushImage(setup.destination, "to/image", "t0", buildImage({ seed: 0, layers: 1 }));
  const report = await setup.run({
    [`${FROM}:t0,t1,t9`]: TO,
    [`${SOURCE}/from/none`]: TO,
    [`${FROM}:t0`]: `${DESTINATION}/to/arm`,
  });
  assertEquals(report.totals, totals({ copied: 2, unchanged: 1, failed: 1, rulesFailed: 1 }));
  assertEquals(report.rules.map(({ source }) => source), [`${SOURCE}/from/none`]);
});

Deno.test("mirror() tells what happens in order", async () => {
  const setup = withImages(numbered(1));
  await setup.run({ [`${FROM}:t0`]: TO });
  const types = setup.events.map(({ type }) => type);
  const order = [
    "phase-started",
    "planned",
    "phase-started",
    "task-started",
    "destination-copied",
    "task-finished",
  ];
  assertEquals(types.filter((type) => order.includes(type)), order);
  assertEquals(setup.eventsOf("phase-started").map(({ phase }) => phase), ["generate", "copy"]);
});

/** Counts blobs between the first byte asked of the source and the answer of the destination, and holds the first few. */
class Flights {
  peak = 0;
  readonly #flying = new Set<string>();
  readonly #expected: number;
  readonly #full = Promise.withResolvers<void>();

  constructor(expected: number) {
    this.#expected = expected;
  }

  readonly source = async (request: Request, { kind, reference, state }: InterceptContext) => {
    // Configs and the like are requests: they take no place among the blobs under way.
    const isLarge = (state.blobs.get(reference)?.size ?? 0) > 64 * 1024;
    if (request.method !== "GET" || kind !== "blob" || !isLarge) return undefined;
    this.#flying.add(reference);
    this.peak = Math.max(this.peak, this.#flying.size);
    if (this.peak >= this.#expected) this.#full.resolve();
    await this.#full.promise;
    return undefined;
  };

  readonly destination = async (_: Request, { kind, entry, next }: InterceptContext) => {
    const response = await next();
    const digest = new URLSearchParams(entry.path.split("?")[1] ?? "").get("digest");
    if (kind === "upload" && digest !== null) this.#flying.delete(digest);
    return response;
  };
}

for (const concurrency of [1, 3, 8]) {
  Deno.test(`mirror() has exactly ${concurrency} blobs under way when told so`, async () => {
    const flights = new Flights(concurrency);
    const setup = withImages(numbered(20, 3, 66_000), {
      source: { intercept: flights.source },
      destination: { intercept: flights.destination },
    });
    assertEquals((await setup.run({ [FROM]: TO }, { concurrency })).totals, totals({ copied: 20 }));
    assertEquals(flights.peak, concurrency);
  });
}

/** A destination that answers the first `times` manifests with a status. */
function refusing(status: number, times: number): MirrorSetup {
  let left = times;
  const intercept = (request: Request, context: InterceptContext) =>
    isManifestPut(request, context) && left-- > 0 ? new Response(null, { status }) : undefined;
  return withImages(numbered(1), { destination: { intercept }, registries: ONCE });
}

Deno.test("mirror() tries again what failed, as often as told", async () => {
  const setup = refusing(500, 2);
  assertEquals((await setup.run({ [FROM]: TO }, { retries: 2 })).totals, totals({ copied: 1 }));
  const phases = setup.eventsOf("phase-started").map(({ phase }) => phase);
  assertEquals(phases, ["generate", "copy", "retry-copy", "retry-copy"]);
});

Deno.test("mirror() gives up after the last try", async () => {
  for (const retries of [0, 1]) {
    const setup = refusing(500, 2);
    const report = await setup.run({ [FROM]: TO }, { retries });
    assertEquals(report.totals, totals({ failed: 1 }));
    assertEquals(report.tasks[0]?.destinations[0]?.isPermanent, false);
    assertEquals(
      setup.destination.requests.filter(({ path }) => path.endsWith("/manifests/t0")).length > retries,
      true,
    );
  }
});

Deno.test("mirror() tries once more what was refused in the registry's own words, and no further", async () => {
  const setup = refusing(403, 9);
  const report = await setup.run({ [FROM]: TO }, { retries: 3 });
  assertEquals(report.totals, totals({ failed: 1 }));
  assertEquals(setup.destination.count({ method: "PUT", kind: "manifest" }), 2);
  assertEquals(setup.eventsOf("phase-started").length, 3);
  assertEquals((await refusing(403, 1).run({ [FROM]: TO }, { retries: 1 })).totals, totals({ copied: 1 }));
});

/** Answers that are odd for a moment: what is asked for, how often it is refused, and what it says then. */
const MOMENTARY: Record<
  string,
  [(request: Request, context: InterceptContext) => boolean, number, () => Response]
> = {
  "a child that is not found yet": [
    isManifestPut,
    2,
    () => Response.json({ errors: [{ code: "MANIFEST_BLOB_UNKNOWN", message: "x" }] }, { status: 400 }),
  ],
  "a manifest that was there": [
    ({ method }, { kind }) => method === "GET" && kind === "manifest",
    2,
    () => Response.json({ errors: [{ code: "MANIFEST_UNKNOWN", message: "x" }] }, { status: 404 }),
  ],
  "an upload without a place": [
    ({ method }, { kind }) => method === "POST" && kind === "upload",
    2,
    () => new Response("Healthcheck requested", { status: 200 }),
  ],
  "a refusal that nobody would repeat": [
    isManifestPut,
    1,
    () => new Response("unknown subject", { status: 400 }),
  ],
  "a flipped bit": [
    ({ method }, { kind }) => method === "GET" && kind === "blob",
    1,
    () => new Response(new Uint8Array(1000)),
  ],
};

for (const [what, [isMeant, times, answer]] of Object.entries(MOMENTARY)) {
  Deno.test(`fault 54: mirror() gets over ${what}`, async () => {
    let left = times;
    const intercept = (request: Request, context: InterceptContext) =>
      isMeant(request, context) && left-- > 0 ? answer() : undefined;
    const setup = withImages(numbered(1), { source: { intercept }, destination: { intercept } });
    const report = await setup.run({ [FROM]: TO }, { retries: 2 });
    assertEquals(report.totals, totals({ copied: 1 }), report.tasks[0]?.destinations[0]?.error);
    assert(left <= 0);
  });
}

Deno.test("fault 54: mirror() waits before each pass, and for no pass that has nothing to do", async () => {
  const setup = refusing(500, 2);
  await setup.run({ [FROM]: TO }, { retries: 5 });
  assertEquals(setup.clock.waits, [1000, 2000]);
  const good = withImages(numbered(1));
  await good.run({ [FROM]: TO }, { retries: 5 });
  assertEquals(good.clock.waits, []);
});

Deno.test("fault 54: mirror() makes no pass for what is hopeless", async () => {
  const setup = setUpMirror();
  await setup.run({ "Not/A:Good@Reference": TO }, { retries: 5 });
  assertEquals(setup.clock.waits, []);
});

Deno.test("mirror() plans again what could not be planned, and counts it once", async () => {
  for (const platforms of [[], ["linux/amd64"]]) {
    const setup: MirrorSetup = withImages(numbered(1), {
      source: {
        intercept: (_, { kind }) =>
          kind === "manifest" && setup.eventsOf("phase-started").length < 2
            ? new Response(null, { status: 500 })
            : undefined,
      },
      registries: ONCE,
    });
    const report = await setup.run({ [`${FROM}:t0`]: TO }, { platforms });
    assertEquals(report.totals, totals({ copied: 1 }));
    const phases = setup.eventsOf("phase-started").map(({ phase }) => phase);
    assertEquals(phases, ["generate", "copy", "retry-generate", "retry-copy"]);
  }
});

Deno.test("mirror() fails an image with a bad blob alone, and asks for that blob once a pass", async () => {
  const bad = buildLayer(500);
  const setup = withImages({
    ...numbered(3),
    bad1: buildImage({ seed: 10, layers: [bad] }),
    bad2: buildIndex([buildImage({ seed: 11, layers: [bad] }), buildImage({ seed: 12 })]),
  });
  setup.source.state.repository("from/image").blobs.set(
    bad.digest,
    bytesContent(new Uint8Array(1024), bad.digest),
  );
  const report = await setup.run({ [FROM]: TO });
  assertEquals(report.totals, totals({ copied: 3, failed: 2 }));
  const failures = report.tasks.flatMap(({ destinations }) => destinations).filter(({ status }) =>
    status === "failed"
  );
  assertEquals(failures.map(({ isPermanent }) => isPermanent), [true, true]);
  assert(failures.every(({ error }) => error?.includes(bad.digest)), failures[0]?.error);
  const asked = setup.source.requests.filter(({ path }) => path === `/v2/from/image/blobs/${bad.digest}`);
  assertEquals(asked.length, 2);
  const tags = [...setup.destination.state.repository("to/image").tags.keys()];
  assertEquals(tags.sort(), ["t0", "t1", "t2"]);
});

Deno.test("mirror() fails an image with a missing child alone", async () => {
  const index = buildMultiPlatform(["amd64", "arm64"]);
  const setup = withImages({ ...numbered(1), bad: index });
  setup.source.state.repository("from/image").manifests.delete(index.children[0]?.digest ?? "");
  const report = await setup.run({ [FROM]: TO });
  assertEquals(report.totals, totals({ copied: 1, failed: 1 }));
  assertEquals(setup.destination.state.repository("to/image").tags.has("bad"), false);
});

Deno.test("mirror() ends with nothing under way when looking for a foreign layer fails", async () => {
  const gate = Promise.withResolvers<void>();
  const late: string[] = [];
  let isOver = false;
  const image = buildImage({ layers: [foreignLayer(1), buildLayer(2)] });
  const setup = withImages({ v1: image }, {
    source: {
      intercept: async (request, { kind, entry }) => {
        if (isOver) late.push(entry.path);
        if (kind !== "blob") return undefined;
        if (request.method === "HEAD") return new Response(null, { status: 403 });
        await gate.promise;
        return undefined;
      },
    },
    destination: { intercept: (_, { entry }) => (isOver && late.push(entry.path), undefined) },
  });
  const running = setup.run({ [FROM]: TO }).then((report) => (isOver = true, report));
  // The run has nothing else to do than to wait for the blobs that are held.
  await settle();
  gate.resolve();
  assertEquals((await running).totals, totals({ failed: 1 }));
  assertEquals(late, []);
  assertEquals(setup.eventsOf("blob-started").length, setup.eventsOf("blob-ended").length);
});

Deno.test("mirror() puts manifests again when forced, and sends no blob again", async () => {
  const setup = withImages({ v1: buildMultiPlatform(["amd64", "arm64"]) });
  await setup.run({ [FROM]: TO });
  setup.destination.resetLog();
  setup.source.resetLog();
  assertEquals((await setup.run({ [FROM]: TO }, { force: true })).totals, totals({ copied: 1 }));
  assertEquals(setup.destination.count({ method: "PUT", kind: "manifest" }), 3);
  assertEquals(setup.destination.count({ kind: "upload" }), 0);
  assertEquals(setup.source.count({ method: "GET", kind: "blob" }), 0);
});

Deno.test("mirror() copies only the platforms wanted, and leaves them unchanged the next time", async () => {
  const index = buildIndex([buildMultiPlatform(["amd64", "arm64"]), buildImage({ seed: 9 })], {
    attestations: true,
  });
  const setup = withImages({ v1: index });
  const options = { platforms: ["linux/arm64"] };
  assertEquals((await setup.run({ [FROM]: TO }, options)).totals, totals({ copied: 1 }));
  const { manifests, tags } = setup.destination.state.repository("to/image");
  assertEquals(manifests.has(index.children[0]?.children[1]?.digest ?? ""), true);
  assertEquals(manifests.has(index.children[0]?.children[0]?.digest ?? ""), false);
  assertEquals(tags.get("v1") === index.digest, false);
  setup.source.resetLog();
  assertEquals((await setup.run({ [FROM]: TO }, options)).totals, totals({ unchanged: 1 }));
  assertEquals(setup.source.count({ method: "GET", kind: "manifest" }), 0);
});

Deno.test("planOnly() makes the plan and copies nothing", async () => {
  const setup = withImages(numbered(3));
  const plan = await planOnly(rulesOf({ [FROM]: TO }), { registries: setup.registries() });
  assertEquals(plan.tasks.length, 3);
  assertEquals(setup.source.count({ method: "GET", kind: "manifest" }), 0);
  assertEquals(setup.destination.requests.filter(({ method }) => !["GET", "HEAD"].includes(method)), []);
});

Deno.test("mirror() throws a mistake of this program", async () => {
  const setup = withImages(numbered(1));
  const select = () => {
    throw new TypeError("mistake");
  };
  await assertRejects(() => setup.run({ [FROM]: TO }, { select }), TypeError, "mistake");
});

Deno.test("mirror() copies what is selected of the plan, also of what is planned again", async () => {
  let left = 1;
  const setup = withImages(numbered(4), {
    source: {
      intercept: (_, { kind }) =>
        kind === "tags" && left-- > 0 ? new Response(null, { status: 500 }) : undefined,
    },
    registries: ONCE,
  });
  const isMine = ({ source }: CopyTask) => source.tag === "t1" || source.tag === "t2";
  const select = (plan: Plan) => ({ ...plan, tasks: plan.tasks.filter(isMine) });
  const report = await setup.run({ [FROM]: TO }, { select });
  assertEquals(report.totals, totals({ copied: 2 }));
  assertEquals([...setup.destination.state.repository("to/image").tags.keys()].sort(), ["t1", "t2"]);
});

Deno.test("mirror() comes back to what another worker has claimed, when that is through or has given up", async () => {
  const setup = withImages(numbered(3));
  const claims: string[] = [];
  let given = 0;
  const claim = ({ source }: CopyTask) => {
    const { tag = "" } = source;
    claims.push(tag);
    const isFirst = claims.filter((one) => one === tag).length === 1;
    if (tag === "t0" && isFirst) return Promise.resolve(undefined);
    if (tag === "t1" && isFirst) {
      pushImage(setup.destination, "to/image", "t1", buildImage({ seed: 1, layers: 1 }));
      return Promise.resolve(undefined);
    }
    return Promise.resolve(() => Promise.resolve(void given++));
  };
  const report = await setup.run({ [FROM]: TO }, { claim });
  assertEquals(report.totals, totals({ copied: 2, unchanged: 1 }));
  assertEquals(claims.sort(), ["t0", "t0", "t1", "t2"]);
  assertEquals(given, 2);
});

Deno.test("mirror() asks less and less often what others have, no longer than it has time, and sees the end at once", async () => {
  const setup = withImages(numbered(3));
  const stopAt = setup.clock.now() + 60_000;
  const claim = ({ source }: CopyTask) =>
    Promise.resolve(source.tag === "t0" ? () => Promise.resolve() : undefined);
  const waits = [Infinity, Infinity, 2500, Infinity, Infinity, Infinity, Infinity];
  const asked: number[] = [];
  const revisit = (tasks: readonly CopyTask[]) => {
    asked.push(tasks.length);
    const copied = asked.length === 4 ? tasks.slice(1) : [];
    return Promise.resolve({ copied, free: [], wait: waits[asked.length - 1] ?? Infinity });
  };
  const before = setup.clock.waits.length;
  const report = await setup.run({ [FROM]: TO }, { claim, revisit, stopAt });
  assertEquals(setup.clock.waits.slice(before), [
    1000,
    2000,
    4000,
    2500,
    1000,
    2000,
    4000,
    8000,
    16_000,
    19_500,
  ]);
  assertEquals(asked, [2, 2, 2, 2, 1, 1, 1, 1, 1, 1]);
  assertEquals([report.totals, report.isInterrupted], [
    totals({ copied: 1, unchanged: 1, pending: 1 }),
    true,
  ]);
});

Deno.test("mirror() sends no blob again that another worker has left in a repository that was empty", async () => {
  const setup = withImages(numbered(3));
  const { blobs } = buildImage({ seed: 1, layers: 1 });
  let isDead = false;
  const claim = ({ source }: CopyTask) => {
    if (source.tag !== "t1" || isDead) return Promise.resolve(() => Promise.resolve());
    isDead = true;
    for (const blob of blobs.values()) setup.destination.state.addBlob("to/image", blob);
    return Promise.resolve(undefined);
  };
  const report = await setup.run({ [FROM]: TO }, { claim });
  assertEquals(report.totals, totals({ copied: 3 }));
  assertEquals(setup.eventsOf("blob-skipped").map(({ task }) => task), Array(blobs.size).fill(`${FROM}:t1`));
});

Deno.test("mirror() gives an image back that failed", async () => {
  const setup = refusing(403, 1);
  let given = 0;
  await setup.run({ [FROM]: TO }, {
    retries: 0,
    claim: () => Promise.resolve(() => Promise.resolve(void given++)),
  });
  assertEquals(given, 1);
});

Deno.test("mirror() begins nothing once its time is up, and says so", async () => {
  const setup = withImages(numbered(2));
  const report = await setup.run({ [FROM]: TO }, { stopAt: setup.clock.now() });
  assertEquals(report.totals, totals({}));
  assertEquals([report.isInterrupted, report.next], [true, FROM]);
  assertEquals(setup.destination.count({ kind: "upload" }), 0);
});

Deno.test("mirror() ends what is under way when its time is up, and leaves the rest pending", async () => {
  const setup: MirrorSetup = withImages(numbered(10, 1, 66_000), {
    destination: { intercept: (_, { kind }) => (kind === "upload" && (setup.clock.time += 1000), undefined) },
  });
  const report = await setup.run({ [FROM]: TO }, { concurrency: 1, stopAt: setup.clock.now() + 5000 });
  assertEquals(report.isInterrupted, true);
  assertEquals([report.totals.failed, report.totals.copied + report.totals.pending], [0, 10]);
  assert(report.totals.pending > 0);
  assertEquals((await setup.run({ [FROM]: TO })).totals.pending, 0);
});

Deno.test("mirror() is not interrupted when its time is up and everything is done", async () => {
  let isLate = false;
  const setup: MirrorSetup = withImages(numbered(1), {
    destination: {
      intercept: (_, { kind }) => (isLate && kind === "manifest" && (setup.clock.time += 20_000), undefined),
    },
  });
  await setup.run({ [FROM]: TO });
  isLate = true;
  const report = await setup.run({ [FROM]: TO }, { stopAt: setup.clock.now() + 1000 });
  assertEquals([report.totals.unchanged, report.isInterrupted, report.next], [1, undefined, undefined]);
});

Deno.test("mirror() ends at once when it is aborted, with what is not done pending", async () => {
  const controller = new AbortController();
  const setup = withImages(numbered(6), {
    source: {
      intercept: (_, { kind, count }) => {
        if (kind === "blob" && count === 4) controller.abort(new Error("interrupted"));
        return undefined;
      },
    },
  });
  const report = await setup.run({ [FROM]: TO }, { signal: controller.signal, concurrency: 1 });
  assertEquals(report.isInterrupted, true);
  assertEquals(report.totals.failed, 0);
  assert(report.totals.pending > 0);
  assertEquals((await setup.run({ [FROM]: TO })).totals.pending, 0);
  for (const [tag, image] of Object.entries(numbered(6))) {
    assertHolds(setup.destination, "to/image", tag, image);
  }
});

Deno.test("mirror() reports a destination copied that was done before the abort", async () => {
  const controller = new AbortController();
  const other = createRegistry({
    intercept: (request, context) => {
      if (isManifestPut(request, context)) return new Promise(() => {});
      return undefined;
    },
  });
  const setup = withImages(numbered(1), { others: { "other.test": other } });
  const report = await setup.run({ [FROM]: [TO, "other.test/to/image"] }, {
    signal: controller.signal,
    onEvent: ({ type }) => type === "manifest-pushed" && controller.abort(new Error("interrupted")),
  });
  assertEquals(report.totals, totals({ copied: 1, pending: 1 }));
});

Deno.test("mirror() plans nothing when it is aborted before", async () => {
  const setup = withImages(numbered(1));
  const report = await setup.run({ [FROM]: TO }, { signal: AbortSignal.abort(new Error("no")) });
  assertEquals([report.isInterrupted, report.tasks], [true, []]);
  assertEquals(setup.source.requests, []);
});
