/** Step 6 of the walk, the copy: one blob from its source to every destination that lacks it. */

import { algorithmOf, type Descriptor, DigestError, digestOf } from "../oci/descriptor.ts";
import { formatReference, type Reference } from "../oci/reference.ts";
import { BlobSource } from "../registry/blob_source.ts";
import { type ByteSource, fanOut, UploadBody } from "../registry/body.ts";
import type { TransferSlots } from "../registry/gate.ts";
import { RegistryError } from "../registry/registry_error.ts";
import type { Repository, UploadSession } from "../registry/repository.ts";
import { isPermanent, toError } from "./failure.ts";
import type { Presence } from "./presence.ts";
import type { CopyEvent } from "./report.ts";
import { blobKey, type Store } from "./store.ts";

/** What copying needs. */
export interface CopyContext {
  /** Opens a repository. */
  open: (registry: string, name: string, actions: "pull" | "pull,push") => Repository;
  /** What is known to be where. */
  presence: Presence;
  /** Blobs under way at once. */
  slots: TransferSlots;
  /** The memory between runs. */
  store: Store;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Tells whoever watches. */
  emit: (event: CopyEvent) => void;
  /** Ends everything. */
  signal?: AbortSignal | undefined;
}

/** One place that an image goes to. It leaves the work when something fails there; the others go on. */
export class Destination {
  /** The reference in full. */
  readonly reference: Reference;
  /** The reference as users write it. */
  readonly name: string;
  /** Its repository. */
  readonly repository: Repository;
  /** Why nothing more is done for it. */
  failure: Error | undefined;

  /** Nothing has failed yet. */
  constructor(reference: Reference, repository: Repository) {
    this.reference = reference;
    this.name = formatReference(reference);
    this.repository = repository;
  }

  /** Notes a failure; the first one counts. */
  fail(error: unknown): void {
    this.failure ??= toError(error);
  }
}

/** One blob to copy. */
export interface BlobCopy {
  /** Task the blob belongs to, for events. */
  task: string;
  /** Where it is. */
  source: Repository;
  /** What it is. */
  blob: Descriptor;
}

/**
 * Blobs up to this size, in bytes, are read whole and checked before they are sent: they can be sent again without being
 * read again, and hashing them costs nothing that is noticed.
 */
const WHOLE_BLOB_LIMIT = 1024 * 1024;
/** How far one destination may fall behind another that shares its stream, in bytes. */
const FAN_OUT_LAG = 4 * 1024 * 1024;

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
  for (const destination of destinations.filter((one) => one.failure === undefined)) {
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

/** Who is bringing one blob where. */
class Claims {
  #presence: Presence;
  #digest: string;
  #ends = new Map<Destination, PromiseWithResolvers<void>>();

  constructor(presence: Presence, digest: string) {
    this.#presence = presence;
    this.#digest = digest;
  }

  flightTo({ registry, name }: Repository): Promise<void> | undefined {
    return this.#presence.flight(`${registry}/${name} ${this.#digest}`);
  }

  flightToRegistry({ registry }: Repository): Promise<void> | undefined {
    return this.#presence.flight(`${registry} ${this.#digest}`);
  }

  /** Claims a repository. */
  claim(destination: Destination): void {
    const { registry, name } = destination.repository;
    const end = Promise.withResolvers<void>();
    this.#ends.set(destination, end);
    this.#presence.setFlight(`${registry}/${name} ${this.#digest}`, end.promise);
  }

  /** Claims a repository and the lead in its registry. */
  lead(destination: Destination): void {
    this.claim(destination);
    const promise = this.#ends.get(destination)?.promise;
    if (promise !== undefined) {
      this.#presence.setFlight(`${destination.repository.registry} ${this.#digest}`, promise);
    }
  }

  /** Tells those who wait how it ended. */
  settle(destination: Destination): void {
    const end = this.#ends.get(destination);
    if (destination.failure === undefined) end?.resolve();
    else end?.reject(destination.failure);
  }
}

/** Waits for somebody else who brings the same blob to the same repository, and shares their fate. */
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
    destination.fail(error);
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

/** Brings the blob to repositories that nobody else brings it to. */
async function bring(
  context: CopyContext,
  copy: BlobCopy,
  destinations: readonly Destination[],
): Promise<void> {
  let waiting = [...destinations];
  const { transport } = copy.source;
  for (let attempt = 1; waiting.length > 0; attempt++) {
    const failures = await bringOnce(context, copy, waiting);
    waiting = [];
    let last: Error | undefined;
    for (const [destination, error] of failures) {
      const isFinal = context.signal?.aborted || isPermanent(error) || attempt >= transport.limits.attempts;
      if (isFinal) destination.fail(error);
      else {
        waiting.push(destination);
        last = error;
      }
    }
    const [first] = waiting;
    if (first === undefined || last === undefined) continue;
    const action = `push blob "${copy.blob.digest}" to "${first.name}"`;
    const { registry } = first.repository;
    await transport.backOff({ registry, action, signal: context.signal }, last, attempt).catch((error) => {
      for (const destination of waiting) destination.fail(error);
      waiting = [];
    });
  }
}

/** One attempt: sessions first, the source last, because a stream cannot be sent twice. */
async function bringOnce(
  context: CopyContext,
  copy: BlobCopy,
  destinations: readonly Destination[],
): Promise<Map<Destination, Error>> {
  const failures = new Map<Destination, Error>();
  const sessions = new Map<Destination, UploadSession>();
  await Promise.all(destinations.map(async (destination) => {
    try {
      const session = await openSession(context, copy, destination);
      if (session !== undefined) sessions.set(destination, session);
    } catch (error) {
      failures.set(destination, toError(error));
    }
  }));
  if (sessions.size === 0) return failures;
  try {
    const registries = [
      copy.source.registry,
      ...[...sessions.keys()].map(({ repository }) => repository.registry),
    ];
    const release = await context.slots.acquire(registries, context.signal);
    try {
      await send(context, copy, sessions, failures);
    } finally {
      release();
    }
  } catch (error) {
    for (const destination of sessions.keys()) failures.set(destination, toError(error));
  }
  await cancelFailed(sessions, failures);
  return failures;
}

/** Gives up the uploads that will not be finished; they would lie around at the registry. */
async function cancelFailed(
  sessions: Map<Destination, UploadSession>,
  failures: Map<Destination, Error>,
): Promise<void> {
  const failed = [...sessions].filter(([destination]) => failures.has(destination));
  await Promise.all(
    failed.map(([{ repository }, session]) => repository.cancelUpload(session).catch(() => {})),
  );
}

/** Checks, mounts, or opens an upload; without a session there is nothing left to do. */
async function openSession(
  context: CopyContext,
  copy: BlobCopy,
  destination: Destination,
): Promise<UploadSession | undefined> {
  const { repository } = destination;
  const { digest } = copy.blob;
  if (!context.presence.isEmpty(repository, digest) && await isThere(context, copy, destination)) {
    await note(context, copy, destination);
    skip(context, copy, destination, "exists");
    return undefined;
  }
  const mountFrom = mountableFrom(context, copy, repository);
  const opening = await openUpload(context, destination, digest, mountFrom);
  if (opening.type === "opened") return opening.session;
  await note(context, copy, destination);
  skip(context, copy, destination, "mounted");
  return undefined;
}

/** Some registries refuse a HEAD on what is not there (ACR, Artifactory); the push then tells whether it is a real refusal. */
async function isThere(context: CopyContext, copy: BlobCopy, { repository }: Destination): Promise<boolean> {
  try {
    return await repository.hasBlob(copy.blob.digest, context.signal);
  } catch (error) {
    if (error instanceof RegistryError && [401, 403].includes(error.status)) return false;
    throw error;
  }
}

function mountableFrom(
  context: CopyContext,
  { source, blob }: BlobCopy,
  repository: Repository,
): string | undefined {
  if (source.registry === repository.registry && source.name !== repository.name) return source.name;
  return context.presence.holderOf(repository, blob.digest);
}

/** A mount that is refused outright (Docker Hub: 400 for foreign repositories) is an ordinary upload. */
async function openUpload(
  { signal }: CopyContext,
  { repository }: Destination,
  digest: string,
  mountFrom: string | undefined,
): ReturnType<Repository["openUpload"]> {
  if (mountFrom === undefined) return await repository.openUpload(digest, { signal });
  try {
    return await repository.openUpload(digest, { mountFrom, signal });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof RegistryError) || !error.isPermanent) throw error;
    return await repository.openUpload(digest, { signal });
  }
}

type Sessions = Map<Destination, UploadSession>;

async function send(
  context: CopyContext,
  copy: BlobCopy,
  sessions: Sessions,
  failures: Map<Destination, Error>,
): Promise<void> {
  const { task, blob: { digest, size } } = copy;
  const source = new BlobSource(copy.source, copy.blob, { signal: context.signal });
  const names = [...sessions.keys()].map(({ name }) => name);
  context.emit({ type: "blob-started", task, digest, size, destinations: names });
  try {
    await source.open();
    if (source.size >= 0 && source.size <= WHOLE_BLOB_LIMIT) {
      await sendWhole(context, copy, source, { sessions, failures });
    } else await sendStream(context, copy, source, { sessions, failures });
  } finally {
    source.cancel(new DOMException("the transfer is over", "AbortError"));
    context.emit({ type: "blob-ended", task, digest });
  }
}

interface Sending {
  sessions: Sessions;
  failures: Map<Destination, Error>;
}

async function sendWhole(
  context: CopyContext,
  copy: BlobCopy,
  source: BlobSource,
  sending: Sending,
): Promise<void> {
  const bytes = await readWhole(source);
  const { digest } = copy.blob;
  const actual = await digestOf(bytes, algorithmOf(digest));
  if (actual !== digest) {
    throw new DigestError(`blob of "${copy.source.registry}/${copy.source.name}"`, digest, actual);
  }
  context.emit({ type: "blob-progress", task: copy.task, digest, bytes: bytes.length });
  await Promise.all(
    [...sending.sessions].map(([destination, session]) =>
      sendTo(context, copy, destination, { ...sending, size: bytes.length }, () =>
        // A copy each: a runtime may take the buffer it is given.
        destination.repository.putBlob(session, digest, bytes.slice(), context.signal))
    ),
  );
}

async function sendStream(
  context: CopyContext,
  copy: BlobCopy,
  source: BlobSource,
  sending: Sending,
): Promise<void> {
  const { task, blob: { digest } } = copy;
  const counted: ByteSource = {
    read: async () => {
      const piece = await source.read();
      if (piece !== undefined) context.emit({ type: "blob-progress", task, digest, bytes: piece.length });
      return piece;
    },
    cancel: (reason) => source.cancel(reason),
  };
  const { stall } = copy.source.transport.limits;
  const branches = fanOut(counted, sending.sessions.size, { lag: FAN_OUT_LAG, patience: stall });
  const uploads = [...sending.sessions].map(([destination, session], index) => {
    const body = new UploadBody(branches[index] ?? counted, source.size);
    return sendTo(
      context,
      copy,
      destination,
      { ...sending, size: source.size },
      () => destination.repository.putBlob(session, digest, body, context.signal),
    );
  });
  await Promise.all(uploads);
}

async function sendTo(
  context: CopyContext,
  copy: BlobCopy,
  destination: Destination,
  { failures, size }: Sending & { size: number },
  put: () => Promise<void>,
): Promise<void> {
  try {
    await put();
    await note(context, copy, destination);
    const { task, blob: { digest } } = copy;
    context.emit({ type: "blob-copied", task, digest, size, destination: destination.name });
  } catch (error) {
    failures.set(destination, toError(error));
  }
}

async function readWhole(source: BlobSource): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(source.size);
  let length = 0;
  for (let piece = await source.read(); piece !== undefined; piece = await source.read()) {
    bytes.set(piece, length);
    length += piece.length;
  }
  return bytes.subarray(0, length);
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
  await store.set(blobKey(registry, name, blob.digest), { size: blob.size, seenAt: now() });
}

function skip(
  { emit }: CopyContext,
  { task, blob: { digest, size } }: BlobCopy,
  { name }: Destination,
  reason: "exists" | "mounted",
): void {
  emit({ type: "blob-skipped", task, digest, size, destination: name, reason });
}
