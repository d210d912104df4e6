/** Step 6 of the walk, the copy: the bytes of one blob, from one read of its source to several uploads. */

import { type ByteSource, fanOut, UploadBody } from "../../registry/stream/body.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import { SlicedSource } from "../../registry/stream/replay_source.ts";
import type { Repository } from "../../registry/repository.ts";
import type { UploadOpening, UploadSession } from "../../registry/upload_session.ts";
import { type CopyContext, type Destination, StoppedError } from "./destination.ts";
import { isPermanent, toError } from "../plan/failure.ts";
import { type BlobCopy, TransferSource } from "./transfer_source.ts";

/**
 * Blobs up to this size, in bytes, are requests like any other: they take no place among the blobs under way (40 configs of an
 * image would hold up its layers), and may be sent with the request that would open their upload.
 */
const SMALL_BLOB_LIMIT = 64 * 1024;
/** Bytes of a part when nobody knows how long the blob is. */
const UNSIZED_PART = 4 * 1024 * 1024;
/** How far one destination may fall behind another that shares its stream, in bytes. */
const FAN_OUT_LAG = 4 * 1024 * 1024;

/** An upload that has been opened. */
interface Upload {
  /** Not there yet for a small blob at a registry that may take it without. */
  session: UploadSession | undefined;
  /** Bytes the registry has. */
  offset: number;
  /** Bytes that were last sent with one request. */
  atOnce: number;
}

/** How a transfer asks for an upload, and tells that one is done. */
export interface TransferHooks {
  /**
   * Checks, mounts, or opens an upload. `present` means that nothing is left to send; `later`, only where that is allowed,
   * that the blob may be sent without an upload.
   */
  open: (destination: Destination, mayBeLater: boolean) => Promise<UploadSession | "present" | "later">;
  /** The blob is at the destination. */
  done: (destination: Destination, size: number) => Promise<void>;
}

/**
 * One blob on its way. Sessions come first, the source last, because a stream cannot be sent twice; an upload that breaks
 * off goes on from where the registry says it is, with bytes that are still in memory or with the rest of the source.
 */
export class Transfer {
  #context: CopyContext;
  #copy: BlobCopy;
  #hooks: TransferHooks;
  #uploads = new Map<Destination, Upload>();
  #failures = new Map<Destination, Error>();
  #source: TransferSource;

  /** Nothing is sent before {@linkcode run}. */
  constructor(context: CopyContext, copy: BlobCopy, hooks: TransferHooks) {
    this.#context = context;
    this.#copy = copy;
    this.#hooks = hooks;
    this.#source = new TransferSource(context, copy);
  }

  /** Why the source could not be read, after every attempt that made sense. */
  get sourceFailure(): Error | undefined {
    return this.#source.failure;
  }

  /** Brings the blob to every destination; one that fails for good notes it, nothing is thrown. */
  async run(destinations: readonly Destination[]): Promise<void> {
    const { limits } = this.#copy.source.registry.context;
    let waiting = [...destinations];
    try {
      for (let attempt = 1; waiting.length > 0; attempt++) {
        this.#failures.clear();
        await this.#attempt(waiting);
        if (attempt === 1 && this.#failures.size === 0) this.#source.finish();
        const isLast = attempt >= limits.attempts;
        waiting = waiting.filter((destination) => this.#mayTryAgain(destination, isLast));
        if (waiting.length > 0) waiting = await this.#backOff(waiting, attempt);
      }
    } finally {
      this.#source.drop();
      await this.#cancelAll();
    }
  }

  async #attempt(destinations: readonly Destination[]): Promise<void> {
    await Promise.all(
      destinations.map((destination) => this.#guard(destination, () => this.#prepare(destination))),
    );
    const ready = [...this.#uploads.keys()].filter((one) => destinations.includes(one));
    if (ready.length === 0) return;
    const { slots, signal } = this.#context;
    try {
      const parties = [this.#copy.source, ...ready.map(({ repository }) => repository)];
      const gates = parties.map(({ registry }) => registry.gate);
      const release = this.#isSmall() ? undefined : await slots.acquire(gates, signal);
      try {
        if (this.#context.isStopping()) throw new StoppedError();
        await this.#send(ready);
      } finally {
        release?.();
      }
    } catch (error) {
      // Those that are done have no upload any more: what fails after them is not theirs.
      const undone = ready.filter((destination) => this.#uploads.has(destination));
      for (const destination of undone) this.#failures.set(destination, toError(error));
    }
  }

  #isSmall(): boolean {
    const { size } = this.#copy.blob;
    return size >= 0 && size <= SMALL_BLOB_LIMIT;
  }

  /** Finds out how far an upload is that broke off, or opens a new one. */
  async #prepare(destination: Destination): Promise<void> {
    const known = this.#uploads.get(destination);
    const { repository } = destination;
    if (known?.session !== undefined) {
      const offset = await this.#offsetOf(repository, known.session);
      if (offset !== undefined) {
        known.offset = offset;
        return;
      }
      await this.#cancel(destination);
    }
    const opened = await this.#hooks.open(destination, this.#isSmall());
    if (opened === "present") return;
    const session = typeof opened === "string" ? undefined : opened;
    this.#uploads.set(destination, { session, offset: 0, atOnce: 0 });
  }

  async #offsetOf(repository: Repository, session: UploadSession): Promise<number | undefined> {
    // A blob that is sent whole is sent from its start, which an upload that holds some of it would not take.
    if (this.#source.whole !== undefined) return undefined;
    if (!repository.registry.abilities.canResume) return undefined;
    const offset = await repository.uploadOffset(session, this.#context.signal);
    const size = this.#source.size;
    // An upload that holds nothing is not worth going on with: some registries are confused by one that broke off.
    if (offset === undefined || offset === 0 || size < 0 || offset > size) return undefined;
    // The rest alone cannot be verified, so with that demand everything is sent again unless the rest is still at hand.
    const isVerifiable = this.#context.createHasher === undefined || this.#source.canReplay(offset);
    return isVerifiable ? offset : undefined;
  }

  async #send(destinations: readonly Destination[]): Promise<void> {
    const { emit } = this.#context;
    const { task, blob: { digest, size } } = this.#copy;
    emit({ type: "blob-started", task, digest, size, destinations: destinations.map(({ name }) => name) });
    try {
      await this.#openSource(destinations);
      if (this.#source.whole !== undefined) await this.#sendWhole(destinations, this.#source.whole);
      else await this.#sendStreams(destinations);
    } finally {
      this.#source.tellProgress();
      emit({ type: "blob-ended", task, digest });
    }
  }

  /** Opens the source, so that what it refuses is known before anything is sent; a small blob is read at once. */
  async #openSource(destinations: readonly Destination[]): Promise<void> {
    await this.#source.open(Math.min(...destinations.map((one) => this.#uploads.get(one)?.offset ?? 0)));
  }

  async #sendWhole(destinations: readonly Destination[], bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { digest } = this.#copy.blob;
    await Promise.all(destinations.map((destination) =>
      this.#guard(destination, async () => {
        const { signal } = this.#context;
        const { repository } = destination;
        const session = this.#uploads.get(destination)?.session ?? await this.#postWhole(destination, bytes);
        if (session !== undefined) await repository.putBlob(session, digest, bytes, signal);
        await this.#finish(destination, bytes.length);
      })
    ));
  }

  /** Sends a small blob at once; a registry that opens an upload instead gets it that way, now and from now on. */
  async #postWhole(
    destination: Destination,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<UploadSession | undefined> {
    const { repository } = destination;
    const { signal } = this.#context;
    const { digest } = this.#copy.blob;
    // Not before the bytes are at hand: whoever tries must wait for nothing else, or two would wait for each other.
    const opening = await repository.registry.abilities.tryPostWhole(
      (mayPost) => openOrPost(repository, { digest, bytes: mayPost ? bytes : undefined, signal }),
    );
    if (opening.type !== "opened") return undefined;
    const { session } = opening;
    this.#uploads.set(destination, { session, offset: 0, atOnce: bytes.length });
    return session;
  }

  /** All that start at the same byte share one stream; one that goes on from elsewhere comes after them. */
  async #sendStreams(destinations: readonly Destination[]): Promise<void> {
    const first = Math.min(...destinations.map((one) => this.#uploads.get(one)?.offset ?? 0));
    const together = destinations.filter((one) => this.#uploads.get(one)?.offset === first);
    const { stall } = this.#copy.source.registry.context.limits;
    const reader = this.#source.reader(first, together.length > 1);
    const branches = fanOut(reader, together.length, { lag: FAN_OUT_LAG, patience: stall });
    await Promise.all(
      together.map((destination, index) =>
        this.#guard(destination, () => this.#sendTo(destination, branches[index] ?? reader))
      ),
    );
    const later = destinations.filter((one) => !together.includes(one));
    if (later.length === 0) return;
    await this.#openSource(later);
    await this.#sendStreams(later);
  }

  async #sendTo(destination: Destination, reader: ByteSource): Promise<void> {
    const upload = this.#uploads.get(destination);
    const size = this.#source.size;
    if (upload?.session === undefined) return;
    const { repository } = destination;
    const { digest } = this.#copy.blob;
    const { signal } = this.#context;
    const chunk = Math.max(repository.registry.abilities.chunk, upload.session.chunkMinimum ?? 0);
    upload.atOnce = size < 0 ? UNSIZED_PART : Math.min(chunk, size);
    if (upload.offset === 0 && size >= 0 && size <= chunk) {
      await repository.putBlob(upload.session, digest, new UploadBody(reader, size), signal);
    } else {
      if (size < 0) await this.#sendUnsized(destination, upload, reader);
      else await this.#sendParts(destination, upload, reader, { size, chunk });
      await repository.putBlob(upload.session, digest, new Uint8Array(), signal);
    }
    await this.#finish(destination, Math.max(size, upload.offset));
  }

  async #sendParts(
    { repository }: Destination,
    upload: Upload,
    reader: ByteSource,
    { size, chunk }: { size: number; chunk: number },
  ): Promise<void> {
    const parts = new SlicedSource(reader);
    while (upload.offset < size) {
      const length = Math.min(chunk, size - upload.offset);
      await this.#sendPart(repository, upload, new UploadBody(parts.take(length), length));
    }
  }

  /** Neither schema 1 nor a source that sends chunks says how long a blob is: it goes in parts that are. */
  async #sendUnsized({ repository }: Destination, upload: Upload, reader: ByteSource): Promise<void> {
    for (;;) {
      const pieces: Uint8Array<ArrayBuffer>[] = [];
      let length = 0;
      while (length < UNSIZED_PART) {
        const piece = await reader.read();
        if (piece === undefined) break;
        pieces.push(piece);
        length += piece.length;
      }
      if (length === 0) return;
      const body = new UploadBody({ read: () => Promise.resolve(pieces.shift()), cancel: () => {} }, length);
      await this.#sendPart(repository, upload, body);
    }
  }

  async #sendPart(repository: Repository, upload: Upload, body: UploadBody): Promise<void> {
    const { digest } = this.#copy.blob;
    const { signal } = this.#context;
    if (upload.session === undefined) return;
    await repository.patchBlob(upload.session, digest, { body, offset: upload.offset, signal });
    upload.offset += body.size;
  }

  async #finish(destination: Destination, size: number): Promise<void> {
    this.#uploads.delete(destination);
    await this.#hooks.done(destination, size);
  }

  async #guard(destination: Destination, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#failures.set(destination, toError(error));
    }
  }

  /** Whether a destination that failed is worth another attempt; if not, it is told. */
  #mayTryAgain(destination: Destination, isLast: boolean): boolean {
    const error = this.#failures.get(destination);
    if (error === undefined) return false;
    const { abilities } = destination.repository.registry;
    const { signal, isStopping } = this.#context;
    const isChunked = Number.isFinite(abilities.chunk);
    const { offset, atOnce } = this.#uploads.get(destination) ?? { offset: 0, atOnce: 0 };
    const hasResumed = !isChunked && offset > 0;
    if (!isLast && !signal?.aborted && !isStopping() && error !== this.#source.failure) {
      if (abilities.learnTooLarge(error, atOnce)) return this.#startOver(destination);
      if (hasResumed && error instanceof RegistryError && error.isPermanent) {
        abilities.learnNoResume();
        return this.#startOver(destination);
      }
      if (isLostUpload(error, this.#source.whole !== undefined)) return this.#startOver(destination);
      if (!isPermanent(error)) return true;
    }
    destination.fail(error);
    return false;
  }

  #startOver(destination: Destination): true {
    const upload = this.#uploads.get(destination);
    // What the registry has of it is of no use: the next attempt finds nothing to go on with.
    this.#uploads.delete(destination);
    if (upload?.session !== undefined) {
      void destination.repository.cancelUpload(upload.session).catch(() => {});
    }
    return true;
  }

  async #backOff(waiting: Destination[], attempt: number): Promise<Destination[]> {
    const [first] = waiting;
    const error = first === undefined ? undefined : this.#failures.get(first);
    if (first === undefined || error === undefined) return [];
    const { registry } = first.repository;
    const action = `push blob "${this.#copy.blob.digest}" to "${first.name}"`;
    try {
      await registry.backOff({ action, signal: this.#context.signal }, error, attempt);
      return waiting;
    } catch (reason) {
      for (const destination of waiting) destination.fail(reason);
      return [];
    }
  }

  /** Uploads that will not be finished would lie around at the registry. */
  async #cancelAll(): Promise<void> {
    await Promise.all([...this.#uploads.keys()].map((destination) => this.#cancel(destination)));
  }

  async #cancel(destination: Destination): Promise<void> {
    const upload = this.#uploads.get(destination);
    this.#uploads.delete(destination);
    if (upload?.session !== undefined) {
      await destination.repository.cancelUpload(upload.session).catch(() => {});
    }
  }
}

/** A registry that refuses a blob with the opening request (rather than opening an upload) is asked without it. */
async function openOrPost(
  repository: Repository,
  { digest, bytes, signal }: {
    digest: string;
    bytes: Uint8Array<ArrayBuffer> | undefined;
    signal: AbortSignal | undefined;
  },
): Promise<UploadOpening> {
  try {
    return await repository.openUpload(digest, { bytes, signal });
  } catch (error) {
    if (bytes === undefined || !(error instanceof RegistryError) || !error.isPermanent) throw error;
    return await repository.openUpload(digest, { signal });
  }
}

/**
 * An upload that waited too long for its turn is forgotten by its registry. One of verified bytes that gets another digest
 * held some already: Deno sends bytes again by itself, into the same upload, when the connection breaks.
 */
function isLostUpload(error: Error, isVerified: boolean): boolean {
  return error instanceof RegistryError &&
    (error.hasCode("BLOB_UPLOAD_UNKNOWN") || error.hasCode("BLOB_UPLOAD_INVALID") ||
      isVerified && error.hasCode("DIGEST_INVALID"));
}
