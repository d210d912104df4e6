/** The benchmark's results as Markdown. */

import type { Sample, Samples } from "./samples.ts";
import { median } from "./samples.ts";
import { figure, type Target } from "./targets.ts";

/** How figures are shown: heading, and divisor. */
const COLUMNS: readonly { name: string; heading: string; unit: number }[] = [
  { name: "wall", heading: "wall s", unit: 1 },
  { name: "cpu", heading: "CPU s", unit: 1 },
  { name: "cpuPerGigabyte", heading: "CPU s/GB", unit: 1 },
  { name: "rate", heading: "MB/s", unit: 1e6 },
  { name: "memory", heading: "peak MB", unit: 1e6 },
  { name: "live", heading: "in use MB", unit: 1e6 },
  { name: "start", heading: "start ms", unit: 1e-3 },
  { name: "tagsPerSecond", heading: "tags/s", unit: 1 },
  { name: "requests", heading: "requests", unit: 1 },
  { name: "connections", heading: "connections", unit: 1 },
  { name: "sourceBytes", heading: "MB from source", unit: 1e6 },
  { name: "destinationBytes", heading: "MB to destinations", unit: 1e6 },
  { name: "blobsStored", heading: "uploads", unit: 1 },
  { name: "mounts", heading: "mounts", unit: 1 },
];

/** The table of issue 4. */
export function targetTable(targets: readonly Target[]): string {
  const rows = targets.map(({ measure, peers, ours, target, isMet }) => [
    measure,
    peers,
    ours,
    target,
    isMet === true ? "yes" : "**no**",
  ]);
  return table(["measure", "best peers", "this tool", "target", "met"], rows);
}

/** All figures of a row: medians, and the least and the most of the wall times. */
export function figureTable(samples: Samples, row: string): string {
  const tools = samples.tools(row);
  const columns = COLUMNS.filter(({ name }) =>
    tools.some((tool) => samples.values(row, tool, name).length > 0)
  );
  const rows = tools.map((tool) => [
    tool,
    ...columns.map(({ name, unit }) => cellOf(samples.values(row, tool, name), name, unit)),
    samples.faults(row, tool).join("; "),
  ]);
  return table(["tool", ...columns.map(({ heading }) => heading), "fault"], rows);
}

function cellOf(values: readonly number[], name: string, unit: number): string {
  const middle = median(values);
  if (middle === undefined) return "";
  if (name !== "wall" || values.length < 2) return figure(middle / unit);
  return `${figure(middle / unit)} (${figure(Math.min(...values) / unit)}–${
    figure(Math.max(...values) / unit)
  })`;
}

/** Requests by side and kind, a column a tool. */
export function requestTable(samples: Samples, row: string): string {
  const tools = samples.tools(row);
  const keys = new Set<string>();
  for (const tool of tools) {
    for (const one of samples.of(row, tool)) for (const key of keysOf(one)) keys.add(key);
  }
  const rows = [...keys].sort().map((key) => [
    key,
    ...tools.map((tool) => {
      const count = median(samples.of(row, tool).map((one) => countOf(one, key)));
      return count === undefined || count === 0 ? "" : figure(count);
    }),
  ]);
  return rows.length === 0 ? "" : table(["request", ...tools], rows);
}

function keysOf({ requests = {} }: Sample): string[] {
  return Object.entries(requests).flatMap(([side, kinds]) =>
    Object.keys(kinds).map((kind) => `${side}: ${kind}`)
  );
}

function countOf({ requests = {} }: Sample, key: string): number {
  const [side = "", kind = ""] = key.split(": ");
  return requests[side]?.[kind] ?? 0;
}

function table(headings: readonly string[], rows: readonly string[][]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(headings), line(headings.map(() => "---")), ...rows.map(line)].join("\n");
}
