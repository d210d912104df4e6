/** The table of issue 4: each measure, the best peer of this run, this tool, and whether its target is met. */

import { memoryRow } from "./layer_rows.ts";
import { rowName } from "./mirror_rows.ts";
import type { BenchOptions } from "./options.ts";
import type { Samples } from "./samples.ts";
import { scaleRow } from "./scale_row.ts";
import { OURS } from "./tools.ts";

/** One line of the table. */
export interface Target {
  /** What is measured. */
  measure: string;
  /** What the peers need. */
  peers: string;
  /** What this tool needs. */
  ours: string;
  /** What is wanted of it. */
  target: string;
  /** Whether it has that; absent where it was not measured. */
  isMet?: boolean;
}

/** The lines whose rows were run. */
export function findTargets(samples: Samples, options: BenchOptions): Target[] {
  const { latency, layerSize, tags: [few = 100, many = 1000] } = options;
  const table = new Table(samples);
  const cold = (milliseconds: number) => rowName("cold 10×4", milliseconds);
  const idle = (milliseconds: number) => rowName("no-op 10×4", milliseconds);
  table.least(cold(0), "requests", {
    measure: "requests, cold 10×4, tokens on both sides, belongings asked for",
    most: 430,
  });
  table.least(idle(0), "requests", { measure: "requests, no-op 10×4, belongings asked for", most: 33 });
  table.least(idle(0), "requests", {
    measure: "requests, no-op 10×4, --trust-records, belongings asked for",
    most: 22,
    tool: `${OURS} --trust-records`,
  });
  table.manifestReads(idle(0));
  table.ratio(cold(latency), "wall", { than: "crane", most: 0.8 });
  table.ratio(idle(latency), "wall", { than: "crane", most: 0.7 });
  table.ratio(cold(0), "wall", { than: "crane", most: 1 });
  table.ratio("3 large layers", "cpuPerGigabyte", { than: "image-syncer", most: 1 });
  table.ratio("3 large layers", "cpuPerGigabyte", { than: "crane", most: 0.8, tool: `${OURS} --verify` });
  table.memory(memoryRow(layerSize), memoryRow(layerSize / 8));
  table.fanOut(latency);
  table.shared("10 repositories, shared base");
  table.scale(few, many);
  table.least("start", "start", { measure: "start to first connection, seconds", most: 0.12 });
  return table.targets;
}

interface Wanted {
  most: number;
  tool?: string;
}

class Table {
  readonly targets: Target[] = [];
  readonly #samples: Samples;

  constructor(samples: Samples) {
    this.#samples = samples;
  }

  /** A figure that is to be at most so much. */
  least(row: string, name: string, { measure, most, tool = OURS }: Wanted & { measure: string }): void {
    const ours = this.#samples.median(row, tool, name);
    if (ours === undefined) return;
    const target = `≤ ${most}`;
    this.#add({ measure, peers: this.#best(row, name), ours: figure(ours), target, isMet: ours <= most });
  }

  /** A figure that is to be at most such a part of one peer's. */
  ratio(row: string, name: string, { than, most, tool = OURS }: Wanted & { than: string }): void {
    const ours = this.#samples.median(row, tool, name);
    const peer = this.#samples.median(row, than, name);
    if (ours === undefined || peer === undefined || !this.#peers(row).includes(than)) return;
    const ratio = ours / peer;
    this.#add({
      measure: `${NAMES[name] ?? name}, ${row}${tool === OURS ? "" : ` (${tool.slice(OURS.length + 1)})`}`,
      peers: this.#best(row, name),
      ours: `${figure(ours)} = ${ratio.toFixed(2)} × ${than}`,
      target: `≤ ${most} × ${than}`,
      isMet: ratio <= most,
    });
  }

  manifestReads(row: string): void {
    const runs = this.#samples.of(row, OURS);
    if (runs.length === 0) return;
    const reads = runs.map(({ requests }) =>
      Object.values(requests ?? {}).reduce((sum, kinds) => sum + (kinds["GET manifest"] ?? 0), 0)
    );
    const most = Math.max(...reads);
    const measure = "GETs of manifests, no-op 10×4";
    this.#add({ measure, peers: "crane 10", ours: String(most), target: "0", isMet: most === 0 });
  }

  memory(full: string, small: string): void {
    const ours = this.#samples.median(full, OURS, "memory");
    const less = this.#samples.median(small, OURS, "memory");
    if (ours === undefined || less === undefined) return;
    this.#add({
      measure: `peak memory, ${full} (and layers of an eighth of that)`,
      peers: this.#best(full, "memory", 1e6, " MB"),
      ours: `${(ours / 1e6).toFixed(0)} MB (${(less / 1e6).toFixed(0)} MB)`,
      target: "≤ 120 MB, whatever the size",
      isMet: ours <= 120e6 && ours <= 1.15 * less,
    });
  }

  fanOut(latency: number): void {
    const [one, three] = ["1 destination", "3 destinations"].map((name) => rowName(name, latency));
    if (one === undefined || three === undefined) return;
    const reads = this.#samples.median(three, OURS, "sourceReads");
    const wall = this.#samples.median(three, OURS, "wall");
    const alone = this.#samples.median(one, OURS, "wall");
    if (reads === undefined || wall === undefined || alone === undefined) return;
    this.#add({
      measure: `source bytes, ${three}`,
      peers: this.#best(three, "sourceReads"),
      ours: `${reads.toFixed(3)} ×`,
      target: "1.00 ×",
      isMet: reads < 1.005,
    });
    this.#add({
      measure: `wall, ${three}, against one destination`,
      peers: this.#bestRatio(three, one, "wall"),
      ours: `${figure(wall)} = ${(wall / alone).toFixed(2)} ×`,
      target: "≤ 1.3 ×",
      isMet: wall / alone <= 1.3,
    });
  }

  shared(row: string): void {
    const stored = this.#samples.median(row, OURS, "blobsStored");
    const unique = this.#samples.median(row, OURS, "uniqueBlobs");
    if (stored === undefined || unique === undefined) return;
    const mounts = this.#samples.median(row, OURS, "mounts") ?? 0;
    this.#add({
      measure: `uploads, ${row}: ${unique} blobs in 70 places`,
      peers: this.#best(row, "blobsStored"),
      ours: `${stored} (${mounts} mounted)`,
      target: `${unique}`,
      isMet: stored === unique,
    });
  }

  scale(few: number, many: number): void {
    for (const phase of ["cold", "no-op"] as const) {
      const rows = [scaleRow(phase, few), scaleRow(phase, many)] as const;
      const [small, large] = rows.map((row) => this.#samples.median(row, OURS, "wall"));
      if (small === undefined || large === undefined) continue;
      const ratio = (large / many) / (small / few);
      this.#add({
        measure: `time a tag, ${many} tags against ${few}, ${phase}`,
        peers: this.#best(rows[1], "wall"),
        ours: `${figure(large)} s = ${ratio.toFixed(2)} × a tag`,
        target: "≤ 1.1 × a tag",
        isMet: ratio <= 1.1,
      });
      this.#growth(rows, "live", { measure: `memory in use, growth a tag, ${phase}`, few, many });
      this.#growth(rows, "memory", { measure: `resident memory, growth a tag, ${phase}`, few, many });
    }
    this.#speed(many);
  }

  #growth(
    rows: readonly [string, string],
    name: string,
    { measure, few, many }: { measure: string; few: number; many: number },
  ): void {
    const [less, more] = rows.map((row) => this.#samples.median(row, OURS, name));
    if (less === undefined || more === undefined) return;
    const growth = (more - less) / (many - few);
    this.#add({
      measure,
      peers: "",
      ours: `${(growth / 1000).toFixed(1)} kB (${(less / 1e6).toFixed(0)} → ${(more / 1e6).toFixed(0)} MB)`,
      target: "< 20 kB",
      isMet: growth < 20_000,
    });
  }

  #speed(many: number): void {
    const row = scaleRow("no-op", many);
    const speed = this.#samples.median(row, OURS, "tagsPerSecond");
    if (speed === undefined) return;
    const peers = this.#peers(row).map((tool) =>
      `${tool} ${figure(this.#samples.median(row, tool, "tagsPerSecond") ?? NaN)}`
    );
    this.#add({
      measure: `tags a second, ${row}`,
      peers: peers.join(", "),
      ours: figure(speed),
      target: "≥ 400",
      isMet: speed >= 400,
    });
  }

  /** The three best peers with their figures. */
  #best(row: string, name: string, unit = 1, suffix = ""): string {
    const peers = this.#peers(row).flatMap((tool) => {
      const value = this.#samples.median(row, tool, name);
      return value === undefined ? [] : [{ tool, value }];
    });
    return nameThree(peers, (value) => `${figure(value / unit)}${suffix}`) + this.#unfit(row);
  }

  /** Peers that failed, or whose copies are wrong: what they need says nothing. */
  #unfit(row: string): string {
    const faulty = this.#others(row).filter((tool) => this.#samples.faults(row, tool).length > 0);
    const named = faulty.map((tool) => `${tool}: ${this.#samples.faults(row, tool).join(", ")}`);
    return named.length === 0 ? "" : ` (out of the ranking: ${named.join("; ")})`;
  }

  #bestRatio(row: string, base: string, name: string): string {
    const peers = this.#peers(row).flatMap((tool) => {
      const value = this.#samples.median(row, tool, name);
      const whole = this.#samples.median(base, tool, name);
      return value === undefined || whole === undefined ? [] : [{ tool, value: value / whole }];
    });
    return nameThree(peers, (value) => `${value.toFixed(2)} ×`) + this.#unfit(row);
  }

  /** Other tools that did what they were asked to. */
  #peers(row: string): string[] {
    return this.#others(row).filter((tool) => this.#samples.faults(row, tool).length === 0);
  }

  /** Other tools; what stands in brackets is none. */
  #others(row: string): string[] {
    return this.#samples.tools(row).filter((tool) => !tool.startsWith(OURS) && !tool.startsWith("("));
  }

  #add(target: Target): void {
    this.targets.push(target);
  }
}

const NAMES: Record<string, string> = { wall: "wall seconds", cpuPerGigabyte: "client CPU seconds a GB" };

function nameThree(peers: { tool: string; value: number }[], say: (value: number) => string): string {
  const best = [...peers].sort((left, right) => left.value - right.value).slice(0, 3);
  return best.map(({ tool, value }) => `${tool} ${say(value)}`).join(", ");
}

/** A figure with as many digits as mean something. */
export function figure(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
