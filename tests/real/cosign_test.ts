/** What the real cosign says of signatures after they were copied, in every direction; skipped where there is no cosign. */

import { assert, assertEquals } from "@std/assert";
import { openWorkspace } from "../cli_process.ts";
import { pushLayout } from "../oci_layout.ts";
import { createRegistry, serve } from "../registry.ts";
import { startRegistry } from "./registry_process.ts";

const BELONGINGS = new URL("../../../shared/testdata/belongings/", import.meta.url);

/** A line of the table that the layouts come with: what cosign ended with where they were made. */
interface Check {
  what: string;
  environment: Record<string, string>;
  words: string[];
  code: number;
}

function canRun(): boolean {
  try {
    return Deno.statSync(BELONGINGS).isDirectory && runs("cosign", "version") &&
      runs("docker-registry", "--version");
  } catch {
    return false;
  }
}

function runs(program: string, argument: string): boolean {
  return new Deno.Command(program, { args: [argument], stdout: "null", stderr: "null" }).outputSync().success;
}

function readChecks(): Check[] {
  const text = Deno.readTextFileSync(new URL("README.md", BELONGINGS));
  const lines = text.matchAll(/^\| (.+) \| `(COSIGN_EXPERIMENTAL=1 )?cosign ([^`]+)` \| (\d+) \|$/gm);
  return [...lines].map(([, what = "", experimental, command = "", code]) => ({
    what,
    environment: experimental === undefined ? {} : { COSIGN_EXPERIMENTAL: "1" },
    words: command.split(" "),
    code: Number(code),
  }));
}

async function ask({ environment, words }: Check, image: string): Promise<number> {
  const args = words.map((word) => word.replace(/^APP/, image));
  const options: Deno.CommandOptions = {
    args,
    cwd: BELONGINGS,
    env: environment,
    stdout: "null",
    stderr: "null",
  };
  return (await new Deno.Command("cosign", options).output()).code;
}

/** Any registry, by what a client needs to reach it. */
type Running = { host: string; url: string } & AsyncDisposable;

const KINDS: Record<string, () => Promise<Running>> = {
  "a registry with the referrers API": async () => await Promise.resolve(serve(createRegistry())),
  "docker-registry": startRegistry,
};

for (const [from, openSource] of Object.entries(KINDS)) {
  for (const [to, openDestination] of Object.entries(KINDS)) {
    Deno.test({
      name: `cosign verifies at ${to} what came from ${from}`,
      ignore: !canRun(),
      fn: async () => {
        await using source = await openSource();
        await using destination = await openDestination();
        const layout = from === "docker-registry" ? "fallback-tags/" : "referrers-api/";
        await pushLayout(new URL(layout, BELONGINGS), { baseUrl: source.url, repository: "app" });
        await using workspace = await openWorkspace();
        const auth = Object.fromEntries([source, destination].map(({ host }) => [host, { insecure: true }]));
        const images = { [`${source.host}/app`]: `${destination.host}/to/app` };
        const { code, stdout, stderr } = await workspace.run([
          "--config",
          await workspace.writeConfig({ auth, images }),
        ]);
        assertEquals(code, 0, stdout + stderr);
        const checks = readChecks();
        assert(checks.length >= 29, `the table has ${checks.length} lines`);
        const found: Record<string, number> = {};
        for (const check of checks) found[check.what] = await ask(check, `${destination.host}/to/app`);
        assertEquals(found, Object.fromEntries(checks.map(({ what, code }) => [what, code])));
      },
    });
  }
}
