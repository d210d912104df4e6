/** Runs under random faults one after the other in one process, and watches memory and open files. `deno task soak`. */

import { faultSeed } from "./fuzzer.ts";
import { CUTS_ALONE, HOPELESS, randomRun, ROUGH } from "./random_run.ts";

/** Runs, the first tenth of them to warm up. */
const RUNS = Number(Deno.env.get("FAULT_RUNS") ?? "200");
/** Runs between two samples. */
const INTERVAL = Math.max(1, Math.floor(RUNS / 10));
/** How much the last samples may exceed those after the warm-up: in bytes, and in files. */
const GROWTH = { memory: 64 * 1024 * 1024, files: 10 };

/** What the process holds. */
interface Sample {
  /** Runs so far. */
  runs: number;
  /** Resident memory, in bytes. */
  memory: number;
  /** Memory of JavaScript objects, in bytes. */
  heap: number;
  /** Open files and sockets; 0 where the system does not tell. */
  files: number;
}

function sample(runs: number): Sample {
  const { rss, heapUsed } = Deno.memoryUsage();
  return { runs, memory: rss, heap: heapUsed, files: countFiles() };
}

function countFiles(): number {
  try {
    return [...Deno.readDirSync("/proc/self/fd")].length;
  } catch {
    return 0;
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0);
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}

/** Whether the last third of the samples holds no more than the third after the warm-up. */
function isFlat(samples: readonly Sample[]): boolean {
  const third = Math.ceil(samples.length / 3);
  const [early, late] = [samples.slice(1, 1 + third), samples.slice(-third)];
  const grown = (key: "memory" | "files") =>
    median(late.map((one) => one[key])) - median(early.map((one) => one[key]));
  return grown("memory") <= GROWTH.memory && grown("files") <= GROWTH.files;
}

async function main(): Promise<number> {
  const seed = faultSeed();
  const samples: Sample[] = [];
  const sum = { copied: 0, failed: 0 };
  console.log(
    `${RUNS} runs, FAULT_SEED=${seed}\n\n| runs | RSS MB | heap MB | open files |\n| --- | --- | --- | --- |`,
  );
  for (let run = 1; run <= RUNS; run++) {
    const weather = [CUTS_ALONE, ROUGH, HOPELESS][run % 3] ?? ROUGH;
    const { copied, failed } = await randomRun(seed + run, weather);
    sum.copied += copied;
    sum.failed += failed;
    if (run % INTERVAL !== 0) continue;
    const now = sample(run);
    samples.push(now);
    console.log(`| ${now.runs} | ${megabytes(now.memory)} | ${megabytes(now.heap)} | ${now.files} |`);
  }
  const flat = isFlat(samples);
  console.log(
    `\n${sum.copied} copied, ${sum.failed} failed; memory and files are ${flat ? "flat" : "GROWING"}`,
  );
  return flat ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
