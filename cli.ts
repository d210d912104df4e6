/**
 * The command line: `deno run -A cli.ts --config cfg.json`.
 *
 * @module
 */

import { runCommand } from "./src/machine/doors/command.ts";
import { denoNetwork } from "./src/deno/fast_sockets.ts";
import type { OpenKv } from "./src/machine/store/store_location.ts";

/** Loaded when it is asked for: nearly all runs do without. */
const openKv: OpenKv = async (path, options) =>
  await (await import("./src/deno/kv_location.ts")).openKvLocation(path, options);

if (import.meta.main) Deno.exit(await runCommand(Deno.args, { openKv, network: denoNetwork }));
