/** What a plan prints on standard output: each rule, what would be copied, and what that takes. */

import type { Forecast, Range } from "../../mirror/forecast.ts";
import type { FullPlan } from "../../mirror/full_plan.ts";
import type { RuleCounts } from "../../mirror/plan/saved_plan.ts";
import { formatBytes } from "../../mirror/report.ts";
import { driftLines, droppedLines } from "./printer.ts";
import { formatReference } from "../../oci/reference.ts";

/** The lines of a plan, for a person. */
export function planLines(plan: FullPlan): string[] {
  const { tasks, skipped, failed, rules, forecast, deletions = [] } = plan;
  const copies = tasks.flatMap(({ source, destinations }) =>
    destinations.filter(({ action }) => action === "copy").map(({ reference, there }) =>
      `  would ${there === undefined ? "copy   " : "replace"}  ${formatReference(source)} -> ${
        formatReference(reference)
      }`
    )
  );
  const skips = skipped.map(({ source, destination, reason }) =>
    `  skipped  ${source} -> ${destination}: ${reason}`
  );
  const failures = failed.map(({ source, destination, error }) =>
    `  failed   ${source}${destination === undefined ? "" : ` -> ${destination}`}: ${error}`
  );
  const deleted = deletions.map(({ reference, reason, since }) =>
    `  would delete   ${formatReference(reference)} (${reason}, missing since ${since})`
  );
  return [
    ...rules.map(ruleLine),
    ...droppedLines(plan),
    ...copies,
    ...deleted,
    ...driftLines(plan),
    ...skips,
    ...failures,
    ...forecastLines(forecast),
  ];
}

function ruleLine(counts: RuleCounts): string {
  const { source, tags, selected, new: added, changed, same, drifted, skipped, failed, pruned } = counts;
  const all = tags === 0 ? "" : `${tags} tags, `;
  const more = [[drifted, "drifted"], [skipped, "skipped"], [failed, "failed"], [
    pruned,
    "to be deleted",
  ]] as const;
  const rest = more.filter(([count]) => count > 0).map(([count, what]) => `, ${count} ${what}`).join("");
  return `Rule "${source}": ${all}${selected} selected: ${added} new, ${changed} changed, ${same} the same${rest}`;
}

function forecastLines({ bytes, blobs, requests, pulls, seconds }: Forecast): string[] {
  const amount = (bytes: number, blobs: number) =>
    `${formatBytes(bytes)} (${blobs} ${blobs === 1 ? "blob" : "blobs"})`;
  const left = pulls.left === null ? "" : `, ${pulls.left} left`;
  const pulled = pulls.spent + pulls.run + (pulls.left ?? 0) === 0 ? [] : [
    `Docker Hub pulls: ${pulls.spent} for this plan, ${pulls.apply} to apply it, ${pulls.run} without it${left}`,
  ];
  return [
    `To read:  ${amount(bytes.read, blobs.read)}`,
    `To send:  ${amount(bytes.send, blobs.send)}`,
    `To mount: ${amount(bytes.mount, blobs.mount)}`,
    `Requests: ${rangeText(requests)}, without those for what belongs to images`,
    ...pulled,
    ...(seconds === null ? [] : [`Time:     about ${seconds} s at the rate of the last run`]),
  ];
}

function rangeText({ expected, least, most }: Range): string {
  return least === most ? `${expected}` : `about ${expected} (${least} to ${most})`;
}
