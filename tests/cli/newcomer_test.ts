/** What a newcomer gets wrong on the command line and around it: the sentence each mistake gets, and the exit code. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { HAS_PERMISSIONS, openWorkspace, type Workspace } from "../cli_process.ts";
import { buildImage, buildMultiPlatform, pushImage } from "../images.ts";
import { assertExit, withScene } from "../compat/scene.ts";

/** A mistake: what is typed, with `W` for the directory, and what is said of it. */
type Mistake = readonly [name: string, args: readonly string[], code: number, sentence: string];

const IMAGE = ["127.0.0.1:1/a:b", "127.0.0.1:1/c"];

const MISTAKES: readonly Mistake[] = [
  ["a flag misspelt", ["--confg", "x"], 2, `Unknown flag "--confg"; did you mean "--config"?`],
  ["one dash too few", ["-config", "x"], 2, `Unknown flag`],
  ["a flag of another tool", ["--src-tls-verify=false"], 2, `Unknown flag "--src-tls-verify"`],
  ["a flag without its value", ["--config"], 2, `The flag "--config" needs a value`],
  ["a flag in place of a value", ["--report", "--strict"], 2, `The flag "--report" needs a value`],
  ["a word for a number", ["-p", "many"], 2, `"--proc" needs a whole number from 1 to 100000, got "many"`],
  ["a negative number", ["--retries=-1"], 2, `"--retries" needs a whole number from 0`],
  ["a port that is none", ["serve", "--port", "70000"], 2, `"--port" needs a whole number from 1 to 65535`],
  ["a time without sense", ["--stall-timeout", "1 day"], 2, `"--stall-timeout" needs a time such as 30`],
  ["a part of too few", ["--shard", "4/3"], 2, `Cannot use shard "4/3"`],
  ["a platform as one word", ["--arch", "linux/amd64/v3/x"], 2, "linux/amd64/v3/x"],
  ["one image alone", ["nginx:1.27"], 2, `Unexpected argument "nginx:1.27"; give a source and a destination`],
  ["three images", ["a", "b", "c"], 2, `Unexpected argument "c"`],
  ["a command misspelt", ["serv"], 2, `did you mean "serve"?`],
  ["half a command", ["auth"], 2, `did you mean "auth check"?`],
  ["a command that is none", ["help", "sync"], 2, `There is no command "sync"`],
  ["serve with nothing to do", ["serve", "--config", "x"], 2, "would never run: give --schedule CRON"],
  ["a schedule without serve", ["--schedule", "0 * * * *"], 2, `it is for "image-syncer serve"`],
  [
    "a schedule that is none",
    ["serve", "--schedule", "hourly", "--config", "W/good"],
    2,
    `schedule "hourly"`,
  ],
  ["no config at all", [], 2, "neither config.json nor images.json is provided"],
  ["credentials without images", ["--auth", "W/good"], 2, "neither config.json nor images.json is provided"],
  ["a config that is not there", ["--config", "cfg.jsn"], 2, `"cfg.jsn": there is no such file`],
  ["a plan that is not there", ["apply", "W/plan.json", "--config", "W/good"], 2, "there is no such file"],
  ["half of a command with --help", ["auth", "--help"], 0, "image-syncer auth check"],
  ["a directory for a config", ["--config", "W"], 2, `it is a directory`],
  ["a config that may not be read", ["--config", "/etc/hostname"], 2, "add it to --allow-read"],
  [
    "a config of another kind",
    ["--config", "W/notes.txt"],
    2,
    "only one of yaml/yml/json format is supported",
  ],
  ["an empty config", ["--config", "W/empty.json"], 2, "it is empty"],
  ["a binary for a config", ["--config", "W/binary.json"], 2, "it is not text in UTF-8"],
  ["an empty standard input", ["--config", "-"], 2, `"standard input": it is empty`],
  ["a store of another kind", [...IMAGE, "--store", "redis://x"], 2, `Cannot open store "redis://x"`],
  ["a report nowhere", [...IMAGE, "--report", "W/no/report"], 2, `report": there is no such directory`],
  ["a report that is a directory", [...IMAGE, "--report", "W"], 2, "it is a directory"],
  ["a report that may not be written", [...IMAGE, "--report", "/x"], 2, "add it to --allow-write"],
  ["a report for the screen", [...IMAGE, "--report", "-"], 2, `"--report" needs a file`],
  [
    "a report of a dry run",
    [...IMAGE, "--dry-run", "--report", "r"],
    2,
    `"--report" does nothing beside "--dry-run"`,
  ],
  ["two that exclude each other", ["--attestations", "--no-attestations"], 2, "do not go together"],
  ["a wrong port", [...IMAGE, "-r", "0"], 1, `Cannot reach "127.0.0.1:1"`],
  ["a scheme in a reference", ["https://r.test/a", "r.test/b"], 1, "must not have a scheme such as https://"],
  ["an IPv6 address without brackets", ["::1:5000/a:b", "r.test/b"], 1, "Cannot parse reference"],
  ["a host that is not allowed", ["r.test/a:b", "r.test/c", "-r", "0"], 1, "--allow-net"],
];

async function inWorkspace(run: (workspace: Workspace) => Promise<void>): Promise<void> {
  await using workspace = await openWorkspace();
  await workspace.writeConfig({ images: { "127.0.0.1:1/a:b": "127.0.0.1:1/c" } }, "good");
  await workspace.writeConfig("what I want to copy", "notes.txt");
  await workspace.writeConfig(" \n", "empty.json");
  await Deno.writeFile(workspace.path("binary.json"), new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 0xc3, 0x28]));
  await run(workspace);
}

for (const [name, args, code, sentence] of MISTAKES) {
  Deno.test({
    name: `a newcomer's mistake, ${name}, ends with ${code} and its sentence`,
    ignore: !HAS_PERMISSIONS && sentence.includes("--allow-"),
    fn: () =>
      inWorkspace(async (workspace) => {
        const typed = args.map((arg) =>
          arg === "W" ? workspace.directory : arg.replace(/^W\//, `${workspace.directory}/`)
        );
        const result = await workspace.run(typed);
        assertExit(result, code);
        const said = code === 2 ? result.stderr.trimEnd().split("\n") : [result.stdout];
        assertStringIncludes(said.at(-1) ?? "", sentence);
        assert(said.length <= 2, result.stderr);
        assert(!/\n\s+at /.test(result.stdout + result.stderr), result.stderr);
      }),
  });
}

Deno.test("a config may begin with a byte order mark, be UTF-16 and have CRLF, as Notepad writes it", () =>
  withScene(async (scene) => {
    const config = JSON.stringify(
      { auth: scene.auth(), images: { [`${scene.S}/ns/app:v1`]: `${scene.D}/copy/app` } },
      null,
      2,
    ).replaceAll("\n", "\r\n");
    const utf16 = (isLittle: boolean) => {
      const view = new DataView(new ArrayBuffer(2 * config.length + 2));
      [..."\uFEFF" + config].forEach((letter, index) =>
        view.setUint16(2 * index, letter.charCodeAt(0), isLittle)
      );
      return new Uint8Array(view.buffer);
    };
    const forms = {
      bom: new TextEncoder().encode(`\uFEFF${config}`),
      little: utf16(true),
      big: utf16(false),
    };
    for (const [name, bytes] of Object.entries(forms)) {
      const path = scene.workspace.path(`${name}.json`);
      await Deno.writeFile(path, bytes);
      assertExit(await scene.run(["--config", path]), 0);
    }
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }));

Deno.test("a mirror needs no HOME", () =>
  withScene(async (scene) => {
    const images = { [`${scene.S}/ns/app:v1`]: `${scene.D}/copy/app` };
    const config = await scene.write("cfg.json", { auth: scene.auth(), images });
    const environment = {
      HOME: "",
      DOCKER_CONFIG: "",
      DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
    };
    assertExit(await scene.run(["--config", config], { environment }), 0);
  }));

Deno.test("fault 85: with --strict a config without images is a failure, and a warning without it", () =>
  inWorkspace(async (workspace) => {
    const config = await workspace.writeConfig({ images: {} });
    assertExit(await workspace.run(["--config", config, "--strict"]), 1);
    assertExit(await workspace.run(["--config", config, "--strict", "--dry-run"]), 1);
    assertExit(await workspace.run(["--config", config]), 0);
    assertExit(await workspace.run(["--config", await workspace.writeConfig({})]), 2);
  }));

Deno.test("fault 10: with --strict a platform that fits nothing is a failure, in a dry run too", () =>
  withScene(async (scene) => {
    pushImage(scene.source, "ns/multi", "v1", buildMultiPlatform(["amd64"]));
    const images = {
      [`${scene.S}/ns/multi:v1`]: { to: `${scene.D}/copy/multi`, platforms: ["linux/s390x"] },
    };
    const config = await scene.write("cfg.json", { auth: scene.auth(), images });
    for (const flags of [[], ["--dry-run"]]) {
      assertExit(await scene.run(["--config", config, ...flags]), 0);
      assertExit(await scene.run(["--config", config, "--strict", ...flags]), 1);
    }
  }));

Deno.test("fault 83: a log that cannot be opened is named with its reason, and the run goes on", () =>
  withScene(async (scene) => {
    pushImage(scene.source, "ns/one", "v1", buildImage());
    const images = { [`${scene.S}/ns/one:v1`]: `${scene.D}/copy/one` };
    const config = await scene.write("cfg.json", { auth: scene.auth(), images });
    const path = scene.workspace.path("no/such/log");
    const result = await scene.run(["--config", config, "--log", path]);
    assertExit(result, 0);
    assertStringIncludes(result.stderr, `warn: Cannot open log "${path}": there is no such directory`);
  }));
