/** When a mirror runs: a cron expression, checked before anything is started, and the time of its next run. */

// croner has no dependencies, loads in 2 ms and needs no permission. What it is asked is whether an expression is one, and
// when it comes up next, which `Deno.cron` tells nobody; on a machine of one's own it keeps the time as well.
import { SetupError } from "../../mirror/config/config.ts";
import { Cron } from "croner";

/** A cron expression cannot be used. */
export class ScheduleError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "ScheduleError";

  /** Names the expression and what is wrong with it. */
  constructor(text: string, why: string, options?: ErrorOptions) {
    super(`Cannot use schedule "${text}": ${why}`, options);
  }
}

/** A checked schedule, in UTC. */
export interface Schedule {
  /** What the user wrote. */
  text: string;
  /** The same in the form that every cron understands alike. */
  expression: string;
  /** When it comes up next after a time, both in milliseconds since 1970. */
  nextAfter(time: number): number;
}

const FIELDS = "minute, hour, day, month and weekday";
const WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

/**
 * Checks a cron expression of five fields, as crontab reads them: weekdays from 0 or 7, which is Sunday, in UTC.
 *
 * @throws {ScheduleError} naming the expression.
 */
export function parseSchedule(text: string): Schedule {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== 5 || text.trim() === "") {
    throw new ScheduleError(text, `expected five fields (${FIELDS}), for example "0 * * * *"`);
  }
  const expression = [...fields.slice(0, 4), nameWeekdays(fields[4] ?? "*")].join(" ");
  const nextAfter = (time: number) => parse(text, expression).nextRun(new Date(time))?.getTime() ?? Infinity;
  if (nextAfter(Date.now()) === Infinity) throw new ScheduleError(text, "it never comes up");
  return { text, expression, nextAfter };
}

function parse(text: string, expression: string): Cron {
  try {
    return new Cron(expression, { timezone: "UTC", mode: "5-part", paused: true });
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.replace(/^CronPattern: /, "") : String(cause);
    throw new ScheduleError(text, said, { cause });
  }
}

/** `Deno.cron` counts weekdays from 1, which is Sunday, everybody else from 0: names mean the same day to all. */
function nameWeekdays(field: string): string {
  return field.replace(/(?<![#/\d])[0-7](?!\d)/g, (digit) => WEEKDAYS[Number(digit)] ?? digit);
}

/**
 * Keeps a schedule in this process: calls a function each time it comes up, and again only when it is through.
 *
 * @param signal Ends it.
 */
export function keepSchedule({ expression }: Schedule, signal: AbortSignal, run: () => Promise<void>): void {
  const job = new Cron(expression, { timezone: "UTC", mode: "5-part", protect: true }, run);
  signal.addEventListener("abort", () => job.stop(), { once: true });
  if (signal.aborted) job.stop();
}
