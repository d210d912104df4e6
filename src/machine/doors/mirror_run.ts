/** One run of the mirror on the command line: what is seen of it while it is on, and the files and lines it ends with. */

import type { Rule } from "../../mirror/config/config.ts";
import type { CopyEvent } from "../../mirror/copy/copy_event.ts";
import type { Report } from "../../mirror/report.ts";
import { mirror, planOnly } from "../../mirror/run.ts";
import type { MirrorOptions } from "../../mirror/run_context.ts";
import { challengeMemory } from "../../mirror/store/challenge_memory.ts";
import type { Store } from "../../mirror/store/store.ts";
import { Registries } from "../../registry/registries.ts";
import { type Findings, shortcomingsOf } from "../service/strictness.ts";
import { LiveView } from "../terminal/live_view.ts";
import { type Log, logCount, logEvent, sayProgress } from "../terminal/log.ts";
import { dryRunLines, linesOf, summaryLines } from "../terminal/printer.ts";
import { type ConfiguredParts, EXIT } from "./command_setup.ts";
import { checkOutput, outputsOf, writeOutput } from "./output_file.ts";

/** What is to be mirrored, and how. */
export interface MirrorWork {
  /** The rules. */
  rules: readonly Rule[];
  /** How. */
  options: Omit<MirrorOptions, "registries" | "onEvent"> & { store: Store };
  /** What runs; {@linkcode mirror} unless told. */
  mirror?: (rules: readonly Rule[], options: MirrorOptions) => Promise<Report>;
}

/**
 * Mirrors once.
 *
 * @returns The exit code.
 * @throws {OutputFileError} when a file that was asked for cannot be written, before anything has moved.
 */
export async function mirrorOnce(parts: ConfiguredParts, work: MirrorWork): Promise<number> {
  const { flags, screen, log } = parts;
  const outputs = outputsOf(flags);
  for (const { what, path } of outputs) await checkOutput(what, path);
  const { report, warnings } = await runMirror(parts, work);
  let isWritten = true;
  for (const { what, path, make } of outputs) {
    const failure = await writeOutput(what, path, await make(report));
    if (failure !== undefined) screen.err(failure);
    isWritten &&= failure === undefined;
  }
  logSummary(log, report);
  for (const line of summaryLines(report)) screen.out(line);
  if (report.isInterrupted) return EXIT.interrupted;
  const { failed, rulesFailed, skipped, drifted = 0 } = report.totals;
  const found = { rules: work.rules.length, empty: report.emptyRules, skipped, drifted, warnings };
  const hasFailed = failed + rulesFailed > 0 || isRefused(flags, found);
  return hasFailed || !isWritten ? EXIT.failed : EXIT.done;
}

/**
 * Prints what a run would copy.
 *
 * @returns The exit code.
 */
export async function printPlan(parts: ConfiguredParts, { rules, options }: MirrorWork): Promise<number> {
  const { flags, screen, log, signal } = parts;
  try {
    const registries = registriesOf(parts, options.store, (event) => logEvent(log, event));
    const plan = await planOnly(rules, { ...options, registries });
    for (const message of plan.warnings) log.write("warn", message);
    for (const line of dryRunLines(plan)) screen.out(line);
    const { empty, failed, skipped, warnings, tasks } = plan;
    const drifted = tasks.flatMap(({ destinations }) => destinations).filter(({ action }) =>
      action === "drifted"
    );
    const found = { rules: rules.length, empty, skipped: skipped.length, drifted: drifted.length };
    const isRefusedSo = isRefused(flags, { ...found, warnings: warnings.length });
    return failed.length > 0 || isRefusedSo ? EXIT.failed : EXIT.done;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    throw error;
  }
}

function isRefused({ strict }: ConfiguredParts["flags"], found: Findings): boolean {
  return strict === true && shortcomingsOf(found).length > 0;
}

async function runMirror(
  parts: ConfiguredParts,
  { rules, options, mirror: run = mirror }: MirrorWork,
): Promise<{ report: Report; warnings: number }> {
  const { flags, screen, log } = parts;
  const view = new LiveView({ paint: screen.paintErrors });
  const stopProgress = showProgress(parts, view);
  const lines = linesOf();
  let warnings = 0;
  const onEvent = (event: CopyEvent) => {
    view.add(event);
    if (event.type === "warning") warnings++;
    // Without a file the log is on the same screen as the lines about images, which say what failed.
    const isSaid = ["destination-failed", "destination-drifted", "planned"].includes(event.type);
    if (flags.log !== undefined || flags["log-format"] === "json" || !isSaid) logEvent(log, event);
    const isThrough = event.type === "destination-copied" || event.type === "destination-failed";
    if (isThrough) logCount(log, view.fold.snapshot());
    for (const line of lines(event)) screen.out(line);
  };
  try {
    const registries = registriesOf(parts, options.store, onEvent);
    return { report: await run(rules, { ...options, registries, onEvent }), warnings };
  } finally {
    stopProgress();
  }
}

/** The registries of a run, as flags and the config want them reached. */
export function registriesOf(
  { registries, signal }: ConfiguredParts,
  store: Store,
  onEvent: (event: CopyEvent) => void,
): Registries {
  return new Registries({
    ...registries.options,
    challenges: challengeMemory(store),
    signal,
    onEvent,
  });
}

/** A person at a terminal sees the live view, everybody else a line now and then. */
function showProgress({ flags, screen, log }: ConfiguredParts, view: LiveView): () => void {
  if (flags["no-progress"] !== true && screen.hasLiveView) {
    screen.show((size) => view.frame(size));
    return () => screen.hide();
  }
  const isPlain = flags.log === undefined && flags["log-format"] !== "json";
  return sayProgress(() => view.fold.snapshot(), (line) => {
    if (isPlain) screen.err(line);
    else log.write("info", line);
  });
}

/** The line image-syncer v1.5.5 ends its log with. */
function logSummary(log: Log, { totals, startedAt, finishedAt = startedAt }: Report): void {
  const seconds = (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
  const failed = totals.failed + totals.rulesFailed;
  log.write("info", `Synchronization finished, ${failed} tasks failed, cost ${seconds.toFixed(3)}s.`);
}
