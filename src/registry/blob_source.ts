/** Step 2 of the walk, the wire: reads one blob, and goes on where it broke off when the connection does. */

import { defer } from "./deferred.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { AuthError } from "./auth.ts";
import { type ByteSource, LengthError } from "./body.ts";
import { TimeLimitError } from "./fetch.ts";
import { describeFailure } from "./network_failure.ts";
import { RegistryError } from "./registry_error.ts";
import { lengthOf } from "./read_body.ts";
import type { Repository } from "./repository.ts";

/** Options of a {@linkcode BlobSource}. */
export interface BlobSourceOptions {
  /** First byte wanted; 0 unless told. */
  offset?: number;
  /** Ends the reading. */
  signal?: AbortSignal | undefined;
}

/** Bytes asked of the runtime at once: 512 KiB take 0.85 s of CPU and 141 MB for 3 × 1 GiB, 64 KiB pieces twice the CPU, 2 MiB more memory. */
const PIECE_SIZE = 512 * 1024;

/** Bytes asked for where they are taken as they come: a runtime has no more at once (Deno: 64 KiB). */
const SMALL_PIECE_SIZE = 64 * 1024;
/**
 * Bytes of the smallest blob that is read in full pieces. A piece that breaks off is asked for again, so shorter blobs, links
 * that have broken and slow links (where a full piece looks like a stall) take bytes as they come.
 */
const FULL_PIECES_FROM = 64 * 1024 * 1024;
/** Milliseconds a full piece may take before the link counts as slow. */
const SLOW_PIECE = 1000;

type Reader = {
  /** Takes back memory to read into. */
  recycle?(piece: Uint8Array<ArrayBuffer>): void;
  read(isFull: boolean): Promise<{ done: boolean; value?: Uint8Array<ArrayBuffer> | undefined }>;
  cancel(reason: unknown): Promise<void>;
};

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
  #reader: Reader | undefined;
  #etag: string | undefined;
  #size: number;
  #failures = 0;
  #isSlow = false;
  #cancelled: { reason: unknown } | undefined;

  /** Nothing is asked before the first {@linkcode open} or {@linkcode read}. */
  constructor(repository: Repository, descriptor: Descriptor, options: BlobSourceOptions = {}) {
    this.#repository = repository;
    this.#descriptor = descriptor;
    this.#size = descriptor.size;
    this.position = options.offset ?? 0;
    this.#signal = options.signal ?? repository.transport.signal;
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
      signal: this.#signal,
    });
    this.#check(response, offset);
    // An empty blob has an empty body on some runtimes and none at all on others.
    this.#reader = response.body === null ? undefined : openReader(response.body);
    if (response.status === 200 && offset > 0) await this.#skip(offset);
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
    this.#reader?.recycle?.(piece);
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
        this.#pushBack(piece.slice(left));
        return;
      }
      left -= piece.length;
    }
  }

  #pushBack(piece: Uint8Array<ArrayBuffer>): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    this.#reader = {
      read: () => {
        this.#reader = reader;
        return Promise.resolve({ done: false, value: piece });
      },
      cancel: (reason) => reader.cancel(reason),
    };
  }

  /** One read, within the limit on bytes not moving. */
  async #next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const reader = this.#reader;
    if (reader === undefined) return undefined;
    const { stall } = this.#repository.transport.limits;
    // A signal that has aborted tells nobody any more.
    this.#signal?.throwIfAborted();
    const { promise: ended, reject: end } = defer<never>();
    const timer = setTimeout(() => end(new TimeLimitError(stall)), stall);
    const onAbort = () => end(this.#signal?.reason);
    this.#signal?.addEventListener("abort", onAbort, { once: true });
    const startedAt = performance.now();
    try {
      const isFull = !this.#isSlow && this.#size >= FULL_PIECES_FROM;
      const { done, value } = await Promise.race([reader.read(isFull), ended]);
      if (performance.now() - startedAt > SLOW_PIECE) this.#isSlow = true;
      return done && (value === undefined || value.length === 0) ? undefined : value;
    } finally {
      clearTimeout(timer);
      this.#signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Decides whether to go on after a failure, and waits before it does. */
  async #recover(error: unknown): Promise<void> {
    this.#drop(error);
    this.#isSlow = true;
    this.#signal?.throwIfAborted();
    // The request behind `open` was already tried as often as made sense.
    if (error instanceof RegistryError || error instanceof AuthError) throw error;
    const failure = this.#failure(error, false);
    const { transport, registry } = this.#repository;
    if (++this.#failures >= transport.limits.attempts) throw failure;
    const action = `read blob "${this.#descriptor.digest}" on from byte ${this.position}`;
    await transport.backOff({ registry, action, signal: this.#signal }, failure, this.#failures);
  }

  #drop(reason: unknown): void {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.cancel(reason).catch(() => {});
  }

  #failure(cause: unknown, isPermanent: boolean): RegistryError {
    const { registry, name, transport } = this.#repository;
    const url = new URL(`/v2/${name}/blobs/${this.#descriptor.digest}`, transport.urlOf(registry));
    const why = cause instanceof LengthError || isPermanent && cause instanceof Error
      ? cause.message
      : describeFailure(cause, url);
    return new RegistryError({
      action: `read blob "${this.#descriptor.digest}" from "${registry}/${name}"`,
      method: "GET",
      url: url.href,
      status: 0,
      why,
      isPermanent,
      cause,
    });
  }
}

/** Reads in big pieces where the runtime can (Deno, Node); Bun and workerd give what they have. */
function openReader(body: ReadableStream<Uint8Array<ArrayBuffer>>): Reader {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    return body.getReader();
  }
  // Memory that comes back is read into again: without that, 8 blobs at once leave 100 MB for the collector to find.
  const free = new Map<number, ArrayBuffer[]>([[PIECE_SIZE, []], [SMALL_PIECE_SIZE, []]]);
  return {
    recycle: ({ buffer }) => void free.get(buffer.byteLength)?.push(buffer),
    read: (isFull) => {
      const size = isFull ? PIECE_SIZE : SMALL_PIECE_SIZE;
      const buffer = free.get(size)?.pop() ?? new ArrayBuffer(size);
      return reader.read(new Uint8Array(buffer), { min: isFull ? size : 1 });
    },
    cancel: (reason) => reader.cancel(reason),
  };
}
