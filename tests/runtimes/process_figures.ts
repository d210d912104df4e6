/** What a process has used, as the kernel counts it: the same measure for every runtime. Linux tells, others do not. */

/** Figures of a process. */
export interface ProcessFigures {
  /** CPU in seconds, of the process and its threads. */
  cpu: number;
  /** Memory in bytes (RSS), now. */
  memory: number;
  /** The most memory in bytes since the start or {@linkcode resetPeak}. */
  peak: number;
}

/** Ticks of the kernel's clock in a second, as every Linux tells programs. */
const TICKS = 100;

/** What a process has used so far; nothing where there is no `/proc`. */
export async function figuresOf(process: number): Promise<ProcessFigures | undefined> {
  const status = await readProc(`/proc/${process}/status`);
  const stat = await readProc(`/proc/${process}/stat`);
  if (status === undefined || stat === undefined) return undefined;
  // The program's name stands in parentheses and may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
  return {
    cpu: (Number(fields[11]) + Number(fields[12])) / TICKS,
    memory: bytes("VmRSS"),
    peak: bytes("VmHWM"),
  };
}

/** Lets the peak begin anew from the memory in use. */
export async function resetPeak(process: number): Promise<void> {
  // 5 stands for the peak (proc(5)).
  await Deno.writeTextFile(`/proc/${process}/clear_refs`, "5", { create: false });
}

async function readProc(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
