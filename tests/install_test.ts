/** `deno task install`: a command that runs the checkout. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { install, scriptFor } from "../src/deno/install.ts";
import { inDirectory } from "./store_files.ts";

Deno.test({
  name: "fault 91: install() makes a command that works from any directory, under its own permissions",
  ignore: Deno.build.os === "windows",
}, () =>
  inDirectory(async (directory) => {
    const command = await install(`${directory}/a bin`);
    const run = async (...args: string[]) => {
      const output = await new Deno.Command(command, { args, cwd: directory }).output();
      const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return { code: output.code, stdout: decode(output.stdout), stderr: decode(output.stderr) };
    };
    const version = await run("--version");
    assertEquals([version.code, version.stderr], [0, ""]);
    assertMatch(version.stdout, /^image-syncer \d/);
    const missing = await run("--config", "it is not there.json");
    assertEquals(missing.code, 2);
    assertStringIncludes(missing.stderr, `"it is not there.json": there is no such file`);
  }));

Deno.test("fault 91: the task names the script, and Windows gets a batch file", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  assertStringIncludes(tasks.install.command, "src/deno/install.ts");
  const { name, text } = scriptFor("windows");
  assertEquals(name, "image-syncer.cmd");
  assertMatch(text, /^@".*" "run" .*cli\.ts" %\*\r\n$/);
});
