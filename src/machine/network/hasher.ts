/** Hashing with the machine's own code, which is six times as fast as any in JavaScript or WebAssembly (platform.md 2). */

import { createHash } from "node:crypto";
import type { Digest } from "../../oci/descriptor.ts";
import type { Hasher } from "../../registry/hasher.ts";

/** Starts a hash; see {@linkcode CreateHasher}. */
export function createMachineHasher(algorithm: string): Hasher {
  const hash = createHash(algorithm);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("hex") };
}

/** The digest of bytes in memory; see {@linkcode DigestOf}. */
export function machineDigestOf(bytes: Uint8Array<ArrayBuffer>, algorithm: string): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}
