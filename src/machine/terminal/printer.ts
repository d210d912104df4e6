/** What a run prints on standard output: the phases, a line for each image that is through, and the totals. */

import { formatReference } from "../../oci/reference.ts";
import type { Plan } from "../../mirror/plan/plan.ts";
import type { CopyEvent, Phase } from "../../mirror/copy/copy_event.ts";
import { formatBytes, formatSummary, type Report } from "../../mirror/report.ts";

/** The lines of image-syncer v1.0.3 that scripts look for. */
const PHASES: Record<Phase, string> = {
  "generate": "Start to generate sync tasks, please wait ...",
  "copy": "Start to handle sync tasks, please wait ...",
  "retry-generate": "Start to retry to generate sync tasks, please wait ...",
  "retry-copy": "Start to retry sync tasks, please wait ...",
};

/**
 * Makes the lines that events are to a person; a failure that comes again in a later phase is said once. A plan comes piece by
 * piece, so what there is to copy is said when everything has been looked at.
 */
export function linesOf(): (event: CopyEvent) => string[] {
  const said = new Set<string>();
  const once = (lines: string[]) => {
    // Which of its blobs an image fails at is chance; the reason is the same.
    const text = lines.join("\n").replace(/\b(sha\d+):[0-9a-f]+/g, "$1");
    return said.has(text) ? [] : (said.add(text), lines);
  };
  const counts = new PlanCounts();
  return (event) => {
    if (event.type === "phase-started") return [PHASES[event.phase]];
    if (event.type === "planned") {
      counts.add(event.plan);
      const failures = event.plan.failed.map((one) => failureLines(one.source, one.destination, one.error));
      return [
        ...droppedLines(event.plan),
        ...driftLines(event.plan),
        ...skipLines(event.plan),
        ...failures.flatMap(once),
      ];
    }
    if (event.type === "planning-ended") return counts.lines();
    if (event.type === "tag-deletion") return deletionLines(event);
    if (event.type === "destination-copied") return [`  copied  ${event.task} -> ${event.destination}`];
    if (event.type === "destination-drifted") return [driftLine(event.task, event.destination)];
    if (event.type === "destination-failed") {
      return once(failureLines(event.task, event.destination, event.error));
    }
    return [];
  };
}

/** What a plan has of each kind, counted piece by piece. */
class PlanCounts {
  #toCopy = 0;
  #unchanged = 0;
  #skipped = 0;
  #drifted = 0;
  #rewritten = new Set<string>();

  /** Counts a piece. */
  add({ tasks, skipped }: Plan): void {
    this.#skipped += skipped.length;
    for (const { id, original, destinations } of tasks) {
      const unchanged = destinations.filter(({ action }) => action === "unchanged").length;
      this.#unchanged += unchanged;
      this.#toCopy += destinations.filter(({ action }) => action === "copy").length;
      this.#drifted += destinations.filter(({ action }) => action === "drifted").length;
      if (original !== undefined) this.#rewritten.add(id);
    }
  }

  /** The counts, in sentences. */
  lines(): string[] {
    const skipped = this.#skipped === 0 ? "" : `, ${this.#skipped} skipped`;
    const drifted = this.#drifted === 0 ? "" : `, ${this.#drifted} drifted`;
    const lines = [
      `  ${countOf(this.#toCopy, "image")} to copy, ${this.#unchanged} unchanged${skipped}${drifted}`,
    ];
    const { size } = this.#rewritten;
    const what = `${countOf(size, "index")}, whose digests and signatures then differ from the source's`;
    return size === 0 ? lines : [...lines, `  the platforms wanted rewrite ${what}`];
  }
}

/** What the filters of each rule have left out, with examples. */
export function droppedLines({ dropped }: Pick<Plan, "dropped">): string[] {
  const sources = [...new Set(dropped.map(({ source }) => source))];
  return sources.map((source) => {
    const filters = dropped.filter((one) => one.source === source).map(({ filter, count, examples }) => {
      const rest = count > examples.length ? ", …" : "";
      return `${count} by ${filter} (${examples.join(", ")}${rest})`;
    });
    return `  left out of ${source}: ${filters.join("; ")}`;
  });
}

/** Tags that stand for something else at their destinations and are not overwritten. */
export function driftLines({ tasks }: Pick<Plan, "tasks">): string[] {
  return tasks.flatMap(({ source, destinations }) =>
    destinations.filter(({ action }) => action === "drifted")
      .map(({ reference }) => driftLine(formatReference(source), formatReference(reference)))
  );
}

function driftLine(source: string, destination: string): string {
  return `  drifted ${source} -> ${destination} stands for something else there, and is not overwritten`;
}

function skipLines({ skipped }: Plan): string[] {
  return skipped.flatMap(({ source, destination, reason }) => [
    `  skipped ${source} -> ${destination}`,
    `          ${reason}`,
  ]);
}

function deletionLines(
  { reference, status, why }: Extract<CopyEvent, { type: "tag-deletion" }>,
): string[] {
  if (status === "kept") return [];
  return status === "deleted" ? [`  deleted ${reference}`] : failureLines(reference, undefined, why ?? "");
}

function failureLines(source: string, destination: string | undefined, error: string): string[] {
  return [
    `  failed  ${source}${destination === undefined ? "" : ` -> ${destination}`}`,
    `          ${error}`,
  ];
}

/** What stands at the end: the totals, and the line that scripts look for. */
export function summaryLines(report: Report): string[] {
  const { totals, bytes } = report;
  const seconds = (Date.parse(report.finishedAt ?? report.startedAt) - Date.parse(report.startedAt)) / 1000;
  const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : "";
  const pending = totals.pending > 0 ? `, ${totals.pending} not reached` : "";
  // "0 failed" beside a rule that could not even be turned into images would be read as success.
  const rules = totals.rulesFailed > 0 ? `, ${countOf(totals.rulesFailed, "rule")} failed` : "";
  const drifted = (totals.drifted ?? 0) > 0 ? `, ${totals.drifted} drifted` : "";
  const images =
    `${totals.copied} copied, ${totals.unchanged} unchanged, ${totals.failed} failed${rules}${skipped}${drifted}${pending}`;
  const lines = report.isInterrupted ? ["Interrupted; the next run goes on from here"] : [];
  return [
    ...lines,
    ...belongingLines(report),
    `Images: ${images} in ${seconds.toFixed(1)} s`,
    `Blobs:  ${formatBytes(bytes.copied)} sent, ${formatBytes(bytes.mounted)} mounted, ${
      formatBytes(bytes.skipped)
    } already there`,
    formatSummary(report),
  ];
}

/** What belongs to the images, where rules have left out some of it. */
function belongingLines({ tasks }: Report): string[] {
  const sums = new Map<string, { found: number; skipped: number }>();
  for (
    const [type, { found, skipped }] of tasks.flatMap(({ belongings = {} }) => Object.entries(belongings))
  ) {
    const sum = sums.get(type) ?? { found: 0, skipped: 0 };
    sums.set(type, { found: sum.found + found, skipped: sum.skipped + skipped });
  }
  if (![...sums.values()].some(({ skipped }) => skipped > 0)) return [];
  const rows = [...sums].sort().map(([type, { found, skipped }]) =>
    `  ${type}: ${skipped} of ${found} left out`
  );
  return ["What belongs to the images, and what the rules leave out of it:", ...rows];
}

/** What a dry run prints. */
export function dryRunLines(plan: Plan): string[] {
  const lines = plan.tasks.flatMap(({ source, destinations }) =>
    destinations.filter(({ action }) => action !== "drifted").map(({ reference, action, isIncomplete }) => {
      const more = isIncomplete ? " (what belongs to it would be looked at)" : "";
      const names = `${formatReference(source)} -> ${formatReference(reference)}${more}`;
      return `  ${action === "copy" ? "would copy" : "unchanged "}  ${names}`;
    })
  );
  const failures = plan.failed.flatMap(({ source, destination, error }) =>
    failureLines(source, destination, error)
  );
  const counts = new PlanCounts();
  counts.add(plan);
  return [
    ...lines,
    ...counts.lines(),
    ...droppedLines(plan),
    ...driftLines(plan),
    ...skipLines(plan),
    ...failures,
  ];
}

function countOf(count: number, noun: string): string {
  const plural = noun === "index" ? "indexes" : `${noun}s`;
  return `${count} ${count === 1 ? noun : plural}`;
}
