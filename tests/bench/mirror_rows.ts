/** The rows of many small blobs behind the proxy: cold and no-op, start, one source to three destinations, shared layers. */

import { startRegistry } from "../real/registry_process.ts";
import { sharedBase, tenByFour, uniqueBlobs, uniqueBytes } from "./inputs.ts";
import { type Bench, eachRound, inFolder, runOnce, toolsOf } from "./runner.ts";
import { fill, MEMORY_FOLDER as parent, openStage } from "./stage.ts";

/** Runs of a tool in the row of starts, a round. */
const STARTS = 5;

/** Names of rows with latency. */
export function rowName(name: string, latency: number): string {
  return `${name}, ${latency} ms`;
}

/** A cold copy of the job 10×4 and a run that finds nothing to do, without and with latency. */
export async function runMirror(bench: Bench): Promise<void> {
  const images = tenByFour();
  await using source = await startRegistry();
  await fill(source, images);
  for (const latency of [0, bench.options.latency]) {
    // regctl has no notion of a repository: ten processes for ten tags are its own kind of race.
    const tools = toolsOf(bench, { switches: ["--trust-records"], without: ["regctl"] });
    await eachRound(bench.options.rounds, tools, async (tool) => {
      await using stage = await openStage(source, images, { latency, hasProxy: true });
      await inFolder(async (directory) => {
        await runOnce(bench, { row: rowName("cold 10×4", latency), tool, stage, directory });
        await runOnce(bench, { row: rowName("no-op 10×4", latency), tool, stage, directory });
      });
    });
  }
}

/** How long it takes from the start of the process to its first connection. */
export async function runStart(bench: Bench): Promise<void> {
  const images = tenByFour();
  await using source = await startRegistry();
  await fill(source, images);
  await using stage = await openStage(source, images, { hasProxy: true });
  const [ours] = bench.tools;
  if (ours === undefined) return;
  const row = "start";
  await inFolder(async (directory) => {
    await runOnce(bench, { row: "start, filling", tool: ours, stage, directory });
    await eachRound(bench.options.rounds * STARTS, toolsOf(bench, { without: ["regctl"] }), async (tool) => {
      await runOnce(bench, {
        row,
        tool,
        stage,
        directory,
        extra: ({ startedAt }, tallies) => {
          const times = Object.values(tallies).flatMap(({ firstConnectionAt }) => firstConnectionAt ?? []);
          return { start: (Math.min(...times) - startedAt) / 1000 };
        },
      });
    });
  });
}

/** The job 10×4 to one destination and to three, which would not share one disk. */
export async function runFanOut(bench: Bench): Promise<void> {
  const images = tenByFour();
  const bytes = uniqueBytes(images);
  await using source = await startRegistry();
  await fill(source, images);
  for (const latency of [0, bench.options.latency]) {
    await eachRound(bench.options.rounds, toolsOf(bench, { without: ["regctl", "skopeo"] }), async (tool) => {
      for (const destinations of [1, 3]) {
        await using stage = await openStage(source, images, {
          destinations,
          latency,
          hasProxy: true,
          parent,
        });
        await inFolder(async (directory) => {
          const row = rowName(`${destinations} destination${destinations === 1 ? "" : "s"}`, latency);
          const extra = (_: unknown, tallies: Record<string, { bytesOut: number }>) => ({
            sourceReads: (tallies.source?.bytesOut ?? 0) / bytes,
          });
          await runOnce(bench, { row, tool, stage, directory, extra });
        });
      }
    });
  }
}

/** Ten repositories with base layers in common, into one registry. */
export async function runShared(bench: Bench): Promise<void> {
  const images = sharedBase();
  const unique = uniqueBlobs(images).size;
  await using source = await startRegistry();
  await fill(source, images);
  await eachRound(bench.options.rounds, toolsOf(bench), async (tool) => {
    await using stage = await openStage(source, images, { hasProxy: true });
    await inFolder(async (directory) => {
      const extra = () => ({ uniqueBlobs: unique });
      await runOnce(bench, { row: "10 repositories, shared base", tool, stage, directory, extra });
    });
  });
}
