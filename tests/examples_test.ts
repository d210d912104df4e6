/** Tests of the examples in the docstrings: they run as they stand, or compile where they would reach a registry. */

import { assert } from "@std/assert";

/** Files whose examples need nothing of the network. */
const RUNNABLE = [
  "src/oci/reference.ts",
  "src/registry/once.ts",
  "src/registry/registries.ts",
  "src/mirror/config/config_text.ts",
  "src/mirror/store/challenge_memory.ts",
];

async function assertSucceeds(args: string[]): Promise<void> {
  const cwd = new URL("..", import.meta.url);
  const command = new Deno.Command(Deno.execPath(), { args, cwd, stdout: "piped", stderr: "piped" });
  const { success, stdout, stderr } = await command.output();
  assert(success, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
}

Deno.test("the examples that need no registry run", async () => {
  await assertSucceeds(["test", "--doc", "--quiet", ...RUNNABLE]);
});

Deno.test("the examples that need a registry compile", async () => {
  await assertSucceeds(["check", "--doc", "--quiet", "mod.ts", "src/mirror/run.ts", "src/mirror/select.ts"]);
});
