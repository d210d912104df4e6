/** The command line from end to end: what it prints, writes and ends with, against registries on loopback. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type CliResult, HAS_PERMISSIONS, openWorkspace, type Workspace } from "./cli_process.ts";
import { buildImage, buildMultiPlatform, pushImage } from "./images.ts";
import { createRegistry, type RegistryOptions, serve, type TestRegistry } from "./registry.ts";
import { DEFAULT_LIMITS } from "../src/registry/request.ts";
import { openFileStore } from "../src/machine/store/file_store.ts";

const DONE = "Finished, 0 sync tasks failed, 0 tasks generate failed";

/** Two registries, the first with `ns/app:v1`, and a directory with a config that copies it to the second. */
interface Scene {
  workspace: Workspace;
  source: TestRegistry;
  destination: TestRegistry;
  sourceHost: string;
  destinationHost: string;
  /** Path of the config. */
  config: string;
}

async function withScene(
  run: (scene: Scene) => Promise<void>,
  options: { source?: RegistryOptions; destination?: RegistryOptions } = {},
): Promise<void> {
  const [source, destination] = [createRegistry(options.source), createRegistry(options.destination)];
  await using sourceServer = serve(source);
  await using destinationServer = serve(destination);
  await using workspace = await openWorkspace();
  pushImage(source, "ns/app", "v1", buildMultiPlatform(["amd64", "arm64"]));
  const [sourceHost, destinationHost] = [sourceServer.host, destinationServer.host];
  const config = await workspace.writeConfig({
    auth: { [sourceHost]: { insecure: true }, [destinationHost]: { insecure: true } },
    images: { [`${sourceHost}/ns/app`]: `${destinationHost}/copy/app` },
  });
  await run({ workspace, source, destination, sourceHost, destinationHost, config });
}

function assertExit({ code, stdout, stderr }: CliResult, expected: number): void {
  assertEquals(code, expected, `${stdout}\n${stderr}`);
}

/** Asserts that lines stand in this order, with others between them. */
function assertInOrder(lines: readonly string[], expected: readonly string[]): void {
  const places = expected.map((line) => lines.indexOf(line));
  assert(!places.includes(-1), `${expected[places.indexOf(-1)]} is not in:\n${lines.join("\n")}`);
  assertEquals(places, places.toSorted((one, other) => one - other));
}

Deno.test("cli.ts copies with narrow permissions and prints the phases, the image and the totals in order", () =>
  withScene(async ({ workspace, source, destination, sourceHost, destinationHost, config }) => {
    const result = await workspace.run(["--config", config]);
    assertExit(result, 0);
    assertEquals(destination.repositories.get("copy/app")?.tags, source.repositories.get("ns/app")?.tags);
    assertInOrder(result.lines, [
      "Start to generate sync tasks, please wait ...",
      "Start to handle sync tasks, please wait ...",
      `  copied  ${sourceHost}/ns/app:v1 -> ${destinationHost}/copy/app:v1`,
      DONE,
    ]);
    // Images are copied while others are still looked for, so their number comes when it is known.
    assert(result.lines.includes("  1 image to copy, 0 unchanged"), result.stdout);
    assertEquals(result.lines.at(-1), DONE);
    assertEquals(result.stderr, "");
  }));

Deno.test("cli.ts finds everything unchanged the second time, without a GET of content or a change", () =>
  withScene(async ({ workspace, source, destination, config }) => {
    assertExit(await workspace.run(["--config", config]), 0);
    for (const registry of [source, destination]) registry.resetLog();
    const result = await workspace.run(["--config", config]);
    assertExit(result, 0);
    assertStringIncludes(result.stdout, "0 images to copy, 1 unchanged");
    assertEquals(result.lines.at(-1), DONE);
    const seen = [source, destination].flatMap(({ requests }) =>
      requests.map(({ method, kind }) => `${method} ${kind}`)
    );
    assertEquals([...new Set(seen)].sort(), ["GET ping", "GET referrers", "GET tags", "HEAD manifest"]);
  }));

Deno.test("cli.ts keeps its records where --records says, readable for the next run", () =>
  withScene(async ({ workspace, config }) => {
    const path = workspace.path("memory/of/runs");
    assertExit(await workspace.run(["--config", config, "--records", path]), 0);
    const store = await openFileStore(path, {});
    const kinds = await Array.fromAsync(store.list([]), ({ key }) => key[0]);
    await store.close();
    assert(kinds.includes("blob"), kinds.join());
  }));

Deno.test("cli.ts --dry-run says what it would copy and changes nothing", () =>
  withScene(async ({ workspace, source, destination, sourceHost, destinationHost, config }) => {
    const result = await workspace.run(["--config", config, "--dry-run"]);
    assertExit(result, 0);
    assertStringIncludes(
      result.stdout,
      `would copy  ${sourceHost}/ns/app:v1 -> ${destinationHost}/copy/app:v1`,
    );
    assertEquals(source.count({ method: "GET", kind: "blob" }), 0);
    const methods = new Set(destination.requests.map(({ method }) => method));
    assertEquals([...methods].filter((method) => method !== "GET" && method !== "HEAD"), []);
  }));

Deno.test("cli.ts --report writes what became of each image as JSON", () =>
  withScene(async ({ workspace, source, sourceHost, destinationHost, config }) => {
    pushImage(source, "ns/app", "v2", buildImage({ seed: 9 }));
    assertExit(await workspace.run(["--config", config, "--report", workspace.path("report.json")]), 0);
    const report = JSON.parse(await workspace.read("report.json"));
    assertEquals(report.totals.copied, 2);
    assertEquals(report.totals.failed, 0);
    const task = report.tasks.find(({ source }: { source: string }) => source.endsWith(":v1"));
    assertEquals(task.source, `${sourceHost}/ns/app:v1`);
    assertEquals(task.status, "copied");
    assertEquals(task.digest, source.repositories.get("ns/app")?.tags.get("v1"));
    assertEquals(task.destinations[0].reference, `${destinationHost}/copy/app:v1`);
    const blobs = [...source.blobs.values()].reduce((sum, { size }) => sum + size, 0);
    const { copied, mounted, skipped } = report.bytes;
    assertEquals([copied, mounted, skipped], [blobs, 0, 0]);
  }));

for (const [flag, what] of [["--report", "report"], ["--output-success-images", "images"]] as const) {
  Deno.test(`fault 83: cli.ts ends with 2 before anything moves when the file of ${flag} cannot be written`, () =>
    withScene(async ({ workspace, source, config }) => {
      const path = workspace.path("no/such/file");
      const result = await workspace.run(["--config", config, flag, path]);
      assertExit(result, 2);
      assertEquals(result.stderr, `Cannot write ${what} "${path}": there is no such directory\n`);
      assertEquals([result.stdout, source.requests.length], ["", 0]);
    }));

  Deno.test(`fault 46: cli.ts writes the file of ${flag} for its owner alone, in place of what it held`, () =>
    withScene(async ({ workspace, config }) => {
      const path = workspace.path("written");
      await Deno.writeTextFile(path, "what was there before ".repeat(500), { mode: 0o644 });
      assertExit(await workspace.run(["--config", config, flag, path]), 0);
      const { mode } = await Deno.stat(path);
      if (mode !== null) assertEquals(mode & 0o777, 0o600);
      assert(!(await workspace.read("written")).includes("before"));
    }));
}

Deno.test("cli.ts --log writes the log to a file and leaves standard error empty", () =>
  withScene(async ({ workspace, config }) => {
    const result = await workspace.run(["--config", config, "--log", workspace.path("log")]);
    assertExit(result, 0);
    assertEquals(result.stderr, "");
    assertMatch(await workspace.read("log"), /Pushed manifest/);
  }));

Deno.test("cli.ts reads its config from standard input when it is called -", () =>
  withScene(async ({ workspace, destination, config }) => {
    const input = await Deno.readTextFile(config);
    assertExit(await workspace.run(["--config", "-"], { input }), 0);
    assertEquals(destination.repositories.get("copy/app")?.tags.size, 1);
  }));

Deno.test("cli.ts reads ./image-syncer.json when no config is named", () =>
  withScene(async ({ workspace, destination, config }) => {
    await Deno.rename(config, workspace.path("image-syncer.json"));
    assertExit(await workspace.run([]), 0);
    assertEquals(destination.repositories.get("copy/app")?.tags.size, 1);
  }));

Deno.test("cli.ts fills an empty destination from the environment, and a flag wins over it", () =>
  withScene(async ({ workspace, destination, sourceHost, destinationHost }) => {
    const config = await workspace.writeConfig({
      auth: { [sourceHost]: { insecure: true }, [destinationHost]: { insecure: true } },
      images: { [`${sourceHost}/ns/app:v1`]: "" },
    });
    const environment = { DEFAULT_REGISTRY: destinationHost, DEFAULT_NAMESPACE: "from-environment" };
    assertExit(await workspace.run(["--config", config], { environment }), 0);
    assertExit(
      await workspace.run(["--config", config, "--namespace", "from-flag"], { environment }),
      0,
    );
    assertEquals([...destination.repositories.keys()].sort(), ["from-environment/app", "from-flag/app"]);
  }));

Deno.test("cli.ts tries again in its own phase what failed for a while, and ends with 0", () => {
  const options: RegistryOptions = {
    intercept: ({ method }, { kind, count }) => {
      // Every attempt of the first phase is refused; Retry-After: 0 spares the test the waits between them.
      if (method !== "PUT" || kind !== "manifest" || count > DEFAULT_LIMITS.attempts) return undefined;
      return new Response("busy", { status: 503, headers: { "retry-after": "0" } });
    },
  };
  return withScene(async ({ workspace, source, sourceHost, destinationHost, config }) => {
    pushImage(source, "ns/app", "v1", buildImage());
    const result = await workspace.run(["--config", config]);
    assertExit(result, 0);
    assertInOrder(result.lines, [
      "Start to handle sync tasks, please wait ...",
      "Start to retry sync tasks, please wait ...",
      `  copied  ${sourceHost}/ns/app:v1 -> ${destinationHost}/copy/app:v1`,
      DONE,
    ]);
  }, { destination: options });
});

Deno.test("cli.ts --retries 0 does not try again and ends with 1", () => {
  const options: RegistryOptions = {
    intercept: ({ method }, { kind }) =>
      method === "PUT" && kind === "manifest"
        ? new Response("busy", { status: 503, headers: { "retry-after": "0" } })
        : undefined,
  };
  return withScene(async ({ workspace, config }) => {
    const result = await workspace.run(["--config", config, "--retries", "0"]);
    assertExit(result, 1);
    assert(!result.stdout.includes("Start to retry"), result.stdout);
    assertEquals(result.lines.at(-1), "Finished, 1 sync tasks failed, 0 tasks generate failed");
  }, { destination: options });
});

Deno.test("cli.ts --help and --version print and end with 0", async () => {
  await using workspace = await openWorkspace();
  const help = await workspace.run(["--help"]);
  assertExit(help, 0);
  assertStringIncludes(help.stdout, "--config");
  const version = await workspace.run(["--version"]);
  assertExit(version, 0);
  assertMatch(version.stdout, /^image-syncer \d+\.\d+\.\d+/);
});

Deno.test("cli.ts carries its records from a file into SQLite, and then copies nothing again", () =>
  withScene(async ({ workspace, config, source }) => {
    const [lines, database] = [workspace.path("lines"), `sqlite:${workspace.path("records.db")}`];
    const records = ["--records", workspace.path("records")];
    assertExit(await workspace.run(["--config", config, ...records]), 0);
    const exported = await workspace.run(["records", "export", lines, ...records]);
    assertExit(exported, 0);
    assertMatch(exported.stdout, /^\d+ records of file:/);
    assertExit(await workspace.run(["records", "import", lines, "--store", database]), 0);
    const before = source.requests.length;
    assertExit(await workspace.run(["--config", config, "--store", database, "--trust-records"]), 0);
    const blobs = source.requests.slice(before).filter(({ kind }) => kind === "blob");
    assertEquals(blobs, []);
    assertExit(await workspace.run(["records", "import", lines, "--store", `sqlite:${lines}`]), 2);
    assertExit(await workspace.run(["--config", config, "--store", `sqlite:${lines}`]), 2);
  }));

Deno.test({
  name: "README's narrow permissions suffice, asked for nothing more",
  ignore: !HAS_PERMISSIONS,
  fn: () =>
    withScene(async ({ workspace, destination, config }) => {
      const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
      const [, flags = ""] = /^deno run (--no-prompt .*) cli\.ts --config cfg\.json$/m.exec(readme) ?? [];
      assertStringIncludes(flags, "--allow-read=.");
      for (const environment of ["--allow-env", "--allow-env=HOME,HTTPS_PROXY", ""]) {
        const permissions = flags.replace("--allow-env", environment).split(" ").filter((flag) =>
          flag !== ""
        );
        const command = new Deno.Command(Deno.execPath(), {
          args: [
            "run",
            "--quiet",
            ...permissions,
            new URL("../cli.ts", import.meta.url).href,
            "--config",
            config,
          ],
          cwd: workspace.directory,
          stdin: "null",
        });
        const { code, stdout, stderr } = await command.output();
        const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        assertEquals(code, 0, said);
        assert(!/allow-sys|Requires/.test(said), said);
        assertStringIncludes(said, DONE);
      }
      assertEquals(destination.repositories.get("copy/app")?.tags.size, 1);
    }),
});

Deno.test("fault 55: cli.ts leaves attestations out with --no-attestations and with --arch, and keeps them with --attestations", () =>
  withScene(async ({ workspace, source, destination, config }) => {
    pushImage(source, "ns/app", "v1", buildMultiPlatform(["amd64", "arm64"], { attestations: true }));
    const entries = async (...flags: string[]) => {
      assertExit(await workspace.run(["--config", config, "--force", ...flags]), 0);
      const content = destination.state.repository("copy/app").findManifest("v1");
      return JSON.parse(new TextDecoder().decode(content?.bytes)).manifests.length;
    };
    assertEquals(await entries("--no-attestations"), 2);
    assertEquals(await entries("--arch", "amd64"), 1);
    assertEquals(await entries("--arch", "amd64", "--attestations"), 2);
    assertEquals(await entries(), 4);
  }));
