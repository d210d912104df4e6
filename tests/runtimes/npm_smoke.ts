/** Installs the npm package as its users do, and runs on it what README.md tells them to. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { buildMultiPlatform, pushImage } from "../images.ts";
import { createRegistry, serve, type TestRegistry } from "../registry.ts";
import { runCommand } from "./command.ts";
import { NODE_EXAMPLE, WORKER_EXAMPLE } from "./npm_examples.ts";
import { COMMAND_RUNTIMES, runtimeOf } from "./program.ts";
import { install, type Runtime, versionOf } from "./runtime.ts";
import { startWorker } from "./workerd.ts";

/** A consumer in TypeScript: checked, not run. */
const TYPED_EXAMPLE = `import { mirror, type Report, Registries } from "@image-syncer/image-syncer";
import { type FullPlan, makeFullPlan } from "@image-syncer/image-syncer/select";
export const plan: Promise<FullPlan> = makeFullPlan([], { registries: new Registries() });
export const report: Promise<Report> = mirror([], { registries: new Registries() });
// @ts-expect-error: a list of rules
export const wrong = mirror("alpine", { registries: new Registries() });
`;

/**
 * Tries the package on Node, Bun and in workerd, its command on Node and Bun, and its types with a checker.
 *
 * @returns A line about each.
 * @throws {Error} when anything is not as it should be.
 */
export async function smokeTest(tarball: string): Promise<string[]> {
  const directory = await Deno.makeTempDir({ prefix: "npm-smoke-" });
  try {
    await Deno.writeTextFile(`${directory}/package.json`, `{ "type": "module" }\n`);
    await runCommand(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", tarball], directory);
    const lines = [await checkTypes(directory)];
    for (const name of ["Node 20", ...COMMAND_RUNTIMES]) {
      lines.push(await runOnNode(runtimeOf(name), directory));
    }
    for (const name of COMMAND_RUNTIMES) lines.push(await runInstalled(runtimeOf(name), directory));
    lines.push(await refuseOldNode(runtimeOf("Node 20"), directory));
    return [...lines, await runInWorker(runtimeOf("workerd"), directory)];
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function checkTypes(directory: string): Promise<string> {
  await Deno.writeTextFile(`${directory}/typed.ts`, TYPED_EXAMPLE);
  await runCommand([Deno.execPath(), "check", "--quiet", "--node-modules-dir=manual", "typed.ts"], directory);
  return "types: ok";
}

/** Twice: the second time there is nothing to copy, and what was remembered does no harm. */
async function runOnNode(runtime: Runtime, directory: string): Promise<string> {
  const program = await install(runtime);
  await Deno.writeTextFile(`${directory}/example.mjs`, NODE_EXAMPLE);
  await withRegistries(async ({ source, destination, check }) => {
    const run = () => runCommand([program, "example.mjs", source, destination], directory);
    assertEquals(await run(), "1 copied, 0 unchanged, 0 failed\n");
    check();
    assertEquals(await run(), "0 copied, 1 unchanged, 0 failed\n");
  });
  await Deno.remove(`${directory}/records.json`);
  return `${runtime.name} (${await versionOf(program)}): ok`;
}

/** The command, as npm put it among the programs of the folder. */
const INSTALLED = "node_modules/.bin/image-syncer";

async function runInstalled(runtime: Runtime, directory: string): Promise<string> {
  const program = await install(runtime);
  await withRegistries(async ({ source, destination, check }) => {
    const auth = Object.fromEntries(
      [source, destination].map((one) => [one.split("/")[0], { insecure: true }]),
    );
    const config = JSON.stringify({ auth, images: { [source]: destination } });
    await Deno.writeTextFile(`${directory}/cfg.json`, config);
    const output = await runCommand([program, INSTALLED, "--config", "cfg.json"], directory);
    assertStringIncludes(output, "Finished, 0 sync tasks failed, 0 tasks generate failed\n");
    check();
  });
  await Deno.remove(`${directory}/records`);
  return `image-syncer on ${runtime.name}: ok`;
}

async function refuseOldNode(runtime: Runtime, directory: string): Promise<string> {
  const command = new Deno.Command(await install(runtime), { args: [INSTALLED, "--help"], cwd: directory });
  const { code, stderr } = await command.output();
  const said = new TextDecoder().decode(stderr);
  assertEquals(code, 2, said);
  assertMatch(said, /^Cannot run "image-syncer" on Node 20\.\S+: it needs Node 22 or later\n$/);
  return `image-syncer on ${runtime.name}: refused in one sentence`;
}

async function runInWorker(runtime: Runtime, directory: string): Promise<string> {
  const program = await install(runtime);
  await Deno.writeTextFile(`${directory}/worker.js`, WORKER_EXAMPLE);
  const home = "node_modules/@image-syncer/image-syncer";
  const files = await Array.fromAsync(Deno.readDir(`${directory}/${home}`), ({ name }) => name);
  const modules = [
    { name: "worker.js", file: "worker.js" },
    // The entry is called as the package is, and finds its pieces beside itself.
    ...files.filter((name) => name.endsWith(".js")).map((name) => ({
      name: `@image-syncer/${name === "mod.js" ? "image-syncer" : name}`,
      file: `${home}/${name}`,
    })),
  ];
  await withRegistries(async ({ source, destination, check }) => {
    const bindings = { SOURCE: source, DESTINATION: destination, REGISTRY_PASSWORD: "secret" };
    await using worker = await startWorker(program, directory, { modules, bindings });
    const response = await fetch(worker.url);
    const { copied, failed } = await response.json();
    assertEquals({ copied, failed }, { copied: 1, failed: 0 });
    check();
  });
  return `${runtime.name} (${await versionOf(program)}): ok`;
}

/** A copy to be made. */
interface Scene {
  /** Reference of the source. */
  source: string;
  /** Repository of the destination. */
  destination: string;
  /** Looks for the image at the destination. */
  check: () => void;
}

async function withRegistries(use: (scene: Scene) => Promise<void>): Promise<void> {
  const image = buildMultiPlatform(["amd64", "arm64"], { layerSize: 2 * 1024 * 1024 });
  const [from, to]: [TestRegistry, TestRegistry] = [createRegistry(), createRegistry()];
  pushImage(from, "library/app", "v1", image);
  await using source = serve(from);
  await using destination = serve(to);
  await use({
    source: `${source.host}/library/app:v1`,
    destination: `${destination.host}/mirror/app`,
    check: () => assertEquals(to.repositories.get("mirror/app")?.tags.get("v1"), image.digest),
  });
}
