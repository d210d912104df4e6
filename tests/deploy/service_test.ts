/** Runs of a scheduled mirror: one at a time, within a budget, going on where the last one stopped, and well remembered. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { KvLeases } from "../../src/deno/kv_leases.ts";
import type { RunRecord } from "../../src/machine/service/status.ts";
import type { MirrorService, RunResult } from "../../src/machine/service/service.ts";
import type { Log, LogFields } from "../../src/machine/terminal/log.ts";
import { MemoryStore } from "../../src/mirror/store/memory_store.ts";
import { FakeClock } from "../fake_clock.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, type RegistryOptions, type TestRegistry } from "../registry.ts";
import { configOf, OPERATOR, serviceOf, siteOf, TOKEN } from "./site.ts";

const CONFIG = configOf({ "one.test/team/app": "two.test/mirror/app", "one.test/team/none": "two.test/x" });
const APP = configOf({ "one.test/team/app": "two.test/mirror/app" });

/** A registry with an image under several tags. */
function registryWith(tags: number, options: RegistryOptions = {}): TestRegistry {
  const registry = createRegistry(options);
  for (let seed = 0; seed < tags; seed++) pushImage(registry, "team/app", `v${seed}`, buildImage({ seed }));
  return registry;
}

function runOf(result: RunResult): RunRecord {
  if (result.type === "ended") return result.run;
  throw new Error(`Cannot look at a run: ${result.why}`);
}

Deno.test("run() remembers what became of each rule", async () => {
  const registry = registryWith(3);
  const service = serviceOf(registry, CONFIG);
  const first = runOf(await service.run("schedule"));
  assertEquals([first.outcome, first.totals.copied, first.totals.rulesFailed, first.pulls], [
    "failed",
    3,
    1,
    3,
  ]);
  const { rules, runs, sums, live } = await service.memory.read();
  const app = rules.get("one.test/team/app");
  assertEquals([app?.images, app?.changedCount, app?.failureCount, app?.pulls], [3, 3, 0, 3]);
  assertEquals([app?.lastSuccessAt, app?.lastChangeAt], [first.finishedAt, first.finishedAt]);
  const none = rules.get("one.test/team/none");
  assertEquals([none?.images, none?.failureCount, none?.lastSuccessAt], [0, 1, undefined]);
  assert(none?.failures[0]?.error.includes("404 NAME_UNKNOWN"));
  assertEquals([runs.length, live, sums.runs], [1, undefined, { failed: 1 }]);
  assert((sums.requests["one.test"]?.["200"] ?? 0) > 0);
  const second = runOf(await service.run("schedule"));
  assertEquals([second.totals.copied, second.totals.unchanged, second.pulls], [0, 3, 0]);
  const after = (await service.memory.read()).rules.get("one.test/team/app");
  assertEquals([after?.changedCount, after?.bytes, after?.pulls], [3, app?.bytes, 3]);
  assertEquals([after?.lastChangeAt, after?.lastSuccessAt], [app?.lastChangeAt, second.finishedAt]);
});

Deno.test("run() forgets a failure that is mended", async () => {
  let isBroken = true;
  const registry = registryWith(1, {
    intercept: (request, { kind }) =>
      isBroken && kind === "manifest" && request.method === "PUT"
        ? new Response('{"errors":[{"code":"DENIED","message":"quota"}]}', { status: 403 })
        : undefined,
  });
  const service = serviceOf(registry, APP);
  assertEquals(runOf(await service.run("schedule")).outcome, "failed");
  const broken = (await service.memory.read()).rules.get("one.test/team/app");
  assertEquals([broken?.failureCount, broken?.lastSuccessAt], [1, undefined]);
  assert(broken?.failures[0]?.error.includes("403 DENIED: quota"));
  isBroken = false;
  assertEquals(runOf(await service.run("schedule")).outcome, "done");
  assertEquals((await service.memory.read()).rules.get("one.test/team/app")?.failures, []);
});

Deno.test("run() stops when its budget is used up, and the next one goes on from there", async () => {
  const clock = new FakeClock();
  // Each manifest takes a minute of the ten that a run may take.
  const registry = registryWith(24, {
    intercept: (request, { kind }) => {
      if (kind === "manifest" && request.method === "PUT") clock.time += 60_000;
      return undefined;
    },
  });
  const store = new MemoryStore({ now: () => clock.time });
  const service = serviceOf(registry, APP, {
    clock,
    store,
    budget: 600_000,
    mirrorOptions: { concurrency: 1 },
  });
  const outcomes: string[] = [];
  for (let run = 0; run < 10 && outcomes.at(-1) !== "done"; run++) {
    outcomes.push(runOf(await service.run("schedule")).outcome);
    const record = (await service.memory.read()).rules.get("one.test/team/app");
    assertEquals(record?.lastSuccessAt === undefined, outcomes.at(-1) !== "done");
  }
  assertEquals(outcomes.at(-1), "done");
  assert(outcomes.length > 1, `${outcomes}`);
  assertEquals(new Set(outcomes.slice(0, -1)), new Set(["stopped"]));
  assertEquals(registry.repositories.get("mirror/app")?.tags.size, 24);
  const puts = registry.requests.filter(({ kind, method, path }) =>
    kind === "manifest" && method === "PUT" && !path.includes("sha256:")
  );
  assertEquals(puts.length, 24);
});

Deno.test("run() refuses while a run is on here, and while one is on elsewhere", async () => {
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const registry = registryWith(1, {
    intercept: async (request, { kind }) => {
      if (kind !== "manifest" || request.method !== "PUT") return undefined;
      reached.resolve();
      await gate.promise;
      return undefined;
    },
  });
  using kv = await Deno.openKv(":memory:");
  const here = serviceOf(registry, APP, { leases: new KvLeases(kv) });
  const leases = new KvLeases(kv, { lifetime: 30_000, clock: renewing(() => holder.renew()) });
  const holder = new KvLeases(kv);
  const elsewhere = serviceOf(registry, APP, { leases });
  const running = here.run("schedule");
  await reached.promise;
  assertEquals(await here.run("request"), { type: "refused", why: "a run is on already" });
  gate.resolve();
  assertEquals(runOf(await running).outcome, "done");
  const lease = await holder.take(["run"]);
  assertEquals(await elsewhere.run("request"), { type: "refused", why: "a run is on already, elsewhere" });
  await lease?.release();
  assertEquals(runOf(await elsewhere.run("request")).outcome, "done");
});

/** A clock on which another process renews its leases whenever somebody waits. */
function renewing(renew: () => Promise<void>): FakeClock {
  const clock = new FakeClock();
  const delay = clock.delay.bind(clock);
  clock.delay = async (milliseconds, signal) => {
    await renew();
    await delay(milliseconds, signal);
  };
  return clock;
}

Deno.test("run() refuses when the database of the leases does not answer, or where nothing is to run", async () => {
  const kv = await Deno.openKv(":memory:");
  kv.close();
  const messages: string[] = [];
  const log = { write: (_level: string, message: string) => void messages.push(message), close: () => {} };
  const result = await serviceOf(registryWith(1), APP, { leases: new KvLeases(kv), log }).run("schedule");
  assert(
    result.type === "refused" && result.why.startsWith("the database with the leases does not answer: "),
  );
  assertEquals(messages, [`No run: ${result.why}`]);
  const refusal = "this is a branch";
  assertEquals(await serviceOf(registryWith(1), APP, { refusal }).run("schedule"), {
    type: "refused",
    why: refusal,
  });
});

Deno.test("run() is recorded when its config has become unreadable", async () => {
  const service = serviceOf(registryWith(1), APP, {
    readConfig: () => Promise.reject(new Error("Cannot read config")),
  });
  const run = runOf(await service.run("schedule"));
  assertEquals([run.outcome, run.error], ["error", "Cannot read config"]);
  assertEquals((await service.memory.read()).live, undefined);
});

Deno.test("run() ends and records nothing once its lease is somebody else's", async () => {
  using kv = await Deno.openKv(":memory:");
  const leases = new KvLeases(kv, { clock: new FakeClock() });
  const registry = registryWith(5, {
    intercept: async (request, { kind, count }) => {
      if (kind !== "manifest" || request.method !== "PUT" || count !== 1) return undefined;
      await kv.set(["image-syncer", "lease", "run"], "somebody else's");
      await leases.renew();
      return undefined;
    },
  });
  const service = serviceOf(registry, APP, { leases, mirrorOptions: { concurrency: 1 } });
  const run = runOf(await service.run("schedule"));
  assertEquals([run.outcome, run.error], ["error", 'Cannot keep lease "run": somebody else has it']);
  assertEquals((await service.memory.runs()).map(({ outcome }) => outcome), ["running"]);
  // The next run finds it.
  await kv.delete(["image-syncer", "lease", "run"]);
  assertEquals(runOf(await service.run("schedule")).outcome, "done");
  assertEquals((await service.memory.runs()).map(({ outcome }) => outcome), ["killed", "done"]);
});

Deno.test("stop() lets what is under way end, records, and refuses what comes after", async () => {
  const clock = new FakeClock();
  let stopped: Promise<void> | undefined;
  const registry = registryWith(30, {
    intercept: (request, { kind }) => {
      if (kind === "manifest" && request.method === "PUT") stopped ??= service.stop();
      return undefined;
    },
  });
  const service = serviceOf(registry, APP, { clock, mirrorOptions: { concurrency: 1 } });
  const run = runOf(await service.run("schedule"));
  await stopped;
  assertEquals(run.outcome, "stopped");
  assert(
    run.totals.copied > 0 && run.totals.pending > 0 && run.totals.failed === 0,
    JSON.stringify(run.totals),
  );
  assertEquals((await service.memory.runs()).length, 1);
  assertEquals(await service.run("schedule"), { type: "refused", why: "the service is stopping" });
});

Deno.test("stop() cuts off what does not end within its time of grace", async () => {
  const never = Promise.withResolvers<Response>();
  const reached = Promise.withResolvers<void>();
  const registry = registryWith(1, {
    intercept: (request, { kind }) => {
      if (kind !== "manifest" || request.method !== "PUT") return undefined;
      reached.resolve();
      return never.promise;
    },
  });
  const service = serviceOf(registry, APP, { grace: 1 });
  const running = service.run("schedule");
  await reached.promise;
  await service.stop();
  assertEquals(runOf(await running).outcome, "stopped");
  never.resolve(new Response(null, { status: 500 }));
});

Deno.test("fault 73: the log alone tells what happened, in order", async () => {
  const entries: [string, string, LogFields | undefined][] = [];
  const log: Log = {
    write: (...entry) => void entries.push([entry[0], entry[1], entry[2]]),
    close: () => {},
  };
  const registry = registryWith(2, {
    intercept: (request, { kind }) =>
      kind === "manifest" && request.method === "PUT" && request.url.endsWith("/v1")
        ? new Response('{"errors":[{"code":"DENIED","message":"quota"}]}', { status: 403 })
        : undefined,
  });
  const run = runOf(await serviceOf(registry, CONFIG, { log }).run("schedule"));
  assertEquals(
    entries.map(([level, message]) => [level, message.replace(/[0-9.]+ s:/, "N s:").slice(0, 60)]),
    [
      ["info", "Run begins, by the schedule"],
      ["error", 'failed one.test/team/none: Cannot list tags of "one.test/tea'],
      ["error", "failed one.test/team/app:v1 -> two.test/mirror/app:v1: Canno"],
      ["error", "Run ended with failures after N s: 1 copied, 0 unchanged, 1 "],
    ],
  );
  assert(entries.every(([, , fields]) => fields?.run === run.startedAt));
  const [, rule, image, end] = entries.map(([, , fields]) => fields);
  assertEquals([rule?.rule, rule?.outcome], ["one.test/team/none", "failed"]);
  assertEquals([image?.rule, image?.source, image?.destination, image?.outcome], [
    "one.test/team/app",
    "one.test/team/app:v1",
    "two.test/mirror/app:v1",
    "failed",
  ]);
  assert(String(image?.digest).startsWith("sha256:") && String(image?.error).includes("403 DENIED: quota"));
  assertEquals([end?.outcome, end?.copied, end?.failed, end?.rulesFailed], ["failed", 1, 1, 1]);
});

Deno.test("fault 73: a run that cannot begin says so in the log", async () => {
  const lines: string[] = [];
  const log: Log = { write: (level, message) => void lines.push(`${level} ${message}`), close: () => {} };
  const readConfig = () => Promise.reject(new Error("Cannot read config"));
  await serviceOf(registryWith(1), APP, { readConfig, log }).run("request");
  assertEquals(lines[0], "info Run begins, because it was asked for");
  assert(/^error Run could not go on after [0-9.]+ s: Cannot read config$/.test(lines[1] ?? ""), lines[1]);
});

Deno.test("fault 86: a run's progress counts an image whose retry succeeds once, as copied", async () => {
  let refusals = 6;
  const registry = registryWith(1, {
    intercept: (request, { kind }) =>
      kind === "manifest" && request.method === "PUT" && refusals-- > 0
        ? new Response("", { status: 500 })
        : undefined,
  });
  const seen: [number, number][] = [];
  const service: MirrorService = serviceOf(registry, APP, {
    clock: new FakeClock(),
    onEvent: () => {
      const { copied = -1, failed = -1 } = service.progress?.totals ?? {};
      seen.push([copied, failed]);
    },
  });
  await service.run("schedule");
  assert(seen.some(([, failed]) => failed === 1), "it has failed in between");
  assertEquals(seen.at(-1), [1, 0]);
  assertEquals((await service.memory.read()).rules.get("one.test/team/app")?.failureCount, 0);
});

Deno.test("fault 14: where the mirror is strict, a rule that selects nothing makes a run one with failures", async () => {
  const config = configOf({
    "one.test/team/app": "two.test/mirror/app",
    "one.test/team/app:/^x/": "two.test/x",
  });
  const lenient = runOf(await serviceOf(registryWith(1), config).run("schedule"));
  assertEquals([lenient.outcome, lenient.error], ["done", undefined]);
  const strict = runOf(await serviceOf(registryWith(1), config, { isStrict: true }).run("schedule"));
  assertEquals([strict.outcome, strict.error], ["failed", "nothing is selected by one.test/team/app:/^x/"]);
  const well = runOf(await serviceOf(registryWith(1), APP, { isStrict: true }).run("schedule"));
  assertEquals(well.outcome, "done");
});

Deno.test("where the mirror is strict, a tag that drifted makes a run one with failures; page and log say which", async () => {
  const lines: string[] = [];
  const log: Log = { write: (level, message) => void lines.push(`${level} ${message}`), close: () => {} };
  const registry = registryWith(1);
  const config = { ...APP, rules: APP.rules.map((rule) => ({ ...rule, overwrite: "never" as const })) };
  const store = new MemoryStore();
  const run = async (isStrict: boolean) =>
    runOf(await serviceOf(registry, config, { isStrict, store, log }).run("schedule"));
  assertEquals((await run(true)).outcome, "done");
  pushImage(registry, "team/app", "v0", buildImage({ seed: 99 }));
  assertEquals((await run(false)).outcome, "done");
  const memory = serviceOf(registry, config, { store }).memory;
  const rule = async () => (await memory.read()).rules.get("one.test/team/app");
  const before = await rule();
  assertEquals(before?.drifted, 1);
  const strict = await run(true);
  assertEquals([strict.outcome, strict.error, strict.totals.drifted], ["failed", "1 tag drifted", 1]);
  assertEquals((await rule())?.lastSuccessAt, before?.lastSuccessAt);
  const said = "warn drifted one.test/team/app:v0 -> two.test/mirror/app:v0: it stands for something else";
  assertEquals(lines.filter((line) => line.startsWith(said)).length, 2);
  const page = await (await siteOf(serviceOf(registry, config, { store }), { token: TOKEN })("/", {
    headers: OPERATOR,
  })).text();
  assertStringIncludes(page, "1 drifted");
});

Deno.test("run() of one rule leaves what is known of the others as it is", async () => {
  const registry = registryWith(1);
  const service = serviceOf(registry, CONFIG);
  await service.run("schedule");
  const before = (await service.memory.read()).rules.get("one.test/team/none");
  pushImage(registry, "team/app", "v9", buildImage({ seed: 9 }));
  const run = runOf(await service.run("request", "one.test/team/app"));
  assertEquals([run.outcome, run.rule, run.totals.copied], ["done", "one.test/team/app", 1]);
  const after = (await service.memory.read()).rules;
  assertEquals(after.get("one.test/team/none"), before);
  assertEquals(after.get("one.test/team/app")?.history, "cc");
  assertEquals(await service.run("request", "none.test/x"), {
    type: "refused",
    why: 'the config has no rule "none.test/x"',
  });
});
