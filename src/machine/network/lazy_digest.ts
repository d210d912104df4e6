/** Digests by the machine's own code, which is loaded when there is something to hash: a run that copies nothing has no use for it. */

import type { DigestOf } from "../../oci/descriptor.ts";

let loading: Promise<typeof import("./hasher.ts")> | undefined;

/** The digest of bytes in memory; see {@linkcode DigestOf}. */
export const lazyDigestOf: DigestOf = async (bytes, algorithm) => {
  loading ??= import("./hasher.ts");
  return (await loading).machineDigestOf(bytes, algorithm);
};
