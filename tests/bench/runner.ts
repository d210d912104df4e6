/** Runs one tool on one stage and makes a sample of it. */

import { measure, type Measured } from "./measured_run.ts";
import type { BenchOptions } from "./options.ts";
import type { Samples } from "./samples.ts";
import type { Stage } from "./stage.ts";
import { countRequests, type Tally } from "./tally.ts";
import { OURS, type Tool } from "./tools.ts";

/** What the rows are made with. */
export interface Bench {
  /** The flags. */
  options: BenchOptions;
  /** This tool without switches first, then its switches, then the peers. */
  tools: readonly Tool[];
  /** Where samples go. */
  samples: Samples;
}

/** Which run it is. */
export interface RunRequest {
  /** Row the sample belongs to. */
  row: string;
  /** The tool. */
  tool: Tool;
  /** What it runs on. */
  stage: Stage;
  /** Folder it runs in; what it remembers there, it finds at its next run. */
  directory: string;
  /** More figures, from what was measured. */
  extra?: (measured: Measured, tallies: Record<string, Tally>) => Record<string, number>;
}

/** This tool as it is, with those of its switches that are named, and the peers that are not left out. */
export function toolsOf(
  bench: Bench,
  { switches = [], without = [] }: { switches?: string[]; without?: string[] } = {},
): Tool[] {
  return bench.tools.filter(({ name }) => {
    if (name.startsWith(OURS)) return name === OURS || switches.some((one) => name.endsWith(one));
    return !without.includes(name);
  });
}

/** Runs a tool once, looks at its copies, and notes the figures. */
export async function runOnce(bench: Bench, request: RunRequest): Promise<void> {
  const { row, tool, stage, directory, extra } = request;
  const { files, commands } = tool.invoke(stage.job);
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${directory}/${name}`, text);
  await stage.take();
  const measured = await measure(commands, { directory });
  const tallies = await stage.take();
  const fault = measured.code === 0
    ? await stage.findFault()
    : `exit code ${measured.code}: ${measured.output.trim().split("\n").at(-1)}`;
  const { wall, cpu, memory } = measured;
  bench.samples.add({
    row,
    tool: tool.name,
    values: {
      wall,
      ...(cpu !== undefined && { cpu }),
      ...(memory !== undefined && { memory }),
      ...countedValues(tallies),
      ...extra?.(measured, tallies),
    },
    requests: Object.fromEntries(Object.entries(tallies).map(([side, { requests }]) => [side, requests])),
    ...(fault !== undefined && { fault }),
  });
  const words = [row, tool.name, `${wall.toFixed(2)} s`, fault ?? ""];
  console.error(`  ${words.join("  ")}`);
}

function countedValues(tallies: Record<string, Tally>): Record<string, number> {
  const sides = Object.entries(tallies);
  if (sides.length === 0) return {};
  const destinations = sides.filter(([side]) => side.startsWith("destination")).map(([, tally]) => tally);
  const sum = (pick: (tally: Tally) => number, among = destinations) =>
    among.reduce((total, tally) => total + pick(tally), 0);
  const all = sides.map(([, tally]) => tally);
  return {
    requests: sum(countRequests, all),
    connections: sum(({ connections }) => connections, all),
    sourceBytes: tallies.source?.bytesOut ?? 0,
    destinationBytes: sum(({ bytesIn }) => bytesIn),
    blobsStored: sum(({ blobsStored }) => blobsStored),
    blobsStoredOnce: sum(({ blobsStoredOnce }) => blobsStoredOnce),
    mounts: sum(({ mounts }) => mounts),
  };
}

/** Does something in a new folder that is gone afterwards. */
export async function inFolder(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "bench-" });
  try {
    await work(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Seconds from which on a tool counts as slow: it is run once and not again, or it would take the time of all others. */
const SLOW = 10;

/**
 * All tools in turn, round by round, so that what else the machine does falls on all of them.
 *
 * @param limit Seconds from which on a peer is run once and not again.
 */
export async function eachRound(
  rounds: number,
  tools: readonly Tool[],
  work: (tool: Tool) => Promise<void>,
  limit = SLOW,
): Promise<void> {
  const slow = new Set<Tool>();
  for (let round = 0; round < rounds; round++) {
    for (const tool of tools.filter((one) => !slow.has(one))) {
      const startedAt = performance.now();
      await work(tool);
      const isPeer = !tool.name.startsWith(OURS);
      if (isPeer && performance.now() - startedAt > limit * 1000) slow.add(tool);
    }
  }
}
