/** The command line interrupted in the middle of a blob: once, and once more. */

import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { openWorkspace, type Workspace } from "../cli_process.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, type RegistryOptions, serve, type TestRegistry } from "../registry.ts";

/** Bytes of the layer. */
const SIZE = 100_000;

/** A source whose layer begins and never ends; the config is served as ever. */
class StuckBlobs {
  /** Resolves when the first blob has begun. */
  readonly begun = Promise.withResolvers<void>();
  /** Resolves when a client has gone away from a blob. */
  readonly left = Promise.withResolvers<void>();

  readonly options: RegistryOptions = {
    intercept: ({ method }, { kind, reference, state }) => {
      const isLayer = kind === "blob" && state.blobs.get(reference ?? "")?.size === SIZE;
      return method === "GET" && isLayer ? this.#answer() : undefined;
    },
  };

  #answer(): Response {
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        controller.enqueue(new Uint8Array(1000));
        this.begun.resolve();
        return this.left.promise;
      },
      cancel: () => this.left.resolve(),
    });
    return new Response(body, { headers: { "content-length": String(SIZE) } });
  }
}

async function withStuckRun(
  run: (stuck: StuckBlobs, workspace: Workspace, config: string, to: TestRegistry) => Promise<void>,
): Promise<void> {
  const stuck = new StuckBlobs();
  const source = createRegistry(stuck.options);
  const to = createRegistry();
  await using server = serve(source);
  await using destination = serve(to);
  await using workspace = await openWorkspace();
  pushImage(source, "ns/app", "v1", buildImage({ layers: 1, layerSize: SIZE }));
  const config = await workspace.writeConfig({
    auth: { [server.host]: { insecure: true }, [destination.host]: { insecure: true } },
    images: { [`${server.host}/ns/app`]: `${destination.host}/ns/app` },
  });
  await run(stuck, workspace, config, to);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`cli.ts stops cleanly at ${signal} in the middle of a blob, with the summary and 130`, () =>
    withStuckRun(async (stuck, workspace, config, to) => {
      const report = workspace.path("report.json");
      const process = workspace.start(["--config", config, "--report", report]);
      await Promise.race([stuck.begun.promise, process.result]);
      process.kill(signal);
      const { code, lines, stdout, stderr } = await process.result;
      assertEquals(code, 130, stdout + stderr);
      assertMatch(lines.at(-1) ?? "", /^Finished, \d+ sync tasks failed, \d+ tasks generate failed$/);
      assertStringIncludes(stdout, "Interrupted");
      assertEquals(stderr, "");
      assertEquals(JSON.parse(await workspace.read("report.json")).isInterrupted, true);
      assertEquals(to.repositories.get("ns/app")?.uploads.size, 0, "uploads left behind");
    }));
}

Deno.test("cli.ts that breaks off in the middle leaves no empty report behind, and an old one as it was", () =>
  withStuckRun(async (stuck, workspace, config) => {
    const [fresh, old] = [workspace.path("fresh.json"), workspace.path("old")];
    await Deno.writeTextFile(old, "");
    const outputs = ["--report", fresh, "--output-success-images", old];
    const process = workspace.start(["--config", config, ...outputs]);
    await Promise.race([stuck.begun.promise, process.result]);
    process.kill("SIGKILL");
    await process.result;
    await assertRejects(() => Deno.stat(fresh), Deno.errors.NotFound);
    assertEquals((await Deno.stat(old)).size, 0);
  }));

Deno.test("cli.ts stops at once at the second SIGINT, whatever the first one waits for", () =>
  withStuckRun(async (stuck, workspace, config) => {
    // A pipe that nobody reads: the run that was stopped cleanly hangs at writing its report.
    const report = workspace.path("report.json");
    await new Deno.Command("mkfifo", { args: [report] }).output();
    const process = workspace.start(["--config", config, "--report", report]);
    await Promise.race([stuck.begun.promise, process.result]);
    process.kill("SIGINT");
    await Promise.race([stuck.left.promise, process.result]);
    process.kill("SIGINT");
    const { code, stdout, stderr } = await process.result;
    assertEquals(code, 130, stdout + stderr);
  }));
