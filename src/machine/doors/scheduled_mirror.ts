/** A mirror on a schedule, put together: its store, its leases, what runs it and the site that shows it. */

import type { Config } from "../../mirror/config/config.ts";
import { checkConnections, type OpenedRegistries } from "../network/config_registries.ts";
import type { Schedule } from "../service/schedule.ts";
import type { ReportShelf } from "../service/report_shelf.ts";
import { MirrorService, type MirrorServiceOptions } from "../service/service.ts";
import { createStatusSite } from "../site/status_site.ts";
import { type OpenKv, openStore } from "../store/store_location.ts";
import { createVerifiers, prepareVerifiers } from "../verify/verifiers.ts";

/** Options of {@linkcode openScheduledMirror}. */
export interface ScheduledMirrorOptions extends
  Pick<
    MirrorServiceOptions,
    | "budget"
    | "mirrorOptions"
    | "isStrict"
    | "refusal"
    | "onEvent"
    | "onReport"
    | "log"
  > {
  /** Reads and checks the config. */
  readConfig: () => Promise<Config>;
  /** How the registries of a config are reached. */
  openRegistries: (config: Config) => OpenedRegistries | Promise<OpenedRegistries>;
  /** Where the memory between runs is kept, as `openStore` reads it. */
  store: string;
  /** Opens `kv` stores, where the runtime has Deno KV. */
  openKv?: OpenKv | undefined;
  /** When the mirror runs. */
  schedule?: Schedule | undefined;
  /** What lets see names and start runs. */
  token?: string | undefined;
  /** The reports of the last runs, for the site to give out. */
  shelf?: ReportShelf | undefined;
}

/** A mirror that is ready to run. */
export interface ScheduledMirror {
  /** What runs it. */
  service: MirrorService;
  /** What shows it. */
  site: (request: Request) => Promise<Response>;
  /** Stops the run that is on, and closes everything. */
  close(): Promise<void>;
}

/** Milliseconds of silence after which a run counts as dead and another may begin. */
const LEASE_LIFETIME = 15_000;

/**
 * Opens everything a mirror on a schedule needs. Its config is read by `service.check()` and before each run.
 *
 * @throws {StoreLocationError} when `store` does not name a store.
 * @throws {KvStoreError} when the database cannot be opened.
 */
export async function openScheduledMirror(options: ScheduledMirrorOptions): Promise<ScheduledMirror> {
  const onWarning = (message: string) => options.log?.write("warn", message);
  const opened = await openStore(options.store, { onWarning, openKv: options.openKv });
  const { store, close, checkHealth = () => Promise.resolve() } = opened;
  const leases = opened.leases === undefined ? {} : { leases: opened.leases(LEASE_LIFETIME) };
  const readConfig = async () => await checked(await options.readConfig());
  const service = new MirrorService({ ...options, ...leases, readConfig, store });
  const { schedule, token, shelf } = options;
  const site = createStatusSite({ service, schedule, token, shelf, checkHealth });
  const closeAll = async () => {
    await service.stop();
    await close();
  };
  return { service, site, close: closeAll };
}

/** What the files are that a config names is looked at before each run: certificates, proxies, keys of signatures. */
async function checked(config: Config): Promise<Config> {
  await checkConnections(config);
  await prepareVerifiers(config.rules, createVerifiers());
  return config;
}
