/** Images of layers too large to hold: made while they are pushed, once, before anything is measured. */

import { createGzip } from "node:zlib";
import { Readable } from "node:stream";
import { buildImage, pushBlob, pushManifest } from "../images.ts";
import { type BlobContent, type Fetch, generatedContent } from "../registry.ts";
import { RunningDigest } from "../registry/digest.ts";
import type { PlacedImage } from "./inputs.ts";

/** Where large layers go. */
interface Target {
  url: string;
  fetch: Fetch;
}

/** Pushes an image of so many layers of so many bytes each. */
export async function pushLargeImages(
  registry: Target,
  { size, count }: { size: number; count: number },
): Promise<PlacedImage[]> {
  const repository = `bench/large-${count}x${size}`;
  const base = `${registry.url}/v2/${repository}`;
  const layers: BlobContent[] = [];
  for (let seed = 0; seed < count; seed++) layers.push(await pushLayer(registry, base, { seed, size }));
  const image = buildImage({ seed: count, layers });
  for (const blob of image.blobs.values()) {
    if (!layers.includes(blob)) await pushBlob(registry.fetch, base, blob);
  }
  await pushManifest(registry.fetch, base, { ...image, reference: "v1" });
  return [{ repository, tag: "v1", image }];
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
  const packed = plain.pipe(createGzip({ level: 0, chunkSize: 256 * 1024 }));
  async function* hashed() {
    for await (const piece of packed) {
      const bytes = new Uint8Array(piece);
      hash.update(bytes);
      length += bytes.length;
      yield bytes;
    }
  }
  const opened = await expect(await fetch(`${base}/blobs/uploads/`, { method: "POST" }), 202, base);
  const sent = await expect(
    await fetch(opened, { method: "PATCH", body: ReadableStream.from(hashed()) }),
    202,
    base,
  );
  sent.searchParams.set("digest", hash.digest());
  await expect(await fetch(sent, { method: "PUT" }), 201, base);
  const stream = () => {
    throw new TypeError("Cannot read a large layer again: it is only at the registry");
  };
  return { digest: hash.digest(), size: length, stream };
}

async function expect(response: Response, status: number, base: string): Promise<URL> {
  const text = await response.text();
  if (response.status !== status) {
    throw new Error(`Cannot push to "${response.url}": got ${response.status}: ${text}`);
  }
  return new URL(response.headers.get("location") ?? "/", base);
}
