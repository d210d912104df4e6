/** Compatibility, items 71 to 83: retries, exit codes, and what is said and written. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parse } from "yaml";
import type { CliResult } from "../cli_process.ts";
import type { CreateHasher } from "../../mod.ts";
import { loadMachineHasher } from "../../src/machine/network/hasher.ts";
import { buildImage, buildMultiPlatform, pushImage, sha512Layer } from "../images.ts";
import { assertHolds, DESTINATION, setUpMirror, SOURCE } from "../mirror_setup.ts";
import type { Intercept, RegistryOptions } from "../registry.ts";
import { compat } from "./item.ts";
import { assertExit, DONE, type Scene, withScene } from "./scene.ts";

const GENERATE = "Start to generate sync tasks, please wait ...";
const HANDLE = "Start to handle sync tasks, please wait ...";
const RETRY_GENERATE = "Start to retry to generate sync tasks, please wait ...";
const RETRY = "Start to retry sync tasks, please wait ...";

/** Answers every request for `copy/bad` that would change it as if the registry were busy, or some of them. */
function busy(isBusy: (count: number) => boolean = () => true): RegistryOptions {
  let count = 0;
  const intercept: Intercept = ({ method }, { repository }) => {
    if (repository !== "copy/bad" || method === "GET" || method === "HEAD" || !isBusy(++count)) {
      return undefined;
    }
    return new Response("busy", { status: 503, headers: { "retry-after": "0" } });
  };
  return { intercept };
}

/** Two images, of which the destination can be made to refuse the first. */
function rules({ S, D }: Scene): Record<string, string> {
  return { [`${S}/ns/app:v1`]: `${D}/copy/bad`, [`${S}/ns/app:v2`]: `${D}/copy/good` };
}

/** Where lines stand in what a run said; -1 for one that is not there. */
function placesOf({ lines }: CliResult, wanted: readonly string[]): number[] {
  return wanted.map((text) => lines.findIndex((line) => line.includes(text)));
}

compat(
  71,
  "an image that fails does not stop the others, and is tried again after all of them",
  () =>
    withScene(async (scene) => {
      const result = await scene.sync(rules(scene), ["-r", "1"]);
      assertExit(result, 1);
      assertEquals(scene.tagsAt("copy/good"), ["v2"]);
      const places = placesOf(result, [HANDLE, "copied", RETRY]);
      assert(!places.includes(-1), result.stdout);
      assertEquals(places, places.toSorted((one, other) => one - other));
    }, { destination: busy() }),
);

compat(71, "with --retries 0 nothing is tried again", () =>
  withScene(async (scene) => {
    const result = await scene.sync(rules(scene), ["--retries", "0"]);
    assertExit(result, 1);
    assertEquals(placesOf(result, [RETRY, RETRY_GENERATE]), [-1, -1]);
    assertEquals(scene.tagsAt("copy/good"), ["v2"]);
  }, { destination: busy() }));

compat(
  72,
  "what failed for a while is there in the end, and the exit code is 0",
  () =>
    withScene(async (scene) => {
      const result = await scene.sync(rules(scene), ["--retries", "2"]);
      assertExit(result, 0);
      assertEquals(scene.tagsAt("copy/bad"), ["v1"]);
      assertEquals(result.lines.at(-1), DONE);
    }, { destination: busy((count) => count <= 8) }),
);

// v1.5.5 ended its output with "failed tasks exist", v1.0.3 with the totals; scripts grep the totals, so those stay last.
compat(
  73,
  "an image that still fails ends it with an exit code that says so",
  () =>
    withScene(async (scene) => {
      const result = await scene.sync(rules(scene));
      assertExit(result, 1);
      assertEquals(result.lines.at(-1), "Finished, 1 sync tasks failed, 0 tasks generate failed");
    }, { destination: busy() }),
);

compat(
  74,
  "the totals of v1.0.3 stand last on standard output, those of v1.5.5 in the log",
  () =>
    withScene(async (scene) => {
      const images = { ...rules(scene), [`${scene.S}/ns/app:v1,v2`]: `${scene.D}/copy/one:x` };
      const result = await scene.sync(images, ["--retries", "0", "--log", scene.workspace.path("log")]);
      assertExit(result, 1);
      assertEquals(result.lines.at(-1), "Finished, 1 sync tasks failed, 1 tasks generate failed");
      assertMatch(
        await scene.workspace.read("log"),
        /Synchronization finished, 2 tasks failed, cost [\d.]+m?s\.$/m,
      );
    }, { destination: busy() }),
);

compat(75, "the phases are named as v1.0.3 names them", () =>
  withScene(async (scene) => {
    const result = await scene.sync(rules(scene), ["-r", "1"]);
    const wanted = [GENERATE, HANDLE, RETRY];
    assertEquals(result.lines.filter((line) => [...wanted, RETRY_GENERATE].includes(line)), wanted);
  }, { destination: busy() }));

compat(75, "generating again has a line of its own", () =>
  withScene(async (scene) => {
    const result = await scene.sync({ [`${scene.S}/ns/app`]: `${scene.D}/copy/app` });
    assertExit(result, 0);
    const phases = result.lines.filter((line) => line.startsWith("Start to"));
    assertEquals(phases, [GENERATE, HANDLE, RETRY_GENERATE, RETRY]);
  }, {
    source: { intercept: (_, { kind, count }) => kind === "tags" && count <= 6 ? unavailable() : undefined },
  }));

function unavailable(): Response {
  return new Response(null, { status: 503, headers: { "retry-after": "0" } });
}

compat(76, "the log counts the images that are through", () =>
  withScene(async (scene) => {
    assertExit(await scene.sync(rules(scene), ["--log", scene.workspace.path("log")]), 0);
    const log = await scene.workspace.read("log");
    const counts = [...log.matchAll(/Now (\d+)\/(\d+) tasks have been processed\./g)].map(([, done, all]) =>
      `${done}/${all}`
    );
    assertEquals(counts, ["1/2", "2/2"]);
  }));

compat(77, "--log FILE takes the log", () =>
  withScene(async (scene) => {
    const result = await scene.sync(rules(scene), ["--log", scene.workspace.path("log")]);
    assertExit(result, 0);
    assertEquals(result.stderr, "");
    assertStringIncludes(await scene.workspace.read("log"), `Copied "${scene.S}/ns/app:v1"`);
  }));

compat(77, "--log-format json makes each line an object", () =>
  withScene(async (scene) => {
    const args = ["--log", scene.workspace.path("log"), "--log-format", "json"];
    assertExit(await scene.sync(rules(scene), args), 0);
    const lines = (await scene.workspace.read("log")).trim().split("\n").map((line) => JSON.parse(line));
    assert(lines.length > 2);
    for (const { time, level, message } of lines) {
      assert(
        !Number.isNaN(Date.parse(time)) && typeof message === "string" &&
          ["info", "warn", "error"].includes(level),
      );
    }
  }));

const NO_LOG = "Failed to log to file, using default stderr";

compat(
  77,
  "a log that cannot be opened goes to standard error, and that is no failure",
  () =>
    withScene(async (scene) => {
      const result = await scene.sync(rules(scene), ["--log", scene.workspace.path("no/such/folder")]);
      assertExit(result, 0);
      assertEquals(result.stderr.split("\n")[0], NO_LOG);
      const without = await scene.sync(rules(scene));
      assert(!without.stderr.includes(NO_LOG), "it is said only where a file was asked for");
    }),
);

for (const format of ["yaml", "json"]) {
  compat(
    78,
    `--output-success-images writes what is there as ${format}, also when something failed`,
    () =>
      withScene(async (scene) => {
        pushImage(scene.destination, "copy/same", "v2", buildImage({ seed: 2 }));
        const images = {
          ...rules(scene),
          [`${scene.S}/ns/app:v2`]: [`${scene.D}/copy/good`, `${scene.D}/copy/same:v2`],
        };
        const args = [
          "--output-success-images",
          scene.workspace.path("done"),
          "--output-images-format",
          format,
        ];
        assertExit(await scene.sync(images, [...args, "--retries", "0"]), 1);
        const text = await scene.workspace.read("done");
        const there = [`${scene.D}/copy/good:v2`, `${scene.D}/copy/same:v2`];
        assertEquals(format === "yaml" ? parse(text) : JSON.parse(text), { [`${scene.S}/ns/app:v2`]: there });
        if (format === "json") assertEquals(text.trim().split("\n").length, 1);
      }, { destination: busy() }),
  );
}

compat(
  78,
  "it is YAML unless told, and the report has the failed, unchanged and skipped as well",
  () =>
    withScene(async (scene) => {
      pushImage(scene.destination, "copy/same", "v2", buildImage({ seed: 2 }));
      scene.push("ns/arm", "v1", buildMultiPlatform(["arm64"]));
      const images = {
        [`${scene.S}/ns/app:v1`]: `${scene.D}/copy/bad`,
        [`${scene.S}/ns/app:v2`]: `${scene.D}/copy/same`,
        [`${scene.S}/ns/arm:v1`]: { to: `${scene.D}/copy/arm`, platforms: ["linux/amd64"] },
      };
      const [done, report] = [scene.workspace.path("done"), scene.workspace.path("report.json")];
      await scene.sync(images, ["--output-success-images", done, "--report", report, "-r", "0"]);
      const yaml = `${scene.S}/ns/app:v2:\n- ${scene.D}/copy/same:v2\n`;
      assertEquals((await scene.workspace.read("done")).replace(/^ +/gm, ""), yaml);
      const { totals } = JSON.parse(await scene.workspace.read("report.json"));
      assertEquals([totals.failed, totals.unchanged, totals.skipped], [1, 1, 1]);
    }, { destination: busy() }),
);

compat(79, "a list of successes that cannot be written fails the run", () =>
  withScene(async (scene) => {
    const path = scene.workspace.path("no/such/folder");
    const result = await scene.sync(rules(scene), ["--output-success-images", path]);
    // There the run was over by then; here it is known before anything moves.
    assertExit(result, 2);
    assertMatch(result.stderr, /^Cannot write .*"\S*no\/such\/folder"/m);
    assertEquals([scene.tagsAt("copy/bad"), scene.tagsAt("copy/good")], [[], []]);
  }));

// There a panic ended the whole run, without totals.
compat(80, "a mistake of this program in one image fails that image alone", async () => {
  const setup = setUpMirror();
  // A small blob is hashed by WebCrypto; the hasher that is passed in sees larger ones.
  pushImage(setup.source, "ns/one", "v1", buildImage({ layers: [sha512Layer(1, 2 * 1024 * 1024)] }));
  pushImage(setup.source, "ns/two", "v1", buildImage({ seed: 2 }));
  const images = { "one": "copy/one", "two": "copy/two" };
  const rules = Object.entries(images).map((
    [from, to],
  ) => [`${SOURCE}/ns/${from}:v1`, `${DESTINATION}/${to}`]);
  const createMachineHasher = await loadMachineHasher();
  const createHasher: CreateHasher = (algorithm) => {
    if (algorithm === "sha512") throw new TypeError("undefined is not a function");
    return createMachineHasher(algorithm);
  };
  const { totals } = await setup.run(Object.fromEntries(rules), { retries: 0, createHasher });
  assertEquals([totals.copied, totals.failed, totals.pending], [1, 1, 0]);
  assertEquals([...setup.destination.repositories.get("copy/two")?.tags.keys() ?? []], ["v1"]);
});

compat(
  81,
  "--records FILE takes an old file, tolerates its lines, and believes nothing of it unasked",
  () =>
    withScene(async (scene) => {
      const image = scene.push("ns/app", "v1", buildImage({ seed: 31, layers: 2 }));
      const old = [...image.blobs.values()].map(({ digest, size }) => `${scene.D},${digest},${size}`);
      const records = scene.workspace.path("records.txt");
      await Deno.writeTextFile(records, `${old.join("\n")}\nnot a record\n,,\n`);
      // None of these blobs is there, so every one must be sent all the same.
      assertExit(
        await scene.sync({ [`${scene.S}/ns/app:v1`]: `${scene.D}/copy/app` }, ["--records", records]),
        0,
      );
      assertHolds(scene.destination, "copy/app", "v1", image);
      assert((await Deno.readTextFile(records)).includes("copy/app"), "what was copied is added");
    }),
);

compat(82, "two rules for tags of one repository run side by side", () =>
  withScene(async (scene) => {
    const to = `${scene.D}/copy/app`;
    const images = {
      [`${scene.S}/ns/app:v1`]: `${to}:one`,
      [`${scene.S}/ns/app:v2`]: `${to}:two`,
      [`${scene.S}/ns/app`]: to,
    };
    const result = await scene.sync(images);
    assertExit(result, 0);
    assertEquals(scene.tagsAt("copy/app"), ["latest", "one", "two", "v1", "v2"]);
    assertEquals(result.lines.at(-1), DONE);
  }));

compat(
  83,
  "SOURCE DESTINATION copies without a config, with the credentials of one",
  () =>
    withScene(async (scene) => {
      const auth = await scene.write("auth.json", scene.auth());
      const pair = [`${scene.S}/ns/app:v1`, `${scene.D}/copy/app`];
      assertExit(await scene.run(["--auth", auth, ...pair]), 0);
      assertEquals(scene.tagsAt("copy/app"), ["v1"]);
      const config = await scene.write("config.json", { auth: scene.auth(), images: rules(scene) });
      assertExit(await scene.run([...pair.with(1, `${scene.D}/copy/two`), "--config", config]), 0);
      assertEquals([...scene.destination.repositories.keys()].sort(), ["copy/app", "copy/two"]);
      assertExit(await scene.run(["--config", config, pair[0] ?? ""]), 2);
    }),
);
