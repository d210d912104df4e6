/** What a run prints on standard output: the phases, a line for each image that is through, and the totals. */

import { type CopyEvent, formatBytes, formatSummary, type Phase, type Report } from "../mirror/report.ts";
import type { Plan } from "../mirror/plan.ts";

/** The lines of image-syncer v1.0.3 that scripts look for. */
const PHASES: Record<Phase, string> = {
  "generate": "Start to generate sync tasks, please wait ...",
  "copy": "Start to handle sync tasks, please wait ...",
  "retry-generate": "Start to retry to generate sync tasks, please wait ...",
  "retry-copy": "Start to retry sync tasks, please wait ...",
};

/** The line that an event is to a person, or `undefined` where it is none. */
export function lineOf(event: CopyEvent): string | undefined {
  if (event.type === "phase-started") return PHASES[event.phase];
  if (event.type === "planned") return planLines(event.plan);
  if (event.type === "destination-copied") return `  copied  ${event.task} -> ${event.destination}`;
  if (event.type === "destination-failed") return failureLine(event.task, event.destination, event.error);
  return undefined;
}

function planLines(plan: Plan): string {
  const destinations = plan.tasks.flatMap((task) => task.destinations);
  const unchanged = destinations.filter(({ action }) => action === "unchanged").length;
  const count = `${countOf(destinations.length - unchanged, "image")} to copy, ${unchanged} unchanged`;
  const failures = plan.failed.map((failure) =>
    failureLine(failure.source, failure.destination, failure.error)
  );
  return [`  ${count}`, ...failures].join("\n");
}

function failureLine(source: string, destination: string | undefined, error: string): string {
  return `  failed  ${source}${destination === undefined ? "" : ` -> ${destination}`}\n          ${error}`;
}

/** What stands at the end: the totals, and the line that scripts look for. */
export function summaryLines(report: Report): string[] {
  const { totals, bytes } = report;
  const seconds = (Date.parse(report.finishedAt ?? report.startedAt) - Date.parse(report.startedAt)) / 1000;
  const pending = totals.pending > 0 ? `, ${totals.pending} not reached` : "";
  const images = `${totals.copied} copied, ${totals.unchanged} unchanged, ${totals.failed} failed${pending}`;
  const sent = `${formatBytes(bytes.copied)} sent, ${formatBytes(bytes.mounted)} mounted, ${
    formatBytes(bytes.skipped)
  } already there`;
  const lines = report.isInterrupted ? ["Interrupted; the next run goes on from here"] : [];
  return [...lines, `Images: ${images} (${sent}) in ${seconds.toFixed(1)} s`, formatSummary(report)];
}

/** What a dry run prints. */
export function dryRunLines(plan: Plan): string[] {
  const lines = plan.tasks.flatMap((task) =>
    task.destinations.map(({ reference, action }) =>
      `  ${action === "copy" ? "would copy" : "unchanged "}  ${task.source} -> ${reference}`
    )
  );
  const failures = plan.failed.map(({ source, destination, error }) =>
    failureLine(source, destination, error)
  );
  return [...lines, ...failures];
}

function countOf(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}
