/** The command line given what cannot work: one sentence that names the place, the right exit code, and no secret anywhere. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  type CliResult,
  HAS_PERMISSIONS,
  openWorkspace,
  type StartOptions,
  type Workspace,
} from "../cli_process.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, type RegistryOptions, serve, type TestRegistry } from "../registry.ts";

const SECRET = "hunter2-never-print-me";

/** A registry without TLS that holds `ns/app:v1`, and a directory to work in. */
interface Scene {
  workspace: Workspace;
  registry: TestRegistry;
  host: string;
}

async function withScene(run: (scene: Scene) => Promise<void>, options: RegistryOptions = {}): Promise<void> {
  const registry = createRegistry(options);
  await using server = serve(registry);
  await using workspace = await openWorkspace();
  pushImage(registry, "ns/app", "v1", buildImage());
  await run({ workspace, registry, host: server.host });
}

/** Runs a config with every output on, and looks for the secret in all of them. */
async function runConfig(
  { workspace }: Scene,
  config: string | Record<string, unknown>,
  options: StartOptions & { args?: readonly string[] } = {},
): Promise<CliResult> {
  const path = await workspace.writeConfig(config);
  const outputs = ["--log", workspace.path("log"), "--report", workspace.path("report.json")];
  const result = await workspace.run(["--config", path, ...outputs, ...options.args ?? []], options);
  const said = [result.stdout, result.stderr, await workspace.readAll()].join("\n");
  assert(!said.includes(SECRET), said);
  assert(!said.includes(btoa(`robot:${SECRET}`)), said);
  assert(!/(Bearer|Basic) [\w+/=.-]{8,}/.test(said), said);
  return result;
}

/** Asserts that a config is refused before anything moves: exit code 2 and one sentence. */
async function assertRefused(
  scene: Scene,
  config: string | Record<string, unknown>,
  sentence: RegExp,
): Promise<void> {
  const { code, stdout, stderr } = await runConfig(scene, config);
  assertEquals(code, 2, stdout + stderr);
  assertMatch(stderr, sentence);
  assertEquals(stderr.trim().split("\n").length, 1, stderr);
  assertEquals([stdout, scene.registry.requests.length], ["", 0]);
}

Deno.test("cli.ts names a config that is not there and ends with 2", () =>
  withScene(async ({ workspace, registry }) => {
    const { code, stderr } = await workspace.run(["--config", workspace.path("absent.json")]);
    assertEquals(code, 2, stderr);
    assertMatch(stderr, /^Cannot read config.*absent\.json.*no such file/);
    assertEquals(registry.requests.length, 0);
  }));

Deno.test({
  name: "cli.ts names a config that it may not read and ends with 2",
  ignore: !HAS_PERMISSIONS,
  fn: () =>
    withScene(async ({ workspace }) => {
      await using elsewhere = await openWorkspace();
      const path = await elsewhere.writeConfig({ images: {} });
      const { code, stderr } = await workspace.run(["--config", path]);
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, path);
      assert(!stderr.includes("    at "), stderr);
    }),
});

Deno.test("cli.ts asks for a config where there is none and ends with 2", () =>
  withScene(async ({ workspace }) => {
    const { code, stderr } = await workspace.run([]);
    assertEquals(code, 2, stderr);
    assertMatch(stderr, /--config/);
  }));

Deno.test("cli.ts names the line of broken JSON, and repeats nothing of it", () =>
  withScene((scene) =>
    assertRefused(scene, `{\n  "auth": { "r.test": { "password": "${SECRET}" "x" } }\n}`, /\(line 2\).*JSON/)
  ));

Deno.test("cli.ts names the key and line of a wrong type", () =>
  withScene((scene) =>
    assertRefused(
      scene,
      `{\n  "images": {\n    "${scene.host}/ns/app": 5\n  }\n}`,
      /"images\..*ns\/app" \(line 3\): expected a string/,
    )
  ));

Deno.test("cli.ts names the key and line of a password of a wrong type", () =>
  withScene((scene) =>
    assertRefused(
      scene,
      `{\n  "auth": { "r.test": {\n "username": "robot", "password": ["${SECRET}"] } },\n  "images": {}\n}`,
      /"auth\.r\.test\.password" \(line 3\): expected a string/,
    )
  ));

Deno.test("cli.ts names the line of an empty source", () =>
  withScene((scene) =>
    assertRefused(scene, `{\n  "images": {\n    "": "${scene.host}/ns/copy"\n  }\n}`, /\(line 3\).*source/)
  ));

Deno.test("cli.ts warns of an unknown key by its name, line and nearest known one, and goes on", () =>
  withScene(async (scene) => {
    const { host, registry } = scene;
    const config =
      `{\n  "auth": { "${host}": { "insecure": true,\n    "usrname": "x" } },\n  "images": { "${host}/ns/app": "${host}/ns/copy" }\n}`;
    const { code, stdout } = await runConfig(scene, config);
    assertEquals(code, 0, stdout);
    assertMatch(await scene.workspace.read("log"), /usrname" \(line 3\); did you mean "username"/);
    assertEquals(registry.repositories.get("ns/copy")?.tags.size, 1);
  }));

Deno.test("cli.ts suggests the nearest flag for an unknown one and ends with 2", () =>
  withScene(async ({ workspace }) => {
    const { code, stderr } = await workspace.run(["--confg", "x"]);
    assertEquals(code, 2, stderr);
    assertMatch(stderr, /"--confg".*"--config"/);
  }));

/** Asserts that the rule that can work has worked, the other has not, and that the exit code says so. */
function assertOthersRan({ registry }: Scene, { code, stdout, stderr }: CliResult): void {
  assertEquals(code, 1, stdout + stderr);
  assertEquals([...registry.repositories.get("ns/copy")?.tags.keys() ?? []], ["v1"]);
}

Deno.test("fault 80: cli.ts fails the rule of a malformed reference alone, and names its line", () =>
  withScene(async (scene) => {
    const { host } = scene;
    const result = await runConfig(scene, {
      auth: { [host]: { insecure: true } },
      images: { [`${host}/NS/App:v1`]: `${host}/ns/x`, [`${host}/ns/app:v1`]: `${host}/ns/copy` },
    });
    assertOthersRan(scene, result);
    assertMatch(result.stdout, /Cannot parse reference ".*NS\/App.*": .*lowercase \(line 8 of the config\)/);
    assertEquals(result.lines.at(-1), "Finished, 0 sync tasks failed, 1 tasks generate failed");
  }));

Deno.test("cli.ts fails the image of a tag that is not there alone, in the registry's own words", () =>
  withScene(async (scene) => {
    const { host } = scene;
    const result = await runConfig(scene, {
      auth: { [host]: { insecure: true } },
      images: { [`${host}/ns/app:v9`]: `${host}/ns/x`, [`${host}/ns/app:v1`]: `${host}/ns/copy` },
    });
    assertOthersRan(scene, result);
    assertMatch(result.stdout, /Cannot .*ns\/app:v9.*404 MANIFEST_UNKNOWN/);
    assertEquals(result.lines.at(-1), "Finished, 1 sync tasks failed, 0 tasks generate failed");
  }));

Deno.test("cli.ts fails the images of an unknown host alone, and names it", () =>
  withScene(async (scene) => {
    const { host } = scene;
    const result = await runConfig(scene, {
      auth: { [host]: { insecure: true } },
      images: {
        "registry.invalid/ns/app:v1": `${host}/ns/x`,
        [`${host}/ns/app:v1`]: `${host}/ns/copy`,
      },
    }, { hosts: ["registry.invalid"], args: ["--retries", "0"] });
    assertOthersRan(scene, result);
    assertMatch(result.stdout, /Cannot .*registry\.invalid.*cannot be resolved/);
  }));

Deno.test("cli.ts names a destination that refuses, in its own words", () => {
  const refuse: RegistryOptions = {
    intercept: ({ method }, { repository }) =>
      repository === "ns/full" && method !== "GET" && method !== "HEAD"
        ? Response.json({ errors: [{ code: "DENIED", message: "quota exceeded" }] }, { status: 403 })
        : undefined,
  };
  return withScene(async (scene) => {
    const { host } = scene;
    const result = await runConfig(scene, {
      auth: { [host]: { insecure: true } },
      images: { [`${host}/ns/app:v1`]: [`${host}/ns/full`, `${host}/ns/copy`] },
    });
    assertOthersRan(scene, result);
    assertMatch(result.stdout, /Cannot .*ns\/full.*403 DENIED: quota exceeded/);
  }, refuse);
});

const LOGINS: Record<string, RegistryOptions["auth"]> = {
  Basic: { type: "basic", username: "robot", password: "the-right-one" },
  Bearer: { type: "bearer", users: { robot: { password: "the-right-one" } } },
};

for (const [scheme, auth] of Object.entries(LOGINS)) {
  Deno.test(`cli.ts names a registry that refuses a wrong password (${scheme}), and prints no secret`, () =>
    withScene(async (scene) => {
      const { host } = scene;
      const config = (password: string) => ({
        auth: { [host]: { username: "robot", password, insecure: true } },
        images: { [`${host}/ns/app:v1`]: `${host}/ns/copy` },
      });
      const { code, stdout } = await runConfig(scene, config(SECRET));
      assertEquals(code, 1, stdout);
      assertMatch(stdout, new RegExp(`Cannot .*"?${host}.*(UNAUTHORIZED|401)`));
      const right = await runConfig(scene, config("the-right-one"));
      assertEquals(right.code, 0, right.stdout);
    }, auth === undefined ? {} : { auth }));
}
