/** Signs images as cosign does: by key or with a certified identity, as a bundle or in the form kept under a tag. */

import { Buffer } from "node:buffer";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { initializeCA, initializeCTLog, initializeTLog } from "@sigstore/mock";
import { HashAlgorithm, PublicKeyDetails, TrustedRoot } from "@sigstore/protobuf-specs";
import type { Descriptor, Digest } from "../../src/oci/descriptor.ts";
import type { SignatureManifest } from "../../src/mirror/plan/verification.ts";

/** A key pair on the curve that cosign uses. */
export interface KeyPair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

/** Makes a key pair. */
export function makeKeys(): KeyPair {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

/** The public half, in PEM. */
export function pemOf({ publicKey }: KeyPair): string {
  return publicKey.export({ type: "spki", format: "pem" }).toString();
}

/** The digest of some bytes, as registries write it. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A manifest with one layer, the layer's bytes at hand. */
export function manifestOf(
  mediaType: string,
  text: string,
  annotations: Record<string, string> = {},
): SignatureManifest {
  const bytes = new TextEncoder().encode(text);
  const layer: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length, annotations };
  const config = { mediaType: "application/vnd.oci.empty.v1+json", digest: digestOf("{}"), size: 2 };
  return {
    digest: digestOf(JSON.stringify(layer)),
    manifest: { schemaVersion: 2, config, layers: [layer] },
    readBlob: () => Promise.resolve(bytes),
  };
}

/** What cosign signs: the text of its "simple signing". */
export function simpleSigningOf(digest: string): string {
  const image = { "docker-manifest-digest": digest };
  return JSON.stringify({
    critical: { identity: { "docker-reference": "" }, image, type: "cosign container image signature" },
    optional: null,
  });
}

/** A signature by key, as cosign keeps it under the tag `sha256-HEX.sig`. */
export function signUnderTag(
  keys: KeyPair,
  digest: string,
  text: string = simpleSigningOf(digest),
): SignatureManifest {
  const signature = sign("sha256", Buffer.from(text), keys.privateKey).toString("base64");
  return manifestOf("application/vnd.dev.cosign.simplesigning.v1+json", text, {
    "dev.cosignproject.cosign/signature": signature,
  });
}

/** The statement within a bundle. */
export function statementOf(digest: string, predicateType = "https://sigstore.dev/cosign/sign/v1"): string {
  const subject = [{ digest: { sha256: digest.replace("sha256:", "") } }];
  return JSON.stringify({ _type: "https://in-toto.io/Statement/v1", subject, predicateType, predicate: {} });
}

function envelopeOf(statement: string, privateKey: KeyObject) {
  const payloadType = "application/vnd.in-toto+json";
  const text = `DSSEv1 ${payloadType.length} ${payloadType} ${Buffer.byteLength(statement)} ${statement}`;
  const sig = sign("sha256", Buffer.from(text), privateKey).toString("base64");
  return { payload: Buffer.from(statement).toString("base64"), payloadType, signatures: [{ sig }] };
}

const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";

/** A signature by key, as a bundle. */
export function signAsBundle(keys: KeyPair, statement: string): SignatureManifest {
  const verificationMaterial = { publicKey: { hint: "key" }, tlogEntries: [] };
  const dsseEnvelope = envelopeOf(statement, keys.privateKey);
  return manifestOf(BUNDLE, JSON.stringify({ mediaType: BUNDLE, verificationMaterial, dsseEnvelope }));
}

/** An authority and its logs, made for one test. */
export interface Authority {
  /** Its trusted root, in JSON. */
  trustRoot: string;
  /** A certified signature as a bundle. */
  signAsBundle(statement: string, identity: string): Promise<SignatureManifest>;
  /** A certified signature in the form kept under a tag. */
  signUnderTag(digest: string, identity: string): Promise<SignatureManifest>;
}

/** Who certifies identities at {@linkcode makeAuthority}. */
export const ISSUER = "https://issuer.test";

/** Makes an authority, a log of certificates and a log of signatures. */
export async function makeAuthority(): Promise<Authority> {
  const [caKeys, ctKeys, logKeys] = [makeKeys(), makeKeys(), makeKeys()];
  const ctLog = await initializeCTLog(ctKeys);
  const ca = await initializeCA(caKeys, ctLog);
  const log = await initializeTLog("https://rekor.test", logKeys);
  const certify = async (keys: KeyPair, identity: string) => {
    const extensions = [{ oid: "1.3.6.1.4.1.57264.1.8", value: ISSUER }];
    const publicKey = keys.publicKey.export({ type: "spki", format: "der" });
    return bytesOf(
      await ca.issueCertificate({
        publicKey: new Uint8Array(publicKey),
        subjectAltName: identity,
        extensions,
      }),
    );
  };
  const root = trustRootOf({ ca: bytesOf(ca.rootCertificate), ctLog: ctLog.publicKey, log: log.publicKey });
  return {
    trustRoot: JSON.stringify(TrustedRoot.toJSON(root)),
    signAsBundle: async (statement, identity) => {
      const keys = makeKeys();
      const certificate = await certify(keys, identity);
      const dsseEnvelope = envelopeOf(statement, keys.privateKey);
      const entry = await logEntry(log, dsseOf(dsseEnvelope, certificate));
      const verificationMaterial = {
        certificate: { rawBytes: certificate.toString("base64") },
        tlogEntries: [bundleEntryOf(entry)],
      };
      return manifestOf(BUNDLE, JSON.stringify({ mediaType: BUNDLE, verificationMaterial, dsseEnvelope }));
    },
    signUnderTag: async (digest, identity) => {
      const keys = makeKeys();
      const certificate = await certify(keys, identity);
      const text = simpleSigningOf(digest);
      const signature = sign("sha256", Buffer.from(text), keys.privateKey).toString("base64");
      const entry = await logEntry(log, hashedOf(text, signature, certificate));
      const { body, integratedTime, logIndex, logID, verification } = entry;
      return manifestOf("application/vnd.dev.cosign.simplesigning.v1+json", text, {
        "dev.cosignproject.cosign/signature": signature,
        "dev.sigstore.cosign/certificate": pemCertificate(certificate),
        "dev.sigstore.cosign/bundle": JSON.stringify({
          SignedEntryTimestamp: verification.signedEntryTimestamp,
          Payload: { body, integratedTime, logIndex, logID },
        }),
      });
    },
  };
}

/** An entry as the log gives it. */
interface LogEntry {
  body: string;
  integratedTime: number;
  logIndex: number;
  logID: string;
  verification: {
    inclusionProof: { logIndex: number; treeSize: number; rootHash: string; checkpoint: string };
    signedEntryTimestamp: string;
  };
}

async function logEntry(log: { log(entry: object): Promise<object> }, proposed: object): Promise<LogEntry> {
  return Object.values(await log.log(proposed))[0];
}

function bytesOf(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

function pemCertificate(der: Buffer): string {
  return `-----BEGIN CERTIFICATE-----\n${der.toString("base64")}\n-----END CERTIFICATE-----\n`;
}

function dsseOf(envelope: ReturnType<typeof envelopeOf>, certificate: Buffer): object {
  const hash = (text: string | Buffer) => createHash("sha256").update(text).digest("hex");
  const verifier = Buffer.from(pemCertificate(certificate)).toString("base64");
  return {
    apiVersion: "0.0.1",
    kind: "dsse",
    spec: {
      envelopeHash: { algorithm: "sha256", value: hash(JSON.stringify(envelope)) },
      payloadHash: { algorithm: "sha256", value: hash(Buffer.from(envelope.payload, "base64")) },
      signatures: envelope.signatures.map(({ sig }) => ({ signature: sig, verifier })),
    },
  };
}

function hashedOf(text: string, signature: string, certificate: Buffer): object {
  const publicKey = { content: Buffer.from(pemCertificate(certificate)).toString("base64") };
  const value = createHash("sha256").update(text).digest("hex");
  const spec = {
    data: { hash: { algorithm: "sha256", value } },
    signature: { content: signature, publicKey },
  };
  return { apiVersion: "0.0.1", kind: "hashedrekord", spec };
}

function bundleEntryOf({ body, integratedTime, logIndex, logID, verification }: LogEntry): object {
  const { kind, apiVersion } = JSON.parse(Buffer.from(body, "base64").toString());
  const { inclusionProof: proof, signedEntryTimestamp } = verification;
  return {
    logIndex: `${logIndex}`,
    logId: { keyId: Buffer.from(logID, "hex").toString("base64") },
    kindVersion: { kind, version: apiVersion },
    integratedTime: `${integratedTime}`,
    inclusionPromise: { signedEntryTimestamp },
    inclusionProof: {
      logIndex: `${proof.logIndex}`,
      treeSize: `${proof.treeSize}`,
      rootHash: Buffer.from(proof.rootHash, "hex").toString("base64"),
      hashes: [],
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: body,
  };
}

function trustRootOf({ ca, ctLog, log }: { ca: Buffer; ctLog: Buffer; log: Buffer }): TrustedRoot {
  const start = new Date(0);
  const logOf = (key: Buffer, baseUrl: string) => ({
    baseUrl,
    operator: "test",
    hashAlgorithm: HashAlgorithm.SHA2_256,
    publicKey: { rawBytes: key, keyDetails: PublicKeyDetails.PKIX_ECDSA_P256_SHA_256, validFor: { start } },
    logId: { keyId: createHash("sha256").update(key).digest() },
    checkpointKeyId: undefined,
  });
  return {
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    certificateAuthorities: [{
      subject: { commonName: "sigstore", organization: "sigstore.mock" },
      uri: "https://fulcio.test",
      certChain: { certificates: [{ rawBytes: ca }] },
      validFor: { start, end: new Date(Date.UTC(2100, 0, 1)) },
      operator: "test",
    }],
    timestampAuthorities: [],
    tlogs: [logOf(log, "https://rekor.test")],
    ctlogs: [logOf(ctLog, "https://ct.test")],
  };
}
