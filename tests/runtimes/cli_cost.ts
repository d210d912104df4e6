/** What the command takes for large layers over plain HTTP, with the registries in this process. */

import { assertEquals } from "@std/assert";
import { buildImage, pushImage } from "../images.ts";
import { largeLayer } from "../images/layer.ts";
import { createRegistry, serve } from "../registry.ts";
import { figuresOf, type ProcessFigures } from "./process_figures.ts";

/** Layers, and bytes of each: several times what a runtime may keep of them. */
const LARGE = { layers: 8, size: 64 * 1024 * 1024 };

/** What a run took. */
export interface Cost {
  /** Seconds of CPU for each GB (10⁹ bytes), the start among them; nothing where the kernel does not tell. */
  cpu: number | undefined;
  /** The most memory in bytes. */
  peak: number | undefined;
}

/**
 * Copies an image of large layers with a command.
 *
 * @throws {AssertionError} when it does not arrive.
 */
export async function measureCost(command: readonly string[]): Promise<Cost> {
  const layers = Array.from({ length: LARGE.layers }, (_, index) => largeLayer(300 + index, LARGE.size));
  const [from, to] = [createRegistry(), createRegistry()];
  pushImage(from, "ns/large", "v1", buildImage({ layers }));
  await using source = serve(from);
  await using destination = serve(to);
  const directory = await Deno.makeTempDir({ prefix: "runtimes-cost-" });
  try {
    const auth = Object.fromEntries([source, destination].map(({ host }) => [host, { insecure: true }]));
    const images = { [`${source.host}/ns/large:v1`]: `${destination.host}/ns/large` };
    await Deno.writeTextFile(`${directory}/cfg.json`, JSON.stringify({ auth, images }));
    const { code, figures } = await watch([...command, "--config", "cfg.json"], directory);
    assertEquals([code, to.repositories.get("ns/large")?.tags.size], [0, 1]);
    const gigabytes = LARGE.layers * LARGE.size / 1e9;
    return { cpu: figures && figures.cpu / gigabytes, peak: figures?.peak };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Both figures only grow: the last that is seen of them is what it took, but for some milliseconds. */
async function watch([program = "", ...args]: readonly string[], cwd: string) {
  const child = new Deno.Command(program, { args, cwd, stdout: "null", stderr: "null" }).spawn();
  let isOver = false;
  child.status.then(() => isOver = true);
  let figures: ProcessFigures | undefined;
  while (!isOver) {
    const seen = await figuresOf(child.pid);
    // What has ended and was not asked for yet has no memory any more.
    if (seen !== undefined && !Number.isNaN(seen.peak)) figures = seen;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return { code: (await child.status).code, figures };
}
