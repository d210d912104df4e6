/** The log: one line for each thing worth knowing, on standard error or in a file. */

import type { CopyEvent } from "../../mirror/report.ts";

/** How much a line matters. */
export type Level = "info" | "warn" | "error";

/** What may go along with a line in JSON. */
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
 * Opens the log. A file that cannot be opened is no reason to fail a mirror: the log then goes to standard error.
 *
 * On standard error as text there is nothing less than a warning, and none twice, because a person reads it between the lines
 * about images.
 */
export function openLog(path: string | undefined, { format, print }: LogOptions): Log {
  const onScreen = format === "json" ? jsonLog(print) : warningsLog(print);
  if (path === undefined) return onScreen;
  try {
    const file = openFile(path);
    const log = format === "json" ? jsonLog(file.print) : textLog(file.print);
    return { ...log, close: file.close };
  } catch {
    print("Failed to log to file, using default stderr");
    return onScreen;
  }
}

function warningsLog(print: (line: string) => void): Log {
  const printed = new Set<string>();
  return {
    write: (level, message) => {
      if (level === "info" || printed.has(message)) return;
      printed.add(message);
      print(`${level}: ${message}`);
    },
    close: () => {},
  };
}

function textLog(print: (line: string) => void): Log {
  const write: Log["write"] = (level, message) =>
    print(`${new Date().toISOString()} ${level.toUpperCase().padEnd(5)} ${message}`);
  return { write, close: () => {} };
}

function jsonLog(print: (line: string) => void): Log {
  const write: Log["write"] = (level, message, fields) =>
    print(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }));
  return { write, close: () => {} };
}

function openFile(path: string): { print: (line: string) => void; close: () => void } {
  const file = Deno.openSync(path, { append: true, create: true, mode: 0o600 });
  const encoder = new TextEncoder();
  return { print: (line) => void file.writeSync(encoder.encode(`${line}\n`)), close: () => file.close() };
}

/** Writes what an event means to whoever reads the log later. */
export function logEvent(log: Log, event: CopyEvent): void {
  const entry = entryOf(event);
  if (entry !== undefined) log.write(...entry);
}

type Entry = [level: Level, message: string, fields?: LogFields];

function entryOf(event: CopyEvent): Entry | undefined {
  switch (event.type) {
    case "warning":
      return ["warn", event.message];
    case "request-retried":
      return ["info", `${event.reason}; trying again in ${(event.wait / 1000).toFixed(1)} s`, {
        registry: event.registry,
        wait: Math.round(event.wait),
      }];
    case "rate-limited":
      return ["warn", `"${event.registry}" asks to wait until ${new Date(event.until).toISOString()}`, {
        registry: event.registry,
      }];
    case "task-started":
      return ["info", `Copying "${event.task}"`, { source: event.task }];
    case "destination-failed":
      return ["error", event.error, { source: event.task, destination: event.destination }];
    case "destination-copied":
      return ["info", `Copied "${event.task}" to "${event.destination}"`, {
        source: event.task,
        destination: event.destination,
      }];
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

/** Writes how many images are through after each one, in the words of image-syncer v1.5.5. */
export function countProgress(log: Log): (event: CopyEvent) => void {
  let total = 0;
  let done = 0;
  return (event) => {
    if (event.type === "planned") total += event.plan.tasks.flatMap((task) => task.destinations).length;
    const isThrough = event.type === "destination-copied" || event.type === "destination-failed";
    if (event.type === "planned") {
      done += event.plan.tasks.flatMap((task) =>
        task.destinations
      ).filter((one) => one.action === "unchanged").length;
    }
    if (!isThrough) return;
    done++;
    log.write("info", `Now ${Math.min(done, total)}/${total} tasks have been processed.`);
  };
}
