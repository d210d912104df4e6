/** A mirror on a schedule on one's own machine: `image-syncer serve`. */

import { keepSchedule, parseSchedule } from "../service/schedule.ts";
import {
  openScheduledMirror,
  type ScheduledMirror,
  type ScheduledMirrorOptions,
} from "./scheduled_mirror.ts";

/** Options of {@linkcode runServe}. */
export interface ServeOptions extends Omit<ScheduledMirrorOptions, "schedule"> {
  /** Cron expression in UTC; without it the mirror runs on demand only. */
  schedule?: string | undefined;
  /** Port of the status page; 0 takes a free one. */
  port: number;
  /** Address of the status page; every address of the machine unless told. */
  hostname?: string | undefined;
  /** Ends it: the run that is on stops between blobs and is recorded. */
  signal: AbortSignal;
}

/** The status page cannot be served. */
export class ListenError extends Error {
  /** Name of the class, as messages show it. */
  override name = "ListenError";

  /** Names the address. */
  constructor(address: string, cause: unknown) {
    super(`Cannot listen on "${address}": ${cause instanceof Error ? cause.message : cause}`, { cause });
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
  const { signal, onMessage } = options;
  const schedule = options.schedule === undefined ? undefined : parseSchedule(options.schedule);
  const mirror = await openScheduledMirror({ ...options, schedule });
  try {
    const server = listen(options, mirror.site);
    onMessage?.("info", `Status page at ${urlOf(server.addr)}`);
    const run = async () => {
      await mirror.service.run("schedule");
    };
    if (schedule !== undefined) keepSchedule(signal)(schedule, run);
    await aborted(signal);
    await mirror.service.stop();
    await server.shutdown();
  } finally {
    await mirror.close();
  }
}

function listen(
  { port, hostname = "0.0.0.0" }: ServeOptions,
  site: ScheduledMirror["site"],
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ port, hostname, onListen: () => {} }, site);
  } catch (cause) {
    throw new ListenError(`${hostname}:${port}`, cause);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function urlOf({ hostname, port }: Deno.NetAddr): string {
  const name = hostname === "0.0.0.0" || hostname === "::" ? "localhost" : hostname;
  return `http://${name.includes(":") ? `[${name}]` : name}:${port}/`;
}
