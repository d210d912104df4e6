/** Step 6 of the walk, the copy: one blob to one repository, in as many attempts as make sense. */

import type { Abilities } from "../../registry/abilities.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { LaggardError } from "../../registry/stream/shared_source.ts";
import type { UploadSession } from "../../registry/repository/upload_session.ts";
import { mayTrySoon, toError } from "../plan/failure.ts";
import { type BlobReading, SMALL_BLOB_LIMIT } from "./blob_reading.ts";
import { BlobUpload, type OpenedUpload } from "./blob_upload.ts";
import { type BlobOrder, type CopyContext, StoppedError } from "./copy_context.ts";

/** How often an upload that its registry has lost is begun anew: each time costs all of the blob. */
const LOST_LIMIT = 2;
/** How often a registry may leave an upload without an answer that it was sent whole: each time lasts minutes. */
const SILENCE_LIMIT = 2;

/** What a delivery asks of the courier it works for. */
export interface DeliveryHooks {
  /**
   * Checks, mounts, or opens an upload, without a session only where that is allowed; `undefined` means that nothing is left
   * to send.
   */
  open: (mayBeLater: boolean) => Promise<OpenedUpload | undefined>;
  /** Joins a read of the blob that gives, or will give, the bytes from a position on. */
  read: (offset: number) => BlobReading;
  /** The destination does not keep up with others: what it is sent from now on it reads alone. */
  separate: () => void;
  /** An upload that the run leaves in the middle, to be gone on with in the next one. */
  keep: (session: UploadSession) => Promise<void>;
}

/**
 * Sessions come first, the source last, because a stream cannot be sent twice; an upload that breaks off goes on from where the
 * registry says it is, with bytes that are still in memory or with the rest of the source.
 */
export class BlobDelivery {
  #context: CopyContext;
  #order: BlobOrder;
  #hooks: DeliveryHooks;
  #abilities: Abilities;
  #reading: BlobReading;
  #upload: BlobUpload | undefined;
  #usesPatch: boolean;
  #hasResumed = false;
  #digestRefusals = 0;
  #losses = 0;
  #silences = 0;
  /** Milliseconds since 1970. */
  #startedAt: number;
  #refusal: Error | undefined;

  /** Joins a read of the blob, and sends nothing before {@linkcode run}. */
  constructor(context: CopyContext, order: BlobOrder, hooks: DeliveryHooks) {
    this.#context = context;
    this.#order = order;
    this.#hooks = hooks;
    this.#abilities = order.destination.repository.registry.abilities;
    this.#usesPatch = this.#abilities.isPatchOnly;
    this.#startedAt = order.destination.repository.registry.context.clock.now();
    this.#reading = hooks.read(0);
  }

  /** Why the source could not be read, after every attempt that made sense. */
  get sourceFailure(): Error | undefined {
    return this.#reading.failure;
  }

  /**
   * Brings the blob to its destination.
   *
   * @returns Bytes that were sent, or `undefined` where nothing was left to send.
   * @throws {RegistryError} when a side refuses, after every attempt that made sense.
   * @throws {DigestError} when a small blob is not what it should be.
   * @throws {StoppedError} when the run's time is up.
   */
  async run(): Promise<number | undefined> {
    try {
      for (let attempt = 1;;) {
        const upload = await this.#prepare();
        if (upload === undefined) return undefined;
        try {
          return await this.#attempt(upload);
        } catch (error) {
          const failure = ownFailureOf(error);
          this.#decide(failure, attempt);
          if (this.#learn(failure)) continue;
          await this.#backOff(failure, attempt++);
        }
      }
    } catch (error) {
      await this.#giveUp();
      throw error;
    } finally {
      this.#reading.leave(this.#order.destination);
    }
  }

  get #repository(): Repository {
    return this.#order.destination.repository;
  }

  /** Finds out how far an upload is that broke off, or opens a new one; `undefined` when the blob is there. */
  async #prepare(): Promise<BlobUpload | undefined> {
    const session = this.#upload?.session;
    if (session !== undefined) {
      const offset = await this.#offsetOf(session);
      if (offset !== undefined) {
        this.#upload = this.#uploadOf({ session, offset, isKeepable: this.#upload?.isKeepable ?? false });
        return this.#upload;
      }
      void this.#cancel();
    }
    const { size } = this.#order.blob;
    const isSmall = size >= 0 && size <= SMALL_BLOB_LIMIT && !this.#usesPatch;
    const opened = await this.#hooks.open(isSmall);
    return this.#upload = opened && this.#uploadOf(opened);
  }

  #uploadOf(opened: OpenedUpload): BlobUpload {
    return new BlobUpload(this.#context, this.#order, { ...opened, usesPatch: this.#usesPatch });
  }

  async #offsetOf(session: UploadSession): Promise<number | undefined> {
    // A blob that is sent whole is sent from its start, which an upload that holds some of it would not take.
    if (this.#reading.whole !== undefined || !this.#abilities.canResume) return undefined;
    const offset = await this.#repository.uploadOffset(session, this.#context.signal);
    const size = this.#reading.size;
    // An upload that holds nothing is not worth going on with: some registries are confused by one that broke off.
    if (offset === undefined || offset === 0 || size < 0 || offset > size) return undefined;
    // The rest alone cannot be verified, so with that demand everything is sent again unless the rest is still at hand.
    const isVerifiable = this.#context.createHasher === undefined || this.#reading.hasKept(offset);
    return isVerifiable ? offset : undefined;
  }

  async #attempt(upload: BlobUpload): Promise<number> {
    this.#hasResumed = upload.offset > 0;
    await this.#begin(upload.offset);
    let hasBroken = true;
    try {
      const size = await upload.send(this.#reading);
      this.#upload = undefined;
      if (this.#usesPatch) this.#abilities.isPatchOnly = true;
      hasBroken = false;
      return size;
    } finally {
      this.#reading.end(this.#order.destination, hasBroken);
    }
  }

  /** Begins to read from a position on: along with others where they are not past it, else from a new read. */
  async #begin(offset: number): Promise<void> {
    const { destination } = this.#order;
    for (;;) {
      if (!this.#reading.canGive(offset)) {
        this.#reading.leave(destination);
        this.#reading = this.#hooks.read(offset);
      }
      await this.#reading.begin(destination);
      if (this.#reading.canGive(offset)) return;
      this.#reading.end(destination);
    }
  }

  /** Throws what is not worth another attempt. */
  #decide(error: Error, attempt: number): void {
    const { signal, isStopping } = this.#context;
    const { limits } = this.#order.source.registry.context;
    const isOver = signal?.aborted || isStopping() || error instanceof StoppedError;
    if (isOver || this.#upload?.isSpent || error === this.#reading.failure) throw this.#refusal ?? error;
    const isSilence = error instanceof RegistryError && error.isSilence;
    if (isSilence && this.#upload?.isSent) this.#silences++;
    if (attempt < limits.attempts && this.#silences < SILENCE_LIMIT) return;
    if (isSilence) throw this.#repository.registry.exhaust(error, this.#startedAt);
    throw this.#refusal ?? error;
  }

  /** Whether a failure says how this registry wants uploads, or that it lost this one; the next attempt then starts over. */
  #learn(error: Error): boolean {
    const abilities = this.#abilities;
    if (error instanceof LaggardError) this.#hooks.separate();
    if (abilities.learnTooLarge(error, this.#upload?.atOnce ?? 0)) return this.#startOver();
    if (this.#hasResumed && error instanceof RegistryError && error.isPermanent) {
      abilities.canResume = false;
      return this.#startOver();
    }
    if (this.#wantsPatch(error)) {
      this.#usesPatch = true;
      this.#refusal = error;
      return this.#startOver();
    }
    return false;
  }

  /**
   * Some registries take bytes in PATCH alone; they say so in many ways, one of which is that the digest is not that of nothing
   * (the Rust crate container-registry: "500 feature not supported").
   */
  #wantsPatch(error: Error): boolean {
    if (this.#usesPatch || !(error instanceof RegistryError)) return false;
    if (error.hasCode("DIGEST_INVALID")) {
      // Verified bytes that get another digest held some already: Deno sends bytes again by itself when the connection breaks.
      return ++this.#digestRefusals > (this.#reading.whole === undefined ? 0 : 1);
    }
    const isRefused = [405, 501].includes(error.status) || error.hasCode("UNSUPPORTED") ||
      error.status >= 400 && /\b(?:unsupported|not (?:supported|implemented))\b/i.test(error.message);
    return error.method === "PUT" && isRefused;
  }

  async #backOff(error: Error, attempt: number): Promise<void> {
    const isVerified = this.#reading.whole !== undefined;
    if (isLostUpload(error, isVerified) && this.#losses++ < LOST_LIMIT) this.#startOver();
    else if (!mayTrySoon(error)) throw this.#refusal ?? error;
    const action = `push blob "${this.#order.blob.digest}" to "${this.#order.destination.name}"`;
    const { signal } = this.#context;
    await this.#repository.registry.backOff({ action, signal }, error, attempt);
  }

  /** What the registry has of the upload is of no use: the next attempt finds nothing to go on with. */
  #startOver(): true {
    void this.#cancel();
    return true;
  }

  /** Uploads that will not be finished would lie around at the registry. */
  #cancel(): Promise<void> | undefined {
    const session = this.#upload?.session;
    this.#upload = undefined;
    return session && this.#repository.cancelUpload(session).catch(() => {});
  }

  /** What the run leaves in the middle for want of time is kept for the next one, once something of it was sent. */
  async #giveUp(): Promise<void> {
    const { signal, isStopping } = this.#context;
    const { session, isKeepable = false, atOnce = 0 } = this.#upload ?? {};
    const isKept = isKeepable && atOnce > 0 && (signal?.aborted || isStopping());
    if (session !== undefined && isKept && this.#abilities.canResume) await this.#hooks.keep(session);
    else await this.#cancel();
  }
}

/** A failure of ours comes back from the wire as the cause of the request's. */
function ownFailureOf(error: unknown): Error {
  const failure = toError(error);
  const { cause } = failure;
  return cause instanceof StoppedError || cause instanceof LaggardError ? cause : failure;
}

/**
 * An upload that waited too long for its turn is forgotten by its registry, which says so in many ways. One of verified bytes that
 * gets another digest held some already: Deno sends bytes again by itself, into the same upload, when the connection breaks.
 */
function isLostUpload(error: Error, isVerified: boolean): boolean {
  return error instanceof RegistryError &&
    ([404, 410, 416].includes(error.status) || error.hasCode("BLOB_UPLOAD_UNKNOWN") ||
      error.hasCode("BLOB_UPLOAD_INVALID") || isVerified && error.hasCode("DIGEST_INVALID"));
}
