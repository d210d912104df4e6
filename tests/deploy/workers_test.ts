/** Several workers on one Deno KV database, one of them killed in the middle. */

import { assert, assertEquals } from "@std/assert";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, type RequestEntry, serve } from "../registry.ts";

const IMAGES = 400;
const WORKERS = 4;

/** Milliseconds of silence after which a worker counts as dead: long enough for a busy machine. */
const LIFETIME = 6000;

function startWorker(path: string, config: string): Deno.ChildProcess {
  const script = new URL("worker_child.ts", import.meta.url).href;
  const args = ["run", "--quiet", "--no-prompt", "--allow-all", script, path, config, String(LIFETIME)];
  return new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "inherit" }).spawn();
}

/** How many of the paths that some requests were for came up more than once. */
function countTwice(requests: readonly RequestEntry[]): number {
  const counts = Map.groupBy(requests, ({ path }) => path);
  return [...counts.values()].filter((one) => one.length > 1).length;
}

Deno.test("shareWork() lets four workers copy everything once, although one is killed", async () => {
  const directory = await Deno.makeTempDir();
  const source = createRegistry();
  for (let seed = 0; seed < IMAGES; seed++) pushImage(source, "team/app", `v${seed}`, buildImage({ seed }));
  const workers: Deno.ChildProcess[] = [];
  let pushed = 0;
  const destination = createRegistry({
    intercept: (request, { kind, reference }) => {
      if (kind !== "manifest" || request.method !== "PUT" || reference.startsWith("sha256:")) {
        return undefined;
      }
      if (++pushed === IMAGES / 4) workers[0]?.kill("SIGKILL");
      return undefined;
    },
  });
  await using from = serve(source);
  await using to = serve(destination);
  const config = JSON.stringify({
    auth: { [from.host]: { insecure: true }, [to.host]: { insecure: true } },
    images: { [`${from.host}/team/app`]: `${to.host}/mirror/app` },
  });
  try {
    const path = `${directory}/kv.db`;
    for (let index = 0; index < WORKERS; index++) workers.push(startWorker(path, config));
    const outputs = await Promise.all(workers.map((worker) => worker.output()));
    assertEquals(outputs.map(({ signal }) => signal), ["SIGKILL", null, null, null]);
    const reports = outputs.slice(1).map(({ stdout }) => JSON.parse(new TextDecoder().decode(stdout)));
    for (const { totals } of reports) {
      assertEquals([totals.copied + totals.unchanged, totals.failed, totals.pending], [IMAGES, 0, 0]);
    }
    assertEquals(destination.repositories.get("mirror/app")?.tags.size, IMAGES);
    const puts = destination.requests.filter(({ method, status }) => method === "PUT" && status === 201);
    const tags = puts.filter(({ kind, path }) => kind === "manifest" && !path.includes("sha256:"));
    assert(countTwice(tags) < IMAGES * 0.02, `${countTwice(tags)} of ${IMAGES} images were put twice`);
    const sent = puts.filter(({ kind }) => kind === "upload").length;
    const needed = destination.blobs.size;
    assert(sent < needed * 1.02, `${sent} blobs were sent where ${needed} were needed`);
    using kv = await Deno.openKv(path);
    const left = await Array.fromAsync(kv.list({ prefix: ["image-syncer", "lease"] }));
    assertEquals(left.map(({ key }) => key), []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
