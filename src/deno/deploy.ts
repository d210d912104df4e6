/**
 * A mirror on Deno Deploy: runs by its cron, remembers in its KV, shows what it does. It is the entry point of an app there,
 * needs no flags, and runs the same on a machine: `deno run -A src/deno/deploy.ts`. The guide is DEPLOY.md beside it.
 *
 * @module
 */

import { onInterrupt } from "../machine/doors/interrupt.ts";
import { openServiceLog } from "../machine/terminal/log.ts";
import { DeployApp } from "./deploy_app.ts";

const interrupt = onInterrupt();
const app = new DeployApp({
  environment: (name) => Deno.env.get(name),
  log: openServiceLog({ format: "text", print: (line) => console.log(line) }),
  signal: interrupt.signal,
});

const server = Deno.serve((request) => app.site(request));
await app.open();

// Deno Deploy asks with SIGINT before it takes the machine away five seconds later.
interrupt.signal.addEventListener("abort", async () => {
  await app.stop();
  await server.shutdown();
  await app.close();
  interrupt.stop();
});
