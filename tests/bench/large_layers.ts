/** Images of layers too large to hold: made while they are pushed, once, before anything is measured. */

import { createGzip } from "node:zlib";
import { Readable } from "node:stream";
import { buildImage, pushManifest } from "../images.ts";
import { type BlobContent, type Fetch, generatedContent } from "../registry.ts";
import { RunningDigest } from "../registry/digest.ts";
import { pushBlob } from "../images.ts";
import type { PlacedImage } from "./inputs.ts";

/** Where large layers go. */
interface Target {
  url: string;
  fetch: Fetch;
}

/** Pushes layers of some size in bytes each, and an image of each of `counts` first ones of them. */
export async function pushLargeImages(
  registry: Target,
  { size, counts }: { size: number; counts: readonly number[] },
): Promise<PlacedImage[]> {
  const repository = (count: number) => `bench/large-${count}x${size}`;
  const layers: BlobContent[] = [];
  const pushed: PlacedImage[] = [];
  for (const count of [...counts].sort((left, right) => left - right)) {
    const base = `${registry.url}/v2/${repository(count)}`;
    for (const layer of layers) await mountBlob(registry, base, { layer, from: pushed[0]?.repository ?? "" });
    while (layers.length < count) layers.push(await pushLayer(registry, base, { seed: layers.length, size }));
    const image = buildImage({ seed: count, layers: layers.slice(0, count) });
    for (const blob of image.blobs.values()) {
      if (!layers.includes(blob)) await pushBlob(registry.fetch, base, blob);
    }
    await pushManifest(registry.fetch, base, { ...image, reference: "v1" });
    pushed.push({ repository: repository(count), tag: "v1", image });
    // What is left for the next, larger image is mounted from this one.
    pushed.sort((left, right) => right.image.blobs.size - left.image.blobs.size);
  }
  return pushed;
}

/** One layer: a gzip of bytes that do not compress, hashed on its way. */
async function pushLayer(
  { fetch }: Target,
  base: string,
  { seed, size }: { seed: number; size: number },
): Promise<BlobContent> {
  const hash = new RunningDigest();
  let length = 0;
  const content = generatedContent(5000 + seed, size, { digest: "not known yet" });
  const plain = Readable.fromWeb(content.stream() as Parameters<typeof Readable.fromWeb>[0]);
  const packed = plain.pipe(createGzip({ level: 0 }));
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async start(controller) {
      for await (const piece of packed) {
        const bytes = new Uint8Array(piece);
        hash.update(bytes);
        length += bytes.length;
        controller.enqueue(bytes);
        while ((controller.desiredSize ?? 0) <= 0) await pulled.promise;
      }
      controller.close();
    },
    pull() {
      pulled.resolve();
      pulled = Promise.withResolvers<void>();
    },
  });
  let pulled = Promise.withResolvers<void>();
  const opened = await expect(await fetch(`${base}/blobs/uploads/`, { method: "POST" }), 202, base);
  const sent = await expect(await fetch(opened, { method: "PATCH", body }), 202, base);
  sent.searchParams.set("digest", hash.digest());
  await expect(await fetch(sent, { method: "PUT" }), 201, base);
  const stream = () => {
    throw new TypeError("Cannot read a large layer again: it is only at the registry");
  };
  return { digest: hash.digest(), size: length, stream };
}

async function mountBlob(
  { fetch }: Target,
  base: string,
  { layer, from }: { layer: BlobContent; from: string },
): Promise<void> {
  const query = new URLSearchParams({ mount: layer.digest, from });
  await expect(await fetch(`${base}/blobs/uploads/?${query}`, { method: "POST" }), 201, base);
}

async function expect(response: Response, status: number, base: string): Promise<URL> {
  const text = await response.text();
  if (response.status !== status) {
    throw new Error(`Cannot push to "${response.url}": got ${response.status}: ${text}`);
  }
  return new URL(response.headers.get("location") ?? "/", base);
}
