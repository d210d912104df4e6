/** The benchmark of this tool against its peers: `deno task bench`, see `--help`. */

import { runLayers, runMemory } from "./layer_rows.ts";
import { runFanOut, runMirror, runShared, runStart } from "./mirror_rows.ts";
import { type BenchOptions, readOptions } from "./options.ts";
import type { Bench } from "./runner.ts";
import { Samples } from "./samples.ts";
import { MEMORY_FOLDER } from "./stage.ts";
import { runScale } from "./scale_row.ts";
import { figureTable, requestTable, targetTable } from "./tables.ts";
import { findTargets } from "./targets.ts";
import { findOurs, findPeers } from "./tools.ts";

const ROWS: Record<string, (bench: Bench) => Promise<void>> = {
  start: runStart,
  mirror: runMirror,
  "fan-out": runFanOut,
  shared: runShared,
  scale: runScale,
  layers: runLayers,
  memory: runMemory,
};

const ABOUT_FIGURES =
  `Medians of all rounds, for wall times with the least and the most. CPU is user and system of the whole process
tree, peak is the resident set of its largest process. After every run each tag is compared by digest, and every child and
blob is looked for: a run with a fault is wrong, however fast it was. Peers that take more than ten
seconds run once, with few large layers thirty. What is in brackets is no tool: the least that the work costs in Deno.
[PROFILE.md](PROFILE.md) says where the time and the memory go, and what was tried where a target is missed.`;

async function main(options: BenchOptions): Promise<number> {
  const peers = (await findPeers()).filter(({ name }) => options.peers?.includes(name) ?? true);
  const samples = new Samples();
  const bench: Bench = { options, tools: [...await findOurs(options.cli), ...peers], samples };
  for (const row of options.rows) {
    console.error(row);
    await ROWS[row]?.(bench);
  }
  const text = await render(bench);
  if (options.output !== undefined) await Deno.writeTextFile(options.output, text);
  console.log(options.isJson ? JSON.stringify(samples.all, null, 2) : text);
  const isWrong = samples.all.some(({ tool, fault }) => fault !== undefined && tool.startsWith("this tool"));
  return isWrong ? 1 : 0;
}

async function render(bench: Bench): Promise<string> {
  const { samples, options } = bench;
  const rows = samples.rows();
  const kinds = rows.filter((row) => /10×4.* 0 ms|shared/.test(row));
  return [
    "# Benchmark",
    await describe(bench),
    "## Targets",
    'Medians. A peer is named with its figure; "met" is about this tool.',
    targetTable(findTargets(samples, options)),
    "## Figures",
    ABOUT_FIGURES,
    ...rows.flatMap((row) => [`### ${row}`, figureTable(samples, row)]),
    "## Requests by kind",
    ...kinds.flatMap((row) => [`### ${row}`, requestTable(samples, row)]),
    "",
  ].join("\n\n");
}

async function describe({ options, tools }: Bench): Promise<string> {
  const versions = new Map(tools.map(({ name, version }) => [name, version]));
  const list = [...versions].filter(([name]) => !name.includes("--")).map(([name, version]) =>
    `${name} ${version}`.trim()
  );
  const { rounds, latency, layerSize } = options;
  // Where files are on this machine says nothing to others.
  const flags = Deno.args.filter((text, index) =>
    !/^--(cli|output)/.test(text) && !/^--(cli|output)$/.test(Deno.args[index - 1] ?? "")
  );
  const storage = MEMORY_FOLDER === undefined
    ? "on disk"
    : "on disk, with one and three destinations in memory";
  return [
    `- date: ${new Date().toISOString().slice(0, 10)}`,
    `- machine: ${await describeMachine()}`,
    `- runtime: Deno ${Deno.version.deno}`,
    `- tools: ${list.join(", ")}`,
    `- command: \`${["deno task bench", ...flags].join(" ")}\``,
    `- ${rounds} rounds, the tools in turn; latency ${latency} ms a request; large layers of ${layerSize} MiB; default settings`,
    "- registries: CNCF distribution (`docker-registry`) on loopback, a new empty destination for each run, behind a proxy that",
    "  counts, delays and asks for tokens; rows of large layers and of many tags reach their registries directly, and the",
    `  many tags are between in-memory registries; storage is ${storage}`,
  ].join("\n");
}

async function describeMachine(): Promise<string> {
  const memory = Math.round(Deno.systemMemoryInfo().total / 1e9);
  const model = await cpuModel();
  const load = Deno.loadavg()[0]?.toFixed(1);
  return `${model}, ${navigator.hardwareConcurrency} cores, ${memory} GB, ${Deno.build.os} ${Deno.osRelease()}, load ${load}`;
}

async function cpuModel(): Promise<string> {
  try {
    const text = await Deno.readTextFile("/proc/cpuinfo");
    return /^model name\s*:\s*(.*)$/m.exec(text)?.[1] ?? Deno.build.arch;
  } catch {
    return Deno.build.arch;
  }
}

if (import.meta.main) {
  const options = readOptions(Deno.args);
  if (options !== undefined) Deno.exit(await main(options));
}
