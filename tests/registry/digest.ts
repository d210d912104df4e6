/** Digests for the test registry and the image builders, computed at once or as bytes go by. */

import { createHash, type Hash } from "node:crypto";
import type { Digest } from "../../src/oci/descriptor.ts";

/** The algorithms the test registry accepts: both that OCI image-spec 1.1 registers. */
export const DIGEST_ALGORITHMS: readonly string[] = ["sha256", "sha512"];

const HEX_LENGTHS: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** The digest of some bytes, without waiting. */
export function digestBytes(bytes: Uint8Array, algorithm = "sha256"): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/** The algorithm in a digest's spelling, or `undefined` when the text is no digest of a known algorithm. */
export function digestAlgorithm(text: string): string | undefined {
  const colon = text.indexOf(":");
  const algorithm = text.slice(0, colon);
  const length = HEX_LENGTHS[algorithm];
  if (length === undefined) return undefined;
  return new RegExp(`^[a-f0-9]{${length}}$`).test(text.slice(colon + 1)) ? algorithm : undefined;
}

/** Hashes bytes as they go by, under one algorithm. */
export class RunningDigest {
  /** Name of the algorithm, for example `sha256`. */
  readonly algorithm: string;
  readonly #hash: Hash;

  /** Starts with no bytes, unless it goes on from another hash of the same algorithm. */
  constructor(algorithm = "sha256", hash: Hash = createHash(algorithm)) {
    this.algorithm = algorithm;
    this.#hash = hash;
  }

  /** Adds bytes. */
  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** Another digest of the same bytes so far. */
  copy(): RunningDigest {
    return new RunningDigest(this.algorithm, this.#hash.copy());
  }

  /** The digest of all bytes so far; more may follow. */
  digest(): Digest {
    return `${this.algorithm}:${this.#hash.copy().digest("hex")}`;
  }
}
