/**
 * How much memory a mirror of many tags has in use: what is left on the heap after a collection, at its highest. The resident
 * set tells less of it than of how long V8 puts a collection off. Needs `--v8-flags=--expose-gc`; prints JSON.
 */

import { openFileStore } from "../../src/machine/store/file_store.ts";
import { mirror } from "../../src/mirror/run.ts";
import { Registries } from "../../src/registry/registries.ts";

/** What the measurement is told. */
export interface LiveMemorySettings {
  /** Source and destination, as rules have them. */
  source: string;
  /** Where it goes. */
  destination: string;
  /** File of the records. */
  records: string;
}

/** Bytes in use at the highest, above those in use before, cold and then with nothing to do. */
export interface LiveMemory {
  /** While everything is copied. */
  cold: number;
  /** While nothing is. */
  idle: number;
}

/** Milliseconds between two collections. */
const INTERVAL = 100;

function inUse(): number {
  (globalThis as unknown as { gc: () => void }).gc();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** Mirrors once and says how much was in use at the highest. */
async function measure({ source, destination, records }: LiveMemorySettings): Promise<number> {
  const before = inUse();
  let most = 0;
  const look = () => most = Math.max(most, inUse() - before);
  const timer = setInterval(look, INTERVAL);
  const store = await openFileStore(records);
  const registries = new Registries({ isInsecure: () => true });
  const report = await mirror([{ source, destinations: [destination] }], { registries, store });
  clearInterval(timer);
  look();
  await store.close();
  const failure = [...report.tasks, ...report.rules].find(({ error }) => error !== undefined);
  if (failure !== undefined) throw new Error(failure.error);
  return most;
}

/** Measures in a process of its own, from an empty memory between runs. */
export async function measureLiveMemory(source: string, destination: string): Promise<LiveMemory> {
  const directory = await Deno.makeTempDir({ prefix: "bench-" });
  try {
    const settings: LiveMemorySettings = { source, destination, records: `${directory}/records` };
    const flags = ["-A", "--no-check", "--v8-flags=--expose-gc"];
    const args = ["run", ...flags, import.meta.url, JSON.stringify(settings)];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    const text = new TextDecoder().decode(stdout);
    if (text === "") throw new Error(new TextDecoder().decode(stderr));
    return JSON.parse(text);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

if (import.meta.main) {
  const settings: LiveMemorySettings = JSON.parse(Deno.args[0] ?? "");
  const cold = await measure(settings);
  const result: LiveMemory = { cold, idle: await measure(settings) };
  console.log(JSON.stringify(result));
  Deno.exit(0);
}
