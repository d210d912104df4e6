/** `image-syncer serve`: a mirror on a schedule on one's own machine. */

import { assertEquals, assertRejects } from "@std/assert";
import { runCommand } from "../../src/machine/doors/command.ts";
import { openConfigRegistries } from "../../src/machine/network/config_registries.ts";
import { ScheduleError } from "../../src/machine/service/schedule.ts";
import { ListenError, runServe, type ServeOptions } from "../../src/machine/doors/serve.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, serve, type TestRegistry } from "../registry.ts";

const TOKEN = "correct-horse-battery-staple";

/** Runs a test with a registry that has one image, and the options of a server that mirrors it. */
async function withServer(
  test: (registry: TestRegistry, options: ServeOptions, stop: AbortController) => Promise<void>,
) {
  const directory = await Deno.makeTempDir();
  const registry = createRegistry();
  pushImage(registry, "team/app", "v1", buildImage({ seed: 1 }));
  await using server = serve(registry);
  const stop = new AbortController();
  const rules = [{ source: `${server.host}/team/app`, destinations: [`${server.host}/mirror/app`] }];
  const options: ServeOptions = {
    readConfig: () => Promise.resolve({ auth: { [server.host]: { insecure: true } }, rules, warnings: [] }),
    openRegistries: (config) => openConfigRegistries(config),
    store: `file:${directory}/records`,
    schedule: "0 0 1 1 *",
    port: 0,
    hostname: "127.0.0.1",
    token: TOKEN,
    signal: stop.signal,
  };
  try {
    await test(registry, options, stop);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("runServe() serves until it is stopped, and remembers over a restart", () =>
  withServer(async (registry, options) => {
    for (const expected of ["copied", "unchanged"]) {
      const stop = new AbortController();
      const told = Promise.withResolvers<string>();
      const onMessage = (_level: string, message: string) => told.resolve(message);
      const serving = runServe({ ...options, signal: stop.signal, onMessage });
      const [url = ""] = /http:\S+/.exec(await told.promise) ?? [];
      const headers = { authorization: `Bearer ${TOKEN}` };
      await (await fetch(`${url}run`, { method: "POST", headers })).text();
      const { last, schedule, runs } = await (await fetch(`${url}status`, { headers })).json();
      assertEquals([last.outcome, last.totals[expected]], ["done", 1]);
      assertEquals(schedule.expression, "0 0 1 1 *");
      assertEquals(runs.length, expected === "copied" ? 1 : 2);
      stop.abort();
      await serving;
    }
    assertEquals(registry.repositories.get("mirror/app")?.tags.size, 1);
  }));

Deno.test("runServe() names a schedule that is none, and an address that is taken", () =>
  withServer(async (_registry, options) => {
    const wrong = { ...options, schedule: "0 25 * * *" };
    await assertRejects(() => runServe(wrong), ScheduleError, 'Cannot use schedule "0 25 * * *"');
    using taken = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    const { port } = taken.addr as Deno.NetAddr;
    await assertRejects(
      () => runServe({ ...options, port }),
      ListenError,
      `Cannot listen on "127.0.0.1:${port}": `,
    );
  }));

Deno.test("serve ends with 2 when its schedule is none", async () => {
  const directory = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${directory}/cfg.json`, '{"images": {"alpine": "r.io/alpine"}}');
    const args = ["serve", "--config", `${directory}/cfg.json`, "--store", `file:${directory}/records`];
    assertEquals(await runCommand([...args, "--schedule", "often", "--log", `${directory}/log`]), 2);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
