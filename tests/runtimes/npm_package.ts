/** Builds the npm package in dist/, the core and the command, and tries it on Node, Bun and workerd. `deno task npm`. */

import { checkPortable } from "./bundle.ts";
import { smokeTest } from "./npm_smoke.ts";
import { runCommand } from "./command.ts";
import { buildProgram, namePackages, PROGRAM } from "./program.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const DIST = `${ROOT}dist`;

/** The config's JSON Schema, for editors. */
const SCHEMA = "config.schema.json";

/** What the library is entered by. */
const ENTRIES = ["mod.ts", "src/mirror/select.ts"];

/** What of deno.json goes into package.json. */
interface Config {
  name: string;
  version: string;
  license: string;
  imports: Record<string, string>;
}

/**
 * Puts the package together in a folder.
 *
 * `deno pack` alone does not do: it leaves imports of linked packages as they are, which Node cannot resolve, and puts the
 * command line of Deno in. So the code is a bundle, and what comes from `deno pack` are the types. The command brings what it
 * imports along, for `npx` to begin in a moment.
 */
async function build(directory: string): Promise<void> {
  const bundle = ["bundle", "--quiet", "--platform=browser", "--code-splitting", "--external", "re2js"];
  await runCommand([Deno.execPath(), ...bundle, `--outdir=${directory}`, ...ENTRIES], ROOT);
  for (const name of await scriptsIn(directory)) {
    checkPortable(name, await Deno.readTextFile(`${directory}/${name}`));
  }
  await Deno.mkdir(`${directory}/bin`);
  const licenses = [await namePackages(directory), await buildProgram(`${directory}/bin`)];
  await Deno.writeTextFile(`${directory}/LICENSES`, licenses.join("\n"));
  await addTypes(directory);
  await Deno.copyFile(`${ROOT}src/mirror/config/${SCHEMA}`, `${directory}/${SCHEMA}`);
  for (const name of ["README.md", "LICENSE"]) await Deno.copyFile(`${ROOT}${name}`, `${directory}/${name}`);
  const manifest = JSON.stringify(await makeManifest(), null, 2);
  await Deno.writeTextFile(`${directory}/package.json`, `${manifest}\n`);
}

async function scriptsIn(directory: string): Promise<string[]> {
  const files = await Array.fromAsync(Deno.readDir(directory), ({ name }) => name);
  return [...files.filter((name) => name.endsWith(".js")), "src/mirror/select.js"];
}

/** The declarations of the core, as `deno pack` makes them. */
async function addTypes(directory: string): Promise<void> {
  const packed = await Deno.makeTempDir({ prefix: "npm-types-" });
  try {
    const options = ["--quiet", "--allow-dirty", "--no-source-maps", "-o", `${packed}/types.tgz`];
    await runCommand([Deno.execPath(), "pack", ...options], ROOT);
    await runCommand(["tar", "-xzf", "types.tgz"], packed);
    await Deno.copyFile(`${packed}/package/mod.d.ts`, `${directory}/mod.d.ts`);
    for (const floor of ["oci", "registry", "mirror"]) {
      await copyTypes(`${packed}/package/src/${floor}`, `${directory}/src/${floor}`);
    }
  } finally {
    await Deno.remove(packed, { recursive: true });
  }
}

async function copyTypes(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) {
    if (name.endsWith(".d.ts")) await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

async function makeManifest(): Promise<Record<string, unknown>> {
  const { name, version, license, imports }: Config = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  return {
    name,
    version,
    description:
      "Mirrors container images between registries: a command, and a library on fetch and WHATWG streams.",
    keywords: ["container", "docker", "oci", "registry", "mirror", "sync"],
    license,
    type: "module",
    sideEffects: false,
    bin: { "image-syncer": `./bin/${PROGRAM}` },
    exports: {
      ".": { types: "./mod.d.ts", default: "./mod.js" },
      "./select": { types: "./src/mirror/select.d.ts", default: "./src/mirror/select.js" },
      [`./${SCHEMA}`]: `./${SCHEMA}`,
      "./package.json": "./package.json",
    },
    types: "./mod.d.ts",
    engines: { node: ">=20" },
    dependencies: { re2js: imports.re2js?.replace(/^npm:re2js@/, "") },
  };
}

/** Builds, packs and tries it; the tarball stays in dist/. */
async function main(): Promise<void> {
  await Deno.mkdir(DIST, { recursive: true });
  const directory = await Deno.makeTempDir({ prefix: "npm-package-" });
  try {
    await build(directory);
    const output = await runCommand(
      ["npm", "pack", "--loglevel=error", "--pack-destination", DIST],
      directory,
    );
    const tarball = `${DIST}/${output.trim().split("\n").at(-1)}`;
    const { size } = await Deno.stat(tarball);
    console.log(`${tarball.slice(ROOT.length)}: ${Math.round(size / 1000)} kB`);
    for (const line of await smokeTest(tarball)) console.log(line);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

if (import.meta.main) await main();
