/** The rows of large layers, registries reached directly: CPU per GB, and memory with eight layers at once. */

import { startRegistry } from "../real/registry_process.ts";
import { type PlacedImage, uniqueBytes } from "./inputs.ts";
import { pushLargeImages } from "./large_layers.ts";
import { type Bench, eachRound, inFolder, runOnce, toolsOf } from "./runner.ts";
import { openStage } from "./stage.ts";
import type { Tool } from "./tools.ts";

const MEBIBYTE = 1024 * 1024;
/** Layers of the image whose CPU is measured. */
const FEW = 3;
/** Seconds a peer may take to be run in every round: a ratio to a figure that was taken once says little. */
const SLOW_HERE = 30;
/** Layers under way at once when memory is measured. */
const MANY = 8;
/** The smaller layers that show whether memory depends on their size, as a part of the larger. */
const SMALL_PART = 8;

/** CPU per GB of an image of three large layers, default settings. */
export async function runLayers(bench: Bench): Promise<void> {
  await using source = await startRegistry();
  const size = bench.options.layerSize * MEBIBYTE;
  const images = await pushLargeImages(source, { size, count: FEW });
  const gigabytes = uniqueBytes(images) / 1e9;
  // regsync copies as regctl does.
  const tools = [...toolsOf(bench, { switches: ["--verify"], without: ["regsync"] }), ...bareLoops()];
  await eachRound(bench.options.rounds, tools, async (tool) => {
    await using stage = await openStage(source, images, { hasProxy: false });
    await inFolder(async (directory) => {
      const extra = ({ cpu = NaN, wall }: { cpu?: number; wall: number }) => ({
        cpuPerGigabyte: cpu / gigabytes,
        rate: gigabytes * 1e9 / wall,
      });
      await runOnce(bench, { row: `${FEW} large layers`, tool, stage, directory, extra });
    });
  }, SLOW_HERE);
}

/** What the row's work costs in Deno at the least; no tool, so in no comparison. */
function bareLoops(): Tool[] {
  const script = new URL("./bare_loop.ts", import.meta.url).pathname;
  return [[], ["--verify"]].map((flags): Tool => ({
    name: ["(bare loop)", ...flags].join(" "),
    version: "",
    invoke: ({ pairs }) => ({
      files: {},
      commands: pairs.flatMap(({ source, destinations, tags }) =>
        destinations.flatMap(({ host }) =>
          tags.map((
            tag,
          ) => [Deno.execPath(), "run", "-A", script, source.host, host, source.repository, tag, ...flags])
        )
      ),
    }),
  }));
}

/** Peak memory with eight layers under way at once, of full size and of an eighth of it. */
export async function runMemory(bench: Bench): Promise<void> {
  await using source = await startRegistry();
  const full = bench.options.layerSize;
  for (const size of [full / SMALL_PART, full]) {
    const images = await pushLargeImages(source, { size: size * MEBIBYTE, count: MANY });
    const rounds = size === full ? 1 : bench.options.rounds;
    const tools = toolsOf(bench, { switches: ["--verify"], without: ["regsync", "regctl"] }).map(manyAtOnce);
    await eachRound(rounds, tools, async (tool) => {
      await runOnMemory(bench, { tool, images, source, row: memoryRow(size) });
    });
  }
}

/** Names of the rows of memory; the size in MiB. */
export function memoryRow(size: number): string {
  return `${MANY} layers of ${size} MiB at once`;
}

async function runOnMemory(
  bench: Bench,
  { tool, images, source, row }: {
    tool: Tool;
    images: PlacedImage[];
    source: Parameters<typeof openStage>[0];
    row: string;
  },
): Promise<void> {
  await using stage = await openStage(source, images, { hasProxy: false });
  await inFolder(async (directory) => {
    await runOnce(bench, { row, tool, stage, directory });
  });
}

/** Tools that take five blobs at once unless told are told; the others take as many as they like. */
function manyAtOnce(tool: Tool): Tool {
  if (!/^(this tool|image-syncer)/.test(tool.name)) return tool;
  return {
    ...tool,
    invoke: (job) => {
      const { files, commands } = tool.invoke(job);
      return { files, commands: commands.map((command) => [...command, "--proc", String(MANY)]) };
    },
  };
}
