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
 *
 * @returns The licenses of the packages in it, which go wherever it goes.
 */
export async function buildProgram(directory: string): Promise<string> {
  const options = ["--quiet", "--platform=deno", "--code-splitting", `--outdir=${directory}`];
  await runCommand([Deno.execPath(), "bundle", ...options, DOOR], ROOT);
  return await namePackages(directory);
}

/** A package as the bundler names its files: by their path in Deno's cache. */
const PACKAGE = /(?:\.\.\/)+\S*?\/npm\/[^/\s]+\/((?:@[^/\s]+\/)?[^/\s]+)\/(\d[^/\s]*)(?=\/)/g;

/**
 * Names the packages in bundled files by name and version in place of where they are on this machine.
 *
 * @returns Their licenses.
 */
export async function namePackages(directory: string): Promise<string> {
  const licenses = new Map<string, string>();
  for (const { name, isFile } of [...Deno.readDirSync(directory)]) {
    if (!isFile || !name.endsWith(".js")) continue;
    const text = await Deno.readTextFile(`${directory}/${name}`);
    for (const [path, one, version] of text.matchAll(PACKAGE)) {
      const key = `${one} ${version}`;
      if (!licenses.has(key)) licenses.set(key, await licenseOf(`${ROOT}${path}`));
    }
    await Deno.writeTextFile(`${directory}/${name}`, text.replace(PACKAGE, "npm/$1@$2"));
  }
  return [...licenses].sort().map(([key, license]) => `== ${key}\n\n${license.trim()}\n`).join("\n");
}

/** Some packages come without the text, and name their license alone. */
async function licenseOf(directory: string): Promise<string> {
  const file = [...Deno.readDirSync(directory)].find(({ name }) => /^licen[cs]e/i.test(name));
  if (file !== undefined) return await Deno.readTextFile(`${directory}/${file.name}`);
  const { license, author } = JSON.parse(await Deno.readTextFile(`${directory}/package.json`));
  return `${license}, ${typeof author === "string" ? author : author?.name}`;
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
