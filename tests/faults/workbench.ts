/** Two registries, fault proxies before them, and a mirror run between them that is checked to the last byte. */

import { assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { fastSockets } from "../../src/deno/fast_sockets.ts";
import { type ClosableFetch, createHttpClient } from "../../src/machine/network/http_client.ts";
import { nodeSockets } from "../../src/machine/network/node_sockets.ts";
import { mirror } from "../../src/mirror/run.ts";
import type { MirrorOptions } from "../../src/mirror/run_context.ts";
import type { Report } from "../../src/mirror/report.ts";
import type { Fetch, FetchInit } from "../../src/registry/fetch.ts";
import type { Limits } from "../../src/registry/request.ts";
import { Registries } from "../../src/registry/registries.ts";
import { FakeClock } from "../fake_clock.ts";
import { type FaultPlan, FaultProxy } from "../fault_proxy.ts";
import { blobsOf, type Image, pushImage, pushOverHttp, walkImage } from "../images.ts";
import { createRegistry, type RegistryOptions, serve, type TestRegistry } from "../registry.ts";
import { readAll } from "../registry/blob_content.ts";
import { digestBytes } from "../registry/digest.ts";
import { manifestDigest } from "../registry/manifest_facts.ts";
import { startRegistry } from "../real/registry_process.ts";

/** Milliseconds after which a run counts as hung. */
const HANG = 30_000;

/** A clock whose waits pass at once, are recorded, and can be watched. */
export class LabClock extends FakeClock {
  /** Called before each wait. */
  onDelay: () => Promise<void> | void = () => {};

  override async delay(milliseconds: number, signal?: AbortSignal): Promise<void> {
    await this.onDelay();
    await super.delay(milliseconds, signal);
  }
}

/** A registry with a proxy before it. */
export interface LabRegistry extends AsyncDisposable {
  /** The registry without the proxy, as `127.0.0.1:PORT`. */
  readonly host: string;
  /** What clients see of it. */
  readonly proxy: FaultProxy;
  /** The registry in memory, where it is one. */
  readonly memory: TestRegistry | undefined;
}

/** Puts a proxy before a registry in memory. */
export async function openMemoryRegistry(options: RegistryOptions = {}): Promise<LabRegistry> {
  const memory = createRegistry(options);
  const server = serve(memory);
  const proxy = await FaultProxy.start(server);
  return lab(server, proxy, memory);
}

/** Puts a proxy before a `docker-registry` of its own. */
export async function openRealRegistry(): Promise<LabRegistry> {
  const server = await startRegistry();
  return lab(server, await FaultProxy.start(server), undefined);
}

function lab(
  server: AsyncDisposable & { host: string },
  proxy: FaultProxy,
  memory: TestRegistry | undefined,
): LabRegistry {
  return {
    host: server.host,
    proxy,
    memory,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Puts an image into a registry, past the proxy. */
export async function fill(registry: LabRegistry, repository: string, image: Image): Promise<void> {
  if (registry.memory !== undefined) return pushImage(registry.memory, repository, "v1", image);
  await pushOverHttp(fetch, `http://${registry.host}`, repository, "v1", image);
}

/** What a run is given besides registries. */
export interface LabOptions extends Omit<MirrorOptions, "registries"> {
  /** Limits that differ from the laboratory's. */
  limits?: Partial<Limits>;
  /** The clock. */
  clock?: LabClock;
  /** Repository at both sides, or several; `app` unless told. */
  repository?: string | readonly string[];
  /** What of it, in the words of a rule; `:v1` unless told. */
  selection?: string;
  /** Whether blobs of any size go over sockets of our own, as large ones do. */
  usesSockets?: boolean;
}

/** Faults that only time shows are noticed within these milliseconds; a run without them never comes near. */
export const SHORT_LIMITS: Partial<Limits> = { connect: 300, headers: 300, stall: 300, commit: 300 };
/** Limits that no healthy request reaches on a busy machine, in milliseconds. */
export const LONG_LIMITS: Partial<Limits> = {
  connect: 10_000,
  headers: 10_000,
  stall: 10_000,
  commit: 10_000,
};

/**
 * Mirrors repositories from the first registry to all others.
 *
 * @throws {DOMException} when it does not end.
 */
export async function run(
  source: LabRegistry,
  destinations: readonly LabRegistry[],
  options: LabOptions = {},
): Promise<Report> {
  const { limits = LONG_LIMITS, clock = new LabClock(), repository = "app", selection = ":v1", ...rest } =
    options;
  const client = openClient(options.usesSockets ?? false);
  const fetchFor = () => client.fetch;
  const hang = new AbortController();
  const registries = new Registries({ fetchFor, isInsecure: () => true, limits, clock, signal: hang.signal });
  const rules = [repository].flat().map((name) => ({
    source: `${source.proxy.host}/${name}${selection}`,
    destinations: destinations.map(({ proxy }) => `${proxy.host}/${name}`),
  }));
  try {
    return await deadline(mirror(rules, { registries, ...rest }), HANG);
  } finally {
    hang.abort();
    client.close();
  }
}

function openClient(usesSockets: boolean): ClosableFetch {
  const client = Deno.createHttpClient({ http2: false });
  const plain: Fetch = (url, init) => fetch(url, { ...init, client });
  const sockets = createHttpClient({ sockets: fastSockets(nodeSockets) });
  const isBlob = ({ size, body }: FetchInit) => size !== undefined || body instanceof Blob;
  return {
    fetch: (url, init) => (usesSockets && isBlob(init) ? sockets.fetch : plain)(url, init),
    close: () => {
      sockets.close();
      client.close();
    },
  };
}

/** What a registry, asked past the proxy, has of an image under a tag; without the tag, parts of it count as nothing. */
export type Holding = "whole" | "nothing";

/**
 * Looks at what a registry has of an image under a tag.
 *
 * @throws {AssertionError} when the tag points at something incomplete or wrong.
 */
export async function holdingOf(
  registry: LabRegistry,
  repository: string,
  image: Image,
  tag = "v1",
): Promise<Holding> {
  const base = `http://${registry.host}/v2/${repository}`;
  const accept = walkImage(image).map(({ mediaType }) => mediaType).join(", ");
  const get = async (path: string) => {
    const response = await fetch(`${base}/${path}`, { headers: { accept } });
    if (!response.ok) return await skip(response);
    return await readAll(response.body ?? new ReadableStream());
  };
  const manifest = async (reference: string, { mediaType }: Image) => {
    const bytes = await get(`manifests/${reference}`);
    return bytes === undefined ? undefined : manifestDigest(bytes, mediaType);
  };
  const tagged = await manifest(tag, image);
  if (tagged === undefined) return "nothing";
  assertEquals(tagged, image.digest, "the tag points at another image");
  for (const node of walkImage(image)) assertEquals(await manifest(node.digest, node), node.digest);
  for (const { digest, size } of blobsOf(image).values()) {
    const bytes = await get(`blobs/${digest}`);
    assertEquals(bytes?.length, size);
    assertEquals(digestBytes(bytes ?? new Uint8Array(), digest.split(":")[0]), digest);
  }
  return "whole";
}

async function skip(response: Response): Promise<undefined> {
  await response.body?.cancel();
}

/** Bytes of all blobs of an image, each once. */
export function bytesOf(image: Image): number {
  return [...blobsOf(image).values()].reduce((sum, { size }) => sum + size, 0);
}

/** Puts rules before a registry; a refusal lasts until the clock has waited so many times. */
export function sabotage(
  registry: LabRegistry,
  clock: LabClock,
  plan: FaultPlan,
  waits: number,
): void {
  registry.proxy.setPlan(plan);
  let left = waits;
  clock.onDelay = async () => {
    if (--left <= 0) await registry.proxy.listen();
  };
}
