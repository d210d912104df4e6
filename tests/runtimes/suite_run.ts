/** One runtime through the whole suite, and what it took. */

import { assert } from "@std/assert";
import type { Bundle } from "./bundle.ts";
import type { Client } from "./client.ts";
import { figuresOf, resetPeak } from "./process_figures.ts";
import type { Runtime } from "./runtime.ts";
import { openCopyTask, openMemoryTask, openResumeTask, type Task } from "./site.ts";

/** What a runtime has done and used. */
export interface SuiteFigures {
  /** Bytes of blobs sent. */
  bytes: number;
  /** Seconds from the first job to the end of the last. */
  seconds: number;
  /** CPU in seconds; unknown where the machine does not tell. */
  cpu?: number;
  /** The most memory in bytes (RSS). */
  peak?: number;
  /** How much memory grew, in bytes, while the large layers passed. */
  growth?: number;
}

/** Layers that have to pass without memory growing. */
export interface LargeLayers {
  /** How many, of one image. */
  layers: number;
  /** Bytes of each. */
  size: number;
}

/** Bytes of memory that large layers may cost, however many they are; a runtime that keeps bodies takes twice that. */
const GROWTH_LIMIT = 256 * 1024 * 1024;

/**
 * Runs the suite.
 *
 * @param large None unless told.
 * @throws {Error} when anything is not as it should be, with what the runtime complained of.
 */
export async function runSuite(
  runtime: Runtime,
  program: string,
  { bundle, large }: { bundle: Bundle; large?: LargeLayers },
): Promise<SuiteFigures> {
  const client = await runtime.start(program, bundle);
  try {
    return await measure(client, large);
  } catch (error) {
    await client[Symbol.asyncDispose]();
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${why}\n${await client.process.complaints}`, { cause: error });
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

async function measure(client: Client, large: LargeLayers | undefined): Promise<SuiteFigures> {
  const startedAt = performance.now();
  const { number } = client.process;
  let bytes = 0;
  for (const open of [openCopyTask, openResumeTask]) bytes += await runTask(client, open);
  const before = await figuresOf(number);
  if (before !== undefined) await resetPeak(number);
  if (large !== undefined) bytes += await runTask(client, () => openMemoryTask(large));
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await figuresOf(number);
  if (before === undefined || after === undefined) return { bytes, seconds };
  const growth = after.peak - before.memory;
  assert(growth < GROWTH_LIMIT, `memory grew by ${Math.round(growth / 1e6)} MB`);
  return { bytes, seconds, cpu: after.cpu, peak: Math.max(before.peak, after.peak), growth };
}

async function runTask(client: Client, open: () => Task | Promise<Task>): Promise<number> {
  await using task = await open();
  const result = await client.run(task.job);
  task.check(result);
  return task.bytes;
}
