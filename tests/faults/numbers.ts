/** Lists which of the known faults have a test of their number, and the gaps. */

import { type Coverage, coverageOf } from "../compat_numbers.ts";

/** Faults that were found in version 0.1.0, numbered from 1. */
const FAULTS = 91;
const TESTS = new URL("../", import.meta.url);

if (import.meta.main) await listNumbers();

/** Prints the numbers by file, and those of which no test has the name. */
async function listNumbers(): Promise<void> {
  const files = await readFaultNumbers();
  const width = Math.max(...[...files.keys()].map((name) => name.length));
  for (const [name, numbers] of files) console.log(`${name.padEnd(width)}  ${numbers.join(" ")}`);
  const { covered, gaps, unknown } = coverageOfFaults(files);
  console.log(`\n${covered.length} of ${FAULTS} faults have a test`);
  console.log(`gaps: ${gaps.join(" ") || "none"}`);
  console.log(`unknown: ${unknown.join(" ") || "none"}`);
}

/** Which faults the tests hold; a fault may have tests in several files. */
export function coverageOfFaults(files: ReadonlyMap<string, readonly number[]>): Coverage {
  return coverageOf(files.values(), FAULTS);
}

/** Numbers of the faults by the test files that hold them, the files in the order of their names. */
export async function readFaultNumbers(): Promise<Map<string, number[]>> {
  const files: [name: string, numbers: number[]][] = [];
  for await (const name of testFiles("")) {
    const numbers = faultNumbersIn(await Deno.readTextFile(new URL(name, TESTS)));
    if (numbers.length > 0) files.push([name, numbers]);
  }
  return new Map(files.sort(([one], [other]) => one < other ? -1 : 1));
}

async function* testFiles(directory: string): AsyncIterable<string> {
  for await (const { name, isDirectory } of Deno.readDir(new URL(`./${directory}`, TESTS))) {
    if (isDirectory) yield* testFiles(`${directory}${name}/`);
    else if (name.endsWith("_test.ts")) yield `${directory}${name}`;
  }
}

/** Numbers of the faults that names of tests begin with, each once, in order; names may stand in a table. */
export function faultNumbersIn(text: string): number[] {
  const found = [...text.matchAll(/["`]fault (\d+): /g)].map((match) => Number(match[1]));
  return [...new Set(found)].sort((one, other) => one - other);
}
