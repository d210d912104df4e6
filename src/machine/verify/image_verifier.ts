/**
 * Checks signatures of images with sigstore's own library: bundles, and the form that cosign keeps under a tag.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import crypto, { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { type Bundle, bundleFromJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { toSignedEntity, toTrustMaterial, type TrustMaterial, Verifier } from "@sigstore/verify";
import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import type {
  CreateVerifier,
  SignatureManifest,
  Verdict,
  VerifyImage,
} from "../../mirror/plan/verification.ts";
import type { Manifest } from "../../oci/manifest.ts";
import {
  type CheckedPolicy,
  checkPolicy,
  type SignaturePolicy,
  SignaturePolicyError,
} from "./signature_policy.ts";

export { type SignaturePolicy, SignaturePolicyError };
export type { CreateVerifier, Manifest, SignatureManifest, Verdict, VerifyImage };

/** A signature in sigstore's form, and what it signs. */
interface Signature {
  bundle: Bundle;
  /** What a message signature signs; an envelope holds it itself. */
  artifact?: Buffer;
  /** Digests of what it says is signed. */
  subjects: string[];
}

/** A statement about an image, as far as it is read. */
interface Statement {
  predicateType?: unknown;
  subject?: ({ digest?: { sha256?: unknown } } | null)[];
}

/** What cosign signs where it keeps signatures under a tag, as far as it is read. */
interface SimpleSigning {
  critical?: { image?: Record<string, unknown> | null } | null;
}

/** An entry of a log as Rekor gave it to cosign. */
interface LogEntry {
  SignedEntryTimestamp?: unknown;
  Payload?: { body?: unknown; integratedTime?: unknown; logIndex?: unknown; logID?: unknown } | null;
}

/** Media type of what cosign signs where it keeps signatures under a tag. */
const SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE_TYPE = /^application\/vnd\.dev\.sigstore\.bundle\b/;
/** What a statement must be to count as a signature: provenance of an image does not say that somebody stands for it. */
const SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1";
/** Bytes of a signature or bundle at the most. */
const SIGNATURE_LIMIT = 4 * 1024 * 1024;
const NO_AUTHORITIES = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };

/**
 * Makes a check of a policy.
 *
 * @throws {SignaturePolicyError} when the policy cannot be used.
 * @example
 * ```ts
 * import { createImageVerifier } from "@image-syncer/image-syncer/verify";
 *
 * const verify = await createImageVerifier({ key: "cosign.pub", transparencyLog: false });
 * ```
 */
export async function createImageVerifier(policy: SignaturePolicy): Promise<VerifyImage> {
  const checked = await checkPolicy(policy);
  const trust = trustOf(checked);
  const thresholds = checked.needsLog ? {} : { tlogThreshold: 0, timestampThreshold: 0 };
  const verifier = new Verifier(trust, thresholds);
  return async (digest, signatures) => {
    const reasons: string[] = [];
    for await (const signed of signatures) {
      const verdict = await checkManifest(signed, digest, { policy: checked, verifier });
      if (verdict.isTrusted) return verdict;
      reasons.push(`${signed.digest}: ${verdict.reason}`);
    }
    return { isTrusted: false, reason: reasons.length === 0 ? "it is not signed" : reasons.join("; ") };
  };
}

function trustOf({ key, trustRoot }: CheckedPolicy): TrustMaterial {
  const root = trustRoot === undefined ? undefined : parseTrustRoot(trustRoot);
  try {
    const publicKey = key === undefined ? undefined : createPublicKey(key);
    return toTrustMaterial((root ?? NO_AUTHORITIES) as TrustedRoot, () => {
      if (publicKey === undefined) {
        throw new Error("it is signed by a key, and a certified identity is wanted");
      }
      return { publicKey, validFor: () => true };
    });
  } catch (cause) {
    throw new SignaturePolicyError("trustRoot", "it is no trusted root of Sigstore", { cause });
  }
}

function parseTrustRoot(value: unknown): TrustedRoot {
  try {
    const root = TrustedRoot.fromJSON(value);
    // The library reads any JSON as a root that trusts nobody.
    if (root.tlogs.length + root.certificateAuthorities.length === 0) throw new Error("it trusts nobody");
    return root;
  } catch (cause) {
    throw new SignaturePolicyError("trustRoot", "it is no trusted root of Sigstore", { cause });
  }
}

async function checkManifest(
  signed: SignatureManifest,
  digest: Digest,
  check: { policy: CheckedPolicy; verifier: Verifier },
): Promise<Verdict> {
  const reasons: string[] = [];
  for (const layer of signed.manifest.layers ?? []) {
    try {
      const signature = await readSignature(signed, layer);
      if (signature === undefined) continue;
      return { isTrusted: true, signer: checkSignature(signature, digest, check) };
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { isTrusted: false, reason: reasons.length === 0 ? "it holds no signature" : reasons.join("; ") };
}

/** Who signed; throws where that is not who is wanted, or something else was signed. */
function checkSignature(
  { bundle, artifact, subjects }: Signature,
  digest: Digest,
  { policy, verifier }: { policy: CheckedPolicy; verifier: Verifier },
): string {
  const isCertified = bundle.verificationMaterial.content.$case !== "publicKey";
  if (isCertified && policy.key !== undefined) {
    throw new Error("it is signed by a certified identity, and a key is wanted");
  }
  const { identity } = withFittingDigest(() => verifier.verify(toSignedEntity(bundle, artifact)));
  if (!subjects.includes(digest)) throw new Error(`it signs ${subjects.join(", ") || "nothing"} instead`);
  if (policy.key !== undefined) return "key";
  const { subjectAlternativeName: name = "", extensions } = identity ?? {};
  const { issuer = "" } = extensions ?? {};
  if (issuer !== policy.issuer) {
    throw new Error(`its issuer is "${issuer}", and "${policy.issuer}" is wanted`);
  }
  if (!policy.matchesIdentity(name)) {
    throw new Error(`its signer is "${name}", and "${policy.identity}" is wanted`);
  }
  return `${name} (${issuer})`;
}

/**
 * Sigstore's library names no digest for the keys of signers, and trusts in OpenSSL's default, which Deno 2.9 lacks ("no
 * default digest", where Node and Bun take SHA-256); for Ed25519, which knows no digest, it names one. While it works, which
 * is at once and without waiting, it is given what fits the key.
 */
function withFittingDigest<Value>(work: () => Value): Value {
  const { verify } = crypto;
  crypto.verify =
    ((...[algorithm, data, key, signature]: [string | null | undefined, Buffer, KeyObject, Buffer]) => {
      const isHashed = !key.asymmetricKeyType?.startsWith("ed");
      return verify(isHashed ? algorithm ?? "sha256" : null, data, key, signature);
    }) as typeof verify;
  try {
    return work();
  } finally {
    crypto.verify = verify;
  }
}

async function readSignature(signed: SignatureManifest, layer: Descriptor): Promise<Signature | undefined> {
  const isBundle = BUNDLE_TYPE.test(layer.mediaType);
  if (!isBundle && layer.mediaType !== SIMPLE_SIGNING) return undefined;
  if (layer.size > SIGNATURE_LIMIT) throw new Error(`its ${layer.size} bytes are more than a signature has`);
  const bytes = Buffer.from(await signed.readBlob(layer));
  return isBundle ? readBundle(bytes) : readSimpleSigning(bytes, layer);
}

/** A bundle of sigstore, its statement about the image within an envelope (in-toto Attestation Framework, Statement v1). */
function readBundle(bytes: Buffer): Signature {
  const bundle = bundleFromJSON(parseJson<object>(bytes.toString(), "the bundle"));
  if (bundle.content.$case !== "dsseEnvelope") {
    throw new Error("its bundle holds no statement about an image");
  }
  const { payload } = bundle.content.dsseEnvelope;
  const { predicateType, subject } = parseJson<Statement>(payload.toString(), "its statement");
  if (predicateType !== SIGN_PREDICATE) {
    throw new Error(`it is an attestation (${predicateType}) and no signature`);
  }
  const subjects = Array.isArray(subject) ? subject.map((one) => `sha256:${one?.digest?.sha256}`) : [];
  return { bundle, subjects };
}

/** What cosign keeps under a tag: the signed text is the blob, the rest stands in annotations (cosign, Signature Specification). */
function readSimpleSigning(bytes: Buffer, { annotations = {} }: Descriptor): Signature {
  const { critical } = parseJson<SimpleSigning>(bytes.toString(), "what it signs");
  const signature = annotations["dev.cosignproject.cosign/signature"];
  if (signature === undefined) throw new Error("it has no signature among its annotations");
  const log = annotations["dev.sigstore.cosign/bundle"];
  const digest = createHash("sha256").update(bytes).digest("base64");
  const bundle = bundleFromJSON({
    mediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1",
    verificationMaterial: {
      ...signerOf(annotations["dev.sigstore.cosign/certificate"]),
      tlogEntries: log === undefined ? [] : [logEntryOf(parseJson<LogEntry>(log, "its log entry"))],
    },
    messageSignature: { messageDigest: { algorithm: "SHA2_256", digest }, signature },
  });
  return { bundle, artifact: bytes, subjects: [String(critical?.image?.["docker-manifest-digest"])] };
}

function signerOf(certificate: string | undefined): Record<string, unknown> {
  if (certificate === undefined) return { publicKey: { hint: "" } };
  const rawBytes = certificate.replace(/-----[^-]+-----|\s/g, "");
  return { x509CertificateChain: { certificates: [{ rawBytes }] } };
}

/** An entry as Rekor gave it to cosign, in the form that bundles have. */
function logEntryOf({ SignedEntryTimestamp, Payload }: LogEntry): Record<string, unknown> {
  const { body, integratedTime, logIndex, logID } = Payload ?? {};
  const text = Buffer.from(String(body), "base64").toString();
  const { kind, apiVersion } = parseJson<{ kind?: unknown; apiVersion?: unknown }>(text, "its log entry");
  return {
    logIndex: String(logIndex),
    logId: { keyId: Buffer.from(String(logID), "hex").toString("base64") },
    kindVersion: { kind, version: apiVersion },
    integratedTime: String(integratedTime),
    inclusionPromise: { signedEntryTimestamp: SignedEntryTimestamp },
    canonicalizedBody: body,
  };
}

/** Foreign JSON; each use copes with what is missing or something else. */
function parseJson<Shape>(text: string, what: string): Shape {
  try {
    return JSON.parse(text) ?? {};
  } catch (cause) {
    throw new Error(`${what} is no JSON`, { cause });
  }
}
