/** What the command does: reads the config, mirrors, and says what has become of it. */

import { type Config, ConfigError } from "../../mirror/config/config.ts";
import { challengeMemory } from "../../mirror/store/challenge_memory.ts";
import { messageOf } from "../../mirror/plan/failure.ts";
import type { CopyEvent } from "../../mirror/copy/copy_event.ts";
import type { Report } from "../../mirror/report.ts";
import { mirror, planOnly } from "../../mirror/run.ts";
import type { MirrorOptions } from "../../mirror/run_context.ts";
import { parseShard, ShardError, shardPlan, shardRules } from "../../mirror/plan/shard.ts";
import type { Store } from "../../mirror/store/store.ts";
import { Registries } from "../../registry/registries.ts";
import { readConfigFiles } from "../config/config_file.ts";
import {
  checkConnections,
  environmentOf,
  openConfigRegistries,
  type OpenedRegistries,
} from "../network/config_registries.ts";
import { type Flags, parseFlags, UsageError } from "../config/flags.ts";
import { onInterrupt } from "./interrupt.ts";
import type { Leases } from "../workers/leases.ts";
import { lazyDigestOf } from "../network/lazy_digest.ts";
import { LiveView } from "../terminal/live_view.ts";
import {
  bothLogs,
  type Log,
  logCount,
  logEvent,
  openLog,
  openServiceLog,
  sayProgress,
} from "../terminal/log.ts";
import { dryRunLines, linesOf, summaryLines } from "../terminal/printer.ts";
import { Screen } from "../terminal/screen.ts";
import { type OpenKv, openStore, parseLocation, StoreLocationError } from "../store/store_location.ts";
import { VERSION } from "../version.ts";

/** Exit codes; README, "Exit codes". */
const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** What only some runtimes have, as their doors hand it in. */
export interface Runtime {
  /** Opens `kv` stores. */
  openKv?: OpenKv;
}

/**
 * Runs the command line.
 *
 * @param args Arguments without the program's name.
 * @param runtime What only some runtimes have.
 * @returns The exit code.
 */
export async function runCommand(args: readonly string[], runtime: Runtime = {}): Promise<number> {
  const screen = new Screen({ environment: environmentOf });
  try {
    const command = parseFlags(args, environmentOf);
    if (command.type === "help") screen.text((await import("../config/help.ts")).HELP);
    else if (command.type === "version") screen.out(`image-syncer ${VERSION} (deno)`);
    else return await runWithConfig(command, { screen, runtime });
    return EXIT.done;
  } catch (error) {
    const isUsage = error instanceof UsageError || error instanceof ShardError ||
      error instanceof StoreLocationError;
    if (!isUsage && !isSetupError(error)) throw error;
    screen.err(messageOf(error));
    if (isUsage) {
      for (const line of `\n${(await import("../config/help.ts")).HELP}`.split("\n")) screen.err(line);
    }
    return EXIT.usage;
  }
}

/** What is wrong before anything has moved: a sentence says it, and a stack trace would say no more. */
function isSetupError(error: unknown): boolean {
  const names = [
    "CertificateError",
    "CredentialError",
    "KvStoreError",
    "ListenError",
    "ProxyError",
    "ScheduleError",
    "SqliteStoreError",
  ];
  return error instanceof ConfigError || error instanceof Error && names.includes(error.name);
}

async function runWithConfig(
  { type, flags }: { type: "mirror" | "auth-check" | "serve"; flags: Flags },
  { screen, runtime }: Pick<CommandParts, "screen" | "runtime">,
): Promise<number> {
  if (flags.shard !== undefined) parseShard(flags.shard);
  const log = openLog(flags.log, { format: flags.logFormat, print: (line) => screen.err(line) });
  const interrupt = onInterrupt();
  const parts = { flags, screen, log, runtime, signal: interrupt.signal };
  try {
    if (type === "serve") return await serve(parts);
    return await withRegistries(parts, type === "auth-check" ? authCheck : mirrorOnce);
  } finally {
    interrupt.stop();
    log.close();
  }
}

/** Everything a command is made of. */
interface CommandParts {
  flags: Flags;
  screen: Screen;
  log: Log;
  runtime: Runtime;
  signal: AbortSignal;
}

/** With a config that was read and checked, and the way to its registries. */
interface RunParts extends CommandParts {
  config: Config;
  registries: OpenedRegistries;
}

async function withRegistries(
  parts: CommandParts,
  run: (parts: RunParts) => Promise<number>,
): Promise<number> {
  const config = await readConfig(parts.flags);
  for (const warning of config.warnings) parts.log.write("warn", warning);
  await checkConnections(config);
  const registries = openRegistries(config, parts.log);
  try {
    return await run({ ...parts, config, registries });
  } finally {
    registries.close();
  }
}

async function readConfig(flags: Flags): Promise<Config> {
  const { config, auth, images, pair, registry, namespace } = flags;
  const defaults = { registry, namespace };
  return await readConfigFiles({ config, auth, images, pair }, { defaults, environment: environmentOf });
}

function openRegistries(config: Config, log: Log): OpenedRegistries {
  return openConfigRegistries(config, {
    environment: environmentOf,
    usesMachine: true,
    onWarning: (message) => log.write("warn", message),
    onInfo: (message) => log.write("info", message),
  });
}

async function authCheck({ config, registries, screen, signal, flags }: RunParts): Promise<number> {
  const { checkAuth } = await import("./auth_check.ts");
  const through = new Registries({ ...registries.options, signal, limits: flags.limits });
  const findings = await checkAuth(config, registries, through);
  for (const line of findings.flatMap((one) => one.line.split("\n"))) screen.out(line);
  return findings.every(({ isGood }) => isGood) ? EXIT.done : EXIT.failed;
}

async function serve({ flags, screen, log, runtime, signal }: CommandParts): Promise<number> {
  const { runServe } = await import("./serve.ts");
  // What an operator must know is on standard error in any case; a file has all the rest too.
  const onScreen = openServiceLog({ format: flags.logFormat, print: (line) => screen.err(line) });
  await runServe({
    readConfig: () => readConfig(flags),
    openRegistries: (config) => openRegistries(config, log),
    store: storeText(flags.store),
    openKv: runtime.openKv,
    schedule: flags.schedule,
    port: flags.port ?? 8080,
    concurrency: flags.proc,
    retries: flags.retries,
    token: environmentOf("IMAGE_SYNCER_TOKEN"),
    report: flags.report,
    reports: flags.reports,
    isStrict: flags.strict,
    onEvent: flags.log === undefined ? () => {} : (event) => logEvent(log, event),
    onListen: (url) => screen.out(`Status page at ${url}`),
    log: flags.log === undefined ? onScreen : bothLogs(onScreen, log),
    signal,
  });
  return EXIT.done;
}

/** A plain path is a records file. */
function storeText(text: string): string {
  return /^(?:file:|sqlite:|kv$|kv:)/.test(text) ? text : `file:${text}`;
}

async function mirrorOnce(parts: RunParts): Promise<number> {
  const { flags, log, runtime } = parts;
  const text = storeText(flags.store);
  parseLocation(text);
  const onWarning = (message: string) => log.write("warn", message);
  const { store, leases: openLeases, close } = await openStore(text, { onWarning, ...runtime });
  try {
    const leases = openLeases?.();
    const options = await mirrorOptions(parts, store, leases);
    if (flags.isDryRun) return await dryRun(parts, options);
    const code = await fullRun(parts, options);
    if (leases !== undefined && !parts.signal.aborted) await clearDead(leases, parts.signal);
    return code;
  } finally {
    await close();
  }
}

/** What cannot be cleared now expires by itself. */
async function clearDead(leases: Leases, signal: AbortSignal): Promise<void> {
  const { IMAGE_LEASE } = await import("../workers/shared_work.ts");
  await leases.clearDead(IMAGE_LEASE, signal).catch(() => {});
}

type Options = Omit<MirrorOptions, "registries"> & { store: Store };

async function mirrorOptions(
  { flags, log }: RunParts,
  store: Store,
  leases: Leases | undefined,
): Promise<Options> {
  const shard = flags.shard === undefined ? undefined : parseShard(flags.shard);
  const options: Options = {
    store,
    concurrency: flags.proc,
    retries: flags.retries,
    force: flags.force,
    trustRecords: flags.trustRecords,
    platforms: flags.platforms,
    digestOf: lazyDigestOf,
  };
  if (shard !== undefined) options.select = (plan) => shardPlan(plan, shard);
  if (flags.verify) options.createHasher = (await import("../network/hasher.ts")).createMachineHasher;
  if (leases !== undefined) {
    const { shareWork } = await import("../workers/shared_work.ts");
    options.claim = shareWork(leases, { store, onWarning: (message) => log.write("warn", message) });
  }
  return options;
}

async function fullRun(parts: RunParts, options: Options): Promise<number> {
  const { flags, screen, log } = parts;
  const view = new LiveView({ paint: screen.paintErrors });
  const stopProgress = showProgress(parts, view);
  const lines = linesOf();
  let warnings = 0;
  const onEvent = (event: CopyEvent) => {
    view.add(event);
    if (event.type === "warning") warnings++;
    // Without a file the log is on the same screen as the lines about images, which say what failed.
    const isSaid = event.type === "destination-failed" || event.type === "planned";
    if (flags.log !== undefined || flags.logFormat === "json" || !isSaid) logEvent(log, event);
    const isThrough = event.type === "destination-copied" || event.type === "destination-failed";
    if (isThrough) logCount(log, view.fold.snapshot());
    for (const line of lines(event)) screen.out(line);
  };
  let report: Report;
  try {
    report = await mirror(rulesOf(parts), {
      ...options,
      registries: registriesOf(parts, options.store, onEvent),
      onEvent,
    });
  } finally {
    stopProgress();
  }
  const isWritten = await writeOutputs(parts, report);
  logSummary(log, report);
  for (const line of summaryLines(report)) screen.out(line);
  if (report.isInterrupted) return EXIT.interrupted;
  const hasFailed = report.totals.failed + report.totals.rulesFailed > 0 || flags.strict && warnings > 0;
  return hasFailed || !isWritten ? EXIT.failed : EXIT.done;
}

/** A person at a terminal sees the live view, everybody else a line now and then. */
function showProgress({ flags, screen, log }: RunParts, view: LiveView): () => void {
  if (flags.progress && screen.hasLiveView) {
    screen.show((size) => view.frame(size));
    return () => screen.hide();
  }
  const isPlain = flags.log === undefined && flags.logFormat === "text";
  return sayProgress(() => view.fold.snapshot(), (line) => {
    if (isPlain) screen.err(line);
    else log.write("info", line);
  });
}

function rulesOf({ config, flags }: RunParts): Config["rules"] {
  return flags.shard === undefined ? config.rules : shardRules(config.rules, parseShard(flags.shard));
}

function registriesOf(
  { registries, flags, signal }: RunParts,
  store: Store,
  onEvent: (event: CopyEvent) => void,
): Registries {
  return new Registries({
    ...registries.options,
    challenges: challengeMemory(store),
    limits: flags.limits,
    signal,
    onEvent,
  });
}

/** The line image-syncer v1.5.5 ends its log with. */
function logSummary(log: Log, { totals, startedAt, finishedAt = startedAt }: Report): void {
  const seconds = (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
  const failed = totals.failed + totals.rulesFailed;
  log.write("info", `Synchronization finished, ${failed} tasks failed, cost ${seconds.toFixed(3)}s.`);
}

async function dryRun(parts: RunParts, options: Options): Promise<number> {
  const { flags, screen, log, signal } = parts;
  try {
    const registries = registriesOf(parts, options.store, (event) => logEvent(log, event));
    const plan = await planOnly(rulesOf(parts), { ...options, registries });
    for (const message of plan.warnings) log.write("warn", message);
    for (const line of dryRunLines(plan)) screen.out(line);
    return plan.failed.length > 0 || flags.strict && plan.warnings.length > 0 ? EXIT.failed : EXIT.done;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    throw error;
  }
}

/** Writes the files that were asked for; one that cannot be written fails the run, but not the mirror. */
async function writeOutputs({ flags, screen }: RunParts, report: Report): Promise<boolean> {
  const files: [what: string, path: string | undefined, make: () => Promise<string> | string][] = [
    ["report", flags.report, () => `${JSON.stringify(report, null, 2)}\n`],
    ["images", flags.outputSuccess, () => successFile(report, flags)],
  ];
  let isWritten = true;
  for (const [what, path, make] of files) {
    if (path === undefined) continue;
    try {
      await Deno.writeTextFile(path, await make());
    } catch (error) {
      screen.err(`Cannot write ${what} "${path}": ${messageOf(error)}`);
      isWritten = false;
    }
  }
  return isWritten;
}

async function successFile(report: Report, { outputFormat }: Flags): Promise<string> {
  const { formatImages, successImages } = await import("./output_images.ts");
  return await formatImages(successImages(report), outputFormat);
}
