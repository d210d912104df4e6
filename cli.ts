/**
 * The command line: `deno run -A cli.ts --config cfg.json`.
 *
 * @module
 */

import { runCommand } from "./src/machine/doors/command.ts";

if (import.meta.main) Deno.exit(await runCommand(Deno.args));
