#!/usr/bin/env node
/** The command line on Node and Bun, as the npm package and the one file that Bun compiles begin. */

import process from "node:process";

/** The oldest Node that has everything the command needs. */
const OLDEST = 22;

const { node } = process.versions;
if (Number(node.split(".")[0]) < OLDEST) {
  process.stderr.write(`Cannot run "image-syncer" on Node ${node}: it needs Node ${OLDEST} or later\n`);
  process.exit(2);
}

// Node's SQLite says that it is experimental, on standard error and over the view of a run; what matters of it has tests here.
const { emitWarning } = process;
process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
  if (rest[0] === "ExperimentalWarning" && /^SQLite\b/.test(String(warning))) return;
  Reflect.apply(emitWarning, process, [warning, ...rest]);
};

// Loaded after the look at the version: what comes then, an older Node cannot even read.
const { runCommand } = await import("./command.ts");
process.exit(await runCommand(process.argv.slice(2)));
