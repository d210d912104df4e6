/** The log: one line for each thing worth knowing, on standard error or in a file. */

import type { CopyEvent } from "../mirror/report.ts";

/** How much a line matters. */
export type Level = "info" | "warn" | "error";

/** Takes lines. */
export interface Log {
  /** Writes one line. */
  write(level: Level, message: string): void;
  /** Closes the file, if there is one. */
  close(): void;
}

/** Where lines go when there is no file: nothing less than a warning, because a person reads them between other lines. */
export interface LogOptions {
  /** Prints a line on standard error. */
  print: (line: string) => void;
}

/**
 * Opens the log. A file that cannot be opened is no reason to fail a mirror: the log then goes to standard error.
 */
export function openLog(path: string | undefined, { print }: LogOptions): Log {
  const toScreen: Log = {
    write: (level, message) => level === "info" ? undefined : print(`${level}: ${message}`),
    close: () => {},
  };
  if (path === undefined) return toScreen;
  try {
    return openFileLog(path);
  } catch {
    print("Failed to log to file, using default stderr");
    return toScreen;
  }
}

function openFileLog(path: string): Log {
  const file = Deno.openSync(path, { append: true, create: true, mode: 0o600 });
  const encoder = new TextEncoder();
  return {
    write: (level, message) => {
      const line = `${new Date().toISOString()} ${level.toUpperCase().padEnd(5)} ${message}\n`;
      file.writeSync(encoder.encode(line));
    },
    close: () => file.close(),
  };
}

/** Writes what an event means to whoever reads the log later. */
export function logEvent(log: Log, event: CopyEvent): void {
  const line = lineOf(event);
  if (line !== undefined) log.write(line.level, line.message);
}

function lineOf(event: CopyEvent): { level: Level; message: string } | undefined {
  switch (event.type) {
    case "warning":
      return { level: "warn", message: event.message };
    case "request-retried":
      return {
        level: "warn",
        message: `${event.reason}; trying again in ${(event.wait / 1000).toFixed(1)} s`,
      };
    case "rate-limited":
      return {
        level: "warn",
        message: `"${event.registry}" wants no requests before ${new Date(event.until).toISOString()}`,
      };
    case "task-started":
      return { level: "info", message: `Copying "${event.task}"` };
    case "blob-copied":
      return {
        level: "info",
        message: `Sent blob "${event.digest}" (${event.size} bytes) to "${event.destination}"`,
      };
    case "blob-skipped":
      return { level: "info", message: `Blob "${event.digest}" at "${event.destination}": ${event.reason}` };
    case "manifest-pushed":
      return { level: "info", message: `Pushed manifest "${event.destination}" (${event.digest})` };
    case "destination-copied":
      return { level: "info", message: `Copied "${event.task}" to "${event.destination}"` };
    default:
      return undefined;
  }
}
