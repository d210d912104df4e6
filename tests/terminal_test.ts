/** What a terminal is shown: in colours or without, narrow, of no size at all, and while it changes. */

import process from "node:process";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { onInterrupt } from "../src/machine/doors/interrupt.ts";
import { paintFor } from "../src/machine/terminal/colour.ts";
import { LiveView } from "../src/machine/terminal/live_view.ts";
import { linesOf, summaryLines } from "../src/machine/terminal/printer.ts";
import { Screen, type ScreenOptions } from "../src/machine/terminal/screen.ts";
import { parseReference } from "../src/oci/reference.ts";
import type { CopyEvent } from "../src/mirror/copy/copy_event.ts";
import { startReport } from "../src/mirror/report.ts";

const DIGEST = `sha256:${"a".repeat(64)}` as const;
const ROOT = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: DIGEST, size: 10 } as const;
const NAME = "registry.example.com/some/very/long/repository/path/application:v1.2.3-alpine";
const ESCAPE = String.fromCharCode(27);

/** A run of two images, with a blob of the second half way through after ten seconds. */
function viewAtWork(): LiveView {
  let time = 0;
  const view = new LiveView({ now: () => time });
  const tasks = [NAME, "a.test/b:v1"].map((source) => ({
    id: source,
    source: parseReference(source),
    root: ROOT,
    destinations: [{ reference: parseReference(`d.test/${source}`), action: "copy" as const }],
  }));
  const plan = { createdAt: "", tasks, skipped: [], failed: [], warnings: [], empty: [], dropped: [] };
  const blob = { task: NAME, digest: DIGEST };
  const add = (...events: CopyEvent[]) => events.forEach((event) => view.add(event));
  add({ type: "planned", plan }, { type: "planning-ended" }, { type: "task-started", task: NAME });
  add({ type: "blob-started", ...blob, size: 100 * 1024 ** 2, destinations: [] });
  time = 10_000;
  add({ type: "blob-progress", ...blob, bytes: 50 * 1024 ** 2 });
  add({ type: "destination-copied", task: "a.test/b:v1", destination: "d.test/a.test/b:v1" });
  return view;
}

/** A screen whose every byte is kept, and whose terminal is as large as it is told. */
function screenOf(options: ScreenOptions & { variables?: Record<string, string> } = {}) {
  const written: Record<number, string> = { 1: "", 2: "" };
  const screen = new Screen({
    environment: (name) => options.variables?.[name],
    write: (descriptor, bytes) => {
      written[descriptor] += new TextDecoder().decode(bytes);
      return bytes.length;
    },
    isTerminal: () => true,
    size: () => ({ columns: 80, rows: 24 }),
    ...options,
  });
  return { screen, written };
}

Deno.test("fault 82: at every width the total, the time left and the image's name are there", () => {
  for (const columns of [200, 120, 100, 80, 72, 60, 50]) {
    const [head = "", line = ""] = viewAtWork().frame({ columns, rows: 24 });
    assertStringIncludes(head, "1 of 2 images");
    assertStringIncludes(head, "0:10 left");
    assertStringIncludes(line, "50%");
    assertStringIncludes(line, "0:10 left");
    assertStringIncludes(line, "v1.2.3-alpine");
    assert(Math.max(head.length, line.length) < columns, `${columns}: ${line}`);
  }
});

Deno.test("fault 82: a window of a few characters gets no line that is too long", () => {
  for (let columns = 1; columns < 60; columns++) {
    for (const line of viewAtWork().frame({ columns, rows: 5 })) {
      assert(line.length < columns);
    }
  }
  assertEquals(viewAtWork().frame({ columns: 80, rows: 2 }).length, 1);
});

Deno.test("fault 82: a terminal that says it is 0 by 0 is drawn on as on one of 80 by 24", () => {
  for (const size of [{ columns: 0, rows: 0 }, {}]) {
    const { screen, written } = screenOf({ size: () => size });
    screen.show((room) => [`${room.columns} x ${room.rows}`]);
    screen.refresh();
    screen.hide();
    assertStringIncludes(written[2] ?? "", "80 x 24");
  }
});

Deno.test("fault 82: TERM=dumb, and what is no terminal, get no escapes and no live view", () => {
  const isNothing = (options: Parameters<typeof screenOf>[0]) => {
    const { screen, written } = screenOf(options);
    screen.out("  failed  a.test/b -> c.test/d");
    screen.err("error: no");
    assertEquals(screen.hasLiveView, false);
    assertEquals([written[1], written[2]], ["  failed  a.test/b -> c.test/d\n", "error: no\n"]);
  };
  isNothing({ variables: { TERM: "dumb" } });
  isNothing({ isTerminal: () => false });
});

Deno.test("fault 82: a terminal has colours unless NO_COLOR is set to something", () => {
  const red = `${ESCAPE}[31mx${ESCAPE}[39m`;
  const paint = (variables: Record<string, string>) => paintFor(true, (name) => variables[name])("red", "x");
  assertEquals(paint({}), red);
  assertEquals(paint({ NO_COLOR: "" }), red);
  assertEquals(paint({ NO_COLOR: "1" }), "x");
  assertEquals(paint({ NO_COLOR: "0" }), "x");
  const { screen, written } = screenOf();
  screen.out("  failed  a.test/b");
  assertEquals(written[1], `${ESCAPE}[31m  failed  ${ESCAPE}[39ma.test/b\n`);
});

Deno.test("the second signal to end leaves the terminal as it was, with its cursor", () => {
  const seen: unknown[] = [];
  const { exit } = process;
  process.exit = ((code: number) => void seen.push(code)) as typeof process.exit;
  const interrupt = onInterrupt(() => seen.push("left"));
  try {
    process.emit("SIGINT");
    assertEquals([interrupt.signal.aborted, seen], [true, []]);
    process.emit("SIGINT");
    assertEquals(seen, ["left", 130]);
  } finally {
    interrupt.stop();
    process.exit = exit;
  }
});

Deno.test("fault 82: after shrinking, all lines that the terminal has broken are erased", () => {
  let columns = 80;
  const { screen, written } = screenOf({ size: () => ({ columns, rows: 24 }) });
  screen.show(() => [`${ESCAPE}[1m${"x".repeat(70)}${ESCAPE}[22m`, "short"]);
  screen.refresh();
  columns = 30;
  written[2] = "";
  screen.refresh();
  assertStringIncludes(written[2], `${ESCAPE}[4A${ESCAPE}[J`);
  screen.hide();
});

Deno.test("fault 40: what others have written can neither command a terminal nor forge a line", () => {
  const { screen, written } = screenOf({ isTerminal: () => false });
  const name = `a.test/b:v1${ESCAPE}[2J\nFinished, 0 sync tasks failed, 0 tasks generate failed\u202Ex\u200B`;
  for (const line of linesOf()({ type: "destination-copied", task: name, destination: name })) {
    screen.out(line);
  }
  screen.err(name);
  for (const text of [written[1] ?? "", written[2] ?? ""]) {
    assertEquals(text.split("\n").length, 2);
    assert(!text.includes(ESCAPE) && !/[\u202E\u200B]/.test(text));
    assertStringIncludes(text, "v1\\u{1b}[2J\\u{a}Finished");
    assertStringIncludes(text, "\\u{202e}x\\u{200b}");
  }
});

Deno.test("Screen goes on when its reader has gone away, and waits for one that is slow", () => {
  const broken = screenOf({
    write: () => {
      throw Object.assign(new Error("broken pipe"), { code: "EPIPE" });
    },
  });
  broken.screen.out("x");
  let isBusy = true;
  let text = "";
  const slow = screenOf({
    write: (_descriptor, bytes) => {
      isBusy = !isBusy;
      if (!isBusy) throw Object.assign(new Error("try again"), { code: "EAGAIN" });
      text += String.fromCharCode(bytes[0] ?? 0);
      return 1;
    },
    isTerminal: () => false,
  });
  slow.screen.out("abc");
  assertEquals(text, "abc\n");
});

Deno.test("linesOf() says a failure once, whichever of its blobs an image fails at in a later pass", () => {
  const lines = linesOf();
  const fail = (digit: string, why = "401") =>
    lines({
      type: "destination-failed",
      task: "a.test/b:v1",
      destination: "c.test/d:v1",
      error: `Cannot push blob "sha256:${digit.repeat(64)}" to "c.test/d": ${why}`,
      isPermanent: false,
    }).length;
  assertEquals([fail("a"), fail("b"), fail("b", "503")], [2, 0, 2]);
});

Deno.test("fault 80: the summary does not say 0 failed while a rule has failed", () => {
  const report = startReport("2026-08-03T10:00:00.000Z");
  report.totals.rulesFailed = 1;
  assertStringIncludes(summaryLines(report).join("\n"), "0 copied, 0 unchanged, 0 failed, 1 rule failed in");
});
