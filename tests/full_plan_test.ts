/** Tests of plans that tell what running them takes, and of running saved ones. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Rule } from "../src/mirror/config/config.ts";
import { type ApplyOptions, applyPlan } from "../src/mirror/apply.ts";
import { type FullPlan, makeFullPlan, wouldChange } from "../src/mirror/full_plan.ts";
import schema from "../src/mirror/plan/plan.schema.json" with { type: "json" };
import { hashPlan, PlanFileError, readSavedPlan, type SavedPlan } from "../src/mirror/plan/saved_plan.ts";
import type { CopyTask } from "../src/mirror/plan/plan.ts";
import type { Report } from "../src/mirror/report.ts";
import type { MirrorOptions } from "../src/mirror/run_context.ts";
import { challengeMemory } from "../src/mirror/store/challenge_memory.ts";
import {
  buildImage,
  buildLayer,
  buildMultiPlatform,
  buildRandomImage,
  createRandom,
  pushImage,
  type Random,
} from "./images.ts";
import { DESTINATION, type MirrorSetup, rulesOf, setUpMirror, SOURCE } from "./mirror_setup.ts";
import { createRegistry, type RequestEntry, type TestRegistry } from "./registry.ts";

const RULES: Rule[] = rulesOf({ [`${SOURCE}/from/image`]: `${DESTINATION}/to/image` });

function optionsOf(setup: MirrorSetup): MirrorOptions {
  return {
    registries: setup.registries({ challenges: challengeMemory(setup.store) }),
    store: setup.store,
    patience: Infinity,
    onEvent: (event) => setup.events.push(event),
  };
}

async function planOf(setup: MirrorSetup, rules: readonly Rule[] = RULES): Promise<FullPlan> {
  return await makeFullPlan(rules, optionsOf(setup));
}

async function applyOf(
  setup: MirrorSetup,
  plan: SavedPlan,
  { rules = RULES, ...options }: Partial<ApplyOptions> & { rules?: readonly Rule[] } = {},
): Promise<Report> {
  return await applyPlan(plan, rules, { ...optionsOf(setup), ...options });
}

/** A plan as a person would change it who knows how to make its hash anew. */
async function edited(plan: FullPlan, change: (plan: FullPlan) => void): Promise<SavedPlan> {
  const copy: FullPlan = structuredClone(plan);
  change(copy);
  return { ...copy, hash: await hashPlan(copy) };
}

function taskOf({ tasks: [task] }: FullPlan): CopyTask {
  assert(task !== undefined);
  return task;
}

function setUpTags(...tags: string[]): MirrorSetup {
  const setup = setUpMirror();
  for (const [seed, tag] of tags.entries()) {
    pushImage(setup.source, "from/image", tag, buildMultiPlatform(["amd64", "arm64"], { seed: seed + 1 }));
  }
  return setup;
}

function requestsOf(registry: TestRegistry, from: number): readonly RequestEntry[] {
  return registry.requests.slice(from);
}

/** A mirror of several registries and rules, much of which is at its destinations already. */
class RandomMirror {
  readonly hub = createRegistry();
  readonly other = createRegistry();
  readonly setup: MirrorSetup;
  readonly rules: Rule[];
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = createRandom(seed);
    const noSinglePost = seed % 3 === 0;
    const refuseMount = seed % 4 === 1;
    this.setup = setUpMirror({
      destination: { quirks: { noSinglePost, refuseMount }, allowSparse: true },
      others: { "registry-1.docker.io": this.hub, "other.test": this.other },
    });
    this.rules = rulesOf({
      [`${SOURCE}/a/one`]: [`${DESTINATION}/m/one`, "other.test/m/one"],
      [`${SOURCE}/a/two`]: `${DESTINATION}/m/two`,
      "docker.io/b/three": [`${DESTINATION}/m/three`, `${DESTINATION}/n/three`],
    }).map((rule) => ({ ...rule, referrers: false as const }));
    this.#fill();
  }

  get registries(): TestRegistry[] {
    return [this.setup.source, this.hub, this.setup.destination, this.other];
  }

  #integer(below: number): number {
    return Math.floor(this.#random() * below);
  }

  #fill(): void {
    const places: [TestRegistry, string][] = [[this.setup.source, "a/one"], [this.setup.source, "a/two"], [
      this.hub,
      "b/three",
    ]];
    const there: [TestRegistry, string][] = [
      [this.setup.destination, "m/one"],
      [this.other, "m/one"],
      [this.setup.destination, "n/three"],
    ];
    for (const [registry, repository] of places) {
      for (let tag = 0; tag <= this.#integer(4); tag++) {
        const image = buildRandomImage(this.#integer(40), { without: ["schema1"] });
        pushImage(registry, repository, `v${tag}`, image);
        for (const [to, name] of there) {
          if (this.#random() < 0.3) pushImage(to, name, `v${this.#integer(6)}`, image);
        }
      }
    }
  }

  /** Teaches what registries can do: small blobs, large ones, and mounts. */
  async learn(): Promise<void> {
    const { setup, hub } = this;
    pushImage(
      setup.source,
      "learn/x",
      "v",
      buildImage({ seed: 900, layers: [buildLayer(9_000), buildLayer(9_001)] }),
    );
    pushImage(hub, "learn/x", "v", buildImage({ seed: 901, layers: [buildLayer(9_002)] }));
    for (const to of ["x", "y"]) {
      await setup.run({ [`${SOURCE}/learn/x:v`]: [`${DESTINATION}/learn/${to}`, `other.test/learn/${to}`] }, {
        registries: setup.registries({ challenges: challengeMemory(setup.store) }),
      });
    }
    await setup.run({ "docker.io/learn/x:v": `${DESTINATION}/learn/z` }, {
      registries: setup.registries({ challenges: challengeMemory(setup.store) }),
    });
  }
}

function near(actual: number, told: number, what: string): void {
  const isNear = Math.abs(actual - told) <= Math.max(actual, told) * 0.02;
  assert(isNear, `${what}: ${told} were foretold, ${actual} came`);
}

Deno.test("a plan tells what applying it takes, over 50 random mirrors", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const mirror = new RandomMirror(seed);
    await mirror.learn();
    const { setup, rules } = mirror;
    const pulledBefore = pullsOf(mirror.hub, 0);
    const plan = await planOf(setup, rules);
    const { forecast } = plan;
    assertEquals(plan.failed, [], `seed ${seed}`);
    assertEquals(forecast.pulls.spent, pullsOf(mirror.hub, 0) - pulledBefore, `seed ${seed}: pulls spent`);
    const marks = mirror.registries.map((registry) => registry.requests.length);
    const report = await applyOf(setup, plan, { rules });
    assertEquals([report.totals.failed, report.totals.rulesFailed], [0, 0], `seed ${seed}`);
    const made = mirror.registries.map((registry, place) => requestsOf(registry, marks[place] ?? 0));
    near(report.bytes.copied, forecast.bytes.send, `seed ${seed}: bytes sent`);
    near(report.bytes.mounted, forecast.bytes.mount, `seed ${seed}: bytes mounted`);
    const read = made.flat().filter(({ kind, method, status }) =>
      kind === "blob" && method === "GET" && status === 200
    );
    // Whoever comes late to a read begins another, at most one for each registry.
    const again = read.length - forecast.blobs.read;
    const most = forecast.blobs.send - forecast.blobs.read;
    assert(0 <= again && again <= most, `seed ${seed}: ${again} blobs are read again, ${most} at the most`);
    const bytesRead = read.reduce((sum, { bytesOut }) => sum + bytesOut, 0);
    if (again === 0) near(bytesRead, forecast.bytes.read, `seed ${seed}: bytes read`);
    assert(bytesRead <= forecast.bytes.send, `seed ${seed}: ${bytesRead} bytes are read`);
    const { requests } = forecast;
    const count = made.flat().length;
    near(count - again, requests.expected, `seed ${seed}: requests`);
    assert(
      requests.least <= count && count <= requests.most,
      `seed ${seed}: ${count} requests are not within ${requests.least} and ${requests.most}`,
    );
    assertEquals(made.flat().filter(isManifestRead), [], `seed ${seed}: manifests are read again`);
    assertEquals(forecast.pulls.apply, 0);
  }
});

function isManifestRead({ kind, method, status }: RequestEntry): boolean {
  return kind === "manifest" && method === "GET" && status === 200;
}

function pullsOf(registry: TestRegistry, from: number): number {
  return requestsOf(registry, from).filter(isManifestRead).length;
}

Deno.test("a plan tells exactly the pulls of a run without it", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const mirror = new RandomMirror(seed);
    const plan = await planOf(mirror.setup, mirror.rules);
    const before = mirror.hub.requests.length;
    await mirror.setup.run(mirror.rules);
    assertEquals(pullsOf(mirror.hub, before), plan.forecast.pulls.run, `seed ${seed}`);
  }
});

Deno.test("where nothing is remembered of registries, requests come to between the least and the most", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { setup, rules, registries } = new RandomMirror(seed);
    const plan = await planOf(setup, rules);
    const marks = registries.map((registry) => registry.requests.length);
    await applyOf(setup, plan, { rules });
    const count = registries.flatMap((registry, place) => requestsOf(registry, marks[place] ?? 0)).length;
    const { least, most } = plan.forecast.requests;
    assert(
      least <= count && count <= most,
      `seed ${seed}: ${count} requests are not within ${least} and ${most}`,
    );
  }
});

Deno.test("a plan says how many pulls Docker Hub has left", async () => {
  const setup = setUpMirror({
    others: {
      "registry-1.docker.io": createRegistry({
        intercept: async (_, { next }) => {
          const answer = await next();
          answer.headers.set("ratelimit-remaining", "97;w=21600");
          return answer;
        },
      }),
    },
  });
  const plan = await planOf(setup, rulesOf({ "alpine:3": `${DESTINATION}/alpine` }));
  assertEquals(plan.forecast.pulls.left, 97);
});

Deno.test("a plan counts by rule, and tells the time at the rate of the last run", async () => {
  const setup = setUpTags("a", "b", "c");
  await setup.run({ [`${SOURCE}/from/image:a,b`]: `${DESTINATION}/to/image` });
  pushImage(setup.source, "from/image", "b", buildImage({ seed: 77 }));
  await setup.store.set(["run", "rate"], { bytes: 1, milliseconds: 100 });
  const plan = await planOf(setup);
  assertEquals(plan.rules, [
    {
      rule: 0,
      source: RULES[0]?.source ?? "",
      tags: 3,
      selected: 3,
      new: 1,
      changed: 1,
      same: 1,
      drifted: 0,
      skipped: 0,
      failed: 0,
      pruned: 0,
    },
  ]);
  assertEquals(plan.forecast.seconds, plan.forecast.bytes.send / 10);
  assert(wouldChange(plan));
});

Deno.test("an unchanged plan is applied with a HEAD for each tag it writes, and none for the others", async () => {
  const setup = setUpTags("a", "b", "c");
  await setup.run({ [`${SOURCE}/from/image:a,b`]: `${DESTINATION}/to/image` });
  pushImage(setup.source, "from/image", "b", buildImage({ seed: 77 }));
  const saved = await readSavedPlan(JSON.stringify(await planOf(setup)));
  const [atSource, atDestination] = [setup.source.requests.length, setup.destination.requests.length];
  const report = await applyOf(setup, saved);
  assertEquals(report.totals, { copied: 2, unchanged: 1, skipped: 0, failed: 0, pending: 0, rulesFailed: 0 });
  const tags = ["a", "b", "c"];
  const heads = (registry: TestRegistry, from: number) =>
    requestsOf(registry, from).filter(({ method, kind }) => method === "HEAD" && kind === "manifest")
      .map(({ path }) => path.split("/").at(-1) ?? "").filter((name) => tags.includes(name)).sort();
  assertEquals(heads(setup.destination, atDestination), ["b", "c"]);
  assertEquals(heads(setup.source, atSource), ["b", "c"]);
  assertEquals(pullsOf(setup.source, atSource), 0);
  assert(!wouldChange(await planOf(setup)));
});

Deno.test("platforms wanted are applied without reading the index again", async () => {
  const setup = setUpTags("a");
  const rules = RULES.map((rule) => ({ ...rule, platforms: ["linux/arm64"] }));
  const plan = await planOf(setup, rules);
  const before = setup.source.requests.length;
  const report = await applyOf(setup, plan, { rules });
  assertEquals(report.totals.copied, 1);
  assertEquals(pullsOf(setup.source, before), 0);
});

Deno.test("a source tag that has moved since the plan is refused, or copied as it is where that is accepted", async () => {
  const setup = setUpTags("a");
  const plan = await planOf(setup);
  pushImage(setup.source, "from/image", "a", buildImage({ seed: 78 }));
  const refused = await applyOf(setup, plan);
  assertEquals(refused.totals.failed, 1);
  assert(refused.tasks[0]?.error?.includes("--accept-changes"), refused.tasks[0]?.error);
  assertEquals(setup.destination.state.repository("to/image").findManifest("a"), undefined);
  const accepted = await applyOf(setup, plan, { acceptsChanges: true });
  assertEquals(accepted.totals.copied, 1);
  const found = setup.destination.state.repository("to/image").findManifest("a");
  assertEquals(
    found?.digest,
    setup.source.state.repository("from/image").findManifest("a")?.digest,
  );
});

Deno.test("a destination tag that is not what the plan saw is left as it is", async () => {
  const setup = setUpTags("a");
  pushImage(setup.destination, "to/image", "a", buildImage({ seed: 80 }));
  const plan = await planOf(setup);
  const mine = buildImage({ seed: 81 });
  pushImage(setup.destination, "to/image", "a", mine);
  const report = await applyOf(setup, plan);
  assertEquals(report.totals.failed, 1);
  assert(report.tasks[0]?.error?.includes("the plan saw"), report.tasks[0]?.error);
  assertEquals(setup.destination.state.repository("to/image").findManifest("a")?.digest, mine.digest);
});

for (const tags of [["a"], ["a", "b", "c", "d"]]) {
  Deno.test(`a destination tag that has come since the plan is left as it is, among ${tags.length}`, async () => {
    const setup = setUpTags(...tags);
    pushImage(setup.destination, "to/image", "other", buildImage({ seed: 82 }));
    const plan = await planOf(setup);
    const mine = buildImage({ seed: 81 });
    pushImage(setup.destination, "to/image", "a", mine);
    const from = setup.destination.requests.length;
    const report = await applyOf(setup, plan);
    assertEquals([report.totals.failed, report.totals.copied], [1, tags.length - 1]);
    const [failed] = report.tasks.flatMap(({ error }) => error ?? []);
    assert(failed?.endsWith(`stands for "${mine.digest}" now, the plan saw nothing there`), failed);
    assertEquals(setup.destination.state.repository("to/image").findManifest("a")?.digest, mine.digest);
    // One of a few is asked about by itself, more of them by one list; what that has is asked about.
    const looks = requestsOf(setup.destination, from).filter(({ path, method }) =>
      path.includes("/tags/list") || method === "HEAD" && /\/manifests\/[a-d]$/.test(path)
    );
    assertEquals(looks.map(({ kind }) => kind), tags.length < 3 ? ["manifest"] : ["tags", "manifest"]);
  });
}

Deno.test("a plan may be applied again, after a run of it that was cut off", async () => {
  const setup = setUpTags("a", "b");
  pushImage(setup.destination, "to/image", "a", buildImage({ seed: 80 }));
  const plan = await planOf(setup);
  assertEquals((await applyOf(setup, plan)).totals.copied, 2);
  assertEquals((await applyOf(setup, plan)).totals.failed, 0);
});

Deno.test("a plan that cannot be read whole says so, and leaves the image out", async () => {
  const setup = setUpTags("a", "b");
  const state = setup.source.state.repository("from/image");
  const index = state.findManifest("a");
  const child = JSON.parse(new TextDecoder().decode(index?.bytes)).manifests[0].digest;
  state.deleteManifest(child);
  const plan = await planOf(setup);
  assertEquals(plan.failed.map(({ source }) => source), [`${SOURCE}/from/image:a`]);
  assertEquals(plan.rules[0]?.failed, 1);
});

Deno.test("readSavedPlan() refuses what was edited, cut, or written by another version", async () => {
  const plan = await planOf(setUpTags("a"));
  const text = JSON.stringify(plan);
  const cases: [string, string][] = [
    [text.slice(0, -9), "it is not JSON"],
    ["[]", "it is not a JSON object"],
    [JSON.stringify({ ...plan, version: 2 }), "its version is 2"],
    [JSON.stringify({ ...plan, version: undefined }), "its version is none"],
    [JSON.stringify({ ...plan, tasks: undefined }), 'it has no list "tasks"'],
    [text.replace("to/image", "to/imago"), "it is not as it was written"],
    [
      JSON.stringify(await edited(plan, (one) => taskOf(one).source.tag = "no tag")),
      "task 1 makes no sense",
    ],
    [
      JSON.stringify(await edited(plan, (one) => taskOf(one).root.digest = "sha256:1")),
      "task 1 makes no sense",
    ],
  ];
  for (const [saved, why] of cases) {
    const error = await assertRejects(() => readSavedPlan(saved), PlanFileError);
    assert(error.message.includes(why), error.message);
  }
  assertEquals((await readSavedPlan(text)).hash, plan.hash);
});

Deno.test("applyPlan() refuses images that no rule makes, and plans of another config", async () => {
  const setup = setUpTags("a");
  const plan = await planOf(setup);
  const elsewhere = await edited(
    plan,
    (one) => taskOf(one).destinations.forEach((to) => to.reference.repository = "to/other"),
  );
  await assertRejects(() => applyOf(setup, elsewhere), PlanFileError, "no rule copies");
  const renamed = await edited(plan, (one) => taskOf(one).source.repository = "from/other");
  await assertRejects(() => applyOf(setup, renamed), PlanFileError, "is not named after its source");
  const rules = rulesOf({ [`${SOURCE}/from/image`]: `${DESTINATION}/to/elsewhere` });
  await assertRejects(() => applyOf(setup, plan, { rules }), PlanFileError, "the config has changed");
  assertEquals(setup.destination.requests.filter(({ method }) => method === "PUT"), []);
});

Deno.test("applyPlan() believes no manifest of a plan that has not its digest", async () => {
  const setup = setUpTags("a");
  const plan = await planOf(setup);
  const changed = await edited(plan, (one) => {
    for (const manifest of Object.values(one.manifests)) manifest.text = manifest.text.replace("{", "{ ");
  });
  const report = await applyOf(setup, changed);
  assertEquals(report.totals.copied, 1);
  const digest = setup.source.state.repository("from/image").findManifest("a")?.digest;
  assertEquals(setup.destination.state.repository("to/image").findManifest("a")?.digest, digest);
});

Deno.test("plan.schema.json describes plans, and refuses what is none", async () => {
  const validate = new Ajv2020({ allowUnionTypes: true }).compile(schema);
  const setup = setUpTags("a", "b");
  const plan: unknown = JSON.parse(JSON.stringify(await planOf(setup)));
  assertEquals(validate(plan) ? [] : validate.errors, []);
  for (const key of ["version", "config", "tasks", "forecast", "hash", "manifests"]) {
    assert(!validate({ ...plan as Record<string, unknown>, [key]: undefined }), key);
  }
});
