/** Runs the core on every runtime and prints what came of it, as Markdown. `deno task runtimes`. */

import { type Bundle, bundleSuite } from "./bundle.ts";
import { install, type Runtime, RUNTIMES, versionOf } from "./runtime.ts";
import { runSuite, type SuiteFigures } from "./suite_run.ts";

/** Eight layers of 64 MiB: several times what a runtime may keep of them. */
const LARGE = { layers: 8, size: 64 * 1024 * 1024 };

/** A line of the table, and whether it is a good one. */
interface Row {
  cells: string[];
  outcome: "ok" | "failed" | "missing";
}

async function rowOf(runtime: Runtime, bundle: Bundle): Promise<Row> {
  let program: string;
  let version: string | undefined;
  try {
    program = await install(runtime);
    version = await versionOf(program);
    if (version === undefined) throw new Error(`Cannot run "${runtime.program}": it does not start`);
  } catch (error) {
    console.error(`${runtime.name} cannot be had: ${messageOf(error)}`);
    return { cells: [runtime.name, "-", "not there", "-", "-", "-", "-", "-"], outcome: "missing" };
  }
  try {
    const figures = await runSuite(runtime, program, { bundle, large: LARGE });
    return { cells: [runtime.name, version, "ok", ...figureCells(figures)], outcome: "ok" };
  } catch (error) {
    console.error(`${runtime.name} ${version}: ${messageOf(error)}`);
    return { cells: [runtime.name, version, "FAILED", "-", "-", "-", "-", "-"], outcome: "failed" };
  }
}

function figureCells({ bytes, seconds, cpu, peak, growth }: SuiteFigures): string[] {
  const megabytes = (count: number | undefined) =>
    count === undefined ? "-" : `${Math.round(count / 1e6)} MB`;
  return [
    megabytes(bytes),
    `${seconds.toFixed(1)} s`,
    cpu === undefined ? "-" : `${cpu.toFixed(1)} s`,
    megabytes(peak),
    megabytes(growth),
  ];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs them one after the other, so that none waits for another's CPU; returns whether all is well. */
async function main(): Promise<boolean> {
  const directory = await Deno.makeTempDir({ prefix: "runtimes-" });
  const outcomes: Row["outcome"][] = [];
  try {
    const bundle = await bundleSuite(directory);
    console.log("| runtime | version | result | bytes | time | CPU | peak RSS | growth |");
    console.log("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (const runtime of RUNTIMES) {
      const { cells, outcome } = await rowOf(runtime, bundle);
      outcomes.push(outcome);
      console.log(`| ${cells.join(" | ")} |`);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
  const isCi = (Deno.env.get("CI") ?? "") !== "";
  return !outcomes.includes("failed") && !(isCi && outcomes.includes("missing"));
}

if (import.meta.main && !await main()) Deno.exit(1);
