/** What belongs to images, into and out of a real registry without the referrers API. */

import { assert, assertEquals } from "@std/assert";
import type { Descriptor } from "../../src/oci/descriptor.ts";
import { isFallbackTag } from "../../src/oci/referrers.ts";
import { type Tree, treeOf } from "../belongings_setup.ts";
import { openWorkspace } from "../cli_process.ts";
import { pushLayout } from "../oci_layout.ts";
import { createRegistry, serve } from "../registry.ts";
import { realTest } from "./binaries.ts";
import { type RegistryProcess, startRegistry } from "./registry_process.ts";

const BELONGINGS = new URL("../../../shared/testdata/belongings/", import.meta.url);

function isThere(): boolean {
  try {
    return Deno.statSync(BELONGINGS).isDirectory;
  } catch {
    console.warn(`not tested: there is no "shared/testdata/belongings" beside this checkout`);
    return false;
  }
}

/** What each fallback tag of a registry lists, digests alone, and what all other tags stand for. */
async function readTags(
  { url, fetch }: RegistryProcess,
  repository: string,
): Promise<Record<string, unknown>> {
  const { tags }: { tags: string[] } = await (await fetch(`${url}/v2/${repository}/tags/list`)).json();
  const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
  const found: Record<string, unknown> = {};
  for (const tag of tags.sort()) {
    const response = await fetch(`${url}/v2/${repository}/manifests/${tag}`, { headers: { accept } });
    const body: { manifests?: Descriptor[] } = await response.json();
    found[tag] = isFallbackTag(tag)
      ? body.manifests?.map(({ digest }) => digest).sort()
      : response.headers.get("docker-content-digest");
  }
  return found;
}

function digestsIn(tree: Tree): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(tree).map(([subject, all]) => [
      subject.replace(":", "-"),
      all.map(({ digest }) => digest).sort(),
    ]),
  );
}

function onlyLists(found: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(found).filter(([tag]) => isFallbackTag(tag)));
}

async function mirror(from: string, to: string): Promise<void> {
  await using workspace = await openWorkspace();
  const auth = Object.fromEntries([from, to].map((name) => [name.split("/")[0], { insecure: true }]));
  const config = await workspace.writeConfig({ auth, images: { [from]: to } });
  const { code, stdout, stderr } = await workspace.run(["--config", config]);
  assertEquals(code, 0, stdout + stderr);
  assert(stdout.includes("5 copied, 0 unchanged"), stdout);
}

realTest(
  "cli.ts brings what belongs to images from one docker-registry to another",
  ["docker-registry"],
  async () => {
    if (!isThere()) return;
    await using source = await startRegistry();
    await using destination = await startRegistry();
    const { fetch, url: baseUrl } = source;
    await pushLayout(new URL("fallback-tags/", BELONGINGS), { fetch, baseUrl, repository: "app" });
    await mirror(`${source.host}/app`, `${destination.host}/to/app`);
    const found = await readTags(destination, "to/app");
    assertEquals(Object.keys(found).length, 25);
    assertEquals(found, await readTags(source, "app"));
  },
);

realTest(
  "cli.ts turns referrers of the API into tags of docker-registry, and back",
  ["docker-registry"],
  async () => {
    if (!isThere()) return;
    const [first, last] = [createRegistry(), createRegistry()];
    await using source = serve(first);
    await using middle = await startRegistry();
    await using destination = serve(last);
    await pushLayout(new URL("referrers-api/", BELONGINGS), { baseUrl: source.url, repository: "app" });
    await mirror(`${source.host}/app`, `${middle.host}/to/app`);
    assertEquals(onlyLists(await readTags(middle, "to/app")), digestsIn(treeOf(first, "app")));
    await mirror(`${middle.host}/to/app`, `${destination.host}/back/app`);
    assertEquals(treeOf(last, "back/app"), treeOf(first, "app"));
  },
);
