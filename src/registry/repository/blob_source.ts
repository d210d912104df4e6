/** Step 2 of the walk, the wire: reads one blob, and goes on where it broke off when the connection does. */

import { type Descriptor, embeddedContent } from "../../oci/descriptor.ts";
import { printable } from "../../oci/printable.ts";
import { type ByteSource, LengthError } from "../stream/body.ts";
import { SlowBodyError, type SourceResponse } from "../fetch.ts";
import { describeFailure, retryAfterFailure } from "../network_failure.ts";
import { AuthError, RegistryError } from "../registry_error.ts";
import { isRetryableStatus } from "../retry.ts";
import { openPieceReader } from "../stream/piece_reader.ts";
import { lengthOf } from "../stream/read_body.ts";
import type { Repository } from "./repository.ts";
import { WatchedReader } from "../stream/watched_reader.ts";

/** Bytes below which a blob is given up as soon as any small answer is that hardly moves. */
const SMALL_BLOB = 1024 * 1024;

/** Options of a {@linkcode BlobSource}. */
export interface BlobSourceOptions {
  /** First byte wanted; 0 unless told. */
  offset?: number;
  /** Ends the reading. */
  signal?: AbortSignal | undefined;
}

/**
 * One blob of one repository. A connection that breaks is opened again with `Range` from the first byte that is missing;
 * as long as bytes arrive in between, it may break any number of times.
 */
export class BlobSource implements ByteSource {
  /** Bytes read so far, counted from the start of the blob. */
  position: number;
  /** Bytes the source was asked for again, because it does not know `Range` or refuses it. */
  repeated = 0;
  #repository: Repository;
  #descriptor: Descriptor;
  #signal: AbortSignal | undefined;
  #reader: WatchedReader | undefined;
  /** The end of a piece of which the beginning was not wanted. */
  #rest: Uint8Array<ArrayBuffer> | undefined;
  /** How the registry says that it has encoded the last answer. */
  #encoding: string | undefined;
  /** Whether it has not yet refused to go on in the middle. */
  #canResume = true;
  #size: number;
  #failures = 0;
  #hasBroken = false;
  /** Milliseconds since 1970 when the last answer began. */
  #startedAt = 0;
  #cancelled: { reason: unknown } | undefined;

  /** Nothing is asked before the first {@linkcode open} or {@linkcode read}. */
  constructor(repository: Repository, descriptor: Descriptor, options: BlobSourceOptions = {}) {
    this.#repository = repository;
    this.#descriptor = descriptor;
    this.#size = descriptor.size;
    this.position = options.offset ?? 0;
    this.#signal = options.signal ?? repository.registry.context.signal;
  }

  /** Size of the blob in bytes; -1 until a registry said it, where the manifest does not. */
  get size(): number {
    return this.#size;
  }

  /**
   * Sends the request, so that what the source refuses is known before anything is sent on. A blob that its descriptor carries
   * is not asked for.
   *
   * @throws {RegistryError} when the source refuses.
   */
  async open(): Promise<void> {
    if (this.#reader !== undefined || this.#rest !== undefined) return;
    const offset = this.position;
    const embedded = this.#descriptor.data === undefined
      ? undefined
      : await embeddedContent(this.#descriptor);
    if (embedded !== undefined) {
      this.#rest = embedded.subarray(offset);
      return;
    }
    const resumed = offset > 0 && this.#canResume ? await this.#resume(offset) : undefined;
    const response = resumed ?? await this.#get(0);
    if (response.status === 200) this.#checkLength(response);
    this.#encoding = response.headers.get("content-encoding") ?? undefined;
    this.#reader = this.#watch(response);
    if (response.status === 200 && offset > 0) await this.#skip(offset);
  }

  #get(offset: number): Promise<SourceResponse> {
    return this.#repository.getBlob(this.#descriptor.digest, {
      offset,
      ...(this.#size < 0 ? {} : { size: this.#size }),
      signal: this.#signal,
    });
  }

  /**
   * The rest of the blob, or all of it from a registry that ignores `Range`. One that refuses it, or gives another part, is asked
   * for all (crane's own registry answers 416). An entity tag says nothing: it is another node's, and the digest decides.
   */
  async #resume(offset: number): Promise<SourceResponse | undefined> {
    try {
      const response = await this.#get(offset);
      if (response.status === 200 || this.#isRange(response, offset)) return response;
      await response.body?.cancel();
    } catch (error) {
      const isRefused = error instanceof RegistryError && error.status >= 400 && error.status !== 401 &&
        !isRetryableStatus(error.status);
      if (!isRefused) throw error;
    }
    this.#canResume = false;
    return undefined;
  }

  #isRange(response: Response, offset: number): boolean {
    const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
    return match !== null && Number(match[1]) === offset &&
      (match[3] === "*" || this.#size < 0 || Number(match[3]) === this.#size);
  }

  #watch(response: SourceResponse): WatchedReader | undefined {
    const { buffers, clock, limits: { stall, rate, window, blobWindow } } = this.#repository.registry.context;
    this.#startedAt = clock.now();
    const isSmall = this.#size >= 0 && this.#size < SMALL_BLOB;
    const options = { size: this.#size, isSlow: this.#hasBroken, buffers };
    const reader = openPieceReader(response, options);
    return reader && new WatchedReader(reader, {
      stall,
      rate,
      window: isSmall ? window : blobWindow,
      signal: this.#signal,
    });
  }

  /**
   * The next piece, or `undefined` at the end.
   *
   * @throws {RegistryError} when the source refuses, or broke off too often without a byte in between.
   */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (;;) {
      this.#signal?.throwIfAborted();
      if (this.#cancelled !== undefined) throw this.#cancelled.reason;
      if (this.#size >= 0 && this.position === this.#size) return await this.#finish();
      try {
        await this.open();
        const piece = await this.#next();
        if (piece !== undefined) return this.#take(piece);
        if (this.#size < 0) return undefined;
        throw new LengthError(this.#size, this.position);
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  /** Lets go of the connection. */
  cancel(reason: unknown): void {
    this.#cancelled ??= { reason };
    this.#drop(reason);
  }

  /** Takes back the memory of a piece that nobody will look at again. */
  recycle(piece: Uint8Array<ArrayBuffer>): void {
    this.#repository.registry.context.buffers.give(piece.buffer);
  }

  #take(piece: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    this.position += piece.length;
    if (this.#size >= 0 && this.position > this.#size) {
      throw this.#failure(new LengthError(this.#size, this.position), true);
    }
    // An empty piece is no progress.
    if (piece.length > 0) this.#failures = 0;
    // Whoever uploads it asks for nothing after the last byte.
    if (this.position === this.#size) this.#repository.registry.noteFinished("blob");
    return piece;
  }

  /** The size is reached; a source that has even more is lying about the blob. */
  async #finish(): Promise<undefined> {
    if (this.#reader === undefined) return undefined;
    const more = await this.#next().catch(() => undefined);
    this.#drop(undefined);
    if (more !== undefined && more.length > 0) {
      throw this.#failure(new LengthError(this.#size, this.#size + more.length), true);
    }
  }

  /** A `Content-Encoding` may be a mere label (`x-gzip`, `aws-chunked`): the bytes as they come count, if there are as many as there must be. */
  #checkLength(response: Response): void {
    const length = lengthOf(response);
    if (this.#size < 0) this.#size = length ?? -1;
    else if (length !== undefined && length !== this.#size) {
      void response.body?.cancel().catch(() => {});
      this.#encoding = response.headers.get("content-encoding") ?? undefined;
      throw this.#failure(
        new Error(`expected ${this.#size} bytes, the registry announces ${length}${this.#encoded()}`),
        true,
      );
    }
  }

  #encoded(): string {
    return this.#encoding === undefined || this.#encoding === "identity"
      ? ""
      : ` with content-encoding "${printable(this.#encoding)}"`;
  }

  /** A registry without `Range` sends the blob from its start. */
  async #skip(offset: number): Promise<void> {
    for (let left = offset; left > 0;) {
      const piece = await this.#next();
      if (piece === undefined) throw new LengthError(this.#size, offset - left);
      this.repeated += Math.min(left, piece.length);
      if (piece.length > left) {
        this.#rest = piece.subarray(left);
        return;
      }
      left -= piece.length;
    }
  }

  async #next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) return rest;
    return await this.#reader?.read();
  }

  /** Decides whether to go on after a failure, and waits before it does. */
  async #recover(error: unknown): Promise<void> {
    this.#drop(error);
    this.#hasBroken = true;
    this.#signal?.throwIfAborted();
    // The request behind `open` was already tried as often as made sense.
    if (error instanceof RegistryError || error instanceof AuthError) throw error;
    const failure = this.#failure(error, false);
    const { registry } = this.#repository;
    if (error instanceof SlowBodyError) {
      registry.noteSlow("blob", failure, this.#startedAt);
      throw failure;
    }
    if (++this.#failures >= registry.context.limits.attempts) throw failure.exhaust();
    const action = `read blob "${this.#descriptor.digest}" on from byte ${this.position}`;
    await registry.backOff({ action, signal: this.#signal }, failure, this.#failures);
  }

  #drop(reason: unknown): void {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#rest = undefined;
    reader?.cancel(reason).catch(() => {});
  }

  #failure(cause: unknown, isPermanent: boolean): RegistryError {
    const { registry, name } = this.#repository;
    const url = new URL(`/v2/${name}/blobs/${this.#descriptor.digest}`, registry.url);
    const why = cause instanceof LengthError
      ? `${cause.message}${this.#encoded()}`
      : isPermanent && cause instanceof Error
      ? cause.message
      : describeFailure(cause, url);
    return new RegistryError({
      action: `read blob "${this.#descriptor.digest}" from "${registry.host}/${name}"`,
      method: "GET",
      url: url.href,
      status: 0,
      why,
      retry: isPermanent ? "later" : retryAfterFailure(cause),
      cause,
    });
  }
}
