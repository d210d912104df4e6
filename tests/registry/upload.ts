/** One blob upload under way at the test registry. */

import type { Digest } from "../../src/oci/descriptor.ts";
import { type BlobContent, bytesContent, concatenate, discardedContent } from "./blob_content.ts";
import { digestAlgorithm, digestBytes, RunningDigest } from "./digest.ts";
import { Refusal } from "./refusal.ts";

/** Options of {@linkcode Upload}. */
export interface UploadOptions {
  /** Whether bytes are hashed and forgotten. */
  discard?: boolean;
  /** Algorithm of the digest the upload will be closed with, `sha256` unless told. */
  algorithm?: string;
}

/** Collects the bytes of an upload and hashes them as they come. */
export class Upload {
  /** The id in the upload's location. */
  readonly id: string = crypto.randomUUID();
  /** Counts the chunks received, for registries whose locations carry a state. */
  state = 0;
  /** Bytes of the last chunk that ended before the upload was closed. */
  lastChunkLength: number | undefined;
  readonly #discard: boolean;
  #running: RunningDigest;
  readonly #chunks: Uint8Array[] = [];
  #offset = 0;

  /** Starts with no bytes. */
  constructor(options: UploadOptions = {}) {
    this.#discard = options.discard ?? false;
    this.#running = new RunningDigest(options.algorithm);
  }

  /** Bytes received so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Adds bytes. They are copied, because the sender may use its buffer again. */
  write(chunk: Uint8Array): void {
    this.#running.update(chunk);
    if (!this.#discard) this.#chunks.push(chunk.slice());
    this.#offset += chunk.length;
  }

  /** Remembers where the upload is; the function that comes back takes it there again. */
  checkpoint(): () => void {
    const [running, count, offset] = [this.#running.copy(), this.#chunks.length, this.#offset];
    return () => {
      this.#running = running;
      this.#chunks.length = count;
      this.#offset = offset;
    };
  }

  /** Forgets all bytes. */
  reset(): void {
    this.#running = new RunningDigest(this.#running.algorithm);
    this.#chunks.length = 0;
    this.#offset = 0;
  }

  /** Gets ready for a digest of another algorithm, which is possible while there are no bytes. */
  useAlgorithm(algorithm: string): void {
    if (this.#offset === 0) this.#running = new RunningDigest(algorithm);
  }

  /**
   * The content, if it has that digest.
   *
   * @throws {Refusal} DIGEST_INVALID when it has another one.
   */
  finish(digest: Digest): BlobContent {
    const actual = this.#digestAs(digestAlgorithm(digest));
    if (actual !== digest) {
      throw new Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content", {
        detail: { provided: digest, actual },
      });
    }
    return this.#discard
      ? discardedContent(digest, this.#offset)
      : bytesContent(concatenate(this.#chunks), digest);
  }

  #digestAs(algorithm: string | undefined): Digest {
    if (algorithm === undefined || algorithm === this.#running.algorithm || this.#discard) {
      return this.#running.digest();
    }
    return digestBytes(concatenate(this.#chunks), algorithm);
  }
}
