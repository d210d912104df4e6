/** Puts built images into registries: straight into a test registry's memory, or over HTTP into any. */

import { type BlobContent, readAll } from "../registry/blob_content.ts";
import type { Fetch } from "../registry/socketless_fetch.ts";
import type { RegistryState } from "../registry/state.ts";
import { blobsOf, type Image, walkImage } from "./image.ts";

/** Puts an image, its blobs and its children into a test registry without a request; tags it when a tag is given. */
export function pushImage(
  registry: { state: RegistryState },
  repository: string,
  tag: string | undefined,
  image: Image,
): void {
  for (const blob of blobsOf(image).values()) registry.state.addBlob(repository, blob);
  for (const node of walkImage(image)) {
    registry.state.addManifest(repository, node, node === image ? tag : undefined);
  }
}

/**
 * Pushes an image with its blobs and children to any registry, skipping blobs that are there.
 *
 * @param baseUrl Origin of the registry, for example `http://127.0.0.1:5000`.
 * @param tag The tag, or `undefined` to push by digest only.
 * @throws {Error} when the registry answers anything but success.
 */
export async function pushOverHttp(
  fetch: Fetch,
  baseUrl: string,
  repository: string,
  tag: string | undefined,
  image: Image,
): Promise<void> {
  const base = `${baseUrl}/v2/${repository}`;
  for (const blob of blobsOf(image).values()) await pushBlob(fetch, base, blob);
  for (const node of walkImage(image)) {
    await pushManifest(fetch, base, {
      ...node,
      reference: node === image ? tag ?? node.digest : node.digest,
    });
  }
}

/**
 * Pushes one blob with POST and PUT (OCI distribution-spec 1.1, end-4a, end-6), unless it is there.
 *
 * @param base URL of the repository, for example `http://127.0.0.1:5000/v2/library/busybox`.
 * @throws {Error} when the registry answers anything but success.
 */
export async function pushBlob(fetch: Fetch, base: string, blob: BlobContent): Promise<void> {
  const head = await fetch(`${base}/blobs/${blob.digest}`, { method: "HEAD" });
  if (head.ok) return;
  const started = await expectStatus(await fetch(`${base}/blobs/uploads/`, { method: "POST" }), 202);
  const target = new URL(started.headers.get("location") ?? "", base);
  target.searchParams.set("digest", blob.digest);
  const headers = { "content-type": "application/octet-stream" };
  const body = await readAll(blob.stream());
  await expectStatus(await fetch(target, { method: "PUT", headers, body }), 201);
}

/**
 * Pushes one manifest under a tag or digest.
 *
 * @throws {Error} when the registry answers anything but success.
 */
export async function pushManifest(
  fetch: Fetch,
  base: string,
  manifest: { bytes: Uint8Array<ArrayBuffer>; mediaType: string; reference: string },
): Promise<void> {
  const response = await fetch(`${base}/manifests/${manifest.reference}`, {
    method: "PUT",
    headers: { "content-type": manifest.mediaType },
    body: manifest.bytes,
  });
  await expectStatus(response, 201);
}

async function expectStatus(response: Response, status: number): Promise<Response> {
  const text = await response.text();
  if (response.status === status) return response;
  throw new Error(`Cannot push to "${response.url}": expected ${status}, got ${response.status} ${text}`);
}
