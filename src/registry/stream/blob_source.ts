/** Step 2 of the walk, the wire: reads one blob, and goes on where it broke off when the connection does. */

import type { Descriptor } from "../../oci/descriptor.ts";
import { type ByteSource, LengthError } from "./body.ts";
import type { SourceResponse } from "../fetch.ts";
import { describeFailure } from "../network_failure.ts";
import { AuthError, RegistryError } from "../registry_error.ts";
import { openPieceReader } from "./piece_reader.ts";
import { lengthOf } from "./read_body.ts";
import type { Repository } from "../repository.ts";
import { WatchedReader } from "./watched_reader.ts";

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
  /** Bytes the source was asked for again, because it does not know `Range`. */
  repeated = 0;
  #repository: Repository;
  #descriptor: Descriptor;
  #signal: AbortSignal | undefined;
  #reader: WatchedReader | undefined;
  /** The end of a piece of which the beginning was not wanted. */
  #rest: Uint8Array<ArrayBuffer> | undefined;
  #etag: string | undefined;
  #size: number;
  #failures = 0;
  #hasBroken = false;
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
   * Sends the request, so that what the source refuses is known before anything is sent on.
   *
   * @throws {RegistryError} when the source refuses.
   */
  async open(): Promise<void> {
    if (this.#reader !== undefined) return;
    const offset = this.position;
    const response = await this.#repository.getBlob(this.#descriptor.digest, {
      offset,
      ...(this.#size < 0 ? {} : { size: this.#size }),
      signal: this.#signal,
    });
    this.#check(response, offset);
    this.#reader = this.#watch(response);
    if (response.status === 200 && offset > 0) await this.#skip(offset);
  }

  #watch(response: SourceResponse): WatchedReader | undefined {
    const { buffers, limits: { stall } } = this.#repository.registry.context;
    const options = { size: this.#size, isSlow: this.#hasBroken, buffers };
    const reader = openPieceReader(response, options);
    return reader && new WatchedReader(reader, { stall, signal: this.#signal });
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

  /** What an answer must look like to be this blob. */
  #check(response: Response, offset: number): void {
    const encoding = response.headers.get("content-encoding");
    if (encoding !== null && encoding !== "identity") {
      this.#reject(response, `the blob came with content-encoding "${encoding}"`);
    }
    const etag = response.headers.get("etag") ?? undefined;
    const isStrong = etag !== undefined && !etag.startsWith("W/");
    if (offset > 0 && isStrong && this.#etag !== undefined && etag !== this.#etag) {
      this.#reject(response, "the blob changed while it was read");
    }
    if (isStrong) this.#etag = etag;
    if (response.status === 206) this.#checkRange(response, offset);
    else this.#checkLength(response);
  }

  #checkLength(response: Response): void {
    const length = lengthOf(response);
    if (this.#size < 0) this.#size = length ?? -1;
    else if (length !== undefined && length !== this.#size) {
      this.#reject(response, `expected ${this.#size} bytes, the registry announces ${length}`);
    }
  }

  #checkRange(response: Response, offset: number): void {
    const text = response.headers.get("content-range") ?? "";
    const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text);
    const isRight = match !== null && Number(match[1]) === offset &&
      (match[3] === "*" || this.#size < 0 || Number(match[3]) === this.#size);
    if (!isRight) this.#reject(response, `asked for bytes from ${offset}, got "${text.slice(0, 80)}"`);
  }

  #reject(response: Response, why: string): never {
    void response.body?.cancel().catch(() => {});
    throw this.#failure(new Error(why), true);
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
    if (++this.#failures >= registry.context.limits.attempts) throw failure;
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
    const why = cause instanceof LengthError || isPermanent && cause instanceof Error
      ? cause.message
      : describeFailure(cause, url);
    return new RegistryError({
      action: `read blob "${this.#descriptor.digest}" from "${registry.host}/${name}"`,
      method: "GET",
      url: url.href,
      status: 0,
      why,
      isPermanent,
      cause,
    });
  }
}
