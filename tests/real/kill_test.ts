/** Runs that are killed in the middle of a blob, and the run after them. */

import { assert, assertEquals } from "@std/assert";
import { openFileStore } from "../../src/machine/store/file_store.ts";
import { openWorkspace, type Workspace } from "../cli_process.ts";
import { buildImage, buildMultiPlatform, createRandom, type Random } from "../images.ts";
import { realTest } from "./binaries.ts";
import { type CuttingProxy, startCuttingProxy } from "./cutting_proxy.ts";
import { pushAll } from "./images.ts";
import { startRegistry } from "./registry_process.ts";
import { assertMirrored, type PlacedImage } from "./skopeo.ts";

/** Chooses the moments; stands in the test's name, and in the environment it runs the same moments again. */
const SEED = Number(Deno.env.get("KILL_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
const ROUNDS = 10;
const MEBIBYTE = 1024 * 1024;
/** A round is killed before the source has sent this much more, so that ten rounds cannot finish the work. */
const MOST_BYTES = MEBIBYTE;
/** Requests and manifests take less than this, so what is cut off at a later byte is a blob. */
const LEAST_BYTES = 64 * 1024;

/** About 28 MiB: blobs that fit into a round, and blobs that do not, by either of the ways that blobs take. */
function imagesToCopy(): PlacedImage[] {
  const repository = "ns/app";
  return [
    { repository, tag: "platforms", image: buildMultiPlatform(["amd64", "arm64"], { layerSize: 300_000 }) },
    { repository, tag: "small", image: buildImage({ seed: 5, layers: 8, layerSize: 400_000 }) },
    { repository, tag: "large", image: buildImage({ seed: 6, layers: 4, layerSize: 3 * MEBIBYTE + 17 }) },
    { repository, tag: "larger", image: buildImage({ seed: 7, layers: 2, layerSize: 5 * MEBIBYTE }) },
  ];
}

/** Kills a run when the source has sent a random number of bytes. */
async function killedRun(workspace: Workspace, args: string[], proxy: CuttingProxy, random: Random) {
  const stopped = proxy.stopAfter(LEAST_BYTES + Math.floor(random() * (MOST_BYTES - LEAST_BYTES)));
  const run = workspace.start(args);
  const stop = stopped.then(() => run.kill("SIGKILL"));
  const { signal, stdout, stderr } = await run.result;
  assertEquals(signal, "SIGKILL", `the run ended before it was killed: ${stdout}${stderr}`);
  await stop;
  proxy.resume();
}

/** Reads the records as the next run will. */
async function countRecords(path: string): Promise<number> {
  const warnings: string[] = [];
  const store = await openFileStore(path, { onWarning: (message) => warnings.push(message) });
  const entries = await Array.fromAsync(store.list([]));
  await store.close();
  assertEquals(warnings, []);
  return entries.length;
}

realTest(
  `cli.ts leaves nothing half done when it is killed in the middle of a blob, ten times (KILL_SEED=${SEED})`,
  ["docker-registry", "skopeo"],
  async () => {
    const random = createRandom(SEED);
    await using source = await startRegistry();
    await using destination = await startRegistry();
    await using proxy = startCuttingProxy(source);
    await using workspace = await openWorkspace();
    const images = imagesToCopy();
    await pushAll(source, images);
    const config = await workspace.writeConfig({
      auth: { [proxy.host]: { insecure: true }, [destination.host]: { insecure: true } },
      images: { [`${proxy.host}/ns/app`]: `${destination.host}/ns/app` },
    });
    const args = ["--config", config];

    for (let round = 0; round < ROUNDS; round++) {
      await killedRun(workspace, args, proxy, random);
      await countRecords(workspace.path("records"));
      await assertTagsWhole(destination, images);
    }
    const { code, stdout, stderr } = await workspace.run(args);
    assertEquals(code, 0, stdout + stderr);
    await assertMirrored(destination, images);
    assert(await countRecords(workspace.path("records")) > 0);
  },
);

/** Whatever tags there are by now must lead to whole images. */
async function assertTagsWhole(
  destination: Awaited<ReturnType<typeof startRegistry>>,
  images: PlacedImage[],
) {
  const response = await destination.fetch(`${destination.url}/v2/ns/app/tags/list`);
  const { tags }: { tags?: string[] | null } = await response.json();
  await assertMirrored(destination, images.filter(({ tag }) => tags?.includes(tag ?? "")));
}
