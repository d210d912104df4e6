/** The log: what is written of a run, in text and as JSON lines, also where the disk is full and where nobody watches. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FakeTime } from "./fake_timers.ts";
import {
  type Log,
  logCount,
  logEvent,
  openLog,
  sayProgress,
  withFields,
} from "../src/machine/terminal/log.ts";
import type { CopyEvent } from "../src/mirror/copy/copy_event.ts";
import { ProgressFold } from "../src/mirror/progress.ts";

const FAILED: Extract<CopyEvent, { type: "planned" }> = {
  type: "planned",
  plan: {
    createdAt: "",
    tasks: [],
    skipped: [],
    failed: [
      { kind: "rule", source: "a.test/none", error: "Cannot list tags: 404", isPermanent: true },
      {
        kind: "image",
        source: "a.test/app:v1",
        destination: "b.test/app:v1",
        error: "Cannot read manifest: 503",
        isPermanent: false,
      },
    ],
    warnings: [],
    empty: [],
    dropped: [],
  },
};

/** A log whose lines are kept. */
function logOf(format: "text" | "json"): { log: Log; lines: string[] } {
  const lines: string[] = [];
  return { log: openLog(undefined, { format, print: (line) => lines.push(line) }), lines };
}

Deno.test("fault 73: failures of the first phase are in the log, with their fields", () => {
  const { log, lines } = logOf("json");
  logEvent(withFields(log, { run: "r1" }), FAILED);
  const entries = lines.map((line) => JSON.parse(line)).map(({ time: _, ...entry }) => entry);
  assertEquals(entries, [
    {
      level: "error",
      message: "Cannot list tags: 404",
      run: "r1",
      source: "a.test/none",
      outcome: "failed",
      error: "Cannot list tags: 404",
      rule: "a.test/none",
    },
    {
      level: "error",
      message: "Cannot read manifest: 503",
      run: "r1",
      source: "a.test/app:v1",
      outcome: "failed",
      error: "Cannot read manifest: 503",
      destination: "b.test/app:v1",
    },
  ]);
});

Deno.test("what has drifted is in the log, found while planning or while copying", () => {
  const { log, lines } = logOf("json");
  const place = (registry: string) => ({ registry, repository: "app", tag: "v1" });
  const destinations = [{ reference: place("b.test"), action: "drifted" as const }];
  const root = { digest: `sha256:${"a".repeat(64)}` };
  const tasks = [{ id: "a.test/app:v1", source: place("a.test"), root, destinations }];
  logEvent(log, { type: "planned", plan: { ...FAILED.plan, failed: [], tasks } });
  logEvent(log, { type: "destination-drifted", task: "a.test/app:v1", destination: "b.test/app:v1" });
  const entries = lines.map((line) => JSON.parse(line)).map(({ time: _, ...entry }) => entry);
  const entry = {
    level: "warn",
    message: '"b.test/app:v1" stands for something else than "a.test/app:v1", and is not overwritten',
    source: "a.test/app:v1",
    destination: "b.test/app:v1",
    outcome: "drifted",
  };
  assertEquals(entries, [entry, entry]);
});

Deno.test("fault 27: what is waited for is said while it is waited for", () => {
  const { log, lines } = logOf("text");
  logEvent(log, {
    type: "waiting",
    registry: "a.test",
    reason: "connection refused",
    wait: 1500,
    attempt: 2,
    attempts: 3,
  });
  assertEquals(lines, ["warn: waiting for a.test: connection refused, again in 2 s (2 of 3)"]);
});

Deno.test("fault 40: a text log keeps what others have written on one line", async () => {
  const path = await Deno.makeTempFile();
  const log = openLog(path, { format: "text", print: () => {} });
  log.write("error", "tag \u001b[2J\nFinished, 0 sync tasks failed \u202e");
  log.close();
  const text = await Deno.readTextFile(path);
  await Deno.remove(path);
  assertMatch(text, /^\S+ ERROR tag \\u\{1b\}\[2J\\u\{a\}Finished, 0 sync tasks failed \\u\{202e\}\n$/);
});

Deno.test({
  name: "fault 31: a full disk under the log is one warning, and the run goes on",
  ignore: Deno.build.os !== "linux",
  fn: () => {
    for (const format of ["text", "json"] as const) {
      const printed: string[] = [];
      const log = openLog("/dev/full", { format, print: (line) => printed.push(line) });
      for (let line = 0; line < 400; line++) log.write("info", "x");
      log.close();
      assertEquals(printed.length, 1);
      assertMatch(printed[0] ?? "", /^warn: Cannot write log "\/dev\/full": .*no space left/i);
    }
  },
});

Deno.test("a log that cannot be opened goes to standard error", () => {
  const printed: string[] = [];
  const log = openLog("/nowhere/at/all", { format: "text", print: (line) => printed.push(line) });
  log.write("error", "x");
  assertEquals(printed.toSpliced(1, 1), ["Failed to log to file, using default stderr", "error: x"]);
});

Deno.test("logCount() counts an image once, however often it is tried", () => {
  const { log, lines } = logOf("json");
  const fold = new ProgressFold();
  fold.add(FAILED);
  logCount(log, fold.snapshot());
  assertStringIncludes(lines[0] ?? "", "Now 1/1 tasks have been processed.");
});

Deno.test("fault 81: where the output is no terminal, a line is said every 30 seconds", () => {
  using time = new FakeTime();
  const said: string[] = [];
  const stop = sayProgress(() => new ProgressFold().snapshot(), (line) => said.push(line));
  time.pass(29_999);
  assertEquals(said, []);
  time.pass(1);
  time.pass(60_000);
  assertEquals(said.length, 3);
  assertEquals(said[0], "looking at sources, 0 images found so far");
  stop();
  time.pass(60_000);
  assertEquals(said.length, 3);
});
