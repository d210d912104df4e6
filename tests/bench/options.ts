/** The flags of the benchmark. */

import { parseArgs } from "@std/cli/parse-args";

/** What was asked for. */
export interface BenchOptions {
  /** How often each tool runs each row. */
  rounds: number;
  /** Milliseconds added to each request in the rows with latency. */
  latency: number;
  /** Rows to run, by the first word of their name. */
  rows: readonly string[];
  /** Peers to run; every one that is found unless told. */
  peers: readonly string[] | undefined;
  /** MiB of a large layer. */
  layerSize: number;
  /** Tags of the two sizes of the scale row. */
  tags: readonly number[];
  /** The entry point that is measured. */
  cli: string;
  /** Whether to print JSON. */
  isJson: boolean;
  /** File the Markdown goes to. */
  output: string | undefined;
}

const ROWS = ["start", "mirror", "fan-out", "shared", "scale", "layers", "memory"] as const;

const HELP = `Measures this tool and every peer on PATH (crane, regsync, regctl, skopeo, image-syncer, ocync).

  --rounds N        runs of each tool in each row (default 3)
  --latency MS      added to each request in the rows with latency (default 50)
  --rows A,B        rows to run, of ${ROWS.join(", ")} (default all)
  --peers A,B       peers to run; "none" for none (default all that are found)
  --layer-size MIB  size of a large layer (default 1024)
  --tags A,B        tags of the two sizes of the scale row (default 100,1000)
  --cli PATH        entry point to measure (default the one of this checkout)
  --json            prints every sample as JSON
  --output FILE     writes the tables there as Markdown too
`;

/**
 * Understands the flags; `undefined` when only help was asked for, which is printed.
 *
 * @throws {RangeError} naming the flag that makes no sense.
 */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const flags = parseArgs([...args], {
    string: ["rounds", "latency", "rows", "peers", "layer-size", "tags", "cli", "output"],
    boolean: ["json", "help"],
  });
  if (flags.help) {
    console.log(HELP.trimEnd());
    return undefined;
  }
  return {
    rounds: numberOf("rounds", flags.rounds, 3),
    latency: numberOf("latency", flags.latency, 50),
    rows: rowsOf(flags.rows),
    peers: flags.peers?.split(","),
    layerSize: numberOf("layer-size", flags["layer-size"], 1024),
    tags: (flags.tags ?? "100,1000").split(",").map((text) => numberOf("tags", text, 0)),
    cli: flags.cli ?? new URL("../../cli.ts", import.meta.url).pathname,
    isJson: flags.json === true,
    output: flags.output,
  };
}

function rowsOf(text: string | undefined): readonly string[] {
  const rows = text?.split(",") ?? ROWS;
  const unknown = rows.find((row) => !ROWS.some((known) => known === row));
  if (unknown === undefined) return rows;
  throw new RangeError(`Cannot run row "${unknown}": there are ${ROWS.join(", ")}`);
}

function numberOf(name: string, text: string | undefined, otherwise: number): number {
  const number = text === undefined ? otherwise : Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  throw new RangeError(`Cannot read flag "--${name}": expected a whole number above 0, got "${text}"`);
}
