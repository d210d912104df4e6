/** What one measurement runs on: empty destination registries, and the proxy before all of them. */

import { pushOverHttp } from "../images.ts";
import { type RegistryProcess, startRegistry } from "../real/registry_process.ts";
import { startChild } from "./child.ts";
import { manifestsOf, type PlacedImage, uniqueBlobs } from "./inputs.ts";
import type { ProxySettings } from "./proxy.ts";
import type { Tally } from "./tally.ts";
import type { Job } from "./tools.ts";

/** A folder that is in memory, where the system has one: several registries on one machine share a disk as no others do. */
export const MEMORY_FOLDER: string | undefined = await isFolder("/dev/shm") ? "/dev/shm" : undefined;

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch {
    return false;
  }
}

/** Options of {@linkcode openStage}. */
export interface StageOptions {
  /** How many destination registries; 1 unless told. */
  destinations?: number;
  /** Milliseconds added to each request; 0 unless told. */
  latency?: number;
  /** Whether there is a proxy, which asks for tokens; without it registries are reached directly. */
  hasProxy: boolean;
  /** Folder that the destinations' storage is made in; the system's for temporary files unless told. */
  parent?: string | undefined;
}

/** The stage. */
export interface Stage extends AsyncDisposable {
  /** The job for these images. */
  readonly job: Job;
  /** What was counted since the last call, by side: `source` and `destination0` and so on; empty without a proxy. */
  take(): Promise<Record<string, Tally>>;
  /** What is wrong with the copies, in a sentence; `undefined` when they are whole and the same. */
  findFault(): Promise<string | undefined>;
}

/** Puts images into a registry before anything is measured. */
export async function fill(registry: RegistryProcess, images: readonly PlacedImage[]): Promise<void> {
  for (const { repository, tag, image } of images) {
    await pushOverHttp(registry.fetch, registry.url, repository, tag, image);
  }
}

/** Opens a stage for copying images out of a registry that has them. */
export async function openStage(
  source: RegistryProcess,
  images: readonly PlacedImage[],
  options: StageOptions,
): Promise<Stage> {
  const { destinations: count = 1, latency = 0, hasProxy, parent } = options;
  await using stack = new AsyncDisposableStack();
  const destinations: RegistryProcess[] = [];
  for (let index = 0; index < count; index++) destinations.push(stack.use(await startRegistry({ parent })));
  const targets = {
    source: source.host,
    ...Object.fromEntries(destinations.map(({ host }, index) => [`destination${index}`, host])),
  };
  const settings: ProxySettings = { targets, latency, hasTokens: true };
  const proxy = hasProxy ? stack.use(await startChild("proxy.ts", settings)) : undefined;
  const hosts = (proxy?.ready ?? targets) as Record<string, string>;
  const cleanUp = stack.move();
  return {
    job: jobOf(images, hosts, hasProxy),
    take: async () => (await proxy?.take() ?? {}) as Record<string, Tally>,
    findFault: async () => {
      for (const destination of destinations) {
        const fault = await findFault(destination, images);
        if (fault !== undefined) return fault;
      }
    },
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}

/** The job that copies images to the same names at all destinations. */
export function jobOf(
  images: readonly PlacedImage[],
  hosts: Record<string, string>,
  hasLogin: boolean,
): Job {
  const { source = "", ...others } = hosts;
  const repositories = [...new Set(images.map(({ repository }) => repository))];
  return {
    pairs: repositories.map((repository) => ({
      source: { host: source, repository },
      destinations: Object.values(others).map((host) => ({ host, repository })),
      tags: images.filter((one) => one.repository === repository).map(({ tag }) => tag),
    })),
    hasLogin,
  };
}

/** Where copies can be looked at. */
export type Looked = Pick<RegistryProcess, "url" | "fetch">;

/** Compares digests of tags, and looks for every child and blob. */
export async function findFault(
  registry: Looked,
  images: readonly PlacedImage[],
): Promise<string | undefined> {
  const wrong: string[] = [];
  for (const { repository, tag, image } of images) {
    const base = `/v2/${repository}`;
    if (await digestAt(registry, `${base}/manifests/${tag}`) !== image.digest) wrong.push(`tag ${tag}`);
    for (const digest of manifestsOf(image).filter((one) => one !== image.digest)) {
      if (await digestAt(registry, `${base}/manifests/${digest}`) !== digest) wrong.push(digest);
    }
    for (const digest of uniqueBlobs([{ repository, tag, image }]).keys()) {
      if (await digestAt(registry, `${base}/blobs/${digest}`) === undefined) wrong.push(digest);
    }
  }
  if (wrong.length === 0) return undefined;
  return `${wrong.length} digests are missing or differ, the first is ${wrong[0]}`;
}

async function digestAt({ fetch, url }: Looked, path: string): Promise<string | undefined> {
  const headers = {
    accept: [
      "application/vnd.oci.image.index.v1+json",
      "application/vnd.oci.image.manifest.v1+json",
    ].join(", "),
  };
  const response = await fetch(url + path, { method: "HEAD", headers });
  await response.body?.cancel();
  return response.ok ? response.headers.get("docker-content-digest") ?? undefined : undefined;
}
