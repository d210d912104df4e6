/** Reads OCI image layouts from disk and pushes them to registries (OCI image-spec 1.1, Image Layout). */

import type { Descriptor } from "../src/oci/descriptor.ts";
import { type Image, pushOverHttp } from "./images.ts";
import { type BlobContent, bytesContent } from "./registry/blob_content.ts";
import { readManifest } from "./registry/manifest_facts.ts";
import type { Fetch } from "./registry/socketless_fetch.ts";

/** One entry of a layout's `index.json`. */
export interface LayoutEntry {
  /** The tag in its `org.opencontainers.image.ref.name`. */
  tag?: string;
  /** The entry with all that the layout holds of it. */
  image: Image;
}

/** Where {@linkcode pushLayout} pushes to. */
export interface PushLayoutOptions {
  /** How to send requests; the global `fetch` unless told. */
  fetch?: Fetch;
  /** Origin of the registry, for example `http://127.0.0.1:5000`. */
  baseUrl: string;
  /** Repository that gets all entries. */
  repository: string;
  /** Tag for entries that have none of their own; those are pushed by digest only unless told. */
  tag?: string;
}

const REF_NAME = "org.opencontainers.image.ref.name";

/**
 * Every entry of a layout, whole; blobs and children that the layout lacks are left out.
 *
 * @param directory The layout's folder, with or without a slash at the end.
 * @throws {Deno.errors.NotFound} when the folder is no layout.
 */
export async function readLayout(directory: URL | string): Promise<LayoutEntry[]> {
  const folder = `${directory}`.replace(/\/*$/, "/");
  const root = directory instanceof URL ? new URL(folder) : folder;
  const index: { manifests: Descriptor[] } = JSON.parse(await Deno.readTextFile(pathIn(root, "index.json")));
  const entries: LayoutEntry[] = [];
  for (const descriptor of index.manifests) {
    const image = await readImage(root, descriptor);
    const tag = descriptor.annotations?.[REF_NAME];
    if (image !== undefined) entries.push(tag === undefined ? { image } : { tag, image });
  }
  return entries;
}

/**
 * Pushes every entry of a layout, tagged as it says.
 *
 * @returns The entries that were pushed.
 * @throws {Error} when the registry answers anything but success.
 */
export async function pushLayout(
  directory: URL | string,
  options: PushLayoutOptions,
): Promise<LayoutEntry[]> {
  const entries = await readLayout(directory);
  for (const { tag, image } of entries) {
    const { baseUrl, repository } = options;
    await pushOverHttp(options.fetch ?? fetch, baseUrl, repository, tag ?? options.tag, image);
  }
  return entries;
}

function pathIn(root: URL | string, path: string): URL | string {
  return root instanceof URL ? new URL(path, root) : root + path;
}

async function readImage(root: URL | string, descriptor: Descriptor): Promise<Image | undefined> {
  const bytes = await readBlob(root, descriptor.digest);
  if (bytes === undefined) return undefined;
  const { mediaType, digest } = descriptor;
  const facts = readManifest(bytes, mediaType);
  const blobs = await readBlobs(root, facts.blobs);
  const children: Image[] = [];
  for (const entry of facts.children) {
    const child = await readImage(root, entry);
    if (child !== undefined) children.push(child);
  }
  return { bytes, mediaType, digest, descriptor, blobs, children };
}

async function readBlobs(
  root: URL | string,
  named: readonly { digest: string }[],
): Promise<Map<string, BlobContent>> {
  const blobs = new Map<string, BlobContent>();
  for (const { digest } of named) {
    const bytes = await readBlob(root, digest);
    if (bytes !== undefined) blobs.set(digest, bytesContent(bytes, digest));
  }
  return blobs;
}

async function readBlob(root: URL | string, digest: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await Deno.readFile(pathIn(root, `blobs/${digest.replace(":", "/")}`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
