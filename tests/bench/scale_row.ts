/** The row of many tags, between in-memory registries: time and memory a tag at two sizes, cold and with nothing to do. */

import { type Child, startChild } from "./child.ts";
import { measureLiveMemory } from "./live_memory.ts";
import { manyTags, type PlacedImage } from "./inputs.ts";
import type { MemoryRegistryCounts } from "./memory_registry.ts";
import { type Bench, eachRound, inFolder, runOnce, toolsOf } from "./runner.ts";
import { findFault, jobOf, type Stage } from "./stage.ts";
import { emptyTally, type Tally } from "./tally.ts";
import { OURS } from "./tools.ts";

/** Names of the rows. */
export function scaleRow(phase: "cold" | "no-op", tags: number): string {
  return `${tags} tags, ${phase}`;
}

/** Copies many tags and then finds nothing to do, at both sizes. */
export async function runScale(bench: Bench): Promise<void> {
  for (const tags of bench.options.tags) {
    const images = manyTags(tags);
    await using source = await startChild("memory_registry.ts", { tags });
    // One process a tag, or one connection a manifest, takes minutes here.
    const tools = toolsOf(bench, { switches: ["--trust-records"], without: ["regctl", "skopeo"] });
    await eachRound(bench.options.rounds, tools, async (tool) => {
      await using destination = await startChild("memory_registry.ts", { tags: 0 });
      const stage = stageOf(images, { source, destination });
      await inFolder(async (directory) => {
        const extra = ({ wall }: { wall: number }) => ({ tagsPerSecond: tags / wall });
        await runOnce(bench, { row: scaleRow("cold", tags), tool, stage, directory, extra });
        await runOnce(bench, { row: scaleRow("no-op", tags), tool, stage, directory, extra });
      });
    });
    await measureLive(bench, tags, source);
  }
}

/** What this tool has in use, which nobody sees from outside. */
async function measureLive({ samples }: Bench, tags: number, source: Child): Promise<void> {
  await using destination = await startChild("memory_registry.ts", { tags: 0 });
  const [from, to] = [source, destination].map(({ ready }) =>
    `${(ready as { host: string }).host}/bench/many`
  );
  const { cold, idle } = await measureLiveMemory(from ?? "", to ?? "");
  samples.add({ row: scaleRow("cold", tags), tool: OURS, values: { live: cold } });
  samples.add({ row: scaleRow("no-op", tags), tool: OURS, values: { live: idle } });
}

function stageOf(images: readonly PlacedImage[], children: { source: Child; destination: Child }): Stage {
  const hosts = Object.fromEntries(
    Object.entries(children).map(([side, { ready }]) => [side, (ready as { host: string }).host]),
  );
  return {
    job: jobOf(images, hosts, false),
    take: async () => {
      const sides = Object.entries(children).map(async ([side, child]): Promise<[string, Tally]> => {
        const counts = await child.take() as MemoryRegistryCounts;
        return [side, { ...emptyTally(), ...counts }];
      });
      return Object.fromEntries(await Promise.all(sides));
    },
    // The registry itself refuses a manifest whose blobs are missing.
    findFault: () => findFault({ url: `http://${hosts.destination}`, fetch }, images.map(withoutBlobs)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function withoutBlobs(placed: PlacedImage): PlacedImage {
  return { ...placed, image: { ...placed.image, blobs: new Map() } };
}
