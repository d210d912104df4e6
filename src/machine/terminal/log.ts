/** The log: one line for each thing worth knowing, on standard error or in a file. */

import { closeSync, openSync, writeSync } from "node:fs";
import { formatReference } from "../../oci/reference.ts";
import { messageOf } from "../../mirror/plan/failure.ts";
import { formatProgress, type Progress } from "../../mirror/progress.ts";
import type { CopyEvent } from "../../mirror/copy/copy_event.ts";
import { whyNotWritten } from "../system_error.ts";
import { printableLine } from "./printable.ts";

/** How much a line matters. */
export type Level = "info" | "warn" | "error";

/**
 * What may go along with a line in JSON. Names that scripts may rely on: `run` (when the run began), `rule` (its source, as
 * written), `source`, `destination`, `digest`, `outcome`, `error`, `registry`.
 */
export type LogFields = Record<string, string | number | boolean>;

/** Takes lines. */
export interface Log {
  /** Writes one line. */
  write(level: Level, message: string, fields?: LogFields): void;
  /** Closes the file, if there is one. */
  close(): void;
}

/** Options of {@linkcode openLog}. */
export interface LogOptions {
  /** What the lines look like. */
  format: "text" | "json";
  /** Prints a line on standard error. */
  print: (line: string) => void;
}

/**
 * Opens the log. A file that cannot be opened or written is no reason to fail a mirror: that is said once, and the log of one
 * that cannot be opened goes to standard error.
 *
 * On standard error as text there is nothing less than a warning, and none twice, because a person reads it between the lines
 * about images.
 */
export function openLog(path: string | undefined, { format, print }: LogOptions): Log {
  const onScreen = format === "json" ? jsonLog(print) : warningsLog(print);
  if (path === undefined) return onScreen;
  try {
    const file = openFile(path, print);
    const log = format === "json" ? jsonLog(file.print) : textLog(file.print);
    return { ...log, close: file.close };
  } catch (cause) {
    // The line that scripts look for has neither the name nor the reason.
    print("Failed to log to file, using default stderr");
    print(`warn: Cannot open log "${path}": ${whyNotWritten(cause)}`);
    return onScreen;
  }
}

/** A log whose every line carries some fields more. */
export function withFields(log: Log, more: LogFields): Log {
  return {
    write: (level, message, fields) => log.write(level, message, { ...more, ...fields }),
    close: () => log.close(),
  };
}

/** A log on standard error of a program that runs for years: every line has its time, and none is left out. */
export function openServiceLog({ format, print }: LogOptions): Log {
  return format === "json" ? jsonLog(print) : textLog(print);
}

/** A log that writes to two. */
export function bothLogs(one: Log, other: Log): Log {
  return {
    write: (...line) => [one, other].forEach((log) => log.write(...line)),
    close: () => [one, other].forEach((log) => log.close()),
  };
}

function warningsLog(print: (line: string) => void): Log {
  const printed = new Set<string>();
  return {
    write: (level, message) => {
      if (level === "info" || printed.has(message)) return;
      printed.add(message);
      print(`${level}: ${printableLine(message)}`);
    },
    close: () => {},
  };
}

function textLog(print: (line: string) => void): Log {
  const write: Log["write"] = (level, message) =>
    print(`${new Date().toISOString()} ${level.toUpperCase().padEnd(5)} ${printableLine(message)}`);
  return { write, close: () => {} };
}

function jsonLog(print: (line: string) => void): Log {
  const write: Log["write"] = (level, message, fields) =>
    print(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }));
  return { write, close: () => {} };
}

/** Lines are tried even after one has failed, because a disk that was full may have room again. */
function openFile(
  path: string,
  warn: (line: string) => void,
): { print: (line: string) => void; close: () => void } {
  const file = openSync(path, "a", 0o600);
  let hasWarned = false;
  const attempt = (act: () => void) => {
    try {
      act();
    } catch (error) {
      if (!hasWarned) warn(`warn: Cannot write log "${path}": ${messageOf(error)}; lines of it are lost`);
      hasWarned = true;
    }
  };
  const print = (line: string) => {
    const bytes = new TextEncoder().encode(`${line}\n`);
    for (let written = 0; written < bytes.length;) written += writeSync(file, bytes.subarray(written));
  };
  return { print: (line) => attempt(() => print(line)), close: () => attempt(() => closeSync(file)) };
}

type Entry = [level: Level, message: string, fields?: LogFields];

/** Writes what an event means to whoever reads the log later. */
export function logEvent(log: Log, event: CopyEvent): void {
  const entries = event.type === "planned"
    ? planEntriesOf(event)
    : [wireEntryOf(event) ?? imageEntryOf(event)];
  for (const entry of entries) if (entry !== undefined) log.write(...entry);
}

/** What could not be planned, and what has drifted by then, is said by no other event. */
function planEntriesOf({ plan }: Extract<CopyEvent, { type: "planned" }>): Entry[] {
  const drifted = plan.tasks.flatMap(({ source, destinations }) =>
    destinations.filter(({ action }) => action === "drifted").map(({ reference }) =>
      driftEntry(formatReference(source), formatReference(reference))
    )
  );
  const failed = plan.failed.map(({ kind, source, destination, error }): Entry => {
    const fields: LogFields = { source, outcome: "failed", error };
    if (kind === "rule") fields.rule = source;
    return ["error", error, destination === undefined ? fields : { ...fields, destination }];
  });
  return [...drifted, ...failed];
}

function driftEntry(source: string, destination: string): Entry {
  const what = `"${destination}" stands for something else than "${source}", and is not overwritten`;
  return ["warn", what, { source, destination, outcome: "drifted" }];
}

function wireEntryOf(event: CopyEvent): Entry | undefined {
  switch (event.type) {
    case "warning":
      return ["warn", event.message];
    case "tag-deletion": {
      const { reference, digest, status, by, why = "" } = event;
      const fields = { destination: reference, digest, outcome: status };
      if (status === "failed") return ["error", why, { ...fields, error: why }];
      if (status === "kept") return ["warn", `"${reference}" is not deleted: ${why}`, fields];
      return ["info", `Deleted "${reference}" (by ${by}, it stood for "${digest}")`, fields];
    }
    case "request-retried":
      return ["info", `${event.reason}; trying again in ${(event.wait / 1000).toFixed(1)} s`, {
        registry: event.registry,
        wait: Math.round(event.wait),
      }];
    case "waiting": {
      const { registry, reason, wait, attempt, attempts } = event;
      const again = `again in ${Math.ceil(wait / 1000)} s (${attempt} of ${attempts})`;
      return ["warn", `waiting for ${registry}: ${reason}, ${again}`, { registry, wait: Math.round(wait) }];
    }
    case "rate-limited":
      return ["warn", `"${event.registry}" asks to wait until ${new Date(event.until).toISOString()}`, {
        registry: event.registry,
      }];
    default:
      return undefined;
  }
}

function imageEntryOf(event: CopyEvent): Entry | undefined {
  switch (event.type) {
    case "task-started":
      return ["info", `Copying "${event.task}"`, { source: event.task }];
    case "destination-failed": {
      const { task, destination, error } = event;
      return ["error", error, { source: task, destination, outcome: "failed", error }];
    }
    case "destination-drifted":
      return driftEntry(event.task, event.destination);
    case "destination-copied": {
      const { task, destination } = event;
      return ["info", `Copied "${task}" to "${destination}"`, {
        source: task,
        destination,
        outcome: "copied",
      }];
    }
    default:
      return contentEntryOf(event);
  }
}

function contentEntryOf(event: CopyEvent): Entry | undefined {
  switch (event.type) {
    case "blob-copied":
      return ["info", `Sent blob "${event.digest}" (${event.size} bytes) to "${event.destination}"`, {
        digest: event.digest,
        size: event.size,
        destination: event.destination,
      }];
    case "blob-skipped":
      return ["info", `Blob "${event.digest}" is not sent to "${event.destination}": ${event.reason}`, {
        digest: event.digest,
        destination: event.destination,
      }];
    case "manifest-pushed":
      return ["info", `Pushed manifest "${event.digest}" to "${event.destination}"`, {
        digest: event.digest,
        destination: event.destination,
      }];
    default:
      return undefined;
  }
}

/** Writes how many images are through, in the words of image-syncer v1.5.5. */
export function logCount(log: Log, { totals }: Progress): void {
  const done = totals.copied + totals.failed + totals.unchanged;
  log.write("info", `Now ${done}/${done + totals.pending} tasks have been processed.`);
}

/** Milliseconds between two lines of a run that nobody watches. */
const PROGRESS_INTERVAL = 30_000;

/**
 * Says every 30 seconds how far a run is, for outputs that are no terminal.
 *
 * @param progress How far it is when it is asked.
 * @returns Ends it.
 */
export function sayProgress(progress: () => Progress, say: (line: string) => void): () => void {
  const timer = setInterval(() => say(formatProgress(progress())), PROGRESS_INTERVAL);
  return () => clearInterval(timer);
}
