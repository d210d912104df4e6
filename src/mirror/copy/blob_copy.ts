/** Step 6 of the walk, the copy: one blob to every destination that lacks it, at most once to each. */

import { RegistryError } from "../../registry/registry_error.ts";
import type { Repository } from "../../registry/repository.ts";
import type { UploadOpening, UploadSession } from "../../registry/upload_session.ts";
import { Claims } from "./claims.ts";
import { type CopyContext, type Destination, live } from "./destination.ts";
import { isPermanent } from "../plan/failure.ts";
import { blobKey } from "../store/store.ts";
import { Transfer } from "./transfer.ts";
import type { BlobCopy } from "./transfer_source.ts";

/**
 * Copies one blob to every destination that lacks it. Whoever fails notes it on the destination; nothing is thrown.
 *
 * A blob is on its way to a repository at most once, and to the repositories of one registry first to one of them (the
 * leader), from where the others mount it.
 */
export async function copyBlob(
  context: CopyContext,
  copy: BlobCopy,
  destinations: readonly Destination[],
): Promise<void> {
  const { presence } = context;
  const leaders: Destination[] = [];
  const waiting: Promise<void>[] = [];
  const claims = new Claims(presence, copy.blob.digest);
  for (const destination of live(destinations)) {
    const { repository } = destination;
    if (presence.has(repository, copy.blob.digest)) skip(context, copy, destination, "exists");
    else if (claims.flightTo(repository) !== undefined) {
      waiting.push(join(context, copy, destination, claims));
    } else if (claims.flightToRegistry(repository) !== undefined) {
      waiting.push(follow(context, copy, destination, claims));
    } else {
      claims.lead(destination);
      leaders.push(destination);
    }
  }
  await Promise.all([lead(context, copy, leaders, claims), ...waiting]);
}

/** Waits for somebody else who brings the same blob to the same repository, and shares their fate, but not their bad source. */
async function join(
  context: CopyContext,
  copy: BlobCopy,
  destination: Destination,
  claims: Claims,
): Promise<void> {
  try {
    await claims.flightTo(destination.repository);
    skip(context, copy, destination, "exists");
  } catch (error) {
    const { presence } = context;
    const isMine = presence.poisonOf(copy.source, copy.blob.digest) !== undefined;
    if (presence.isPoison(error) && !isMine) await copyBlob(context, copy, [destination]);
    else destination.fail(error);
  }
}

/** Waits for the leader in this registry, whose blob can then be mounted; if it failed, this one tries by itself. */
async function follow(
  context: CopyContext,
  copy: BlobCopy,
  destination: Destination,
  claims: Claims,
): Promise<void> {
  const leader = claims.flightToRegistry(destination.repository);
  claims.claim(destination);
  await leader?.catch(() => {});
  await bring(context, copy, [destination]);
  claims.settle(destination);
}

async function lead(
  context: CopyContext,
  copy: BlobCopy,
  leaders: Destination[],
  claims: Claims,
): Promise<void> {
  if (leaders.length === 0) return;
  await bring(context, copy, leaders);
  for (const destination of leaders) claims.settle(destination);
}

async function bring(
  context: CopyContext,
  copy: BlobCopy,
  destinations: readonly Destination[],
): Promise<void> {
  const poison = context.presence.poisonOf(copy.source, copy.blob.digest);
  if (poison !== undefined) {
    for (const destination of destinations) destination.fail(poison);
    return;
  }
  const transfer = new Transfer(context, copy, {
    open: (destination, mayBeLater) => openSession(context, copy, destination, mayBeLater),
    done: async (destination, size) => {
      await note(context, copy, destination);
      const { task, blob: { digest } } = copy;
      context.emit({ type: "blob-copied", task, digest, size, destination: destination.name });
    },
  });
  try {
    await transfer.run(destinations);
    const failure = transfer.sourceFailure;
    if (failure !== undefined && isPermanent(failure)) {
      context.presence.setPoison(copy.source, copy.blob.digest, failure);
    }
  } catch (error) {
    for (const destination of destinations) destination.fail(error);
  }
}

/** Checks, mounts, or opens an upload, unless a small blob may be sent without one. */
async function openSession(
  context: CopyContext,
  copy: BlobCopy,
  destination: Destination,
  mayBeLater: boolean,
): Promise<UploadSession | "present" | "later"> {
  const { repository } = destination;
  const { digest } = copy.blob;
  if (!context.presence.isEmpty(repository, digest) && await isThere(context, copy, destination)) {
    await note(context, copy, destination);
    skip(context, copy, destination, "exists");
    return "present";
  }
  const mountFrom = mountableFrom(context, copy, repository);
  if (mountFrom === undefined && mayBeLater) return "later";
  const opening = await openUpload(context, copy, { repository, mountFrom });
  if (opening.type === "opened") return opening.session;
  await note(context, copy, destination);
  skip(context, copy, destination, "mounted");
  return "present";
}

/** Some registries refuse a HEAD on what is not there (ACR, Artifactory); the push then tells whether it is a real refusal. */
async function isThere(context: CopyContext, copy: BlobCopy, { repository }: Destination): Promise<boolean> {
  try {
    return await repository.hasBlob(copy.blob.digest, { size: copy.blob.size, signal: context.signal });
  } catch (error) {
    if (error instanceof RegistryError && [401, 403].includes(error.status)) return false;
    throw error;
  }
}

/** A mount that is refused outright (Docker Hub: 400 for foreign repositories) is an ordinary upload. */
async function openUpload(
  context: CopyContext,
  copy: BlobCopy,
  { repository, mountFrom }: { repository: Repository; mountFrom: string | undefined },
): Promise<UploadOpening> {
  const { signal } = context;
  const { digest } = copy.blob;
  if (mountFrom === undefined) return await repository.openUpload(digest, { signal });
  try {
    return await repository.openUpload(digest, { mountFrom, signal });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof RegistryError) || !error.isPermanent) throw error;
    const opening = await repository.openUpload(digest, { signal });
    repository.registry.abilities.learnNoMount();
    return opening;
  }
}

function mountableFrom(
  { presence }: CopyContext,
  { source, blob }: BlobCopy,
  repository: Repository,
): string | undefined {
  if (!repository.registry.abilities.canMount) return undefined;
  if (source.registry === repository.registry && source.name !== repository.name) return source.name;
  return presence.holderOf(repository, blob.digest);
}

/** Remembers that a blob is at a destination, for this run and the next. */
async function note(
  { presence, store, now }: CopyContext,
  { blob }: BlobCopy,
  { repository }: Destination,
): Promise<void> {
  presence.add(repository, blob.digest);
  const { registry, name } = repository;
  // What was seen before is not written again: the time would make every run write every blob.
  if (presence.isHinted(repository, blob.digest)) return;
  await store.set(blobKey(registry.host, name, blob.digest), { size: blob.size, seenAt: now() });
}

function skip(
  { emit }: CopyContext,
  { task, blob: { digest, size } }: BlobCopy,
  { name }: Destination,
  reason: "exists" | "mounted",
): void {
  emit({ type: "blob-skipped", task, digest, size, destination: name, reason });
}
