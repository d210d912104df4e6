/**
 * The command line: `deno run -A cli.ts --config cfg.json`.
 *
 * @module
 */

import { runCommand } from "./src/machine/doors/command.ts";
import { denoNetwork } from "./src/deno/fast_sockets.ts";
import type { StartProgram } from "./src/machine/login/helper_process.ts";
import type { OpenKv } from "./src/machine/store/store_location.ts";

/** Loaded when it is asked for: nearly all runs do without. */
const openKv: OpenKv = async (path, options) =>
  await (await import("./src/deno/kv_location.ts")).openKvLocation(path, options);

/** A program gets this process' environment without this process having to be allowed to read all of it. */
const startProgram: StartProgram = (program, { args, env }) =>
  new Deno.Command(program, { args, env, stdin: "piped", stdout: "piped", stderr: "null" }).spawn();

const runtime = { openKv, network: denoNetwork, startProgram };
if (import.meta.main) Deno.exit(await runCommand(Deno.args, runtime));
