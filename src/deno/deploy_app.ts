/** A mirror on Deno Deploy, whatever its environment says: what is wrong is shown where its operator looks, on its page. */

import { openScheduledMirror, type ScheduledMirror } from "../machine/doors/scheduled_mirror.ts";
import { openConfigRegistries } from "../machine/network/config_registries.ts";
import { type Schedule, ScheduleError } from "../machine/service/schedule.ts";
import { MirrorService } from "../machine/service/service.ts";
import { createStatusSite } from "../machine/site/status_site.ts";
import type { Log } from "../machine/terminal/log.ts";
import type { Environment } from "../mirror/config/environment_values.ts";
import { messageOf } from "../mirror/plan/failure.ts";
import { MemoryStore } from "../mirror/store/memory_store.ts";
import { denoNetwork } from "./fast_sockets.ts";
import { openKvLocation } from "./kv_location.ts";
import { type DeploySettings, readDeployConfig, readSettings } from "./deploy_settings.ts";

/** Milliseconds between two tries to open what could not be opened. */
const RETRY_INTERVAL = 10_000;

/** Options of {@linkcode DeployApp}. */
export interface DeployAppOptions {
  /** Reads a variable. */
  environment: Environment;
  /** Gets a line for each run, each failure, and each mistake in the environment. */
  log: Log;
  /** Ends the schedule. */
  signal: AbortSignal;
  /** Milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
}

/** The app: its schedule and its site are there at once, its mirror as soon as it can be opened. */
export class DeployApp {
  #options: DeployAppOptions;
  #settings: DeploySettings | undefined;
  #problem: unknown;
  #mirror: ScheduledMirror | undefined;
  #opening: Promise<void> | undefined;
  #triedAt = -Infinity;

  /** Reads the environment and registers the cron, which Deno Deploy looks for while the program starts. */
  constructor(options: DeployAppOptions) {
    this.#options = options;
    try {
      this.#settings = readSettings(options.environment);
      leaveToDeno(this.#settings.schedule, { signal: options.signal, run: () => this.#run() });
    } catch (error) {
      this.#settings = undefined;
      this.#fail(error);
    }
  }

  /** Answers a request: with the mirror's site, or with one that says why there is no mirror. */
  async site(request: Request): Promise<Response> {
    await this.open();
    return this.#mirror === undefined ? await this.#explain(request) : await this.#mirror.site(request);
  }

  /** Opens the mirror, unless that has been done, or has failed a moment ago. */
  async open(): Promise<void> {
    const { now = Date.now } = this.#options;
    const isTooSoon = Math.abs(now() - this.#triedAt) < RETRY_INTERVAL;
    if (
      this.#opening === undefined && this.#mirror === undefined && this.#settings !== undefined && !isTooSoon
    ) {
      this.#triedAt = now();
      this.#opening = this.#open(this.#settings).finally(() => this.#opening = undefined);
    }
    await this.#opening;
  }

  /** Stops the run that is on. */
  async stop(): Promise<void> {
    await this.#mirror?.service.stop();
  }

  /** Closes everything. */
  async close(): Promise<void> {
    await this.#mirror?.close();
  }

  async #open(settings: DeploySettings): Promise<void> {
    const { environment, log } = this.#options;
    try {
      const mirror = await openScheduledMirror({
        ...settings,
        readConfig: () => readDeployConfig(environment),
        openRegistries: (config) => openConfigRegistries(config, { environment, network: denoNetwork }),
        openKv: openKvLocation,
        log,
      });
      // The service remembers what is wrong with its config, and its page says it.
      await mirror.service.check().catch((error) => log.write("error", messageOf(error)));
      this.#mirror = mirror;
    } catch (error) {
      this.#fail(error);
    }
  }

  async #run(): Promise<void> {
    await this.open();
    await this.#mirror?.service.run("schedule");
  }

  #fail(error: unknown): void {
    this.#problem = error;
    this.#options.log.write("error", messageOf(error));
  }

  async #explain(request: Request): Promise<Response> {
    const service = new MirrorService({
      readConfig: () => Promise.reject(this.#problem),
      openRegistries: () => Promise.reject(this.#problem),
      store: new MemoryStore(),
      refusal: "the mirror could not be opened",
    });
    await service.check().catch(() => {});
    const token = this.#options.environment("IMAGE_SYNCER_TOKEN");
    const checkHealth = () => Promise.reject(this.#problem);
    return await createStatusSite({ service, token, checkHealth })(request);
  }
}

/**
 * Leaves a schedule to `Deno.cron`, which on Deno Deploy wakes the program up for it.
 *
 * @throws {ScheduleError} when `Deno.cron` is off or does not take it.
 */
export function leaveToDeno(
  { text, expression }: Schedule,
  { signal, run }: { signal: AbortSignal; run: () => Promise<void> },
): void {
  if (typeof Deno.cron !== "function") {
    const why = 'Deno.cron is off; run with --unstable-cron or put "unstable": ["cron"] into deno.json';
    throw new ScheduleError(text, why);
  }
  try {
    // No retries: the next tick goes on where this one stopped. The default differs between Deno and Deno Deploy.
    Deno.cron("mirror", expression, { signal, backoffSchedule: [] }, run).catch(() => {});
  } catch (cause) {
    throw new ScheduleError(text, messageOf(cause), { cause });
  }
}
