/** What the benchmark has measured: one sample a run, and medians of them. */

/** The figures of one run; times in seconds, sizes in bytes. */
export interface Sample {
  /** Which row of the benchmark it belongs to, for example `cold 50 ms`. */
  row: string;
  /** Name of the tool. */
  tool: string;
  /** Figures by name: `wall`, `cpu`, `memory`, `requests`, … */
  values: Record<string, number>;
  /** Requests by side and kind, where a proxy counted them. */
  requests?: Record<string, Record<string, number>>;
  /** What was wrong with the run or its copies. */
  fault?: string;
}

/** All samples, and what can be asked of them. */
export class Samples {
  /** In the order they were taken. */
  readonly all: Sample[] = [];

  /** Takes a sample in. */
  add(sample: Sample): void {
    this.all.push(sample);
  }

  /** Rows in the order of their first sample. */
  rows(): string[] {
    return [...new Set(this.all.map(({ row }) => row))];
  }

  /** Tools of a row in the order of their first sample. */
  tools(row: string): string[] {
    return [...new Set(this.all.filter((one) => one.row === row).map(({ tool }) => tool))];
  }

  /** The samples of a tool in a row. */
  of(row: string, tool: string): Sample[] {
    return this.all.filter((one) => one.row === row && one.tool === tool);
  }

  /** All figures of one name of a tool in a row. */
  values(row: string, tool: string, name: string): number[] {
    return this.of(row, tool).flatMap(({ values }) => values[name] ?? []);
  }

  /** The median figure of a tool in a row; `undefined` when there is none. */
  median(row: string, tool: string, name: string): number | undefined {
    return median(this.values(row, tool, name));
  }

  /** What went wrong with a tool in a row, each thing once. */
  faults(row: string, tool: string): string[] {
    return [...new Set(this.of(row, tool).flatMap(({ fault }) => fault ?? []))];
  }
}

/** The middle of some numbers, or the mean of the two in the middle; `undefined` of none. */
export function median(numbers: readonly number[]): number | undefined {
  const sorted = [...numbers].sort((left, right) => left - right);
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  const high = sorted[Math.floor(sorted.length / 2)];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}
