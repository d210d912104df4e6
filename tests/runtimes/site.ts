/** The registries every runtime copies between, what goes wrong there, and what has to be the case afterwards. */

import { assert, assertEquals } from "@std/assert";
import { FaultProxy, type FaultRule } from "../fault_proxy.ts";
import {
  blobsOf,
  buildImage,
  buildLayer,
  buildMultiPlatform,
  type Image,
  pushImage,
  walkImage,
} from "../images.ts";
import {
  createRegistry,
  generatedContent,
  type Intercept,
  type RegistryOptions,
  type RequestEntry,
  serve,
  type TestRegistry,
} from "../registry.ts";
import type { Job, JobResult } from "./suite.ts";

const MEBIBYTE = 1024 * 1024;
const USER = { username: "robot", password: "correct horse" };
const TOKENS: RegistryOptions = {
  auth: { type: "bearer", users: { [USER.username]: { password: USER.password } } },
};

/** A job with its registries, and the check that it was done right. */
export interface Task extends AsyncDisposable {
  /** What the runtime is asked. */
  job: Job;
  /** Bytes of blobs that have to be sent. */
  bytes: number;
  /**
   * Looks at what the registries have and what they were sent.
   *
   * @throws {AssertionError} when something is not as it should be.
   */
  check(result: JobResult): void;
}

/** A registry behind a proxy that breaks what it is told to. */
interface Place extends AsyncDisposable {
  registry: TestRegistry;
  proxy: FaultProxy;
  host: string;
}

async function openPlace(options: RegistryOptions = {}, faults: readonly FaultRule[] = []): Promise<Place> {
  const registry = createRegistry(options);
  const server = serve(registry);
  const proxy = await FaultProxy.start(server, faults);
  return {
    registry,
    proxy,
    host: proxy.host,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

/**
 * An index of two platforms, chosen by a pattern, from a source with a token service to two destinations, one of which wants
 * tokens too. One manifest is refused with 503 once; one layer ends in its middle once.
 */
export async function openCopyTask(): Promise<Task> {
  const image = buildMultiPlatform(["amd64", "arm64"], { layers: 2, layerSize: 3 * MEBIBYTE });
  const source = await openPlace(TOKENS, [
    {
      fault: { type: "answer", status: 503 },
      matches: ({ kind, method }) => kind === "manifest" && method === "GET",
    },
    {
      fault: { type: "close", at: "answer-body" },
      matches: ({ kind, method, path }) =>
        kind === "blob" && method === "GET" && path.endsWith(bigLayerOf(image)),
    },
  ]);
  pushImage(source.registry, "library/app", "v1", image);
  const destinations = [await openPlace(), await openPlace(TOKENS)];
  const places = [source, ...destinations];
  const credentials = Object.fromEntries([source, ...destinations.slice(1)].map(({ host }) => [host, USER]));
  const job = jobOf(`${source.host}/library/app:/^v[0-9]$/`, destinations, { credentials });
  const bytes = bytesOf(image) * destinations.length;
  return {
    job,
    bytes,
    check(result) {
      checkResult(result, job, bytes);
      for (const { registry } of destinations) checkHolding(registry, image);
      checkSource(source, image);
      for (const { registry } of [source, ...destinations.slice(1)]) checkTokens(registry);
    },
    [Symbol.asyncDispose]: () => closeAll(places),
  };
}

/** A layer whose upload breaks in its middle once, to a registry that keeps what it has of it. */
export async function openResumeTask(): Promise<Task> {
  const image = buildImage({ seed: 50, layers: [buildLayer(51, 8 * MEBIBYTE)] });
  const source = await openPlace();
  pushImage(source.registry, "library/app", "v1", image);
  const cut: FaultRule = {
    fault: { type: "reset", at: "request-body" },
    matches: ({ kind, method, length = 0 }) => kind === "upload" && method === "PUT" && length > MEBIBYTE,
  };
  const destination = await openPlace({ intercept: untilUploaded() }, [cut]);
  // What is verified goes on only as far as the bytes before are still at hand, which is a matter of timing.
  const job = jobOf(`${source.host}/library/app:v1`, [destination], { verifies: false });
  const bytes = bytesOf(image);
  return {
    job,
    bytes,
    check(result) {
      checkResult(result, job, bytes);
      assertEquals(destination.proxy.struck, 1);
      checkHolding(destination.registry, image);
      checkResumed(destination.registry, 8 * MEBIBYTE);
    },
    [Symbol.asyncDispose]: () => closeAll([source, destination]),
  };
}

/** Many large layers at once to two destinations; what they leave in memory is for the caller to measure. */
export function openMemoryTask({ layers, size }: { layers: number; size: number }): Task {
  const contents = Array.from({ length: layers }, (_, index) => generatedContent(100 + index, size));
  const image = buildImage({ seed: 99, layers: contents });
  const source = createRegistry();
  const destinations = [createRegistry({ discardBlobs: true }), createRegistry({ discardBlobs: true })];
  const servers = [source, ...destinations].map((registry) => serve(registry));
  pushImage(source, "library/app", "v1", image);
  const job = jobOf(`${servers[0]?.host}/library/app:v1`, servers.slice(1));
  const bytes = bytesOf(image) * destinations.length;
  return {
    job,
    bytes,
    check(result) {
      checkResult(result, job, bytes);
      for (const destination of destinations) checkHolding(destination, image);
    },
    [Symbol.asyncDispose]: () => closeAll(servers),
  };
}

function bigLayerOf(image: Image): string {
  return [...image.children[0]?.blobs.values() ?? []].find(({ size }) => size >= MEBIBYTE)?.digest ?? "";
}

function jobOf(
  source: string,
  destinations: readonly { host: string }[],
  options: Partial<Pick<Job, "credentials" | "verifies">> = {},
): Job {
  const rules = [{ source, destinations: destinations.map(({ host }) => `${host}/mirror/app`) }];
  return { rules, credentials: {}, verifies: true, ...options };
}

/** Whoever asks how far an upload is gets the answer when its bytes have been taken in, not somewhere before. */
function untilUploaded(): Intercept {
  const uploads: Promise<unknown>[] = [];
  return async ({ method }, { kind, next }) => {
    if (kind !== "upload") return undefined;
    if (method === "GET") await Promise.allSettled(uploads);
    const answer = next();
    uploads.push(answer.catch(() => {}));
    return await answer;
  };
}

function bytesOf(image: Image): number {
  return [...blobsOf(image).values()].reduce((sum, { size }) => sum + size, 0);
}

function checkResult(result: JobResult, job: Job, bytes: number): void {
  const copied = job.rules.reduce((sum, { destinations }) => sum + destinations.length, 0);
  assertEquals(result, { copied, bytes, failures: [] });
}

/** The registry hashed what it was sent; every request with bytes has to say how many there are. */
function checkHolding({ repositories, requests }: TestRegistry, image: Image): void {
  const held = repositories.get("mirror/app");
  assertEquals(held?.tags.get("v1"), image.digest);
  for (const { digest, bytes } of walkImage(image)) assertEquals(held?.manifests.get(digest)?.bytes, bytes);
  for (const digest of blobsOf(image).keys()) assert(held?.blobs.has(digest), `${digest} is missing`);
  const uploads = requests.filter(({ method, kind }) =>
    kind === "upload" && method !== "GET" && method !== "DELETE"
  );
  assert(uploads.length >= blobsOf(image).size);
  uploads.forEach(checkLength);
}

function checkLength({ method, path, status, contentLength, transferEncoding, bytesIn }: RequestEntry): void {
  const request = `${method} ${path}`;
  assertEquals(transferEncoding, undefined, `${request} came in chunks`);
  assert(contentLength !== undefined, `${request} came without a Content-Length`);
  // One that was cut came with fewer bytes than it announced.
  if (status >= 200 && status < 300) assertEquals(contentLength, bytesIn, request);
}

/** Every blob was read once for both destinations, but for the rest of the one that ended too early. */
function checkSource({ registry, proxy }: Place, image: Image): void {
  assertEquals(proxy.struck, 2);
  const downloads = registry.requests.filter(({ method, kind }) => kind === "blob" && method === "GET");
  assertEquals(downloads.length, blobsOf(image).size + 1);
  const starts = downloads.flatMap(({ range }) =>
    range === undefined ? [] : Number(/^bytes=(\d+)-$/.exec(range)?.[1])
  );
  // Some runtimes keep bytes to themselves that came just before the end.
  assert(starts.length === 1 && starts.every((start) => start > 0 && start <= 1.5 * MEBIBYTE), `${starts}`);
}

function checkTokens({ requests }: TestRegistry): void {
  const granted = requests.filter(({ kind, status }) => kind === "token" && status === 200);
  assert(granted.length > 0 && granted.length <= 2, `${granted.length} tokens were asked for`);
  const used = requests.filter(({ kind }) => kind === "blob" || kind === "manifest" || kind === "upload");
  assertEquals(used.filter(({ authorization }) => authorization !== "bearer"), []);
}

/** The second half alone was sent after the cut. */
function checkResumed({ requests }: TestRegistry, size: number): void {
  const asked = requests.filter(({ method, kind }) => kind === "upload" && method === "GET");
  assertEquals(asked.length, 1);
  const rest = requests.filter(({ method }) => method === "PATCH");
  assertEquals(rest.map(({ contentLength, status }) => ({ contentLength, status })), [
    { contentLength: size / 2, status: 202 },
  ]);
}

async function closeAll(places: readonly AsyncDisposable[]): Promise<void> {
  for (const place of places) await place[Symbol.asyncDispose]();
}
