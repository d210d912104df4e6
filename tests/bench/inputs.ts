/** The images of the benchmark: the jobs of issue 4, the same bytes at every run. */

import { gzipSync } from "node:zlib";
import { blobsOf, buildImage, buildIndex, type Image, walkImage } from "../images.ts";
import { type BlobContent, bytesContent, generatedBytes } from "../registry.ts";

/** An image, and the name it has at its source. */
export interface PlacedImage {
  /** Repository in the registry. */
  repository: string;
  /** Its tag. */
  tag: string;
  /** The image with its children. */
  image: Image;
}

const KIBIBYTE = 1024;
const PLATFORMS = ["amd64", "arm64", "s390x", "ppc64le"];

/** A gzip of bytes that do not compress: skopeo compresses layers that are none, and so changes digests. */
export function gzipLayer(seed: number, size: number): BlobContent {
  return bytesContent(new Uint8Array(gzipSync(generatedBytes(seed, size), { level: 0 })));
}

/** Ten tags, each an index of four platforms of three layers, two of them shared by all tags: 88 blobs, 32 MB. */
export function tenByFour(): PlacedImage[] {
  const shared = PLATFORMS.map((_, platform) =>
    [0, 1].map((layer) => gzipLayer(100 + platform * 2 + layer, 1500 * KIBIBYTE))
  );
  return Array.from({ length: 10 }, (_, tag) => {
    const images = PLATFORMS.map((architecture, platform) => {
      const seed = 1000 + tag * 10 + platform;
      const layers = [...shared[platform] ?? [], gzipLayer(seed, 500 * KIBIBYTE)];
      return buildImage({ seed, layers, platform: { os: "linux", architecture } });
    });
    return { repository: "bench/app", tag: `v${tag}`, image: buildIndex(images) };
  });
}

/** Ten repositories of one image each, with five base layers in common and one of their own. */
export function sharedBase(): PlacedImage[] {
  const base = Array.from({ length: 5 }, (_, layer) => gzipLayer(200 + layer, 1000 * KIBIBYTE));
  return Array.from({ length: 10 }, (_, index) => {
    const layers = [...base, gzipLayer(300 + index, 200 * KIBIBYTE)];
    return { repository: `bench/app${index}`, tag: "v1", image: buildImage({ seed: 300 + index, layers }) };
  });
}

/** So many tags of ten small blobs each, none of them shared. */
export function manyTags(tags: number): PlacedImage[] {
  return Array.from({ length: tags }, (_, tag) => {
    const layers = Array.from({ length: 9 }, (_, layer) => gzipLayer(10_000 + tag * 9 + layer, KIBIBYTE));
    return { repository: "bench/many", tag: `v${tag}`, image: buildImage({ seed: 10_000 + tag, layers }) };
  });
}

/** Bytes of all blobs of some images, each blob once. */
export function uniqueBytes(images: readonly PlacedImage[]): number {
  return [...uniqueBlobs(images).values()].reduce((sum, { size }) => sum + size, 0);
}

/** The blobs of some images, each once. */
export function uniqueBlobs(images: readonly PlacedImage[]): Map<string, BlobContent> {
  return new Map(images.flatMap(({ image }) => [...blobsOf(image)]));
}

/** Digests of every manifest below an image, itself among them. */
export function manifestsOf(image: Image): string[] {
  return walkImage(image).map(({ digest }) => digest);
}
