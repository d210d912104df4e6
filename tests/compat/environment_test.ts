/** Compatibility, items 13 to 16: values that stand in the environment. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { compat } from "./item.ts";
import { assertExit, type Scene, withScene } from "./scene.ts";

const ROBOT = { type: "basic", username: "robot", password: "pa$$word" } as const;
const OPTIONS = { destination: { auth: ROBOT } };

function entry(username: string, password: string): Record<string, unknown> {
  return { insecure: true, username, password };
}

function rule({ S, D }: Scene): Record<string, string> {
  return { [`${S}/ns/app:v1`]: `${D}/copy/app` };
}

for (const [username, password] of [["${USER_NAME}", "${P}"], ["$USER_NAME", "$P"]] as const) {
  compat(
    13,
    `${username} and ${password} in an auth file stand for what the environment says`,
    () =>
      withScene(async (scene) => {
        const auth = await scene.write("auth.json", scene.auth({ [scene.D]: entry(username, password) }));
        const images = await scene.write("images.json", rule(scene));
        const environment = { USER_NAME: "robot", P: "pa$$word" };
        assertExit(await scene.run(["--auth", auth, "--images", images], { environment }), 0);
        assertEquals(scene.tagsAt("copy/app"), ["v1"]);
      }, OPTIONS),
  );
}

compat(
  14,
  "a destination may have variables anywhere, in --images and in --config",
  () =>
    withScene(async (scene) => {
      const images = {
        [`${scene.S}/ns/app:v1`]: `${scene.D}/$NS/app`,
        [`${scene.S}/ns/app:v2`]: [`${scene.D}/\${NS}-two/app:\${TAG}`],
      };
      const environment = { NS: "n", TAG: "t" };
      assertExit(await scene.sync(images, [], { environment }), 0);
      assertEquals([scene.tagsAt("n/app"), scene.tagsAt("n-two/app")], [["v1"], ["t"]]);
      const files = [await scene.write("auth.json", scene.auth()), await scene.write("images.json", images)];
      const args = ["--auth", files[0] ?? "", "--images", files[1] ?? ""];
      assertExit(await scene.run(args, { environment: { NS: "m", TAG: "t" } }), 0);
      assertEquals([scene.tagsAt("m/app"), scene.tagsAt("m-two/app")], [["v1"], ["t"]]);
    }),
);

// v1.5.5 did not expand these, though its README speaks of both; that only one file can keep its secrets outside helps nobody.
compat(15, "credentials in --config are expanded as those in --auth are", () =>
  withScene(async (scene) => {
    const auth = scene.auth({ [scene.D]: entry("robot", "${P}") });
    const config = await scene.write("config.json", { auth, images: rule(scene) });
    assertExit(await scene.run(["--config", config], { environment: { P: "pa$$word" } }), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }, OPTIONS));

// v1.5.5 sent "paword": only a value that is a variable and nothing else is one.
compat(16, "a password with dollar signs in it is sent as it is", () =>
  withScene(async (scene) => {
    const auth = await scene.write("auth.json", scene.auth({ [scene.D]: entry("robot", "pa$$word") }));
    const images = await scene.write("images.json", rule(scene));
    assertExit(await scene.run(["--auth", auth, "--images", images]), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }, OPTIONS));

compat(
  16,
  "a variable that is not set is an error with its name, key and line, before anything moves",
  () =>
    withScene(async (scene) => {
      const auth = `{\n  "${scene.D}": { "username": "robot",\n    "password": "\${ABSENT}" }\n}`;
      const images = `{\n  "${scene.S}/ns/app:v1":\n    "${scene.D}/$ABSENT/app"\n}`;
      const good = [
        await scene.write("auth.json", scene.auth()),
        await scene.write("images.json", rule(scene)),
      ];
      const bad = [await scene.write("bad.json", auth), await scene.write("wrong.json", images)];
      for (
        const [index, place] of [[0, /bad\.json.*password.*line 3/], [
          1,
          /wrong\.json.*ns\/app:v1.*line/,
        ]] as const
      ) {
        const files = good.map((path, at) => at === index ? bad[index] ?? "" : path);
        const result = await scene.run(["--auth", files[0] ?? "", "--images", files[1] ?? ""]);
        assertExit(result, 2);
        assertMatch(result.stderr, place);
        assertMatch(result.stderr, /ABSENT/);
      }
      assert(scene.source.requests.length + scene.destination.requests.length === 0);
    }),
);
