/** Step 6 of the walk, the copy: carries blobs, each to a repository at most once, out of one read for all who want it. */

import { Once } from "../../registry/once.ts";
import type { Registry } from "../../registry/registry.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import {
  resolveLocation,
  type UploadOpening,
  type UploadSession,
} from "../../registry/repository/upload_session.ts";
import { mayTrySoon, toError } from "../plan/failure.ts";
import { blobKey, keepsUploadsKey, uploadKey } from "../store/store.ts";
import { BlobDelivery } from "./blob_delivery.ts";
import { BlobReading, KEPT_BLOB_LIMIT } from "./blob_reading.ts";
import type { OpenedUpload } from "./blob_upload.ts";
import type { BlobOrder, CopyContext } from "./copy_context.ts";

/** Milliseconds after which no registry is expected to know an upload any more. */
const UPLOAD_LIFETIME = 24 * 60 * 60 * 1000;
/** Milliseconds for which a registry is not asked again to go on with an upload of an earlier run. */
const REFUSAL_LIFETIME = 30 * UPLOAD_LIFETIME;
/** Attempts a mount gets: it only ever saves an upload. */
const MOUNT_ATTEMPTS = 2;

/**
 * Brings blobs to repositories. A blob is on its way to a repository at most once, and to the repositories of one registry first to
 * one of them, from where the others mount it. A source is read once for all who come before its first bytes are gone; each
 * of them waits for nothing but its own destination.
 */
export class BlobCourier {
  #context: CopyContext;
  #arrivals = new Once<string, void>();
  #leaders = new Once<string, void>();
  /** Reads that begin with the first byte, by source and digest: the latest one that others may join. */
  #readings = new Map<string, BlobReading>();
  /** Registries that did not keep up: they read alone. */
  #separate = new Set<Registry>();
  /** Blobs whose destination has another length of them. */
  #damaged = new WeakSet<BlobOrder>();
  /** Failures that are a source's and not the destination's. */
  #sourceFailures = new WeakSet<Error>();

  /** Nothing is under way. */
  constructor(context: CopyContext) {
    this.#context = context;
  }

  /**
   * Brings a blob to a repository, unless it is there: sends it, mounts it, or waits for somebody else who brings it there.
   *
   * @throws {RegistryError} when a side refuses, after every attempt that made sense.
   * @throws {DigestError} when the source's blob is not what it should be.
   * @throws {StoppedError} when the run's time is up.
   */
  async bring(order: BlobOrder): Promise<void> {
    const { destination: { repository }, blob: { digest } } = order;
    const key = `${repository.registry.host}/${repository.name} ${digest}`;
    while (!this.#context.known.has(repository, digest)) {
      const underWay = this.#arrivals.get(key);
      if (underWay === undefined) return await this.#arrivals.do(key, () => this.#lead(order));
      try {
        await underWay;
      } catch (error) {
        // Whoever waits shares the fate of the other one, but not its bad source.
        if (!this.#isOfAnotherSource(error, order)) throw error;
      }
    }
    this.#skip(order, "exists");
  }

  #isOfAnotherSource(error: unknown, { source, blob }: BlobOrder): boolean {
    return error instanceof Error && this.#sourceFailures.has(error) &&
      this.#context.known.unreadable(source, blob.digest) === undefined;
  }

  /** The first in a registry carries the blob; who waited for it can mount it, or tries by itself if the first one failed. */
  async #lead(order: BlobOrder): Promise<void> {
    const key = `${order.destination.repository.registry.host} ${order.blob.digest}`;
    const leader = this.#leaders.get(key);
    if (leader === undefined) return await this.#leaders.do(key, () => this.#carry(order));
    await leader.catch(() => {});
    await this.#carry(order);
  }

  async #carry(order: BlobOrder): Promise<void> {
    const { known, emit } = this.#context;
    const { task, source, destination, blob: { digest } } = order;
    const unreadable = known.unreadable(source, digest);
    if (unreadable !== undefined) throw unreadable;
    const delivery = new BlobDelivery(this.#context, order, {
      open: (mayBeLater) => this.#open(order, mayBeLater),
      read: (offset) => this.#read(order, offset),
      separate: () => this.#separate.add(destination.repository.registry),
      keep: (session) => this.#keep(order, session),
    });
    try {
      const size = await delivery.run();
      if (size === undefined) return;
      if (this.#damaged.delete(order)) await this.#checkReplaced(order);
      await this.#note(order);
      emit({ type: "blob-copied", task, digest, size, destination: destination.name });
    } catch (error) {
      const failure = toError(error);
      if (failure === delivery.sourceFailure) {
        this.#sourceFailures.add(failure);
        if (!mayTrySoon(failure)) known.setUnreadable(source, digest, failure);
      }
      throw error;
    }
  }

  /** Joins a read that gives the bytes from a position on, or begins one. */
  #read(order: BlobOrder, offset: number): BlobReading {
    const { source, destination, blob } = order;
    const key = `${source.registry.host}/${source.name} ${blob.digest}`;
    const isAlone = offset > 0 || this.#separate.has(destination.repository.registry);
    const others = isAlone ? undefined : this.#readings.get(key);
    const reading = others?.canGive(offset) ? others : new BlobReading(this.#context, order, {
      start: offset,
      onOver: () => {
        if (this.#readings.get(key) === reading) this.#readings.delete(key);
      },
    });
    if (!isAlone) this.#readings.set(key, reading);
    reading.join(destination);
    return reading;
  }

  /** Checks, mounts, goes on with an upload of an earlier run, or opens one, unless a small blob may be sent without. */
  async #open(order: BlobOrder, mayBeLater: boolean): Promise<OpenedUpload | undefined> {
    const { known } = this.#context;
    const { destination: { repository }, blob: { digest } } = order;
    if (!known.isEmpty(repository, digest) && await this.#isThere(order)) {
      await this.#note(order);
      this.#skip(order, "exists");
      return undefined;
    }
    const mountFrom = this.#mountableFrom(order);
    const isDoubted = known.isDoubted(repository);
    if (mountFrom === undefined && mayBeLater && !isDoubted) {
      return { session: undefined, offset: 0, isKeepable: false };
    }
    const kept = await this.#kept(order);
    const isKeepable = await this.#isKeepable(order);
    if (kept !== undefined) return { ...kept, isKeepable };
    const opening = await this.#openUpload(order, mountFrom);
    if (opening.type === "opened") {
      await this.#forgetHint(order, mountFrom);
      return { session: opening.session, offset: 0, isKeepable };
    }
    await this.#note(order);
    this.#skip(order, "mounted");
    return undefined;
  }

  /** What a store says of a blob at another repository is deleted when the registry could not mount it from there. */
  async #forgetHint(
    { destination: { repository }, blob }: BlobOrder,
    from: string | undefined,
  ): Promise<void> {
    const { known, store } = this.#context;
    const { registry } = repository;
    if (from === undefined || known.has({ registry, name: from }, blob.digest)) return;
    await store.delete(blobKey(registry.host, from, blob.digest));
  }

  /** Some registries refuse a HEAD on what is not there (ACR, Artifactory); the push then tells whether it is a real refusal. */
  async #isThere(order: BlobOrder): Promise<boolean> {
    const { destination: { repository }, blob: { digest, size } } = order;
    try {
      const length = await repository.blobLength(digest, this.#context.signal);
      const isDamaged = length !== undefined && size >= 0 && length >= 0 && length !== size;
      if (isDamaged) this.#damaged.add(order);
      return length !== undefined && !isDamaged;
    } catch (error) {
      if (error instanceof RegistryError && [401, 403].includes(error.status)) return false;
      throw error;
    }
  }

  /**
   * A blob that was cut short on the registry's disk may stay so: distribution takes what it is sent, finds the digest on its
   * disk, and throws the bytes away.
   */
  async #checkReplaced(
    { destination: { repository, name }, blob: { digest, size } }: BlobOrder,
  ): Promise<void> {
    const length = await repository.blobLength(digest, this.#context.signal) ?? 0;
    if (length < 0 || size < 0 || length === size) return;
    const { registry } = repository;
    throw new RegistryError({
      action: `push blob "${digest}" to "${name}"`,
      method: "HEAD",
      url: registry.url.href,
      status: 0,
      isPermanent: true,
      why:
        `${registry.host} has ${length} of its ${size} bytes and does not replace them; it must be deleted there`,
    });
  }

  #mountableFrom(order: BlobOrder): string | undefined {
    const { source, destination: { repository }, blob } = order;
    const { known } = this.#context;
    // The repositories of a registry share what lies on its disk.
    if (this.#damaged.has(order)) return undefined;
    if (!repository.registry.abilities.canMount || known.isDoubted(repository)) return undefined;
    if (source.registry === repository.registry && source.name !== repository.name) return source.name;
    return known.holderOf(repository, blob.digest);
  }

  /** A mount that is refused outright (Docker Hub: 400 for foreign repositories), or twice, is an ordinary upload. */
  async #openUpload(
    { destination: { repository }, blob: { digest } }: BlobOrder,
    mountFrom: string | undefined,
  ): Promise<UploadOpening> {
    const { signal } = this.#context;
    if (mountFrom === undefined) return await repository.openUpload(digest, { signal });
    try {
      const opening = await repository.openUpload(digest, { mountFrom, attempts: MOUNT_ATTEMPTS, signal });
      const { abilities } = repository.registry;
      if (opening.type === "mounted") abilities.mounted = "granted";
      else abilities.mounted ??= "opened";
      return opening;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RegistryError)) throw error;
      const opening = await repository.openUpload(digest, { signal });
      repository.registry.abilities.canMount = false;
      return opening;
    }
  }

  /** Remembers where an upload is that the run leaves in the middle. */
  async #keep({ destination: { repository }, blob }: BlobOrder, session: UploadSession): Promise<void> {
    const { registry, name } = repository;
    const { location, chunkMinimum = null } = session;
    const options = { expiresIn: UPLOAD_LIFETIME };
    await this.#context.store.set(
      uploadKey(registry.host, name, blob.digest),
      { location, chunkMinimum },
      options,
    );
  }

  /** Whether another run could go on with an upload: of a blob that is worth it, and whose rest need not be verified alone. */
  async #isKeepable(
    { destination: { repository }, blob }: Pick<BlobOrder, "blob" | "destination">,
  ): Promise<boolean> {
    const { store, createHasher } = this.#context;
    if (blob.size <= KEPT_BLOB_LIMIT || createHasher !== undefined) return false;
    return await store.get(keepsUploadsKey(repository.registry.host)) !== false;
  }

  /** An upload that an earlier run has left in the middle, where its registry still knows it; it is gone on with once. */
  async #kept({ destination, blob }: BlobOrder): Promise<Omit<OpenedUpload, "isKeepable"> | undefined> {
    const { store, signal, emit } = this.#context;
    const { repository } = destination;
    if (!await this.#isKeepable({ destination, blob })) return undefined;
    const key = uploadKey(repository.registry.host, repository.name, blob.digest);
    const session = sessionOf(await store.get(key), repository.registry.url);
    if (session === undefined) return undefined;
    await store.delete(key);
    const offset = await repository.uploadOffset(session, signal);
    if (offset !== undefined && offset > 0 && offset <= blob.size) return { session, offset };
    const message =
      `"${destination.name}" kept nothing of an upload that was interrupted; blob "${blob.digest}" is sent from its start`;
    emit({ type: "warning", message });
    const options = { expiresIn: REFUSAL_LIFETIME };
    await store.set(keepsUploadsKey(repository.registry.host), false, options);
    return undefined;
  }

  /** Remembers that a blob is at a destination, for this run and the next. */
  async #note({ destination: { repository }, blob }: BlobOrder): Promise<void> {
    const { known, store, now } = this.#context;
    known.add(repository, blob.digest);
    // What was seen before is not written again: the time would make every run write every blob.
    if (known.isHinted(repository, blob.digest)) return;
    const { registry, name } = repository;
    await store.set(blobKey(registry.host, name, blob.digest), { size: blob.size, seenAt: now() });
  }

  #skip({ task, destination, blob }: BlobOrder, reason: "exists" | "mounted"): void {
    const { digest, size } = blob;
    this.#context.emit({
      type: "blob-skipped",
      task,
      digest,
      size,
      destination: destination.name,
      reason,
    });
  }
}

/** The upload a store remembers, if what it remembers is one that goes on at its registry. */
function sessionOf(value: unknown, base: URL): UploadSession | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { location, chunkMinimum } = value as { location?: unknown; chunkMinimum?: unknown };
  if (typeof location !== "string") return undefined;
  try {
    const isNumber = typeof chunkMinimum === "number";
    return {
      location: resolveLocation(location, base),
      chunkMinimum: isNumber ? chunkMinimum : undefined,
    };
  } catch {
    return undefined;
  }
}
