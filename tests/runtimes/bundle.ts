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
 * Bundles the suite into a folder, regular expressions and globs (which few rules need) into files of their own.
 *
 * @throws {AssertionError} when the bundle needs anything of Deno or Node.
 */
export async function bundleSuite(directory: string): Promise<Bundle> {
  const options = ["--quiet", "--platform=browser", "--code-splitting", `--outdir=${directory}`];
  await runCommand([Deno.execPath(), "bundle", ...options, "tests/runtimes/suite.ts"], ROOT);
  const files = [...Deno.readDirSync(directory)].map(({ name }) => name);
  for (const name of files) checkPortable(name, await Deno.readTextFile(`${directory}/${name}`));
  const entry = await Deno.readTextFile(`${directory}/suite.js`);
  assertEquals(entry.match(/\bimport\("[^"]+"\)/g)?.length, 2, "only patterns and globs load a file each");
  for (const [, name = ""] of entry.matchAll(/^import\b[^"]*"\.\/([^"]+)"/gm)) {
    // What the bundler itself needs for packages that are not written as modules.
    const { size } = await Deno.stat(`${directory}/${name}`);
    assert(size < 1000, `the suite loads "${name}" before it is needed`);
  }
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
