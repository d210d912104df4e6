/** Step 6 of the walk, the copy: the bytes of one blob into one upload, as its registry takes them. */

import { isRetryableStatus } from "../../registry/retry.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { type ByteSource, bytesSource, UploadBody } from "../../registry/stream/body.ts";
import { SlicedSource } from "../../registry/stream/shared_source.ts";
import type { UploadOpening, UploadSession } from "../../registry/repository/upload_session.ts";
import { type BlobReading, KEPT_BLOB_LIMIT } from "./blob_reading.ts";
import { type BlobOrder, type CopyContext, StoppedError } from "./copy_context.ts";

/** Bytes of a part when nobody knows how long the blob is. */
const UNSIZED_PART = 4 * 1024 * 1024;

/** An upload that has been opened. */
export interface OpenedUpload {
  /** Not there yet for a small blob at a registry that may take it without. */
  session: UploadSession | undefined;
  /** Bytes the registry has. */
  offset: number;
  /** Whether another run can go on with it. */
  isKeepable: boolean;
}

/** One upload, for one attempt to send a blob. */
export class BlobUpload implements OpenedUpload {
  /** Not there until it is sent, for a small blob at a registry that may take it without. */
  session: UploadSession | undefined;
  /** Bytes the registry has. */
  offset: number;
  /** Whether another run can go on with it. */
  readonly isKeepable: boolean;
  /** Bytes that were last sent with one request; 0 before the first. */
  atOnce = 0;
  /** Whether what failed was a request that had been tried again already. */
  isSpent = false;
  /** Whether everything was sent, so that nothing but the registry's answer is missing. */
  isSent = false;
  #context: CopyContext;
  #order: BlobOrder;
  #usesPatch: boolean;

  /**
   * Sends nothing before {@linkcode send}.
   *
   * @param options What was opened, and whether bytes go with PATCH alone.
   */
  constructor(context: CopyContext, order: BlobOrder, options: OpenedUpload & { usesPatch: boolean }) {
    this.#context = context;
    this.#order = order;
    this.session = options.session;
    this.offset = options.offset;
    this.isKeepable = options.isKeepable;
    this.#usesPatch = options.usesPatch;
  }

  /**
   * Sends what the registry does not have yet, from a reading that has begun.
   *
   * @returns Bytes of the blob.
   * @throws {RegistryError} when a side refuses or breaks off.
   * @throws {StoppedError} when the run's time is up and the next one can go on.
   */
  async send(reading: BlobReading): Promise<number> {
    const { whole } = reading;
    if (whole !== undefined) return await this.#sendWhole(whole);
    const { size } = reading;
    return await this.#stream(
      this.#untilStopped(reading.reader(this.#order.destination, this.offset), size),
      size,
    );
  }

  get #repository(): Repository {
    return this.#order.destination.repository;
  }

  async #sendWhole(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
    this.atOnce = bytes.length;
    this.session ??= await this.#postWhole(bytes);
    if (this.session === undefined) return bytes.length;
    if (this.#isAtOnce(this.session, bytes.length)) {
      await this.#repository.putBlob(this.session, this.#order.blob.digest, {
        body: bytes,
        signal: this.#context.signal,
      });
      return bytes.length;
    }
    return await this.#stream(bytesSource(bytes), bytes.length);
  }

  /** Sends a small blob at once; a registry that opens an upload instead gets it that way, now and from now on. */
  async #postWhole(bytes: Uint8Array<ArrayBuffer>): Promise<UploadSession | undefined> {
    const { digest } = this.#order.blob;
    const { signal } = this.#context;
    const { abilities } = this.#repository.registry;
    const post = (mayPost: boolean) =>
      openOrPost(this.#repository, { digest, bytes: mayPost ? bytes : undefined, signal });
    this.isSpent = true;
    // Not before the bytes are at hand: whoever tries must wait for nothing else, or two would wait for each other.
    const opening = bytes.length <= abilities.chunk && !this.#usesPatch
      ? await abilities.tryPostWhole(post)
      : await post(false);
    this.isSpent = false;
    return opening.type === "opened" ? opening.session : undefined;
  }

  /** A large blob does not outlast the run's time where the next run can go on with it; where it cannot, that is said. */
  #untilStopped(reader: ByteSource, size: number): ByteSource {
    const { isStopping, emit } = this.#context;
    const { blob: { digest }, destination: { name } } = this.#order;
    let left = size - this.offset;
    if (left <= KEPT_BLOB_LIMIT) return reader;
    let isSaid = false;
    const read = async () => {
      if (left > KEPT_BLOB_LIMIT && isStopping()) {
        if (this.isKeepable) throw new StoppedError();
        const message =
          `Blob "${digest}" is sent to "${name}" to its end although the time for this run is up, ` +
          "because the next run could not go on with it";
        if (!isSaid) emit({ type: "warning", message });
        isSaid = true;
      }
      const piece = await reader.read();
      left -= piece?.length ?? 0;
      return piece;
    };
    return { read, cancel: (reason) => reader.cancel(reason) };
  }

  #chunkOf(session: UploadSession): number {
    return Math.max(this.#repository.registry.abilities.chunk, session.chunkMinimum ?? 0);
  }

  #isAtOnce(session: UploadSession, size: number): boolean {
    return !this.#usesPatch && size >= 0 && size <= this.#chunkOf(session);
  }

  async #stream(reader: ByteSource, size: number): Promise<number> {
    const { session } = this;
    if (session === undefined) throw new TypeError("Cannot send a blob to an upload that was not opened");
    const { digest } = this.#order.blob;
    const { signal } = this.#context;
    try {
      this.atOnce = size < 0 ? UNSIZED_PART : Math.min(this.#chunkOf(session), size);
      if (this.offset === 0 && this.#isAtOnce(session, size)) {
        const body = new UploadBody(reader, size);
        await this.#repository.putBlob(session, digest, { body, signal })
          .finally(() => this.isSent = body.isComplete);
        return size;
      }
      if (size < 0) await this.#sendUnsized(session, reader);
      else await this.#sendParts(session, reader, size);
      this.isSent = true;
      await this.#repository.putBlob(session, digest, { body: new Uint8Array(), signal });
      return Math.max(size, this.offset);
    } finally {
      // What was not sent must not hold up those that read along.
      reader.cancel(undefined);
    }
  }

  async #sendParts(session: UploadSession, reader: ByteSource, size: number): Promise<void> {
    const parts = new SlicedSource(reader);
    while (this.offset < size) {
      const length = Math.min(this.atOnce, size - this.offset);
      await this.#sendPart(session, new UploadBody(parts.take(length), length));
    }
  }

  /** Neither schema 1 nor a source that sends chunks says how long a blob is: it goes in parts that are. */
  async #sendUnsized(session: UploadSession, reader: ByteSource): Promise<void> {
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
      await this.#sendPart(session, body);
    }
  }

  async #sendPart(session: UploadSession, body: UploadBody): Promise<void> {
    const { digest } = this.#order.blob;
    const { signal } = this.#context;
    await this.#repository.patchBlob(session, digest, { body, offset: this.offset, signal });
    this.offset += body.size;
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
    const isRefused = error instanceof RegistryError && error.status >= 400 &&
      !isRetryableStatus(error.status);
    if (bytes === undefined || !isRefused) throw error;
    return await repository.openUpload(digest, { signal });
  }
}
