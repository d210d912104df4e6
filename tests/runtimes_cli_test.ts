/** A core of the command line on Node, Bun and as one file, against Deno's; `deno task runtimes:cli` runs all of it. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type CliResult, openWorkspace, type Workspace } from "./cli_process.ts";
import { buildMultiPlatform, pushImage } from "./images.ts";
import { createRegistry, serve, type TestRegistry } from "./registry.ts";
import { COMMAND_RUNTIMES, ONE_FILE, prepareCommands, runtimeOf } from "./runtimes/program.ts";
import { isInstalled } from "./runtimes/runtime.ts";

/** How a command is started; nothing is Deno and cli.ts. */
type Started = readonly string[] | undefined;

/** What both sides were asked for, in order of the alphabet, since those at once come in any order. */
interface Walk {
  results: { code: number; stderr: string; lines: string[] }[];
  requests: string[][];
}

interface Scene {
  workspace: Workspace;
  registries: [TestRegistry, TestRegistry];
  /** A config in YAML with a pattern for tags. */
  config: string;
}

async function withScene<Result>(run: (scene: Scene) => Promise<Result>): Promise<Result> {
  const registries: [TestRegistry, TestRegistry] = [createRegistry(), createRegistry()];
  await using source = serve(registries[0]);
  await using destination = serve(registries[1]);
  await using workspace = await openWorkspace();
  for (const tag of ["v1", "v2", "old"]) {
    pushImage(registries[0], "ns/app", tag, buildMultiPlatform(["amd64", "arm64"], { layerSize: 100_000 }));
  }
  const auth = [source.host, destination.host].map((host) => `  "${host}": { insecure: true }\n`).join("");
  const config = `auth:\n${auth}images:\n  "${source.host}/ns/app:/^v[0-9]/": ${destination.host}/copy/app\n`;
  return await run({ workspace, registries, config: await workspace.writeConfig(config, "config.yaml") });
}

/** The main job, the same again, and a config that is not there. */
function walk(command: Started): Promise<Walk> {
  return withScene(async ({ workspace, registries, config }) => {
    const found: Walk = { results: [], requests: [] };
    for (const file of [config, config, "absent.yaml"]) {
      const before = registries.map(({ requests }) => requests.length);
      found.results.push(
        comparable(await workspace.run(["--config", file, "--store", "sqlite:records.db"], { command })),
      );
      found.requests.push(
        ...registries.map(({ requests }, side) =>
          requests.slice(before[side]).map(({ method, kind }) => `${method} ${kind}`).sort()
        ),
      );
    }
    assertEquals([...registries[1].repositories.get("copy/app")?.tags.keys() ?? []].sort(), ["v1", "v2"]);
    return found;
  });
}

/** Ports differ from run to run, and images end in any order. */
function comparable({ code, stderr, lines }: CliResult): Walk["results"][number] {
  const plain = (text: string) =>
    text.replace(/127\.0\.0\.1:\d+/g, "HOST").replace(/ in [\d.]+ .*|\d+ ms/g, "");
  return { code, stderr: plain(stderr), lines: lines.map(plain).sort() };
}

/** Begins a service, reads its page when the first run is over, and ends it. */
function readPage(command: Started): Promise<string> {
  return withScene(async ({ workspace, config }) => {
    const port = freePort();
    const environment = { IMAGE_SYNCER_TOKEN: "a token of the tests, long enough" };
    const started = workspace.start(["serve", "--config", config, "--port", `${port}`], {
      command,
      environment,
    });
    try {
      return await (await firstAnswer(`http://127.0.0.1:${port}/`, started.result)).text();
    } finally {
      started.kill("SIGTERM");
      const { code, stderr } = await started.result;
      assert(code === 0 || code === 130, `${code}: ${stderr}`);
    }
  });
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Asks until the service is there. */
async function firstAnswer(url: string, ended: Promise<CliResult>): Promise<Response> {
  let isOver = false;
  ended.then(() => isOver = true);
  while (true) {
    try {
      return await fetch(url);
    } catch (error) {
      if (isOver) throw new Error((await ended).stderr, { cause: error });
    }
  }
}

const isWanted = (Deno.env.get("CI") ?? "") !== "";
const ready: string[] = [];
for (const name of COMMAND_RUNTIMES) if (isWanted || await isInstalled(runtimeOf(name))) ready.push(name);

/** On a machine without a runtime its tests are skipped; where `CI` is set it is fetched. */
Deno.test({
  name: "the command line is the same on Node 22, Node 24, Bun and as one file: lines, exit codes, requests",
  ignore: ready.length === 0,
  fn: async (test) => {
    const directory = await Deno.makeTempDir({ prefix: "runtimes-cli-" });
    try {
      const commands = await prepareCommands(directory, ready);
      assertEquals(commands.has(ONE_FILE), ready.includes("Bun"));
      const expected = await walk(undefined);
      assertEquals(expected.results.map(({ code }) => code), [0, 0, 2]);
      for (const [name, command] of commands) {
        await test.step(name, async () => assertEquals(await walk(command), expected));
        await test.step(`${name}: serve`, async () =>
          assertMatch(await readPage(command), /<!doctype html>[^]*<h2>1 rule<\/h2>/i));
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
});
