/** Schedules: what is one, what it means, and what is said of what is none. */

import { assertEquals, assertThrows } from "@std/assert";
import { leaveToDeno } from "../../src/deno/deploy_app.ts";
import { keepSchedule, parseSchedule, ScheduleError } from "../../src/machine/service/schedule.ts";

const MONDAY = Date.UTC(2026, 7, 3, 10, 20, 0);

Deno.test("parseSchedule() knows when a schedule comes up next, in UTC", () => {
  const next = (text: string) => new Date(parseSchedule(text).nextAfter(MONDAY)).toISOString();
  assertEquals(next("0 * * * *"), "2026-08-03T11:00:00.000Z");
  assertEquals(next(" */15  * * * * "), "2026-08-03T10:30:00.000Z");
  assertEquals(next("30 3 1 JAN *"), "2027-01-01T03:30:00.000Z");
});

Deno.test("parseSchedule() reads weekdays as crontab does and names them for Deno.cron", () => {
  const expression = (text: string) => parseSchedule(text).expression;
  assertEquals(expression("0 3 * * 0"), "0 3 * * SUN");
  assertEquals(expression("0 3 * * 7"), "0 3 * * SUN");
  assertEquals(expression("0 3 * * 1-5"), "0 3 * * MON-FRI");
  assertEquals(expression("0 3 * * */2"), "0 3 * * */2");
  assertEquals(expression("0 3 * * 1#2"), "0 3 * * MON#2");
  assertEquals(expression("0 3 * * 1-5/2,SAT"), "0 3 * * MON-FRI/2,SAT");
  const next = new Date(parseSchedule("0 3 * * 2").nextAfter(MONDAY)).toISOString();
  assertEquals(next, "2026-08-04T03:00:00.000Z");
});

Deno.test("parseSchedule() names what is no schedule", () => {
  const cases = {
    "": "expected five fields",
    "hourly": "expected five fields",
    "@hourly": "expected five fields",
    "* * * * * *": "expected five fields",
    "61 * * * *": "61",
    "0 0 * * 8": "8",
    "0 0 30 2 *": "it never comes up",
    "a b c d e": "a",
  };
  for (const [text, why] of Object.entries(cases)) {
    assertThrows(() => parseSchedule(text), ScheduleError, `Cannot use schedule "${text}": `);
    assertThrows(() => parseSchedule(text), ScheduleError, why);
  }
});

Deno.test("leaveToDeno() gives Deno.cron what it takes, and says which schedule it does not", () => {
  const stop = new AbortController();
  const options = { signal: stop.signal, run: () => Promise.resolve() };
  leaveToDeno(parseSchedule("0 3 1 1 1-5"), options);
  assertThrows(
    () => leaveToDeno(parseSchedule("5 3 1 1 *"), options),
    ScheduleError,
    'Cannot use schedule "5 3 1 1 *": Cron with this name already exists',
  );
  stop.abort();
});

Deno.test("keepSchedule() leaves nothing behind when it is stopped", () => {
  const stop = new AbortController();
  keepSchedule(parseSchedule("* * * * *"), stop.signal, () => Promise.resolve());
  stop.abort();
  // What it would leave behind is a timer, which the sanitizer finds.
  keepSchedule(parseSchedule("* * * * *"), stop.signal, () => Promise.resolve());
});
