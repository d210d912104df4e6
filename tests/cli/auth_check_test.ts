/** `image-syncer auth check`, and connections that cannot work: known before anything moves, said without a secret. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { AuthOptions } from "../registry.ts";
import { assertExit, type Scene, withScene } from "../compat/scene.ts";

const SECRET = "hunter2-never-print-me";
const USERS: AuthOptions = {
  type: "bearer",
  users: {
    robot: { password: SECRET },
    reader: { password: SECRET, rights: { "*": ["pull"] } },
  },
};

async function check(scene: Scene, auth: Record<string, unknown>, environment: Record<string, string> = {}) {
  const images = { [`${scene.S}/ns/app:v1`]: `${scene.D}/copy/app` };
  const config = await scene.write("cfg.json", { auth: scene.auth(auth), images });
  const result = await scene.run(["auth", "check", "--config", config], { environment });
  assert(!`${result.stdout}${result.stderr}`.includes(SECRET), "a secret is printed");
  return result;
}

function login(username: string): Record<string, unknown> {
  return { insecure: true, username, password: SECRET };
}

Deno.test("auth check says whose credentials from where work, and leaves nothing at the destination", () =>
  withScene(async (scene) => {
    const result = await check(scene, { [`${scene.S}/ns`]: login("reader"), [scene.D]: login("robot") });
    assertExit(result, 0);
    const text = result.lines.join(" ");
    assertMatch(text, new RegExp(`ok +source ${scene.S}/ns/app .*"reader".*auth "${scene.S}/ns"`));
    assertMatch(text, new RegExp(`ok +destination ${scene.D}/copy/app .*"robot".*auth "${scene.D}"`));
    assertEquals(scene.destination.count({ method: "DELETE", kind: "upload", status: 204 }), 1);
    assertEquals(scene.destination.state.repository("copy/app").uploads.size, 0);
  }, { source: { auth: USERS }, destination: { auth: USERS } }));

Deno.test("auth check finds what docker login left, and says in which file", () =>
  withScene(async (scene) => {
    await Deno.mkdir(scene.workspace.path("docker"));
    const auths = { [scene.D]: { auth: btoa(`robot:${SECRET}`) } };
    await scene.write("docker/config.json", { auths });
    const result = await check(scene, {}, { DOCKER_CONFIG: scene.workspace.path("docker") });
    assertExit(result, 0);
    assertMatch(result.stdout, /anonymous/);
    assertMatch(result.stdout, /"robot".*docker\/config\.json/);
  }, { destination: { auth: USERS } }));

Deno.test("auth check ends with 1 for a password that is wrong and for a push that is not allowed", () =>
  withScene(async (scene) => {
    const wrong = { insecure: true, username: "robot", password: "wrong" };
    const result = await check(scene, { [scene.S]: wrong, [scene.D]: login("reader") });
    assertExit(result, 1);
    assertEquals(result.lines.filter((line) => line.startsWith("failed")).length, 2);
    assertMatch(result.stdout, /incorrect username or password|UNAUTHORIZED/);
    assertMatch(result.stdout, /DENIED|not allowed/);
  }, { source: { auth: USERS }, destination: { auth: USERS } }));

for (
  const [name, entry, sentence] of [
    ["a CA file that is missing", { caFile: "absent.pem" }, /"absent\.pem": .*no such file/i],
    ["a CA file that is no PEM", { caFile: "cfg.json" }, /"cfg\.json": .*PEM/],
    [
      "a client's certificate without its key",
      { certFile: "ca.pem" },
      /"certFile" and "keyFile" go together/,
    ],
    ["a proxy nobody knows", { proxy: `ftp://user:${SECRET}@proxy.test` }, /proxy "ftp:\/\/proxy\.test"/],
    [
      "a variable that is not set",
      { username: "u", password: "${NOT_SET}" },
      /password.*"NOT_SET" is not set/,
    ],
  ] as const
) {
  Deno.test(`cli.ts refuses ${name} before anything moves`, () =>
    withScene(async (scene) => {
      const config = await scene.write("cfg.json", {
        auth: scene.auth({ "elsewhere.test": entry }),
        images: { [`${scene.S}/ns/app:v1`]: `${scene.D}/x`, "elsewhere.test/a:b": `${scene.D}/y` },
      });
      const result = await scene.run(["--config", config]);
      assertExit(result, 2);
      assertMatch(result.stderr, sentence);
      assertEquals(result.stderr.trim().split("\n").length, 1, result.stderr);
      assert(!result.stderr.includes(SECRET));
      assertStringIncludes(result.stderr, "Cannot ");
      assertEquals(scene.source.requests.length, 0);
    }));
}

Deno.test("fault 78: auth check says whose credential was refused, and speaks of no blob that nobody has", () =>
  withScene(async (scene) => {
    const wrong = { insecure: true, username: "robot", password: "wrong" };
    const result = await check(scene, { [scene.S]: login("reader"), [scene.D]: wrong });
    assertExit(result, 1);
    const text = result.lines.join(" ");
    assertMatch(
      text,
      new RegExp(`failed +destination ${scene.D}/copy/app .*"robot" from config, auth "${scene.D}"`),
    );
    assert(!text.includes("sha256:"), text);
    const basic = await check(scene, { [scene.S]: login("reader"), [scene.D]: login("reader") });
    assertMatch(basic.stdout, new RegExp(`Cannot push to "${scene.D}/copy/app": 40[13]`));
  }, { source: { auth: USERS }, destination: { auth: USERS } }));

Deno.test("fault 78: auth check does not fail where only giving the upload up is refused", () =>
  withScene(async (scene) => {
    const result = await check(scene, { [scene.S]: { insecure: true }, [scene.D]: { insecure: true } });
    assertExit(result, 0);
    assertMatch(result.stdout, /push is allowed/);
  }, {
    destination: {
      intercept: ({ method }) => method === "DELETE" ? new Response("no", { status: 403 }) : undefined,
    },
  }));

for (
  const [name, password, hint] of [
    ["a wrong one", "wrong", ""],
    ["none", undefined, ", which has no password"],
    ["an empty variable", "${EMPTY}", ", which has no password"],
    [
      "a variable in a text",
      "x-${EMPTY}",
      ", whose password is not a variable as a whole and is sent as it stands",
    ],
  ] as const
) {
  for (const auth of [USERS, { type: "basic", username: "robot", password: SECRET }] as const) {
    Deno.test(`fault 77: a dry run fails at a destination whose password is ${name} (${auth.type})`, () =>
      withScene(async (scene) => {
        const entry = { insecure: true, username: "robot", ...password === undefined ? {} : { password } };
        const config = await scene.write("cfg.json", {
          auth: scene.auth({ [scene.D]: entry }),
          images: { [`${scene.S}/ns/app:v1`]: `${scene.D}/copy/app` },
        });
        const result = await scene.run(["--config", config, "--dry-run"], { environment: { EMPTY: "" } });
        assertExit(result, 1);
        assertStringIncludes(result.stdout, `user "robot" from config, auth "${scene.D}"${hint}`);
        assert(!result.stdout.includes("would copy"), result.stdout);
      }, { destination: { auth } }));
  }
}
