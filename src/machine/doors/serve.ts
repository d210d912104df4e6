/** A mirror on a schedule on one's own machine: `image-syncer serve`. */

import { SetupError } from "../../mirror/config/config.ts";
import type { ServerType } from "@hono/node-server";
import { messageOf } from "../../mirror/plan/failure.ts";
import type { Report } from "../../mirror/report.ts";
import { formatReport, replaceFile, ReportShelf } from "../service/report_shelf.ts";
import type { RunRecord } from "../service/status.ts";
import { keepSchedule, parseSchedule } from "../service/schedule.ts";
import {
  openScheduledMirror,
  type ScheduledMirror,
  type ScheduledMirrorOptions,
} from "./scheduled_mirror.ts";

/** Options of {@linkcode runServe}. */
export interface ServeOptions extends Omit<ScheduledMirrorOptions, "schedule" | "onReport" | "shelf"> {
  /** Cron expression in UTC; without it the mirror runs on demand only. */
  schedule?: string | undefined;
  /** Port of the status page; 0 takes a free one. */
  port: number;
  /** Address of the status page; every address of the machine unless told. */
  hostname?: string | undefined;
  /** File for the report of the last run that has ended. */
  report?: string | undefined;
  /** Directory for the reports of the last runs, which the page then links to. */
  reports?: string | undefined;
  /** Told where the status page is. */
  onListen?: (url: string) => void;
  /** Ends it: the run that is on stops between blobs and is recorded. */
  signal: AbortSignal;
}

/** What reports are kept with. */
interface ReportParts extends Pick<ServeOptions, "report" | "log"> {
  shelf: ReportShelf | undefined;
  startedAt: string;
}

/** The status page cannot be served. */
export class ListenError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "ListenError";

  /** Names the address. */
  constructor(address: string, cause: unknown) {
    super(`Cannot listen on "${address}": ${messageOf(cause)}`, { cause });
  }
}

/**
 * Runs a mirror on a schedule and serves its status page, until the signal aborts.
 *
 * @throws {ScheduleError} naming the schedule, before anything is opened.
 * @throws {ConfigError} when the config cannot be used.
 * @throws {KvStoreError} when the database cannot be opened.
 * @throws {ListenError} when the port is taken.
 */
export async function runServe(options: ServeOptions): Promise<void> {
  const { signal, reports } = options;
  const schedule = options.schedule === undefined ? undefined : parseSchedule(options.schedule);
  const shelf = reports === undefined ? undefined : new ReportShelf(reports);
  const onReport = (made: Report, { startedAt }: RunRecord) =>
    keepReport(made, { ...options, shelf, startedAt });
  const mirror = await openScheduledMirror({ ...options, schedule, shelf, onReport });
  try {
    await mirror.service.check();
    const server = await listen(options, mirror.site);
    options.onListen?.(urlOf(server));
    const run = async () => {
      await mirror.service.run("schedule");
    };
    if (schedule !== undefined) keepSchedule(schedule, signal, run);
    await aborted(signal);
    await mirror.service.stop();
    await closed(server);
  } finally {
    await mirror.close();
  }
}

/** A report that cannot be written is no reason to call a mirror failed, but is said after each run. */
async function keepReport(made: Report, { report, shelf, startedAt, log }: ReportParts): Promise<void> {
  const attempt = async (what: string, write: () => Promise<void>) => {
    try {
      await write();
    } catch (error) {
      log?.write("error", `Cannot write ${what}: ${messageOf(error)}`);
    }
  };
  if (report !== undefined) {
    await attempt(`report "${report}"`, () => replaceFile(report, formatReport(made)));
  }
  if (shelf !== undefined) await attempt("report of the run", () => shelf.add(startedAt, made));
}

async function listen(
  { port, hostname = "0.0.0.0" }: ServeOptions,
  site: ScheduledMirror["site"],
): Promise<ServerType> {
  const { createAdaptorServer } = await import("@hono/node-server");
  // What is left of a body that was refused goes with its connection; waiting for it would let anybody hold one.
  const server = createAdaptorServer({
    fetch: site,
    overrideGlobalObjects: false,
    autoCleanupIncoming: false,
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, hostname, resolve);
  try {
    await promise;
    return server;
  } catch (cause) {
    throw new ListenError(`${hostname}:${port}`, cause);
  }
}

/** Answers that are under way end first; connections that wait for another request do not hold it up. */
async function closed(server: ServerType): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  if ("closeIdleConnections" in server) server.closeIdleConnections();
  await promise;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function urlOf(server: ServerType): string {
  const address = server.address();
  if (address === null || typeof address === "string") return String(address);
  const isAny = address.address === "0.0.0.0" || address.address === "::";
  const name = isAny ? "localhost" : address.address;
  return `http://${name.includes(":") ? `[${name}]` : name}:${address.port}/`;
}
