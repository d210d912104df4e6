/** The core and its suite as plain JavaScript, the same files for every runtime. */

import { assert } from "@std/assert";
import { runCommand } from "./command.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Files that were bundled. */
export interface Bundle {
  /** Folder they are in. */
  directory: string;
  /** Names of the files; `suite.js` is the one to import. */
  files: string[];
}

/**
 * Bundles the suite into a folder, regular expressions and globs (which few rules need) into files of their own.
 *
 * @throws {AssertionError} when the bundle needs anything of Deno or Node.
 */
export async function bundleSuite(directory: string): Promise<Bundle> {
  const options = ["--quiet", "--platform=browser", "--code-splitting", `--outdir=${directory}`];
  await runCommand([Deno.execPath(), "bundle", ...options, "tests/runtimes/suite.ts"], ROOT);
  const files = [...Deno.readDirSync(directory)].map(({ name }) => name);
  for (const name of files) checkPortable(name, await Deno.readTextFile(`${directory}/${name}`));
  const atOnce = await loadedAtOnce(directory);
  // The bundler gives names of their own to the files that are loaded when they are needed.
  const late = files.filter((name) => !atOnce.has(name));
  assert(
    late.length > 0 && [...atOnce].every((name) => /^(?:suite|chunk-\w+)\.js$/.test(name)),
    `${[...atOnce]}`,
  );
  return { directory, files };
}

/** The files that are loaded with the suite, before any of the others is needed. */
async function loadedAtOnce(directory: string): Promise<Set<string>> {
  const found = new Set(["suite.js"]);
  for (const file of found) {
    const text = await Deno.readTextFile(`${directory}/${file}`);
    for (const [, name = ""] of text.matchAll(/^(?:import|\} from) ?"\.\/([^"]+)"/gm)) found.add(name);
  }
  return found;
}

/**
 * Checks that nothing of a bundled file belongs to one runtime.
 *
 * @throws {AssertionError} naming what does.
 */
export function checkPortable(name: string, text: string): void {
  const foreign = /\bDeno\s*\.[^\n]*|["'`]node:[^\n]*|\brequire\("[^\n]*/.exec(text);
  assert(foreign === null, `${name} needs more than fetch and streams: ${foreign?.[0].slice(0, 80)}`);
}
