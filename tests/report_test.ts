/** Tests of the report: what has become of everything, folded from events. */

import { assertEquals } from "@std/assert";
import type { Reference } from "../src/oci/reference.ts";
import { type CopyTask, type Plan, startPlan } from "../src/mirror/plan/plan.ts";
import type { CopyEvent } from "../src/mirror/copy/copy_event.ts";
import { formatBytes, formatSummary, type Report, ReportBuilder, startReport } from "../src/mirror/report.ts";

const START = "2026-01-02T03:04:05.000Z";
const END = "2026-01-02T03:05:05.000Z";
const DIGEST = `sha256:${"a".repeat(64)}`;

function planOf(some: Partial<Plan>): CopyEvent {
  return {
    type: "planned",
    plan: { ...startPlan(Date.parse(START)), ...some },
  };
}

function to(repository: string): Reference {
  return { registry: "t.test", repository };
}

function taskOf(id: string, ...destinations: readonly string[]): CopyTask {
  const root = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: DIGEST, size: 5 };
  return {
    id,
    source: { registry: "s.test", repository: id },
    root,
    destinations: destinations.map((name) => ({ reference: to(name), action: "copy" })),
  };
}

function fold(events: readonly CopyEvent[], isInterrupted = false): Report {
  const builder = new ReportBuilder(START);
  for (const event of events) builder.add(event);
  return builder.finish(END, isInterrupted);
}

function copied(task: string, destination: string): CopyEvent {
  return { type: "destination-copied", task, destination: `t.test/${destination}` };
}

function failed(task: string, destination: string, isPermanent = false): CopyEvent {
  const error = `no ${destination}`;
  return { type: "destination-failed", task, destination: `t.test/${destination}`, error, isPermanent };
}

Deno.test("startReport() has nothing in it", () => {
  const report = startReport(START);
  assertEquals(report.totals, { copied: 0, unchanged: 0, skipped: 0, failed: 0, pending: 0, rulesFailed: 0 });
  assertEquals([report.finishedAt, report.isInterrupted], [undefined, undefined]);
});

Deno.test("ReportBuilder.finish() counts images, a source at one destination each", () => {
  const task = taskOf("s", "copied", "failed", "unchanged", "pending");
  task.destinations[2] = { reference: to("unchanged"), action: "unchanged" };
  const report = fold([planOf({ tasks: [task] }), copied("s", "copied"), failed("s", "failed")]);
  assertEquals(report.totals, { copied: 1, unchanged: 1, skipped: 0, failed: 1, pending: 1, rulesFailed: 0 });
  assertEquals(report.tasks[0]?.destinations.map(({ status }) => status), [
    "copied",
    "failed",
    "unchanged",
    "pending",
  ]);
  assertEquals([report.startedAt, report.finishedAt], [START, END]);
});

Deno.test("ReportBuilder.finish() gives a task the status that matters most, and the first error", () => {
  const statusOf = (...events: CopyEvent[]) =>
    fold([planOf({ tasks: [taskOf("s", "a", "b")] }), ...events]).tasks[0];
  assertEquals(statusOf(copied("s", "a"), failed("s", "b"))?.status, "failed");
  assertEquals(statusOf(failed("s", "b"), failed("s", "a"))?.error, "no a");
  assertEquals(statusOf(copied("s", "a"))?.status, "pending");
  assertEquals(statusOf(copied("s", "a"), copied("s", "b"))?.status, "copied");
  assertEquals(statusOf(copied("s", "a"), copied("s", "b"))?.digest, DIGEST);
});

Deno.test("ReportBuilder.finish() says that a run was interrupted, and only then", () => {
  assertEquals(fold([], true).isInterrupted, true);
  assertEquals("isInterrupted" in fold([]), false);
});

Deno.test("ReportBuilder.add() forgets a failure when a later attempt succeeds", () => {
  const report = fold([planOf({ tasks: [taskOf("s", "a")] }), failed("s", "a"), copied("s", "a")]);
  assertEquals(report.totals.failed, 0);
  assertEquals(report.tasks[0]?.destinations, [{ reference: "t.test/a", status: "copied" }]);
  assertEquals(report.tasks[0]?.error, undefined);
});

Deno.test("ReportBuilder.add() counts what could not be planned until a later plan has it", () => {
  const failure = {
    kind: "image",
    source: "s.test/s",
    destination: "t.test/a",
    error: "no",
    isPermanent: false,
  } as const;
  const first = planOf({
    failed: [failure, { kind: "rule", source: "r", error: "bad", isPermanent: false }],
  });
  assertEquals(fold([first]).totals, { ...startReport(START).totals, failed: 1, rulesFailed: 1 });
  assertEquals(fold([first]).rules, [{ source: "r", error: "bad" }]);
  const again: CopyEvent = { type: "phase-started", phase: "retry-generate" };
  const second = planOf({ tasks: [{ ...taskOf("s", "a"), id: "s.test/s" }] });
  const report = fold([first, again, second, copied("s.test/s", "a")]);
  assertEquals(report.totals, { ...startReport(START).totals, copied: 1 });
});

Deno.test("ReportBuilder.add() counts an image of chosen platforms once, whatever became of it first", () => {
  const platforms = ["linux/arm64"];
  const failure = {
    kind: "image",
    source: "s.test/s",
    destination: "t.test/a",
    platforms,
    error: "no",
    isPermanent: false,
  } as const;
  const task = { ...taskOf("s", "a"), id: "s.test/s (linux/arm64)", platforms };
  const report = fold([planOf({ failed: [failure] }), planOf({ tasks: [task] }), copied(task.id, "a")]);
  assertEquals(report.totals, { ...startReport(START).totals, copied: 1 });
  assertEquals(report.tasks.length, 1);
});

Deno.test("ReportBuilder.add() forgets of a rule that is looked at again what was wrong with it", () => {
  const rule = { kind: "rule", source: "r", destination: "d", error: "bad", isPermanent: true } as const;
  const again = { ...rule, source: "q", isPermanent: false };
  const events = [planOf({ failed: [rule, again] }), planOf({})];
  assertEquals(fold(events).rules.map(({ source }) => source), ["r", "q"]);
  const report = fold([...events, { type: "phase-started", phase: "retry-generate" }, planOf({})]);
  assertEquals(report.rules, [{ source: "r", destination: "d", error: "bad" }]);
});

Deno.test("ReportBuilder.add() names rules that select nothing", () => {
  const report = fold([planOf({ empty: [{ rule: 0, source: "r:/x/" }] })]);
  assertEquals(report.emptyRules, [{ source: "r:/x/" }]);
});

Deno.test("ReportBuilder.add() tells why an image is skipped", () => {
  const report = fold([planOf({ skipped: [{ source: "s", destination: "a", reason: "no platform" }] })]);
  assertEquals(report.totals.skipped, 1);
  assertEquals([report.tasks[0]?.status, report.tasks[0]?.reason], ["skipped", "no platform"]);
});

Deno.test("ReportBuilder.add() adds up bytes, by task and in all", () => {
  const blob = { digest: DIGEST, destination: "a" };
  const report = fold([
    planOf({ tasks: [taskOf("s", "a"), taskOf("t", "b")] }),
    { type: "blob-copied", task: "s", size: 10, ...blob },
    { type: "blob-copied", task: "t", size: 5, ...blob },
    { type: "blob-skipped", task: "s", size: 3, reason: "mounted", ...blob },
    { type: "blob-skipped", task: "s", size: 2, reason: "exists", ...blob },
    { type: "blob-skipped", task: "s", size: 99, reason: "foreign", ...blob },
    { type: "blob-skipped", task: "s", size: -1, reason: "exists", ...blob },
  ]);
  assertEquals(report.bytes, { copied: 15, mounted: 3, skipped: 2 });
  assertEquals(report.tasks.map(({ bytes }) => bytes.copied), [10, 5]);
});

Deno.test("ReportBuilder.add() is not confused by events of tasks it does not know", () => {
  assertEquals(fold([copied("x", "a"), failed("y", "b")]).tasks, []);
});

Deno.test("ReportBuilder.retryable() names what failed and may succeed", () => {
  const builder = new ReportBuilder(START);
  builder.add(planOf({ tasks: [taskOf("s", "a", "b", "c"), taskOf("t", "d")] }));
  for (const event of [failed("s", "a"), failed("s", "b", true), copied("s", "c"), copied("t", "d")]) {
    builder.add(event);
  }
  assertEquals(builder.retryable("s"), new Set(["t.test/a"]));
  assertEquals(builder.retryable("t"), new Set());
  assertEquals(["s", "t", "x"].map((id) => builder.isSettled(id)), [false, true, true]);
});

Deno.test("ReportBuilder.hasPending() is whether an image was not reached", () => {
  const builder = new ReportBuilder(START);
  builder.add(planOf({ tasks: [taskOf("s", "a")] }));
  assertEquals(builder.hasPending(), true);
  builder.add(copied("s", "a"));
  assertEquals(builder.hasPending(), false);
});

Deno.test("formatSummary() is the line that scripts look for", () => {
  const rule = { kind: "rule", source: "r", error: "bad", isPermanent: true } as const;
  const report = fold([
    planOf({ tasks: [taskOf("s", "a", "b")], failed: [rule] }),
    failed("s", "a"),
    failed("s", "b"),
  ]);
  assertEquals(formatSummary(report), "Finished, 2 sync tasks failed, 1 tasks generate failed");
});

Deno.test("formatBytes() is for people", () => {
  const texts = [0, 1023, 1024, 1536, 1024 ** 2 - 1, 5 * 1024 ** 3, 1024 ** 6].map(formatBytes);
  assertEquals(texts, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 GiB", "1024.0 PiB"]);
});
