/** One run of the mirror on the command line: what is seen of it while it is on, and the files and lines it ends with. */

import type { Rule } from "../../mirror/config/config.ts";
import type { CopyEvent } from "../../mirror/copy/copy_event.ts";
import type { Report } from "../../mirror/report.ts";
import { mirror, planOnly } from "../../mirror/run.ts";
import type { MirrorOptions } from "../../mirror/run_context.ts";
import { challengeMemory } from "../../mirror/store/challenge_memory.ts";
import type { Store } from "../../mirror/store/store.ts";
import { Registries } from "../../registry/registries.ts";
import type { Flags } from "../config/flags.ts";
import { LiveView } from "../terminal/live_view.ts";
import { type Log, logCount, logEvent, sayProgress } from "../terminal/log.ts";
import { dryRunLines, linesOf, summaryLines } from "../terminal/printer.ts";
import { type ConfiguredParts, EXIT } from "./command_setup.ts";
import { checkOutput, writeOutput } from "./output_file.ts";

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
  const isLacking = warnings > 0 || skipped + drifted > 0 || report.emptyRules.length > 0 ||
    work.rules.length === 0;
  const hasFailed = failed + rulesFailed > 0 || flags.strict === true && isLacking;
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
    const hasDrifted = plan.tasks.some((task) =>
      task.destinations.some(({ action }) => action === "drifted")
    );
    const isLacking = hasDrifted || plan.warnings.length + plan.skipped.length + plan.empty.length > 0 ||
      rules.length === 0;
    return plan.failed.length > 0 || flags.strict === true && isLacking ? EXIT.failed : EXIT.done;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    throw error;
  }
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
    const isSaid = event.type === "destination-failed" || event.type === "planned";
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

/** A file that was asked for, and what goes into it. */
interface Output {
  what: string;
  path: string;
  make: (report: Report) => Promise<string> | string;
}

function outputsOf(
  { report, "output-success-images": images, "output-images-format": format }: Flags,
): Output[] {
  const outputs: Output[] = [];
  if (report !== undefined) {
    const make = (report: Report) => `${JSON.stringify(report, null, 2)}\n`;
    outputs.push({ what: "report", path: report, make });
  }
  if (images !== undefined) {
    const make = async (report: Report) => {
      const { formatImages, successImages } = await import("./output_images.ts");
      return await formatImages(successImages(report), format ?? "yaml");
    };
    outputs.push({ what: "images", path: images, make });
  }
  return outputs;
}
