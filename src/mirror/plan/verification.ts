/** Step 5 of the walk, the plan: what a check of signatures is given and says. The check itself is passed in. */

import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import type { Manifest } from "../../oci/manifest.ts";

/** A manifest that may hold signatures of an image: a referrer, or what a tag `sha256-HEX.sig` stands for. */
export interface SignatureManifest {
  /** Its own digest, by which it is named when it is refused. */
  digest: Digest;
  /** What it says. */
  manifest: Manifest;
  /** Reads one of its blobs whole, its digest checked. */
  readBlob: (descriptor: Descriptor) => Promise<Uint8Array<ArrayBuffer>>;
}

/** Whether an image may come in. */
export type Verdict =
  /** `signer` says who signed it: a key, or an identity and its issuer. */
  | { isTrusted: true; signer: string }
  /** `reason` is a sentence that says why not. */
  | { isTrusted: false; reason: string };

/**
 * Checks that an image is signed as a policy demands.
 *
 * @param digest Digest of the image's root, which the signature must name.
 * @param signatures Manifests that may hold signatures; they are read until one is enough.
 */
export type VerifyImage = (
  digest: Digest,
  signatures: AsyncIterable<SignatureManifest> | Iterable<SignatureManifest>,
) => Promise<Verdict>;

/** Makes the check that a rule's `verify` asks for; passed in, so that signatures are nobody's business who asks for none. */
export type CreateVerifier = (policy: Readonly<Record<string, string | boolean>>) => Promise<VerifyImage>;

/** Artifact types of manifests that may hold signatures. */
const SIGNATURE_TYPES = /^application\/vnd\.dev\.(?:sigstore\.bundle|cosign\.artifact\.sig)\b/;

/** Whether a referrer of this artifact type may hold signatures. */
export function isSignatureType(artifactType: string | undefined): boolean {
  return artifactType !== undefined && SIGNATURE_TYPES.test(artifactType);
}
