/** The commands for looking from end to end: validate, expand, completions. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openWorkspace } from "../cli_process.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, serve } from "../registry.ts";

/** Configs that cannot be used, and what is said. */
const WRONG: [images: Record<string, unknown>, why: string][] = [
  [{ "a.test/b:/(/": "c.test/d" }, "does not compile"],
  [{ "a.test/b:v1": "c.test/d:v1", "a.test/x:v1": "c.test/d:v1" }, "another rule copies"],
  [{ "a.test/B:v1": "c.test/d" }, "lowercase"],
  [{ "a.test/team/*": "c.test/team" }, "Cannot copy"],
  [{ "a.test/b": { to: "c.test/d", prune: { when: "gone", keep: ["/(/"] } } }, "Cannot read what"],
];

Deno.test("validate looks at the whole config without a request, and says everything that is wrong", async () => {
  await using workspace = await openWorkspace();
  const good = await workspace.writeConfig({
    images: { "a.test/b": "c.test/d", "a.test/team/*": "c.test/team/*" },
  });
  const right = await workspace.run(["validate", "--config", good]);
  assertEquals([right.code, right.stdout.trim()], [0, "The config can be used: 2 rules"], right.stderr);
  for (const [images, why] of WRONG) {
    const config = await workspace.writeConfig({ images });
    const { code, stderr } = await workspace.run(["validate", "--config", config]);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, why);
  }
});

Deno.test("expand prints what rules become, and exits with 1 when one cannot be expanded", async () => {
  const source = createRegistry();
  await using server = serve(source);
  await using workspace = await openWorkspace();
  for (const tag of ["v1", "v2", "w1"]) pushImage(source, "ns/app", tag, buildImage({ seed: 1 }));
  const images: Record<string, string> = { [`${server.host}/ns/app:/^v/`]: "d.test/copy" };
  const auth = { [server.host]: { insecure: true } };
  const config = await workspace.writeConfig({ auth, images });
  const { code, lines, stderr } = await workspace.run(["expand", "--config", config]);
  assertEquals(code, 0, stderr);
  assertEquals(
    lines.filter((line) => line !== ""),
    ["v1", "v2"].map((tag) => `${server.host}/ns/app:${tag} -> d.test/copy:${tag}`),
  );
  assert(!source.requests.some(({ kind }) => kind === "manifest"));
  const json = await workspace.run(["expand", "--config", config, "--format", "json"]);
  assertEquals(JSON.parse(json.stdout).length, 2);
  images[`${server.host}/missing`] = "d.test/missing";
  const failing = await workspace.writeConfig({ auth, images });
  assertEquals((await workspace.run(["expand", "--config", failing])).code, 1);
});

Deno.test("expand lists whole namespaces, and fails where a registry does not list its repositories", async () => {
  const source = createRegistry();
  let repositories: string[] | undefined = ["ns/app", "ns/old", "other/app"];
  await using server = serve((request) =>
    repositories !== undefined && new URL(request.url).pathname === "/v2/_catalog"
      ? Promise.resolve(Response.json({ repositories }))
      : source.handler(request)
  );
  await using workspace = await openWorkspace();
  for (const name of ["ns/app", "ns/old"]) pushImage(source, name, "v1", buildImage());
  const rule = { to: "d.test/copies/*", repositories: { exclude: ["ns/old"] } };
  const auth = { [server.host]: { insecure: true } };
  const config = await workspace.writeConfig({ auth, images: { [`${server.host}/ns/*`]: rule } });
  const { code, lines, stderr } = await workspace.run(["expand", "--config", config]);
  assertEquals([code, lines.filter((line) => line !== "")], [
    0,
    [`${server.host}/ns/app:v1 -> d.test/copies/app:v1`],
  ], stderr);
  repositories = undefined;
  const refused = await workspace.run(["expand", "--config", config]);
  assertEquals(refused.code, 1);
  assertStringIncludes(refused.stderr, "name its repositories one by one");
});

Deno.test("completions names every command and flag for bash, zsh and fish, and no other shell", async () => {
  await using workspace = await openWorkspace();
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, stdout, stderr } = await workspace.run(["completions", shell]);
    assertEquals(code, 0, stderr);
    for (const word of ["plan", "apply", "accept-changes", "trust-records"]) {
      assertStringIncludes(stdout, word);
    }
  }
  assertEquals((await workspace.run(["completions", "csh"])).code, 2);
});

Deno.test("the completions for bash are a script that bash reads", async () => {
  await using workspace = await openWorkspace();
  const { stdout } = await workspace.run(["completions", "bash"]);
  const script =
    `${stdout}\nCOMP_WORDS=(image-syncer plan --acc); COMP_CWORD=2; _image_syncer; echo "\${COMPREPLY[@]}"
COMP_WORDS=(image-syncer apply --acc); _image_syncer; echo "\${COMPREPLY[@]}"`;
  const { code, stdout: said } = await new Deno.Command("bash", { args: ["-c", script], stdout: "piped" })
    .output();
  assertEquals([code, new TextDecoder().decode(said).trim()], [0, "--accept-changes"]);
});

Deno.test("tags prints what filters leave, the newest first, and says what each left out", async () => {
  const source = createRegistry();
  await using server = serve(source);
  await using workspace = await openWorkspace();
  for (const [seed, tag] of ["1.0", "1.2", "1.10", "2.0-rc1", "latest"].entries()) {
    pushImage(source, "ns/app", tag, buildImage({ seed }));
  }
  const repository = `${server.host}/ns/app`;
  const auth = await workspace.writeConfig({ [server.host]: { insecure: true } }, "auth.json");
  const tags = async (...flags: string[]) =>
    await workspace.run(["tags", repository, "--auth", auth, ...flags]);
  const versions = await tags("--semver", ">=1", "--newest", "2");
  assertEquals([versions.code, versions.stdout.trim().split("\n")], [0, ["1.10", "1.2"]], versions.stderr);
  assertStringIncludes(versions.stderr, "2 left out by semver");
  const globs = await tags("--include", "1.*", "--exclude", "*.10", "--format", "json");
  assertEquals(JSON.parse(globs.stdout).tags.sort(), ["1.0", "1.2"], globs.stderr);
  assertEquals((await tags("--newest", "2")).code, 2);
  assertEquals((await tags("--include", "3.*", "--at-least", "1")).code, 1);
});
