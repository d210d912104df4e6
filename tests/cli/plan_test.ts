/** The commands plan and apply from end to end, against registries on loopback. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openWorkspace, type Workspace } from "../cli_process.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, serve, type TestRegistry } from "../registry.ts";

interface Scene {
  workspace: Workspace;
  source: TestRegistry;
  destination: TestRegistry;
  config: string;
}

async function withScene(run: (scene: Scene) => Promise<void>): Promise<void> {
  const [source, destination] = [createRegistry(), createRegistry()];
  await using sourceServer = serve(source);
  await using destinationServer = serve(destination);
  await using workspace = await openWorkspace();
  pushImage(source, "ns/app", "v1", buildImage({ seed: 1 }));
  const [from, to] = [sourceServer.host, destinationServer.host];
  const config = await workspace.writeConfig({
    auth: { [from]: { insecure: true, username: "robot", password: "geheim-7" }, [to]: { insecure: true } },
    images: { [`${from}/ns/app`]: `${to}/copy/app` },
  });
  await run({ workspace, source, destination, config });
}

Deno.test("plan --check exits with 3 when something would change, apply does it, and then it is 0", () =>
  withScene(async ({ workspace, destination, config }) => {
    const file = `${workspace.directory}/plan.json`;
    const planned = await workspace.run(["plan", "--config", config, "--check", "--output", file]);
    assertEquals(planned.code, 3, planned.stderr);
    assertStringIncludes(planned.stdout, "1 tags, 1 selected: 1 new, 0 changed, 0 the same");
    assertStringIncludes(planned.stdout, "would copy");
    assertStringIncludes(planned.stdout, "To send:");
    assertEquals(destination.repositories.get("copy/app"), undefined);
    const saved = await Deno.readTextFile(file);
    assert(!saved.includes("geheim-7"), "the plan holds a secret");
    const applied = await workspace.run(["apply", file, "--config", config]);
    assertEquals(applied.code, 0, applied.stderr + applied.stdout);
    assert(destination.repositories.get("copy/app")?.tags.has("v1"));
    assertEquals((await workspace.run(["plan", "--config", config, "--check"])).code, 0);
  }));

Deno.test("plan --format json prints the plan, and apply refuses one that was edited, or is none, with 2", () =>
  withScene(async ({ workspace, config }) => {
    const { code, stdout } = await workspace.run(["plan", "--config", config, "--format", "json"]);
    assertEquals([code, JSON.parse(stdout).version], [0, 1]);
    const file = `${workspace.directory}/edited.json`;
    await Deno.writeTextFile(file, stdout.replaceAll("copy/app", "copy/apple"));
    const edited = await workspace.run(["apply", file, "--config", config]);
    assertEquals(edited.code, 2, edited.stdout);
    assertStringIncludes(edited.stderr, "it is not as it was written");
    const missing = await workspace.run(["apply", `${file}.no`, "--config", config]);
    assertEquals(missing.code, 2, missing.stdout);
    assertStringIncludes(missing.stderr, "Cannot apply the plan");
  }));

Deno.test("apply exits with 1 when a source tag has moved since, and copies it with --accept-changes", () =>
  withScene(async ({ workspace, source, destination, config }) => {
    const file = `${workspace.directory}/plan.json`;
    await workspace.run(["plan", "--config", config, "--output", file]);
    pushImage(source, "ns/app", "v1", buildImage({ seed: 2 }));
    const refused = await workspace.run(["apply", file, "--config", config]);
    assertEquals(refused.code, 1, refused.stderr);
    assertStringIncludes(refused.stdout, "--accept-changes");
    assertEquals(destination.repositories.get("copy/app"), undefined);
    const accepted = await workspace.run(["apply", file, "--config", config, "--accept-changes"]);
    assertEquals(accepted.code, 0, accepted.stderr);
  }));
