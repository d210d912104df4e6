/** The one fold of a run's events: what live view, page, log and report have their numbers from. */

import { assert, assertEquals } from "@std/assert";
import type { Plan } from "../src/mirror/plan/plan.ts";
import { formatProgress, type ImageChange, ProgressFold } from "../src/mirror/progress.ts";
import type { CopyEvent } from "../src/mirror/copy/copy_event.ts";
import { ReportBuilder } from "../src/mirror/report.ts";

const DIGEST = `sha256:${"a".repeat(64)}` as const;
const ROOT = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: DIGEST, size: 10 } as const;
const START = "2026-08-03T10:00:00.000Z";

/** A plan, or a piece of one: images by their tag, each at one destination. */
function planOf(images: Record<string, "copy" | "unchanged">, more: Partial<Plan> = {}): CopyEvent {
  const tasks = Object.entries(images).map(([tag, action]) => ({
    id: `a.test/app:${tag}`,
    source: { registry: "a.test", repository: "app", tag },
    root: ROOT,
    destinations: [{ reference: { registry: "b.test", repository: "app", tag }, action }],
  }));
  return {
    type: "planned",
    plan: { createdAt: START, tasks, skipped: [], failed: [], warnings: [], empty: [], dropped: [], ...more },
  };
}

function named(tag: string): { task: string; destination: string } {
  return { task: `a.test/app:${tag}`, destination: `b.test/app:${tag}` };
}

function copied(tag: string): CopyEvent {
  return { type: "destination-copied", ...named(tag) };
}

function failed(tag: string): CopyEvent {
  return { type: "destination-failed", ...named(tag), error: "503", isPermanent: false };
}

function foldOf(events: readonly CopyEvent[], options: { now?: () => number } = {}): ProgressFold {
  const fold = new ProgressFold(options);
  for (const event of events) fold.add(event);
  return fold;
}

Deno.test("fault 86: an image whose retry succeeds is no failure any more", () => {
  const fold = foldOf([planOf({ v1: "copy", v2: "copy" }), failed("v1"), copied("v2")]);
  assertEquals([fold.totals.failed, fold.totals.copied], [1, 1]);
  fold.add({ type: "phase-started", phase: "retry-copy" });
  fold.add(copied("v1"));
  assertEquals([fold.totals.failed, fold.totals.copied, fold.totals.pending], [0, 2, 0]);
});

Deno.test("fault 86: an image that fails in every pass is one failure", () => {
  const fold = foldOf([planOf({ v1: "copy" }), failed("v1"), failed("v1"), failed("v1")]);
  assertEquals(fold.totals.failed, 1);
});

Deno.test("fault 86: a source that answers at the second look is no failure any more", () => {
  const failure = { kind: "image", source: "a.test/app:v1", destination: "b.test/app:v1" } as const;
  const rule = { kind: "rule", source: "c.test/app" } as const;
  const why = { error: "503", isPermanent: false };
  const fold = foldOf([planOf({}, { failed: [{ ...failure, ...why }, { ...rule, ...why }] })]);
  assertEquals([fold.totals.failed, fold.totals.rulesFailed], [1, 1]);
  fold.add({ type: "phase-started", phase: "retry-generate" });
  fold.add(planOf({ v1: "copy" }));
  assertEquals([fold.totals.failed, fold.totals.rulesFailed, fold.totals.pending], [0, 0, 1]);
});

Deno.test("ProgressFold takes a plan in pieces, while images of earlier pieces are copied", () => {
  const fold = foldOf([planOf({ v1: "copy", v2: "unchanged" }), copied("v1"), planOf({ v3: "copy" })]);
  assertEquals([fold.toCopy, fold.totals.copied, fold.totals.unchanged], [2, 1, 1]);
  assertEquals(fold.snapshot().isPlanned, false);
  fold.add({ type: "planning-ended" });
  assertEquals(fold.snapshot().isPlanned, true);
});

Deno.test("ProgressFold counts what the report counts, whatever happens in which order", () => {
  let seed = 7;
  const dice = (sides: number) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % sides;
  for (let round = 0; round < 200; round++) {
    const builder = new ReportBuilder(START);
    const fold = new ProgressFold();
    const known: string[] = [];
    for (let step = 0; step < 30; step++) {
      const tag = known[dice(Math.max(1, known.length))] ?? "v";
      const event = [
        () => {
          const [one, other] = [`v${known.length}`, `v${known.length + 1}`];
          known.push(one, other);
          return planOf({ [one]: "copy", [other]: "copy" });
        },
        () => planOf({ [`u${round}-${step}`]: "unchanged" }),
        () => copied(tag),
        () => failed(tag),
        (): CopyEvent => ({ type: "blob-copied", ...named(tag), digest: DIGEST, size: 5 }),
        (): CopyEvent => ({
          type: "blob-skipped",
          ...named(tag),
          digest: DIGEST,
          size: 3,
          reason: "mounted",
        }),
      ][known.length === 0 ? 0 : dice(6)]?.();
      // An image that is through stays so: no run copies it again.
      const isThrough = event?.type.startsWith("destination-") &&
        builder.report.tasks.some(({ id, destinations }) =>
          id === `a.test/app:${tag}` && destinations[0]?.status === "copied"
        );
      if (event === undefined || isThrough) continue;
      builder.add(event);
      fold.add(event);
    }
    const { totals, bytes } = builder.finish(START, false);
    assertEquals([fold.totals, fold.bytes], [totals, bytes]);
  }
});

Deno.test("ProgressFold knows the time left once something is through and nothing more is found", () => {
  let time = 0;
  const fold = foldOf([planOf({ v1: "copy", v2: "copy", v3: "copy" })], { now: () => time });
  for (const tag of ["v1", "v2"]) fold.add({ type: "task-started", task: named(tag).task });
  time += 10_000;
  fold.add(copied("v1"));
  assertEquals(fold.snapshot().secondsLeft, undefined);
  fold.add({ type: "planning-ended" });
  assertEquals(fold.snapshot().secondsLeft, 20);
  // One blob under way that is far larger than all before it.
  fold.add({ type: "blob-started", ...named("v2"), digest: DIGEST, size: 1000, destinations: [] });
  fold.add({ type: "blob-progress", ...named("v2"), digest: DIGEST, bytes: 100 });
  assertEquals(fold.snapshot().secondsLeft, 90);
  for (const event of [copied("v2"), copied("v3")]) fold.add(event);
  assertEquals(fold.snapshot().secondsLeft, undefined);
});

Deno.test("ProgressFold tells of each image that changes, and from what", () => {
  const changes: ImageChange[] = [];
  const fold = new ProgressFold({ onImage: (change) => changes.push(change) });
  for (const event of [planOf({ v1: "copy", v2: "unchanged" }), failed("v1"), copied("v1")]) fold.add(event);
  assertEquals(changes.map(({ from, to, source }) => [from, to, source]), [
    [undefined, "pending", "a.test/app:v1"],
    [undefined, "unchanged", "a.test/app:v2"],
    ["pending", "failed", "a.test/app:v1"],
    ["failed", "copied", "a.test/app:v1"],
  ]);
});

Deno.test("formatProgress() says what is known, and never 0 of 0", () => {
  const fold = new ProgressFold({ now: () => 0 });
  assertEquals(formatProgress(fold.snapshot()), "looking at sources, 0 images found so far");
  fold.add(planOf({ v1: "copy", v2: "unchanged" }));
  assertEquals(
    formatProgress(fold.snapshot()),
    "looking at sources, 2 images found so far, 0 of 1 images copied",
  );
  for (const event of [{ type: "planning-ended" }, failed("v1")] as const) fold.add(event);
  assertEquals(formatProgress(fold.snapshot()), "0 of 1 images copied, 1 failed");
  assert(!formatProgress(fold.snapshot()).includes("left"));
});
