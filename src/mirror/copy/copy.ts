/** Step 6 of the walk, the copy: one image to all of its destinations, children before parents, the tag last. */

import { defer } from "../../registry/deferred.ts";
import { type Descriptor, type Digest, DigestError } from "../../oci/descriptor.ts";
import { childrenOf, type Content, ManifestError } from "../../oci/manifest.ts";
import { formatReference, parseReference } from "../../oci/reference.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Repository } from "../../registry/repository.ts";
import { isPermanent, messageOf, toError } from "../plan/failure.ts";
import type { CopyTask } from "../plan/plan.ts";
import { filterPlatforms } from "../plan/platform_filter.ts";
import { tagKey } from "../store/store.ts";
import { copyBlob } from "./blob_copy.ts";
import { type CopyContext, Destination, live, StoppedError } from "./destination.ts";

/** Indexes inside indexes, at most: deeper is nothing a person made. */
const DEPTH_LIMIT = 16;

/** One image on its way. */
interface ImageCopy {
  task: string;
  source: Repository;
  /** Indexes that a choice of platforms has written anew; the source does not have them. */
  rewritten: Map<Digest, Content>;
}

/**
 * Copies one image to those of its destinations that are to have it. What fails is told by an event, not thrown.
 *
 * A tag is put last, so it never points at something incomplete.
 */
export async function copyTask(context: CopyContext, task: CopyTask): Promise<void> {
  const reference = parseReference(task.source);
  const source = context.registries.open(reference, "pull");
  const destinations = task.destinations.filter(({ action }) => action === "copy").map((planned) => {
    const to = parseReference(planned.reference);
    return new Destination(to, context.registries.open(to, "pull,push"));
  });
  context.emit({ type: "task-started", task: task.id });
  const copy: ImageCopy = { task: task.id, source, rewritten: new Map() };
  try {
    const content = await readRoot(context, copy, task);
    await copyRoot(context, copy, content, destinations);
  } catch (error) {
    for (const destination of destinations) destination.fail(error);
  }
  finishTask(context, task, destinations);
}

/** The manifest the plan decided on, or what the platforms wanted leave of it. */
async function readRoot(
  { signal }: CopyContext,
  { source, rewritten }: ImageCopy,
  task: CopyTask,
): Promise<Content> {
  const { tag } = parseReference(task.source);
  const content = await source.getManifest(task.original ?? task.root.digest, { tag, signal });
  if (task.original === undefined) return content;
  const left = await filterPlatforms(content, task.platforms ?? [], { source, rewritten, signal });
  if (left?.descriptor.digest === task.root.digest) return left;
  throw new DigestError(
    `what is left of "${task.source}"`,
    task.root.digest,
    left?.descriptor.digest ?? "nothing",
  );
}

function finishTask(context: CopyContext, task: CopyTask, destinations: readonly Destination[]): void {
  const isInterrupted = context.signal?.aborted ||
    destinations.some(({ failure }) => failure instanceof StoppedError);
  for (const { name, failure } of destinations) {
    if (failure === undefined) context.emit({ type: "destination-copied", task: task.id, destination: name });
    else if (!isInterrupted) {
      const error = messageOf(failure);
      const type = "destination-failed";
      context.emit({ type, task: task.id, destination: name, error, isPermanent: isPermanent(failure) });
    }
  }
  const hasFailed = destinations.some((one) => one.failure !== undefined);
  // An image that was interrupted has not failed: it is pending, and the next run goes on with it.
  if (isInterrupted && hasFailed) return;
  context.emit({ type: "task-finished", task: task.id, status: hasFailed ? "failed" : "copied" });
}

async function copyRoot(
  context: CopyContext,
  copy: ImageCopy,
  content: Content,
  destinations: readonly Destination[],
): Promise<void> {
  const root: Node = { content, depth: 0 };
  await copyManifest(context, copy, root, await lacking(context, content.descriptor, destinations));
  await Promise.all(
    live(destinations).map(async (destination) => {
      const { reference, repository } = destination;
      if (reference.tag === undefined) return;
      try {
        await putTag(context, copy, content, { destination, tag: reference.tag });
        const { registry, repository: name, tag } = reference;
        const value = { digest: content.descriptor.digest, source: copy.task, copiedAt: context.now() };
        await context.store.set(tagKey(registry, name, tag), value);
        context.presence.add(repository, content.descriptor.digest);
      } catch (error) {
        destination.fail(error);
      }
    }),
  );
}

/**
 * Puts the root under its tag. A registry whose tags cannot be changed (ECR, Harbor) refuses even what differs in nothing
 * but white space, as indexes do that image-syncer's Go version has written: such a destination is left as it is.
 */
async function putTag(
  context: CopyContext,
  copy: ImageCopy,
  content: Content,
  { destination, tag }: { destination: Destination; tag: string },
): Promise<void> {
  try {
    await put(context, copy, { content, depth: 0 }, { destination, name: tag });
  } catch (error) {
    const isRefused = error instanceof RegistryError && error.isPermanent &&
      [400, 403, 405, 409, 412].includes(error.status);
    if (!isRefused || !await hasSameJson(context, destination, content, tag)) throw error;
    const message =
      `"${destination.name}" cannot be changed and has the same content under another digest; it is left as it is`;
    context.emit({ type: "warning", message });
  }
}

async function hasSameJson(
  { signal }: CopyContext,
  { repository }: Destination,
  content: Content,
  tag: string,
): Promise<boolean> {
  try {
    const there = await repository.getManifest(tag, { signal });
    return canonicalJson(there.bytes) === canonicalJson(content.bytes);
  } catch (error) {
    if (error instanceof RegistryError) return false;
    throw error;
  }
}

/** JSON without what does not count: white space and the order of keys. */
function canonicalJson(bytes: Uint8Array): string {
  return JSON.stringify(JSON.parse(new TextDecoder().decode(bytes)), (_, value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([left], [right]) => left < right ? -1 : 1));
  });
}

/** A manifest in hand, and how deep in its image it is. */
interface Node {
  content: Content;
  depth: number;
}

/**
 * Brings a manifest, after everything it points at, to destinations that lack it; a root that goes under a tag is not put
 * here, everything else is put by digest.
 */
async function copyManifest(
  context: CopyContext,
  copy: ImageCopy,
  node: Node,
  destinations: readonly Destination[],
): Promise<void> {
  const { digest } = node.content.descriptor;
  await copyChildren(context, copy, node, destinations);
  await Promise.all(
    live(destinations).map(async (destination) => {
      if (node.depth === 0 && destination.reference.tag !== undefined) return;
      try {
        await put(context, copy, node, { destination, name: digest });
        context.presence.add(destination.repository, digest);
      } catch (error) {
        destination.fail(error);
      }
    }),
  );
}

/** Destinations that are not known to have a manifest; one HEAD may save its blobs a HEAD each. */
async function lacking(
  context: CopyContext,
  descriptor: Descriptor,
  destinations: readonly Destination[],
): Promise<Destination[]> {
  const found = await Promise.all(
    live(destinations).map(async (destination) => {
      return await holdsManifest(context, destination, descriptor) ? [] : [destination];
    }),
  );
  return found.flat();
}

async function holdsManifest(
  context: CopyContext,
  destination: Destination,
  { digest, size }: Descriptor,
): Promise<boolean> {
  const { repository } = destination;
  if (context.presence.has(repository, digest)) return true;
  // Who forces a copy doubts what the registry says of its manifests, so everything below is looked at again.
  if (context.force || context.presence.isEmpty(repository, digest)) return false;
  try {
    const isThere = await repository.hasManifest(digest, { size, signal: context.signal });
    if (isThere) context.presence.add(repository, digest);
    return isThere;
  } catch (error) {
    // As with tags: who may not look may still push, and is told so in the registry's own words if not.
    if (!(error instanceof RegistryError) || ![401, 403].includes(error.status)) destination.fail(error);
    return false;
  }
}

async function copyChildren(
  context: CopyContext,
  copy: ImageCopy,
  { content, depth }: Node,
  destinations: readonly Destination[],
): Promise<void> {
  if (live(destinations).length === 0) return;
  const { manifests, blobs } = childrenOf(content);
  if (manifests.length > 0 && depth >= DEPTH_LIMIT) {
    throw new ManifestError(
      `"${content.descriptor.digest}"`,
      `its index is nested more than ${DEPTH_LIMIT} deep`,
    );
  }
  await Promise.all([
    ...manifests.map((child) =>
      copyChild(context, copy, { descriptor: child, depth: depth + 1 }, destinations)
    ),
    ...blobs.map((blob) => copyLayer(context, copy, blob, destinations)),
  ]);
}

/** A layer with `urls` belongs to somebody who forbids to distribute it; it is copied only where the source serves it itself. */
async function copyLayer(
  context: CopyContext,
  copy: ImageCopy,
  blob: Descriptor,
  destinations: readonly Destination[],
): Promise<void> {
  if (await isElsewhere(context, copy, blob, destinations)) {
    for (const { name } of live(destinations)) {
      const { digest, size } = blob;
      context.emit({
        type: "blob-skipped",
        task: copy.task,
        digest,
        size,
        destination: name,
        reason: "foreign",
      });
    }
    return;
  }
  await copyBlob(context, { ...copy, blob }, live(destinations));
}

/** Whether a layer is to be had from its `urls` alone; where that cannot be found out, the destinations note why. */
async function isElsewhere(
  { signal }: CopyContext,
  { source }: ImageCopy,
  { urls, digest }: Descriptor,
  destinations: readonly Destination[],
): Promise<boolean> {
  if (urls === undefined || urls.length === 0) return false;
  try {
    return !await source.hasBlob(digest, { signal });
  } catch (error) {
    for (const destination of destinations) destination.fail(error);
    return false;
  }
}

/** A child of an index: brought to each destination once, however many indexes share it. */
async function copyChild(
  context: CopyContext,
  copy: ImageCopy,
  child: { descriptor: Descriptor; depth: number },
  destinations: readonly Destination[],
): Promise<void> {
  const { digest } = child.descriptor;
  const mine: Destination[] = [];
  const waiting: Promise<void>[] = [];
  const end = defer<void>();
  for (const destination of live(destinations)) {
    const { registry, name } = destination.repository;
    const key = `manifest ${registry.host}/${name} ${digest}`;
    const flight = context.presence.flight(key);
    if (context.presence.has(destination.repository, digest)) continue;
    if (flight !== undefined) waiting.push(joinChild(context, copy, child, { destination, flight }));
    else {
      mine.push(destination);
      context.presence.setFlight(key, end.promise);
    }
  }
  await Promise.all([bringChild(context, copy, child, mine).finally(() => end.resolve()), ...waiting]);
}

/** Waits for another image that brings the same child; if that came to nothing, this one tries by itself. */
async function joinChild(
  context: CopyContext,
  copy: ImageCopy,
  child: { descriptor: Descriptor; depth: number },
  { destination, flight }: { destination: Destination; flight: Promise<void> },
): Promise<void> {
  await flight;
  if (context.presence.has(destination.repository, child.descriptor.digest)) return;
  context.signal?.throwIfAborted();
  await copyChild(context, copy, child, [destination]);
}

async function bringChild(
  context: CopyContext,
  copy: ImageCopy,
  { descriptor, depth }: { descriptor: Descriptor; depth: number },
  destinations: readonly Destination[],
): Promise<void> {
  if (destinations.length === 0) return;
  const { digest } = descriptor;
  try {
    const poison = context.presence.poisonOf(copy.source, digest);
    if (poison !== undefined) throw poison;
    const missing = await lacking(context, descriptor, destinations);
    if (missing.length === 0) return;
    const content = copy.rewritten.get(digest) ?? await readChild(context, copy, descriptor);
    if (content === undefined) await copyBlob(context, { ...copy, blob: descriptor }, missing);
    else await copyManifest(context, copy, { content, depth }, missing);
  } catch (error) {
    for (const destination of destinations) destination.fail(error);
  }
}

/** A child that is no manifest but a blob is `undefined`. One that is missing or corrupt at its source is so for every image that has it. */
async function readChild(
  context: CopyContext,
  { source }: ImageCopy,
  descriptor: Descriptor,
): Promise<Content | undefined> {
  const { digest } = descriptor;
  try {
    return await source.getChild(descriptor, context.signal);
  } catch (error) {
    if (isPermanent(error)) context.presence.setPoison(source, digest, toError(error));
    throw error;
  }
}

/**
 * Puts a manifest. A registry that says something is missing is believed over what was known: its repository is forgotten,
 * everything below the manifest is looked at again and sent, and the manifest put once more.
 */
async function put(
  context: CopyContext,
  copy: ImageCopy,
  node: Node,
  { destination, name }: { destination: Destination; name: string },
): Promise<void> {
  const { repository } = destination;
  try {
    await repository.putManifest(name, node.content, { signal: context.signal });
  } catch (error) {
    if (!isIncomplete(error)) throw error;
    context.presence.forget(repository);
    await copyChildren(context, copy, node, [destination]);
    if (destination.failure !== undefined) throw destination.failure;
    await repository.putManifest(name, node.content, { signal: context.signal });
  }
  const { digest } = node.content.descriptor;
  const to = formatReference({ registry: repository.registry.host, repository: repository.name });
  context.emit({
    type: "manifest-pushed",
    task: copy.task,
    digest,
    destination: `${to}${name === digest ? "@" : ":"}${name}`,
  });
}

function isIncomplete(error: unknown): boolean {
  const codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
  return error instanceof RegistryError && codes.some((code) => error.hasCode(code));
}
