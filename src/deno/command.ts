/** What the command does: reads the config, mirrors, and says what has become of it. */

import { type Config, ConfigError, findAuth, isInsecureRegistry } from "../mirror/config.ts";
import { messageOf } from "../mirror/failure.ts";
import type { CopyEvent, Report } from "../mirror/report.ts";
import { mirror, type MirrorOptions, planOnly } from "../mirror/run.ts";
import type { TransportOptions } from "../registry/request.ts";
import { Transport } from "../registry/transport.ts";
import { readConfigFile } from "./config_file.ts";
import { openFileStore } from "./file_store.ts";
import { type Flags, HELP, parseFlags, UsageError } from "./flags.ts";
import { onInterrupt } from "./interrupt.ts";
import { LiveView } from "./live_view.ts";
import { type Log, logEvent, openLog } from "./log.ts";
import { dryRunLines, lineOf, summaryLines } from "./printer.ts";
import { Screen } from "./screen.ts";
import { VERSION } from "./version.ts";

/** Exit codes; README, "Exit codes". */
const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/**
 * Runs the command line.
 *
 * @param args Arguments without the program's name.
 * @returns The exit code.
 */
export async function runCommand(args: readonly string[]): Promise<number> {
  const screen = new Screen();
  try {
    const command = parseFlags(args, environmentOf);
    if (command.type === "help") screen.out(HELP.trimEnd());
    else if (command.type === "version") screen.out(`image-syncer ${VERSION} (deno)`);
    else return await runMirror(command.flags, screen);
    return EXIT.done;
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof ConfigError)) throw error;
    screen.err(error instanceof UsageError ? `${error.message}\nTry --help for the flags` : error.message);
    return EXIT.usage;
  }
}

/** A variable that may not be read (a narrower `--allow-env`) is a variable that is not set. */
function environmentOf(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

async function runMirror(flags: Flags, screen: Screen): Promise<number> {
  const { registry, namespace } = flags;
  const config = await readConfigFile(flags.config, { registry, namespace });
  const log = openLog(flags.log, { print: (line) => screen.err(line) });
  for (const warning of config.warnings) log.write("warn", warning);
  const store = await openFileStore(flags.records, { onWarning: (message) => log.write("warn", message) });
  const interrupt = onInterrupt();
  try {
    const options = { store, concurrency: flags.proc, retries: flags.retries, force: flags.force };
    const run = { config, flags, screen, log, signal: interrupt.signal };
    return flags.isDryRun ? await dryRun(run, options) : await fullRun(run, options);
  } finally {
    interrupt.stop();
    await store.close();
    log.close();
  }
}

/** Everything one run is made of. */
interface RunParts {
  config: Config;
  flags: Flags;
  screen: Screen;
  log: Log;
  signal: AbortSignal;
}

async function fullRun(run: RunParts, options: Omit<MirrorOptions, "transport">): Promise<number> {
  const { config, flags, screen } = run;
  const view = new LiveView();
  if (flags.progress && Screen.hasTerminal()) screen.show((size) => view.frame(size));
  let warnings = 0;
  const onEvent = (event: CopyEvent) => {
    view.add(event);
    logEvent(run.log, event);
    if (event.type === "warning") warnings++;
    const line = lineOf(event);
    if (line !== undefined) screen.out(line);
  };
  let report: Report;
  try {
    const transport = new Transport({ ...transportOptions(config), signal: run.signal, onEvent });
    report = await mirror(config.rules, { ...options, transport, onEvent });
  } finally {
    screen.hide();
  }
  const isWritten = await writeReport(run, report);
  for (const line of summaryLines(report)) screen.out(line);
  if (report.isInterrupted) return EXIT.interrupted;
  const hasFailed = report.totals.failed + report.totals.rulesFailed > 0 || flags.strict && warnings > 0;
  return hasFailed || !isWritten ? EXIT.failed : EXIT.done;
}

async function dryRun(run: RunParts, options: Omit<MirrorOptions, "transport">): Promise<number> {
  const transport = new Transport({
    ...transportOptions(run.config),
    signal: run.signal,
    onEvent: (event) => logEvent(run.log, event),
  });
  try {
    const plan = await planOnly(run.config.rules, { ...options, transport });
    for (const message of plan.warnings) run.log.write("warn", message);
    for (const line of dryRunLines(plan)) run.screen.out(line);
    return plan.failed.length > 0 || run.flags.strict && plan.warnings.length > 0 ? EXIT.failed : EXIT.done;
  } catch (error) {
    if (run.signal.aborted) return EXIT.interrupted;
    throw error;
  }
}

function transportOptions(config: Config): TransportOptions {
  return {
    isInsecure: (registry) => isInsecureRegistry(config.auth, registry),
    credentials: (registry, repository) =>
      Promise.resolve(findAuth(config.auth, registry, repository)?.entry),
  };
}

async function writeReport({ flags, screen }: RunParts, report: Report): Promise<boolean> {
  if (flags.report === undefined) return true;
  try {
    await Deno.writeTextFile(flags.report, `${JSON.stringify(report, null, 2)}\n`);
    return true;
  } catch (error) {
    screen.err(`Cannot write report "${flags.report}": ${messageOf(error)}`);
    return false;
  }
}
