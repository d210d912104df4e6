/** Into and out of the Rust crate container-registry, which takes bytes in PATCH alone; skipped where it is not installed. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import { openWorkspace } from "../cli_process.ts";
import { buildImage, pushImage } from "../images.ts";
import { assertHolds } from "../mirror_setup.ts";
import { createRegistry, serve } from "../registry.ts";

/** `cargo install container-registry --features bin` */
const PROGRAM = "container-registry";

function isInstalled(): boolean {
  try {
    return new Deno.Command(PROGRAM, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}

/** A registry under way, with the password `secret`, on a port that was free a moment before. */
async function start(directory: string): Promise<{ host: string } & AsyncDisposable> {
  const probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const host = `127.0.0.1:${probe.addr.port}`;
  probe.close();
  const args = ["--bind", host, "--storage", directory, "--password", "secret"];
  const child = new Deno.Command(PROGRAM, { args, stdout: "piped", stderr: "null" }).spawn();
  const texts = child.stdout.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
  const lines = texts.pipeThrough(new TextLineStream()).getReader();
  while (!((await lines.read()).value ?? "bound").includes("bound"));
  return {
    host,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await lines.cancel();
      await child.status;
    },
  };
}

Deno.test({
  name: "fault 50: cli.ts copies into and out of the Rust crate container-registry",
  ignore: !isInstalled(),
  fn: async () => {
    await using workspace = await openWorkspace();
    const [first, last] = [createRegistry(), createRegistry()];
    await using source = serve(first);
    await using destination = serve(last);
    await Deno.mkdir(workspace.path("storage"));
    await using rust = await start(workspace.path("storage"));
    const image = buildImage({ layers: 3, layerSize: 2_000_000 });
    pushImage(first, "from/image", "v1", image);
    const insecure = true;
    const auth = {
      [source.host]: { insecure },
      [destination.host]: { insecure },
      [rust.host]: { insecure, username: "any", password: "secret" },
    };
    for (
      const images of [
        { [`${source.host}/from/image:v1`]: `${rust.host}/to/image` },
        { [`${rust.host}/to/image:v1`]: `${destination.host}/back/image` },
      ]
    ) {
      const { code, stdout, stderr } = await workspace.run([
        "--config",
        await workspace.writeConfig({ auth, images }),
      ]);
      assertEquals(code, 0, stdout + stderr);
      assertStringIncludes(stdout, "1 copied");
    }
    assertHolds(last, "back/image", "v1", image);
  },
});
