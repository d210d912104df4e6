/** A second opinion: what skopeo finds in a registry. */

import { assertEquals } from "@std/assert";
import { mapAll } from "../../src/mirror/work_pool.ts";
import { blobsOf, type Image, walkImage } from "../images.ts";
import type { Bytes } from "../registry/blob_content.ts";
import { manifestDigest } from "../registry/manifest_facts.ts";
import { RunningDigest } from "../registry/digest.ts";
import { type RegistryProcess, USER } from "./registry_process.ts";

/** An image and where it is to be found. */
export interface PlacedImage {
  /** Name of the repository. */
  repository: string;
  /** Tag of the image; without one it is found by its digest alone. */
  tag?: string | undefined;
  /** What is to be found there. */
  image: Image;
}

/** The bytes of a manifest as skopeo sees them. */
export async function inspectRaw(registry: RegistryProcess, reference: string): Promise<Bytes> {
  const { success, stdout, stderr } = await new Deno.Command("skopeo", {
    args: [
      "inspect",
      "--raw",
      "--tls-verify=false",
      ...registry.needsLogin ? ["--creds", `${USER.username}:${USER.password}`] : [],
      `docker://${registry.host}/${reference}`,
    ],
  }).output();
  if (success) return stdout;
  throw new Error(`skopeo cannot inspect "${reference}": ${new TextDecoder().decode(stderr)}`);
}

/**
 * Asserts that images are in a registry whole: by skopeo, the digest of each tag and of each manifest below it; over HTTP,
 * the bytes of each blob.
 */
export async function assertMirrored(
  registry: RegistryProcess,
  images: readonly PlacedImage[],
): Promise<void> {
  const manifests = images.flatMap(manifestsOf);
  const check = async ({ reference, image }: { reference: string; image: Image }) =>
    `${reference} ${manifestDigest(await inspectRaw(registry, reference), image.mediaType)}`;
  assertEquals(
    await mapAll(manifests, check, 4),
    manifests.map(({ reference, image }) => `${reference} ${image.digest}`),
  );
  for (const { repository, image } of images) await assertBlobs(registry, repository, image);
}

/** The manifests of an image by the references they are reached by: the tag, then each by digest. */
function manifestsOf({ repository, tag, image }: PlacedImage): { reference: string; image: Image }[] {
  const tagged = tag === undefined ? [] : [{ reference: `${repository}:${tag}`, image }];
  const below = walkImage(image).map((node) => ({ reference: `${repository}@${node.digest}`, image: node }));
  return [...tagged, ...below];
}

async function assertBlobs(registry: RegistryProcess, repository: string, image: Image): Promise<void> {
  for (const digest of blobsOf(image).keys()) {
    const response = await registry.fetch(`${registry.url}/v2/${repository}/blobs/${digest}`);
    const running = new RunningDigest(digest.slice(0, digest.indexOf(":")));
    for await (const chunk of response.body ?? []) running.update(chunk);
    assertEquals(running.digest(), digest);
  }
}
