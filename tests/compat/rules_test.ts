/** Compatibility, items 17 to 31, 34 and 35: which images a rule selects, and where they go. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { CliResult } from "../cli_process.ts";
import { buildImage, buildMultiPlatform } from "../images.ts";
import { compat } from "./item.ts";
import { assertExit, DONE, type Scene, withScene } from "./scene.ts";

/** A rule that works beside the one that is looked at: it must, whatever becomes of the other. */
function besides({ S, D }: Scene): Record<string, string> {
  return { [`${S}/ns/app:v2`]: `${D}/besides/app` };
}

/** Fails unless one rule failed, for this reason, and the other did what it should. */
function assertRuleFailed(scene: Scene, result: CliResult, reason: string): void {
  // Exit code 255 in v1.5.5; 1 is ours for whatever failed.
  assertExit(result, 1);
  assertStringIncludes(result.stdout, reason);
  assertEquals(result.lines.at(-1), "Finished, 0 sync tasks failed, 1 tasks generate failed");
  assertEquals([...scene.destination.repositories.keys()], ["besides/app"]);
}

compat(17, "a tag goes to the same tag, byte for byte", () =>
  withScene(async (scene) => {
    scene.push("ns/app", "v1", buildMultiPlatform(["amd64", "arm64"]));
    assertExit(await scene.sync({ [`${scene.S}/ns/app:v1`]: `${scene.D}/ns/app` }), 0);
    assertEquals(scene.tagsAt("ns/app"), ["v1"]);
    scene.assertSame(["ns/app", "v1"], ["ns/app", "v1"]);
  }));

compat(18, "a tag goes to another tag, and only there", () =>
  withScene(async (scene) => {
    assertExit(await scene.sync({ [`${scene.S}/ns/app:v1`]: `${scene.D}/ns/x:v9` }), 0);
    assertEquals(scene.tagsAt("ns/x"), ["v9"]);
    scene.assertSame(["ns/app", "v1"], ["ns/x", "v9"]);
  }));

for (const locationAbsolute of [false, true]) {
  const links = locationAbsolute ? "absolute" : "relative";
  compat(19, `without a tag all tags go, over pages with ${links} links`, () =>
    withScene(async (scene) => {
      const tags = Array.from({ length: 7 }, (_, index) => `t${index}`);
      const image = buildImage();
      for (const tag of tags) scene.push("ns/many", tag, image);
      assertExit(await scene.sync({ [`${scene.S}/ns/many`]: `${scene.D}/ns/many` }), 0);
      assertEquals(scene.tagsAt("ns/many"), tags);
      assertEquals(scene.source.count({ kind: "tags" }), 4);
    }, { source: { quirks: { pageSize: 2, locationAbsolute } } }));
}

compat(20, "several tags go, and no other", () =>
  withScene(async (scene) => {
    assertExit(await scene.sync({ [`${scene.S}/ns/app:v1,v2`]: `${scene.D}/ns/app` }), 0);
    assertEquals(scene.tagsAt("ns/app"), ["v1", "v2"]);
  }));

compat(21, "several tags go to as many others, by their position", () =>
  withScene(async (scene) => {
    assertExit(await scene.sync({ [`${scene.S}/ns/app:v1,v2`]: `${scene.D}/ns/app:a,b` }), 0);
    assertEquals(scene.tagsAt("ns/app"), ["a", "b"]);
    scene.assertSame(["ns/app", "v1"], ["ns/app", "a"]);
    scene.assertSame(["ns/app", "v2"], ["ns/app", "b"]);
  }));

const UNMATCHED = "the number of tags of source and destination is not matched";

// v1.0.3 refused any destination tag with several source tags; as v1.5.5, only other numbers of them are.
compat(22, "two tags do not go to one, and the other rules run", () =>
  withScene(async (scene) => {
    const result = await scene.sync({ [`${scene.S}/ns/app:v1,v2`]: `${scene.D}/ns/x:a`, ...besides(scene) });
    assertRuleFailed(scene, result, UNMATCHED);
  }));

compat(23, "a repository of three tags does not go to one tag", () =>
  withScene(async (scene) => {
    const result = await scene.sync({ [`${scene.S}/ns/app`]: `${scene.D}/ns/x:a`, ...besides(scene) });
    assertRuleFailed(scene, result, UNMATCHED);
  }));

for (const [pattern, tags] of [["^v", ["v1", "v2"]], ["1", ["v1"]], ["^latest$", ["latest"]]] as const) {
  compat(24, `/${pattern}/ selects the tags in which it is found`, () =>
    withScene(async (scene) => {
      assertExit(await scene.sync({ [`${scene.S}/ns/app:/${pattern}/`]: `${scene.D}/ns/app` }), 0);
      assertEquals(scene.tagsAt("ns/app"), [...tags]);
    }));
}

compat(25, "a regex without its closing slash fails its rule", () =>
  withScene(async (scene) => {
    const result = await scene.sync({ [`${scene.S}/ns/app:/a`]: `${scene.D}/ns/x`, ...besides(scene) });
    assertRuleFailed(scene, result, 'regex must start and end with "/"');
  }));

for (const pattern of ["(?i)V1", String.raw`\Av1\z`, "(?P<name>v)1", "[[:alpha:]]1"]) {
  compat(26, `/${pattern}/ means what it means to RE2`, () =>
    withScene(async (scene) => {
      assertExit(await scene.sync({ [`${scene.S}/ns/app:/${pattern}/`]: `${scene.D}/ns/app` }), 0);
      assertEquals(scene.tagsAt("ns/app"), ["v1"]);
    }));
}

// Both versions said nothing at all: a typo in a regex looked like a mirror that is up to date.
compat(
  27,
  "a regex that selects nothing is a warning, and a failure with --strict",
  () =>
    withScene(async (scene) => {
      const images = { [`${scene.S}/ns/app:/^x/`]: `${scene.D}/ns/x` };
      const lenient = await scene.sync(images);
      assertExit(lenient, 0);
      assertMatch(lenient.stderr, /No tag of ".*ns\/app:\/\^x\/" is selected/);
      assertExit(await scene.sync(images, ["--strict"]), 1);
    }),
);

compat(
  28,
  "a digest goes to itself or under a tag, and not to another digest",
  () =>
    withScene(async (scene) => {
      const { digest } = scene.push("ns/app", "v1", buildMultiPlatform(["amd64"]));
      const other = scene.push("ns/app", "v2").digest;
      const source = `${scene.S}/ns/app@${digest}`;
      const to = `${scene.D}/ns`;
      assertExit(
        await scene.sync({ [source]: [`${to}/plain`, `${to}/same@${digest}`, `${to}/tagged:t`] }),
        0,
      );
      for (const repository of ["ns/plain", "ns/same"]) {
        scene.assertSame(["ns/app", digest], [repository, digest]);
        assertEquals(scene.tagsAt(repository), []);
      }
      scene.assertSame(["ns/app", digest], ["ns/tagged", "t"]);
      const result = await scene.sync({ [source]: `${to}/wrong@${other}` });
      assertExit(result, 1);
      assertStringIncludes(result.stdout, "different digests");
    }),
);

compat(29, "of a tag and a digest the digest counts", () =>
  withScene(async (scene) => {
    const digest = scene.source.state.repository("ns/app").tags.get("v2") ?? "";
    assertExit(await scene.sync({ [`${scene.S}/ns/app:v1@${digest}`]: `${scene.D}/ns/app:t` }), 0);
    scene.assertSame(["ns/app", "v2"], ["ns/app", "t"]);
  }));

compat(
  30,
  "each destination of an array gets the image, one that stands twice gets it once",
  () =>
    withScene(async (scene) => {
      const [one, two] = [`${scene.D}/one/app`, `${scene.D}/two/app`];
      const result = await scene.sync({ [`${scene.S}/ns/app:v1`]: [one, two, one] });
      assertExit(result, 0);
      assertEquals([scene.tagsAt("one/app"), scene.tagsAt("two/app")], [["v1"], ["v1"]]);
      assertEquals(scene.destination.count({ method: "PUT", kind: "manifest", repository: "one/app" }), 1);
    }),
);

for (
  const [name, value] of [["an empty array", []], ["a number in an array", ["d.test/x", 5]], [
    "a number",
    5,
  ]] as const
) {
  compat(30, `${name} of destinations fails before anything moves`, () =>
    withScene(async (scene) => {
      const result = await scene.sync({ ...besides(scene), [`${scene.S}/ns/app:v1`]: value });
      assertExit(result, 2);
      assertMatch(result.stderr, /"images\..*ns\/app:v1.*" \(line \d+\): expected/);
      assertEquals(scene.source.requests.length, 0);
    }));
}

// v1.0.3 had the defaults, v1.5.5 an error: the error is for whoever has no defaults.
compat(
  31,
  "an empty destination is the default registry and namespace, or an error where there are none",
  () =>
    withScene(async (scene) => {
      const images = { [`${scene.S}/ns/app:v1`]: "" };
      const refused = await scene.sync(images);
      assertExit(refused, 2);
      assertMatch(refused.stderr, /ns\/app:v1.*empty.*no default registry/);
      assertEquals(scene.source.requests.length, 0);
      assertExit(await scene.sync(images, ["--registry", scene.D, "--namespace", "default"]), 0);
      assertEquals([...scene.destination.repositories.keys()], ["default/app"]);
      assertEquals(scene.tagsAt("default/app"), ["v1"]);
    }),
);

compat(34, "a repository with many parts is copied", () =>
  withScene(async (scene) => {
    scene.push("a/b/c/d", "v1");
    const result = await scene.sync({ [`${scene.S}/a/b/c/d:v1`]: `${scene.D}/e/f/g/h` });
    assertExit(result, 0);
    assertEquals(result.lines.at(-1), DONE);
    scene.assertSame(["a/b/c/d", "v1"], ["e/f/g/h", "v1"]);
  }));

for (const source of ["NS/App:v1", "ns/app:", "ns/app:v1:v2", "ns//app:v1", "ns/app@sha256:xyz"]) {
  compat(35, `the malformed reference ${source} fails its rule alone`, () =>
    withScene(async (scene) => {
      const result = await scene.sync({ [`${scene.S}/${source}`]: `${scene.D}/ns/x`, ...besides(scene) });
      assertRuleFailed(scene, result, `Cannot parse reference "${scene.S}/${source}"`);
    }));
}
