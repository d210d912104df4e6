/** Drives the command line from outside on Deno, Node, Bun and as the one file, and prints a table. `deno task runtimes:cli`. */

import { measureCost } from "./cli_cost.ts";
import { ONE_FILE, prepareCommands } from "./program.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** What is run where nothing is named. */
const SUITE = ["tests/cli_test.ts", "tests/cli", "tests/compat"];

/** cli.ts on the Deno that runs this. */
const DENO = [Deno.execPath(), "run", "-A", "--quiet", `${ROOT}cli.ts`];

/** What a run of the suite came to. */
interface Outcome {
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  /** Everything it said. */
  output: string;
}

/** Runs test files with a command in place of cli.ts; without one, on Deno. */
async function drive(tests: readonly string[], command?: readonly string[]): Promise<Outcome> {
  const started = performance.now();
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", "--parallel", ...tests],
    cwd: ROOT,
    env: { NO_COLOR: "1", ...(command !== undefined && { CLI_COMMAND: command.join(" ") }) },
  }).output();
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  const count = (word: string) =>
    Number(new RegExp(`\\| .*?(\\d+) ${word}`).exec(lastLine(output))?.[1] ?? 0);
  return {
    passed: count("passed"),
    failed: count("failed"),
    skipped: count("ignored"),
    seconds: (performance.now() - started) / 1000,
    output,
  };
}

function lastLine(output: string): string {
  return output.split("\n").findLast((line) => /^(?:ok|FAILED) \|/.test(line)) ?? "";
}

async function main(tests: readonly string[]): Promise<boolean> {
  const directory = await Deno.makeTempDir({ prefix: "runtimes-cli-" });
  try {
    const commands = await prepareCommands(directory);
    const rows: [string, string[] | undefined][] = [["Deno", undefined], ...commands];
    console.log("| runtime | passed | failed | skipped | s | CPU s/GB | peak MB |");
    console.log("| --- | --: | --: | --: | --: | --: | --: |");
    let isGood = true;
    for (const [name, command] of rows) {
      const { passed, failed, skipped, seconds, output } = await drive(tests, command);
      const { cpu, peak } = await measureCost(command ?? DENO);
      const cells = [name, passed, failed, skipped, seconds.toFixed(0)];
      const cost = [cpu?.toFixed(2) ?? "-", peak === undefined ? "-" : Math.round(peak / 1e6)];
      console.log(`| ${[...cells, ...cost].join(" | ")} |`);
      if (failed === 0 && passed > 0) continue;
      isGood = false;
      console.error(output);
    }
    console.log(
      `\nSkipped is what permissions of Deno are needed for; "${ONE_FILE}" is \`bun build --compile\`.`,
    );
    return isGood;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args.length > 0 ? Deno.args : SUITE) ? 0 : 1);
