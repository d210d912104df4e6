/** Step 2 of the walk, the wire: hashing bytes as they pass, which WHATWG has nothing for, so it is passed in. */

import { algorithmOf, type Digest, DigestError } from "../oci/descriptor.ts";
import type { ByteSource } from "./stream/body.ts";

/** A hash under way. */
export interface Hasher {
  /** Takes in more bytes. */
  update(bytes: Uint8Array): void;
  /** The hash of all of them in lower-case hex; nothing is taken in afterwards. */
  digest(): string;
}

/**
 * Starts a hash, for example with `node:crypto`'s `createHash`.
 *
 * @param algorithm Name in a digest's spelling: `sha256`, `sha384` or `sha512`.
 */
export type CreateHasher = (algorithm: string) => Hasher;

/** What is verified, and against what. */
export interface VerifyOptions {
  /** Starts the hash. */
  createHasher: CreateHasher;
  /** The digest the bytes must have. */
  digest: Digest;
  /** How many bytes there are. */
  size: number;
  /** What the bytes are, for the error. */
  subject: string;
}

/**
 * Passes bytes on and hashes them. The last piece is passed on only when the digest is right, so that whoever receives
 * them never has all of a wrong blob.
 *
 * @throws {DigestError} from `read`, when the digest is wrong.
 */
export function verified(
  source: ByteSource,
  { createHasher, digest, size, subject }: VerifyOptions,
): ByteSource {
  const hasher = createHasher(algorithmOf(digest));
  let length = 0;
  return {
    read: async () => {
      const piece = await source.read();
      if (piece === undefined) return undefined;
      hasher.update(piece);
      length += piece.length;
      if (length === size) {
        const actual = `${algorithmOf(digest)}:${hasher.digest()}`;
        if (actual !== digest) throw new DigestError(subject, digest, actual);
      }
      return piece;
    },
    cancel: (reason) => source.cancel(reason),
    recycle: (piece) => source.recycle?.(piece),
  };
}
