/** Digests by the machine's own code, which is loaded when there is something to hash: a run that copies nothing has no use for it. */

import type { DigestOf } from "../../oci/descriptor.ts";

/** The digest of bytes in memory; see {@linkcode DigestOf}. */
export const lazyDigestOf: DigestOf = async (bytes, algorithm) =>
  (await import("./hasher.ts")).machineDigestOf(bytes, algorithm);
