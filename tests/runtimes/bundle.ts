/** The core and its suite as plain JavaScript, the same files for every runtime. */

import { assert, assertEquals } from "@std/assert";
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
 * Bundles the suite into a folder, the regular expressions (which only patterns need) into a file of their own.
 *
 * @throws {AssertionError} when the bundle needs anything of Deno or Node.
 */
export async function bundleSuite(directory: string): Promise<Bundle> {
  const options = ["--quiet", "--platform=browser", "--code-splitting", `--outdir=${directory}`];
  await runCommand([Deno.execPath(), "bundle", ...options, "tests/runtimes/suite.ts"], ROOT);
  const files = [...Deno.readDirSync(directory)].map(({ name }) => name);
  for (const name of files) checkPortable(name, await Deno.readTextFile(`${directory}/${name}`));
  const entry = await Deno.readTextFile(`${directory}/suite.js`);
  assertEquals(entry.match(/\bimport\("[^"]+"\)/g)?.length, 1, "only patterns load a file, and only one");
  assert(!/^import\b/m.test(entry), "the suite loads another file before it is needed");
  return { directory, files };
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
