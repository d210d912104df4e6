/** What is shown of a mirror's memory: on the page, as metrics, and of rules that overlap. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { formatMetrics } from "../../src/machine/site/metrics.ts";
import { updateRules } from "../../src/machine/service/rule_status.ts";
import { MAX_RUNS, type Memory, StatusMemory } from "../../src/machine/service/status.ts";
import { formatCount, formatDistance, formatSpan } from "../../src/machine/site/status_format.ts";
import { renderPage } from "../../src/machine/site/status_page.ts";
import { hideNames } from "../../src/machine/site/status_view.ts";
import { Traffic } from "../../src/machine/service/traffic.ts";
import { type Report, type ReportTask, startReport } from "../../src/mirror/report.ts";
import type { Rule } from "../../src/mirror/config/config.ts";
import { MemoryStore } from "../../src/mirror/store/memory_store.ts";
import { manyRules, NOW, PROGRESS, sampleMemory, sampleRun, sampleView } from "../status_samples.ts";

const OPERATOR = { isOperator: true, hasToken: true };
const START = "2026-08-03T10:00:00.000Z";

function taskOf(source: string, destinations: ReportTask["destinations"]): ReportTask {
  const bytes = { copied: 10, mounted: 0, skipped: 0 };
  return { id: source, source, status: "copied", destinations, bytes };
}

function reportOf(tasks: ReportTask[], more: Partial<Report> = {}): Report {
  return { ...startReport(START), finishedAt: START, tasks, ...more };
}

Deno.test("renderPage() shows per rule what is well, what fails and why, and when it was well last", async () => {
  const page = await renderPage(sampleView(), OPERATOR);
  for (
    const text of [
      "Failing",
      "quay.io/coreos/etcd",
      "7.0 GiB sent",
      "512 pulls",
      "complete <time",
      "in 40 min",
    ]
  ) {
    assertStringIncludes(page, text);
  }
  assertStringIncludes(page, "403 DENIED: &lt;b&gt;quota&lt;/b&gt; &amp; more");
  const order = ["private-app", "alpine:3.20", "coreos/etcd"].map((name) => page.indexOf(name));
  assertEquals(order, order.toSorted((one, other) => one - other));
  assertEquals(page.match(/<rect /g)?.length, 40);
});

Deno.test("renderPage() says in a word how the mirror is", async () => {
  const stateIn = async (view: ReturnType<typeof sampleView>) =>
    /<span class="state [a-z]+">([^<]+)</.exec(await renderPage(view, OPERATOR))?.[1];
  const memory = sampleMemory();
  const rules = new Map();
  assertEquals(await stateIn(sampleView({ memory: { ...memory, runs: [], rules } })), "Not run yet");
  assertEquals(await stateIn(sampleView({ memory: { ...memory, rules } })), "Healthy");
  const stopped = { ...memory, rules, runs: [sampleRun(10, "stopped")] };
  assertEquals(await stateIn(sampleView({ memory: stopped })), "Goes on with the next run");
  assertEquals(await stateIn(sampleView({ memory: { ...memory, live: PROGRESS } })), "Running");
  assertEquals(await stateIn(sampleView({ problem: "Cannot read config" })), "Cannot run");
});

Deno.test("viewStatus() calls a run killed that says nothing any more", () => {
  const memory = { ...sampleMemory(), runs: [sampleRun(60, "done"), sampleRun(5, "running")] };
  assertEquals(sampleView({ memory }).last?.outcome, "killed");
  const view = sampleView({ memory, progress: PROGRESS });
  assertEquals([view.last?.outcome, view.isRunning, view.progress], ["done", true, PROGRESS]);
});

Deno.test("hideNames() leaves numbers and takes everything that names something", async () => {
  const view = sampleView({
    memory: { ...sampleMemory(), runs: [{ ...sampleRun(9, "error"), error: "ghcr.io" }] },
  });
  const text = JSON.stringify(hideNames(view)) + await renderPage(hideNames(view), OPERATOR) +
    formatMetrics(hideNames(view));
  for (const name of ["quay.io", "ghcr.io", "docker.io", "example.com", "alpine"]) {
    assert(!text.includes(name), name);
  }
});

Deno.test("formatMetrics() spells every number that an alert may need", () => {
  const metrics = formatMetrics(sampleView());
  for (
    const line of [
      "image_syncer_run_active 0",
      "image_syncer_last_run_duration_seconds 263",
      'image_syncer_last_run_images{outcome="copied"} 12',
      'image_syncer_requests_total{registry="quay.io",code="429"} 3',
      'image_syncer_rate_limit_remaining{registry="docker.io"} 76',
      'image_syncer_last_success_timestamp_seconds{rule="quay.io/coreos/etcd"} 1785751200',
      'image_syncer_rule_failed_images{rule="ghcr.io/acme/private-app:/^v[0-9]+\\\\.[0-9]+\\\\.[0-9]+$/"} 1',
      "# TYPE image_syncer_sent_bytes_total counter",
      "image_syncer_sent_bytes_total 22548578304",
    ]
  ) assertStringIncludes(metrics, `${line}\n`);
  assertStringIncludes(
    formatMetrics(sampleView({ memory: { ...sampleMemory(), runs: [] } })),
    "run_active 0",
  );
});

Deno.test("updateRules() gives each image to the rules that brought it", () => {
  const rules = [
    { source: "quay.io/a/b", destinations: ["r.io/all"] },
    { source: "quay.io/a/b:v1,v2", destinations: ["r.io/two", "r.io/more:x,y"] },
    { source: "quay.io/a/b:/^v/", destinations: ["r.io/pattern"] },
    { source: `quay.io/a/b@sha256:${"a".repeat(64)}`, destinations: ["r.io/digest"] },
    { source: "not a source!", destinations: ["r.io/x"] },
  ];
  const copied = (...references: string[]) =>
    references.map((reference) => ({ reference, status: "copied" as const }));
  const report = reportOf([
    taskOf("quay.io/a/b:v1", copied("r.io/all:v1", "r.io/two:v1", "r.io/more:x", "r.io/pattern:v1")),
    taskOf("quay.io/a/b:v2", copied("r.io/all:v2", "r.io/two:v2", "r.io/more:y", "r.io/pattern:v2")),
    taskOf(`quay.io/a/b@sha256:${"a".repeat(64)}`, copied(`r.io/digest@sha256:${"a".repeat(64)}`)),
  ], { rules: [{ source: "not a source!", error: "it is none" }] });
  const updated = updateRules(rules, report, { before: new Map(), pulls: new Map([["quay.io/a/b", 3]]) });
  assertEquals(updated.map(({ images }) => images), [2, 4, 2, 1, 0]);
  assertEquals(updated.map(({ bytes }) => bytes), [20, 20, 20, 10, 0]);
  assertEquals(updated.map(({ failureCount }) => failureCount), [0, 0, 0, 0, 1]);
  assertEquals(updated.map(({ pulls }) => pulls), [3, 3, 3, 3, 0]);
});

Deno.test("updateRules() knows the images of namespaces, of renamed tags, and of a source with several rules", () => {
  const rules: Rule[] = [
    { source: "quay.io/team/*", destinations: ["r.io/m/*"], repositories: { exclude: ["team/own"] } },
    { source: "quay.io/team/own:v1", destinations: ["r.io/m/own"] },
    { source: "quay.io/a/b", destinations: ["r.io/b"], rename: "old-{tag}" },
    { source: "quay.io/a/c", destinations: ["r.io/c"] },
    { source: "quay.io/a/c", destinations: ["r.io/arm"], platforms: ["linux/arm64"] },
  ];
  const copied = (reference: string) => [{ reference, status: "copied" as const }];
  const report = reportOf([
    taskOf("quay.io/team/one:v1", copied("r.io/m/one:v1")),
    taskOf("quay.io/team/two:v1", copied("r.io/m/two:v1")),
    taskOf("quay.io/team/own:v1", copied("r.io/m/own:v1")),
    taskOf("quay.io/a/b:v1", copied("r.io/b:old-v1")),
    taskOf("quay.io/a/c:v1", copied("r.io/c:v1")),
    taskOf("quay.io/a/c:v1", copied("r.io/arm:v1")),
  ], {
    rules: [{ source: "quay.io/team/bad", destination: "r.io/m/bad", error: "404" }],
    emptyRules: [{ source: "quay.io/team/empty" }],
  });
  const pulls = new Map([["quay.io/team/one", 2], ["quay.io/team/two", 3], ["quay.io/team/own", 7]]);
  const updated = updateRules(rules, report, { before: new Map(), pulls });
  assertEquals(updated.map(({ images, bytes, pulls }) => [images, bytes, pulls]), [
    [2, 20, 5],
    [1, 10, 7],
    [1, 10, 0],
    [2, 20, 0],
  ]);
  assertEquals(updated[0]?.failures, [{ reference: "r.io/m/bad", error: "404" }]);
  assertEquals(updated.map(({ isEmpty }) => isEmpty), [false, false, false, false]);
  const config = { auth: {}, warnings: [], rules };
  const view = sampleView({ config });
  assertEquals(view.rules?.map(({ destinations }) => destinations.length), [1, 1, 1, 2]);
});

Deno.test("updateRules() calls a rule successful only when nothing of it is left", () => {
  const rules = [{ source: "quay.io/a/b", destinations: ["r.io/b"] }];
  const update = (report: Report) => updateRules(rules, report, { before: new Map(), pulls: new Map() })[0];
  const task = (status: "copied" | "unchanged" | "pending" | "failed" | "skipped") =>
    taskOf("quay.io/a/b:v1", [{ reference: "r.io/b:v1", status }]);
  for (const status of ["copied", "unchanged", "skipped"] as const) {
    assertEquals(update(reportOf([task(status)]))?.lastSuccessAt, START);
  }
  for (const status of ["pending", "failed"] as const) {
    assertEquals(update(reportOf([task(status)], { isInterrupted: true }))?.lastSuccessAt, undefined);
  }
  assertEquals(update(reportOf([], { isInterrupted: true }))?.lastSuccessAt, undefined);
  assertEquals(update(reportOf([]))?.lastSuccessAt, START);
});

Deno.test("updateRules() keeps a record small enough for Deno KV", () => {
  const rules = [{ source: "quay.io/a/b", destinations: ["r.io/b"] }];
  const error = "x".repeat(10_000);
  const tasks = Array.from(
    { length: 5000 },
    (_, at) =>
      taskOf(`quay.io/a/b:${at}`, [{
        reference: `r.io/b:${at}`,
        status: at % 2 ? "failed" : "copied",
        error,
      }]),
  );
  const [record] = updateRules(rules, reportOf(tasks), { before: new Map(), pulls: new Map() });
  assertEquals([record?.failureCount, record?.changedCount], [2500, 2500]);
  assert(JSON.stringify(record).length < 32 * 1024);
});

Deno.test("setRun() remembers the last runs only, and calls killed what has never ended", async () => {
  const memory = new StatusMemory(new MemoryStore());
  for (let at = 200; at > 0; at--) await memory.setRun(sampleRun(at, at === 30 ? "running" : "done"));
  const runs = await memory.runs();
  assertEquals(runs.length, MAX_RUNS);
  assertEquals(runs.at(-1), sampleRun(1, "done"));
  assertEquals(
    runs.find(({ startedAt }) => startedAt === sampleRun(30, "done").startedAt)?.outcome,
    "killed",
  );
});

Deno.test("fault 87: what a run adds to the records does not grow with the runs before it", async () => {
  let bytes = 0;
  class CountingStore extends MemoryStore {
    override set(...[key, value, options]: Parameters<MemoryStore["set"]>) {
      bytes += JSON.stringify([key, value]).length;
      return super.set(key, value, options);
    }
  }
  const memory = new StatusMemory(new CountingStore());
  for (let at = 200; at > 100; at--) await memory.setRun(sampleRun(at, "done"));
  bytes = 0;
  await memory.setRun(sampleRun(1, "running"));
  await memory.setRun(sampleRun(1, "done"));
  assert(bytes < 1500, `${bytes} bytes`);
});

Deno.test("watch() counts answers, refusals, pulls and what is left of them", async () => {
  const traffic = new Traffic();
  const answers = [
    new Response("{}", { headers: { "ratelimit-remaining": "76;w=21600" } }),
    new Response("", { status: 429, headers: { "ratelimit-remaining": "0;w=21600" } }),
    new Response(""),
  ];
  const fetch = traffic.watch("docker.io", () => {
    const answer = answers.shift();
    return answer === undefined ? Promise.reject(new TypeError("fetch failed")) : Promise.resolve(answer);
  });
  const url = "https://registry-1.docker.io/v2/library/alpine/manifests/3.20";
  await fetch(url, { method: "GET" });
  assertEquals(traffic.rateLimits, { "docker.io": 76 });
  await fetch(url, { method: "GET" });
  await fetch(url, { method: "HEAD" });
  await fetch(url, { method: "GET" }).catch(() => {});
  assertEquals(traffic.requests, { "docker.io": { 200: 2, 429: 1, 0: 1 } });
  assertEquals(traffic.rateLimits, { "docker.io": 0 });
  assertEquals([...traffic.pulls], [["docker.io/library/alpine", 1]]);
});

Deno.test("fault 33: a tag that is none breaks no run's record, and fails the rule that selects it", () => {
  const rules = [
    { source: "quay.io/a/b", destinations: ["r.io/all"] },
    { source: "quay.io/a/c", destinations: ["r.io/all"] },
  ];
  for (const tag of ["not a tag", "../../x?y=1", "prod@sha256:1", "Ä".repeat(200), ""]) {
    const destination = { reference: `r.io/all:${tag}`, status: "failed" as const, error: "it is no tag" };
    const report = reportOf([taskOf(`quay.io/a/b:${tag}`, [destination])]);
    const updated = updateRules(rules, report, { before: new Map(), pulls: new Map() });
    assertEquals(updated.map(({ failureCount, images }) => [failureCount, images]), [[1, 1], [0, 0]]);
  }
  const strange = reportOf([taskOf("::::", []), taskOf("", [{ reference: "", status: "copied" }])]);
  assertEquals(updateRules(rules, strange, { before: new Map(), pulls: new Map() }).length, 2);
});

Deno.test("updateRules() keeps a letter for each of the last thirty runs", () => {
  const rules = [{ source: "quay.io/a/b", destinations: ["r.io/b"] }];
  let before = new Map();
  const run = (status: "copied" | "unchanged" | "failed" | "pending") => {
    const report = reportOf([taskOf("quay.io/a/b:v1", [{ reference: "r.io/b:v1", status }])]);
    const [record] = updateRules(rules, report, { before, pulls: new Map() });
    before = new Map([["quay.io/a/b", record]]);
    return record?.history;
  };
  assertEquals((["copied", "unchanged", "failed", "pending"] as const).map(run).at(-1), "cofp");
  for (let count = 0; count < 40; count++) run("unchanged");
  assertEquals(run("failed"), `${"o".repeat(29)}f`);
});

Deno.test("fault 14: a rule that selects nothing has a state of its own, on the page and in the metrics", async () => {
  const rules = [{ source: "quay.io/a/b:/^none/", destinations: ["r.io/b"] }];
  const update = (isStrict: boolean, more: Partial<Report> = {}) =>
    updateRules(rules, reportOf([], { emptyRules: rules, ...more }), {
      before: new Map(),
      pulls: new Map(),
      isStrict,
    })[0];
  const [lenient, strict] = [update(false), update(true)];
  assertEquals([lenient?.isEmpty, lenient?.lastSuccessAt, lenient?.history], [true, START, "e"]);
  assertEquals([strict?.isEmpty, strict?.lastSuccessAt], [true, undefined]);
  assertEquals(update(false, { isInterrupted: true })?.isEmpty, false);
  const failed = update(false, { rules: [{ source: "quay.io/a/b:/^none/", error: "404" }] });
  assertEquals([failed?.isEmpty, failed?.failureCount], [false, 1]);
  const memory = {
    ...sampleMemory(),
    runs: [sampleRun(9, "done")],
    rules: new Map([[lenient?.source ?? "", lenient]]),
  };
  const view = sampleView({ memory: memory as Memory, config: { auth: {}, warnings: [], rules } });
  const page = await renderPage(view, OPERATOR);
  assertStringIncludes(page, "1 rule without images");
  assertStringIncludes(page, "1 selecting nothing");
  assert(!page.includes("Healthy"));
  assertStringIncludes(formatMetrics(view), 'image_syncer_rules{state="empty"} 1\n');
});

Deno.test("fault 88: a rule that was never well has a time of its own, for an alert to fire on", () => {
  const metrics = formatMetrics(sampleView());
  assertStringIncludes(metrics, 'image_syncer_last_success_timestamp_seconds{rule="alpine:3.20"} 0\n');
  assertStringIncludes(metrics, "image_syncer_oldest_success_timestamp_seconds 0\n");
  const never = formatMetrics(sampleView({ memory: { ...sampleMemory(), runs: [], rules: new Map() } }));
  for (const name of ["last_run_timestamp_seconds", "last_run_duration_seconds"]) {
    assertStringIncludes(never, `image_syncer_${name} 0\n`);
  }
  assertStringIncludes(never, 'image_syncer_runs_total{outcome="failed"} 0\n');
});

Deno.test("fault 88: metrics name what they are by Prometheus' conventions", () => {
  const metrics = formatMetrics(sampleView({ progress: PROGRESS }));
  assertMatch(metrics, /^image_syncer_build_info\{version="[^"]+"\} 1$/m);
  assertStringIncludes(metrics, 'image_syncer_run_images{outcome="pending"} 22\n');
  assertStringIncludes(metrics, 'image_syncer_last_run_outcome{outcome="failed"} 0\n');
  // A label's value is a word of its own kind, and no sum has two kinds in it.
  assert(!/rulesFailed|bytes_total\{kind|[^_]run_duration/.test(metrics));
  for (const [, name = "", type = ""] of metrics.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    assertEquals(name.endsWith("_total"), type === "counter", name);
  }
});

Deno.test("fault 89: while a run looks at sources, the page does not say 0 of 0", async () => {
  const none = { copied: 0, unchanged: 0, skipped: 0, failed: 0, pending: 0, rulesFailed: 0 };
  const start = await renderPage(
    sampleView({ progress: { ...PROGRESS, isPlanned: false, totals: none, read: 0 } }),
    OPERATOR,
  );
  assertStringIncludes(start, "looking at sources, 0 images found so far");
  assert(!/0 of 0|<progress[^>]*value/.test(start));
  const both = await renderPage(sampleView({ progress: { ...PROGRESS, isPlanned: false } }), OPERATOR);
  assertStringIncludes(both, "looking at sources, 340 images found so far");
  assertStringIncludes(both, "17 of 40 images copied");
});

Deno.test("fault 89: rules move while a run is on", async () => {
  const ruleProgress = new Map([
    ["quay.io/coreos/etcd", { copied: 2, unchanged: 300, skipped: 0, failed: 0, pending: 38 }],
    ["alpine:3.20", { copied: 1, unchanged: 0, skipped: 0, failed: 0, pending: 0 }],
  ]);
  const view = sampleView({ progress: PROGRESS, ruleProgress });
  assertEquals(view.rules?.map(({ state }) => state), ["running", "failing", "ok"]);
  assertEquals(view.ruleCounts, { failing: 1, empty: 0, running: 1, pending: 0, unknown: 0, ok: 1 });
  assertStringIncludes(await renderPage(view, OPERATOR), "302 of 340 images");
});

Deno.test("fault 89: many rules are folded, but for those that need somebody, and can be filtered", async () => {
  const view = sampleView(manyRules(300));
  const page = await renderPage(view, OPERATOR);
  assertStringIncludes(page, "294 complete");
  assertMatch(page, /<details class="group" id="group-ok">/);
  assertStringIncludes(page, "503 Service Unavailable");
  const some = await renderPage(view, { ...OPERATOR, filter: " Application-10" });
  assertStringIncludes(some, "10 of 300 rules");
  assert(!some.includes("application-007"));
  const none = await renderPage(view, { ...OPERATOR, filter: '"><script>' });
  assertStringIncludes(none, "0 of 300 rules");
  assert(!none.includes('"><script>'));
});

Deno.test("fault 89: the chart has an axis of times and one of durations", async () => {
  const page = await renderPage(sampleView(), OPERATOR);
  assertEquals(page.match(/<line /g)?.length, 3);
  for (const text of ["<span>7 min</span>", "08-01 19:00</time>", "08-03 10:00</time>", "25 complete"]) {
    assertStringIncludes(page, text);
  }
});

Deno.test("formatDistance(), formatSpan() and formatCount() speak to people", () => {
  assertEquals(formatDistance(NOW - 2000, NOW), "now");
  assertEquals(formatDistance(NOW - 61 * 60_000, NOW), "61 min ago");
  assertEquals(formatDistance(NOW + 3 * 3600_000, NOW), "in 3 h");
  assertEquals([0.4, 89, 91, 7200, 4 * 86_400].map(formatSpan), ["0 s", "89 s", "2 min", "2 h", "4 days"]);
  assertEquals([formatCount(1, "image"), formatCount(1200, "image")], ["1 image", "1,200 images"]);
});
