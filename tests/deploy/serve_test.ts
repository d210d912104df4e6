/** `image-syncer serve`: a mirror on a schedule on one's own machine. */

import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { runCommand } from "../../src/machine/doors/command.ts";
import { openConfigRegistries } from "../../src/machine/network/config_registries.ts";
import { ScheduleError } from "../../src/machine/service/schedule.ts";
import { ListenError, runServe, type ServeOptions } from "../../src/machine/doors/serve.ts";
import { parseFlags } from "../../src/machine/config/flags.ts";
import { mirrorFlagOptions } from "../../src/machine/doors/mirror_flags.ts";
import { SetupError } from "../../src/mirror/config/config.ts";
import { ReportShelf } from "../../src/machine/service/report_shelf.ts";
import { startReport } from "../../src/mirror/report.ts";
import { buildImage, buildMultiPlatform, pushImage } from "../images.ts";
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
      const serving = runServe({ ...options, signal: stop.signal, onListen: told.resolve });
      const url = await told.promise;
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

Deno.test("fault 73: runServe() writes the report of each run, and says where it cannot", () =>
  withServer(async (_registry, options) => {
    const directory = await Deno.makeTempDir();
    const lines: string[] = [];
    const log = {
      write: (level: string, message: string) => void lines.push(`${level} ${message}`),
      close: () => {},
    };
    const headers = { authorization: `Bearer ${TOKEN}` };
    for (const report of [`${directory}/report.json`, `${directory}/none/report.json`]) {
      const stop = new AbortController();
      const told = Promise.withResolvers<string>();
      const serving = runServe({ ...options, report, log, signal: stop.signal, onListen: told.resolve });
      await (await fetch(`${await told.promise}run`, { method: "POST", headers })).text();
      stop.abort();
      await serving;
    }
    const { totals } = JSON.parse(await Deno.readTextFile(`${directory}/report.json`));
    assertEquals([totals.copied, totals.failed], [1, 0]);
    const mode = (await Deno.stat(`${directory}/report.json`)).mode;
    if (mode !== null) assertEquals(mode & 0o777, 0o600);
    const wrong = lines.filter((line) => line.startsWith("error"));
    assertEquals(wrong.length, 1);
    assertStringIncludes(wrong[0] ?? "", `error Cannot write report "${directory}/none/report.json": `);
    await Deno.remove(directory, { recursive: true });
  }));

Deno.test("runServe() keeps the reports of runs, and its site gives them to who has the token", () =>
  withServer(async (_registry, options, stop) => {
    const directory = await Deno.makeTempDir();
    const told = Promise.withResolvers<string>();
    const serving = runServe({ ...options, reports: `${directory}/reports`, onListen: told.resolve });
    const url = await told.promise;
    const headers = { authorization: `Bearer ${TOKEN}` };
    await (await fetch(`${url}run`, { method: "POST", headers })).text();
    const { reports: [name] } = await (await fetch(`${url}status`, { headers })).json();
    assertStringIncludes(await (await fetch(url, { headers })).text(), `href="/reports/${name}"`);
    const report = await fetch(`${url}reports/${name}`, { headers });
    assertEquals((await report.json()).totals.copied, 1);
    const statusOf = async (path: string, init?: RequestInit) => {
      const answer = await fetch(`${url}reports/${path}`, init);
      await answer.body?.cancel();
      return answer.status;
    };
    assertEquals(await statusOf(name), 401);
    for (const path of ["none", "..%2F..%2Fetc%2Fpasswd", "2026-01-01T00-00-00.000Z"]) {
      assertEquals(await statusOf(path, { headers }), 404);
    }
    stop.abort();
    await serving;
    await Deno.remove(directory, { recursive: true });
  }));

Deno.test("ReportShelf keeps the last reports only, and leaves what is not its own", async () => {
  const directory = await Deno.makeTempDir();
  await Deno.writeTextFile(`${directory}/notes.json`, "{}");
  const shelf = new ReportShelf(directory, 2);
  for (const minute of ["01", "02", "03"]) {
    const startedAt = `2026-08-03T10:${minute}:00.000Z`;
    await shelf.add(startedAt, startReport(startedAt));
  }
  assertEquals(await shelf.names(), ["2026-08-03T10-02-00.000Z", "2026-08-03T10-03-00.000Z"]);
  assertEquals(await shelf.read("notes"), undefined);
  assertEquals(await Deno.readTextFile(`${directory}/notes.json`), "{}");
  assertEquals(await new ReportShelf(`${directory}/none`).names(), []);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("runServe() takes what curl sends, which names no length, and closes on a body without end", () =>
  withServer(async (_registry, options, stop) => {
    const told = Promise.withResolvers<string>();
    const serving = runServe({ ...options, onListen: told.resolve });
    const { port } = new URL(await told.promise);
    const exchange = async (head: string[], body = "") => {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
      const text = [...head, "host: x", "connection: close", "", body].join("\r\n");
      await connection.write(new TextEncoder().encode(text));
      return await new Response(connection.readable).text();
    };
    const run = await exchange(["POST /run HTTP/1.1", `authorization: Bearer ${TOKEN}`]);
    assertStringIncludes(run, '"outcome":"done"');
    const piece = `1000\r\n${"x".repeat(0x1000)}\r\n`;
    const endless = await exchange(["POST /sign-in HTTP/1.1", "transfer-encoding: chunked"], piece + piece);
    assertMatch(endless, /^HTTP\/1.1 413 /);
    const signIn = ["POST /sign-in HTTP/1.1", "transfer-encoding: chunked"];
    const form = `token=${TOKEN}`;
    const signed = await exchange(signIn, `${form.length.toString(16)}\r\n${form}\r\n0\r\n\r\n`);
    assertMatch(signed, /^HTTP\/1.1 303 /);
    stop.abort();
    await serving;
  }));

Deno.test("fault 37: a body of 300 MB is refused on the wire as soon as its length is known", () =>
  withServer(async (_registry, options, stop) => {
    const told = Promise.withResolvers<string>();
    const serving = runServe({ ...options, onListen: told.resolve });
    const { port } = new URL(await told.promise);
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
    const head = ["POST /sign-in HTTP/1.1", "host: x", "content-length: 300000000", "", "token="].join(
      "\r\n",
    );
    await connection.write(new TextEncoder().encode(head));
    // The server ends the connection: the rest of the body is for nobody.
    assertMatch(await new Response(connection.readable).text(), /^HTTP\/1.1 413 /);
    stop.abort();
    await serving;
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

Deno.test("runServe() names a key or a certificate that is none before it serves anything", () =>
  withServer(async (registry, options, stop) => {
    const { rules, auth, warnings } = await options.readConfig();
    const referrers = { verify: { key: "no/such/key.pem", transparencyLog: false } };
    const withKey = { auth, warnings, rules: rules.map((rule) => ({ ...rule, referrers })) };
    const withFile = { rules, warnings, auth: { "r.io": { caFile: "no/such/ca.pem" } } };
    for (
      const [config, name] of [[withKey, 'Cannot check signatures by "key"'], [
        withFile,
        "no/such/ca.pem",
      ]] as const
    ) {
      const readConfig = () => Promise.resolve(config);
      assertStringIncludes(
        (await assertRejects(
          () => runServe({ ...options, readConfig, onListen: () => stop.abort() }),
          SetupError,
        )).message,
        name,
      );
    }
    assertEquals(registry.requests, []);
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

Deno.test("fault 79: runServe() mirrors as flags say: the platforms wanted, and without attestations", () =>
  withServer(async (registry, options, stop) => {
    pushImage(registry, "team/app", "v1", buildMultiPlatform(["amd64", "arm64"], { attestations: true }));
    const told = Promise.withResolvers<string>();
    const mirrorOptions = await mirrorFlagOptions(parseFlags(["--os", "linux", "--arch", "arm64"]).flags);
    const serving = runServe({ ...options, mirrorOptions, onListen: told.resolve });
    const headers = { authorization: `Bearer ${TOKEN}` };
    await (await fetch(`${await told.promise}run`, { method: "POST", headers })).text();
    stop.abort();
    await serving;
    const content = registry.state.repository("mirror/app").findManifest("v1");
    const { manifests } = JSON.parse(new TextDecoder().decode(content?.bytes));
    assertEquals(manifests.map(({ platform }: { platform: unknown }) => platform), [
      { os: "linux", architecture: "arm64" },
    ]);
  }));
