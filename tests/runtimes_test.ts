/** Tests of the core on other runtimes, as far as they are at hand; `deno task runtimes` has all of them. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { type Bundle, bundleSuite, checkPortable } from "./runtimes/bundle.ts";
import { NODE_EXAMPLE, WORKER_EXAMPLE } from "./runtimes/npm_examples.ts";
import { DENO, NODE_ON_PATH, type Runtime, versionOf } from "./runtimes/runtime.ts";
import { runSuite } from "./runtimes/suite_run.ts";

const SMALL = { layers: 4, size: 8 * 1024 * 1024 };

async function withBundle(use: (bundle: Bundle) => Promise<unknown>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "runtimes-" });
  try {
    await use(await bundleSuite(directory));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Where a runtime is missing the test is skipped, but fails where `CI` is set. */
async function suiteTest(runtime: Runtime): Promise<void> {
  const version = await versionOf(runtime.program);
  const isMissing = version === undefined;
  Deno.test({
    name: `mod.ts, bundled, copies on ${runtime.name}${isMissing ? " (which is not on PATH)" : ""}`,
    ignore: isMissing && (Deno.env.get("CI") ?? "") === "",
    fn: () => withBundle((bundle) => runSuite(runtime, runtime.program, { bundle, large: SMALL })),
  });
}

await suiteTest(DENO);
await suiteTest(NODE_ON_PATH);

Deno.test("checkPortable() finds what belongs to one runtime", () => {
  checkPortable("fine.js", "const name = 'Deno/2'; import('./other.js');");
  for (const text of ["Deno.env", "await Deno .open()", 'import fs from "node:fs"', 'require("fs")']) {
    assertThrows(() => checkPortable("foreign.js", text), Error, "foreign.js needs more than fetch");
  }
});

Deno.test("README.md shows the examples that the npm package is tried with", async () => {
  const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  assertStringIncludes(readme, NODE_EXAMPLE.trim());
  assertStringIncludes(readme, WORKER_EXAMPLE.trim());
});

Deno.test("fault 90: README.md's example for Node can be pasted into TypeScript, and says what it wants", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const module = new URL("../mod.ts", import.meta.url).href;
    await Deno.writeTextFile(
      `${directory}/mirror.ts`,
      NODE_EXAMPLE.replace("@image-syncer/image-syncer", module),
    );
    const config = new URL("../deno.json", import.meta.url).pathname;
    const run = (...args: string[]) =>
      new Deno.Command(Deno.execPath(), {
        args: [...args, "--config", config, `${directory}/mirror.ts`],
        cwd: directory,
      })
        .output();
    const checked = await run("check", "--quiet");
    assert(checked.success, new TextDecoder().decode(checked.stderr));
    const { code, stderr } = await run("run", "--quiet", "--no-check", "-A");
    assertEquals([code, new TextDecoder().decode(stderr)], [
      2,
      "Usage: node mirror.mjs SOURCE DESTINATION\n",
    ]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
