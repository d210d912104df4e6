/**
 * A mirror on Deno Deploy: runs by its cron, remembers in its KV, shows what it does. It is the entry point of an app there,
 * needs no flags, and runs the same on a machine: `deno run -A src/deno/deploy.ts`. The guide is DEPLOY.md beside it.
 *
 * @module
 */

import { openConfigRegistries } from "../machine/network/config_registries.ts";
import { readDeployConfig, readSettings } from "./deploy_settings.ts";
import { onInterrupt } from "../machine/doors/interrupt.ts";
import { leaveToDeno } from "../machine/service/schedule.ts";
import { openScheduledMirror } from "../machine/doors/scheduled_mirror.ts";

const environment = (name: string): string | undefined => Deno.env.get(name);
const settings = readSettings(environment);
const interrupt = onInterrupt();
const ready = Promise.withResolvers<Awaited<ReturnType<typeof openScheduledMirror>>>();

// First of all, and whatever else is to come: Deno Deploy runs these lines to find out which crons there are.
leaveToDeno(interrupt.signal)(settings.schedule, async () => {
  await (await ready.promise).service.run("schedule");
});

const mirror = await openScheduledMirror({
  ...settings,
  readConfig: () => readDeployConfig(environment),
  openRegistries: (config) => openConfigRegistries(config, { environment }),
  onMessage: (level, message) => console.log(`${level}: ${message}`),
});
ready.resolve(mirror);

const server = Deno.serve(mirror.site);

// Deno Deploy asks with SIGINT before it takes the machine away five seconds later.
interrupt.signal.addEventListener("abort", async () => {
  await mirror.service.stop();
  await server.shutdown();
  await mirror.close();
  interrupt.stop();
});
