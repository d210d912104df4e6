/** The command line as programs that need no Deno: files for Node and Bun, and one file that Bun compiles. */

import { runCommand } from "./command.ts";
import { install, type Runtime, RUNTIMES } from "./runtime.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const DOOR = "src/machine/doors/node.ts";

/** Name of the file that begins the program. */
export const PROGRAM = "node.js";

/** What the command is tried on besides Deno, by the names in the table of runtimes. */
export const COMMAND_RUNTIMES: readonly string[] = ["Node 22", "Node 24", "Bun"];

/** Name in tables of the file that Bun compiles. */
export const ONE_FILE = "one file of Bun";

/**
 * Bundles the program into a folder with all that it imports, so that it is installed in a moment. What few runs need is in
 * files of its own.
 */
export async function buildProgram(directory: string): Promise<void> {
  const options = ["--quiet", "--platform=deno", "--code-splitting", `--outdir=${directory}`];
  await runCommand([Deno.execPath(), "bundle", ...options, DOOR], ROOT);
}

/** Finds a runtime by its name in the table. */
export function runtimeOf(wanted: string): Runtime {
  const runtime = RUNTIMES.find(({ name }) => name === wanted);
  if (runtime === undefined) throw new TypeError(`Cannot find runtime "${wanted}"`);
  return runtime;
}

/**
 * Builds the program and finds what runs it.
 *
 * @param directory An empty folder.
 * @returns How it is started, by the name of what runs it. Bun's are left out where Bun is.
 */
export async function prepareCommands(
  directory: string,
  names: readonly string[] = COMMAND_RUNTIMES,
): Promise<Map<string, string[]>> {
  // Outside any package, as Node finds it by `"type": "module"` in the one it is installed with.
  await Deno.writeTextFile(`${directory}/package.json`, `{ "type": "module" }\n`);
  await buildProgram(directory);
  const commands = new Map<string, string[]>();
  for (const name of names) commands.set(name, [await install(runtimeOf(name)), `${directory}/${PROGRAM}`]);
  const [bun] = commands.get("Bun") ?? [];
  if (bun !== undefined) {
    await Deno.mkdir(`${directory}/one`);
    const file = `${directory}/one/image-syncer`;
    await runCommand([bun, "build", "--compile", `${directory}/${PROGRAM}`, "--outfile", file], directory);
    commands.set(ONE_FILE, [file]);
  }
  return commands;
}
