/** Step 6 of the walk, the copy: the source of one blob, read once, checked, and kept at hand for uploads that break off. */

import { algorithmOf, type Descriptor, DigestError } from "../../oci/descriptor.ts";
import { BlobSource } from "../../registry/stream/blob_source.ts";
import type { ByteSource } from "../../registry/stream/body.ts";
import { verified } from "../../registry/hasher.ts";
import { ReplaySource } from "../../registry/stream/replay_source.ts";
import type { Repository } from "../../registry/repository.ts";
import type { CopyContext } from "./destination.ts";
import { toError } from "../plan/failure.ts";

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
/** Bytes of a larger blob that are kept for an upload that breaks off; what is in the sockets is rarely more. */
const REPLAY_LIMIT = 3 * 1024 * 1024;
/**
 * Blobs up to this size, in bytes, are kept whole while they are sent: what sockets take ahead (4 MB) is then no loss, and
 * distribution 2.8, which cannot go on with an upload that broke off, gets them again without the source being asked.
 */
const KEPT_BLOB_LIMIT = 6 * 1024 * 1024;

/** Milliseconds between two reports of one blob's progress, at the least: nobody looks more often. */
const PROGRESS_INTERVAL = 100;

const OVER = new DOMException("the transfer is over", "AbortError");

/** The source of one blob, over all attempts to send it. */
export class TransferSource {
  /** Why it could not be read, after every attempt that made sense: no upload is tried again for it. */
  failure: Error | undefined;
  /** All of a small blob, once it has been opened; its digest is right. */
  whole: Uint8Array<ArrayBuffer> | undefined;
  #context: CopyContext;
  #copy: BlobCopy;
  #source: BlobSource | undefined;
  #replay: ReplaySource | undefined;
  #untold = 0;
  #toldAt = -Infinity;

  /** Nothing is asked before {@linkcode open}. */
  constructor(context: CopyContext, copy: BlobCopy) {
    this.#context = context;
    this.#copy = copy;
  }

  /** Bytes of the blob; -1 while nobody has said how many. */
  get size(): number {
    return this.#source?.size ?? this.#copy.blob.size;
  }

  /** Whether the bytes from a position on can be given without asking the source for them again. */
  canReplay(offset: number): boolean {
    return this.whole !== undefined || this.#replay?.canReplay(offset) === true;
  }

  /**
   * Opens the source from a position on, unless the bytes are at hand; a small blob is read at once.
   *
   * @throws {RegistryError} when the source refuses or breaks off too often.
   * @throws {DigestError} when a small blob is not what it should be.
   */
  async open(offset: number): Promise<void> {
    if (this.canReplay(offset)) return;
    this.drop();
    await this.#noting(() => this.#open(offset));
  }

  /**
   * The bytes from a position on, after {@linkcode open}. One reader at a time.
   *
   * @param isShared Whether the pieces go to several destinations, so that one may be in use when another is through.
   */
  reader(offset: number, isShared: boolean): ByteSource {
    if (this.#replay === undefined) throw new TypeError("Cannot read a blob that was not opened");
    this.#replay.isRecycling = !isShared;
    return this.#replay.from(offset);
  }

  /** Tells how many bytes were read since it was told last. */
  tellProgress(): void {
    const { task, blob: { digest } } = this.#copy;
    const bytes = this.#untold;
    this.#toldAt = performance.now();
    this.#untold = 0;
    if (bytes > 0) this.#context.emit({ type: "blob-progress", task, digest, bytes });
  }

  /** Gives memory back: everything that was read has arrived, at the first attempt, so nobody is still sending it. */
  finish(): void {
    this.#replay?.finish();
  }

  /** Lets go of the connection. */
  drop(): void {
    this.#replay?.cancel(OVER);
    // What fails between opening the source and reading it leaves it open.
    this.#source?.cancel(OVER);
    this.#replay = undefined;
    this.#source = undefined;
  }

  async #open(offset: number): Promise<void> {
    const { signal } = this.#context;
    const source = new BlobSource(this.#copy.source, this.#copy.blob, { offset, signal });
    this.#source = source;
    await source.open();
    const reader = this.#checked(this.#counted(source), source);
    const noted: ByteSource = {
      read: () => this.#noting(() => reader.read()),
      cancel: (reason) => reader.cancel(reason),
      recycle: (piece) => reader.recycle?.(piece),
    };
    const limit = source.size <= KEPT_BLOB_LIMIT ? KEPT_BLOB_LIMIT : REPLAY_LIMIT;
    this.#replay = new ReplaySource(noted, limit, offset);
    if (source.size >= 0 && source.size <= WHOLE_BLOB_LIMIT) this.whole = await this.#readWhole(source);
  }

  async #readWhole(source: BlobSource): Promise<Uint8Array<ArrayBuffer>> {
    const { source: { registry, name }, blob: { digest } } = this.#copy;
    const bytes = new Uint8Array(source.size);
    const reader = this.#counted(source);
    let length = 0;
    for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) {
      bytes.set(piece, length);
      length += piece.length;
      reader.recycle?.(piece);
    }
    const actual = await this.#context.digestOf(bytes, algorithmOf(digest));
    if (actual !== digest) throw new DigestError(`blob of "${registry}/${name}"`, digest, actual);
    return bytes;
  }

  #count(bytes: number): void {
    this.#untold += bytes;
    if (performance.now() - this.#toldAt >= PROGRESS_INTERVAL) this.tellProgress();
  }

  #counted(source: ByteSource): ByteSource {
    return {
      read: async () => {
        const piece = await source.read();
        if (piece !== undefined) this.#count(piece.length);
        return piece;
      },
      cancel: (reason) => source.cancel(reason),
      recycle: (piece) => source.recycle?.(piece),
    };
  }

  /** The size is known by now, also where the manifest does not tell it. */
  #checked(reader: ByteSource, source: BlobSource): ByteSource {
    const { createHasher } = this.#context;
    const { source: { registry, name }, blob: { digest } } = this.#copy;
    if (createHasher === undefined || source.position !== 0) return reader;
    return verified(reader, {
      createHasher,
      digest,
      size: source.size,
      subject: `blob of "${registry}/${name}"`,
    });
  }

  async #noting<Value>(read: () => Promise<Value>): Promise<Value> {
    try {
      return await read();
    } catch (error) {
      this.failure = toError(error);
      throw error;
    }
  }
}
