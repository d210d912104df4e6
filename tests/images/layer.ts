/** Layers out of the ordinary: empty, by sha512, living elsewhere, or too large to hold. */

import {
  type BlobContent,
  bytesContent,
  generatedBytes,
  generatedContent,
} from "../registry/blob_content.ts";
import { digestBytes } from "../registry/digest.ts";
import type { LayerSpec } from "./image.ts";

/** A layer of pseudo-random bytes held in memory. */
export function buildLayer(seed: number, size = 1024): BlobContent {
  return bytesContent(generatedBytes(seed, size));
}

/** A layer of no bytes. */
export function emptyLayer(): BlobContent {
  return bytesContent(new Uint8Array());
}

/** A layer whose digest is sha512. */
export function sha512Layer(seed: number, size = 1024): BlobContent {
  const bytes = generatedBytes(seed, size);
  return bytesContent(bytes, digestBytes(bytes, "sha512"));
}

/** A layer of any size that is made while it is read. */
export function largeLayer(seed: number, size: number): BlobContent {
  return generatedContent(seed, size);
}

/** A layer that is not pushed but downloaded from `urls`, as the base of Windows images is. */
export function foreignLayer(seed: number, url = "https://elsewhere.test/layer"): LayerSpec {
  return {
    content: buildLayer(seed),
    mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    urls: [url],
  };
}
