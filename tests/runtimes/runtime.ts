/** The runtimes the core is to run on: where their programs come from, how they are started. */

import type { Bundle } from "./bundle.ts";
import { runCommand } from "./command.ts";
import { type Client, startLineClient, startWorkerClient } from "./client.ts";

/** One runtime. */
export interface Runtime {
  /** Name in the table. */
  name: string;
  /** Its package at npm, with the version; nothing for the Deno that runs this. */
  package?: string;
  /** The program: its path, or its name on PATH or in the package. */
  program: string;
  /** Starts it with the suite. */
  start(program: string, bundle: Bundle): Promise<Client>;
}

const ON_LOOPBACK = ["run", "--quiet", "--no-config", "--no-lock", "--allow-net=127.0.0.1"];

/** The Deno that runs this, with no permission but to reach loopback. */
export const DENO: Runtime = {
  name: "Deno",
  program: Deno.execPath(),
  start: (program, bundle) => startLineClient([program, ...ON_LOOPBACK], bundle),
};

/** The Node on PATH, whichever it is. */
export const NODE_ON_PATH: Runtime = { name: "Node", program: "node", start: startLine };

/** All of them. */
export const RUNTIMES: readonly Runtime[] = [
  DENO,
  { name: "Node 20", package: "node@20", program: "node", start: startLine },
  { name: "Node 22", package: "node@22", program: "node", start: startLine },
  { name: "Node 24", package: "node@24", program: "node", start: startLine },
  { name: "Bun", package: "bun@1", program: "bun", start: startLine },
  { name: "workerd", package: "workerd@1", program: "workerd", start: startWorkerClient },
];

function startLine(program: string, bundle: Bundle): Promise<Client> {
  return startLineClient([program], bundle);
}

/** Folder where packages stay from one time to the next; git does not see it. */
const PACKAGES = new URL("../../dist/runtimes/", import.meta.url).pathname;

/**
 * Gets a runtime from npm, unless it is there already.
 *
 * @returns Path of its program.
 * @throws {Error} when npm does not give it.
 */
export async function install({ package: name, program }: Runtime): Promise<string> {
  if (name === undefined) return program;
  const directory = `${PACKAGES}${name}`;
  const path = `${directory}/node_modules/.bin/${program}`;
  if (await versionOf(path) !== undefined) return path;
  await Deno.mkdir(directory, { recursive: true });
  // Without a package of its own npm would install into the nearest one above.
  await Deno.writeTextFile(`${directory}/package.json`, "{}\n");
  await runCommand(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", name], directory);
  return path;
}

/** Whether a runtime is on this machine already. */
export async function isInstalled({ package: name, program }: Runtime): Promise<boolean> {
  const path = name === undefined ? program : `${PACKAGES}${name}/node_modules/.bin/${program}`;
  return await versionOf(path) !== undefined;
}

/** What a program says of its version; nothing when it cannot be run. */
export async function versionOf(program: string): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args: ["--version"], stderr: "null" })
      .output();
    return success ? /\d[\d.-]*/.exec(new TextDecoder().decode(stdout))?.[0] : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
