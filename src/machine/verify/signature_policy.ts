/** Who must have signed an image for it to be copied: a rule's `verify`, checked, with the files it names read. */

import { whyNotRead } from "../system_error.ts";
import { compilePattern } from "../../mirror/rules/pattern.ts";

/** What a rule demands of signatures: a key, or an identity that an authority has certified. */
export interface SignaturePolicy {
  /** A public key in PEM, or the path of a file that holds one. */
  key?: string;
  /** Who certified the identity, exactly: for example `https://token.actions.githubusercontent.com`. */
  issuer?: string;
  /** Who signed: exactly, or a pattern between slashes (RE2) that must match the whole. */
  identity?: string;
  /** Path of a Sigstore trusted root (JSON): its authorities and logs. Nothing is fetched. */
  trustRoot?: string;
  /** Whether a signature by key must stand in a transparency log of the trust root; it must unless this is `false`. */
  transparencyLog?: boolean;
}

/** A policy that was checked. */
export interface CheckedPolicy {
  /** The public key, in PEM. */
  key: string | undefined;
  /** Who certified the identity. */
  issuer: string | undefined;
  /** The identity as written, for messages. */
  identity: string | undefined;
  /** Whether a signer is the one that is wanted. */
  matchesIdentity: (identity: string) => boolean;
  /** The trusted root, as parsed. */
  trustRoot: unknown;
  /** Whether a log entry is demanded. */
  needsLog: boolean;
}

/** A demand on signatures cannot be used. */
export class SignaturePolicyError extends Error {
  /** Names the property, and why. */
  constructor(property: string, why: string, options?: ErrorOptions) {
    super(`Cannot check signatures by "${property}": ${why}`, options);
    this.name = "SignaturePolicyError";
  }
}

/**
 * Checks a policy and reads its files.
 *
 * @throws {SignaturePolicyError} when it demands nothing, contradicts itself, or a file cannot be read or used.
 */
export async function checkPolicy(policy: SignaturePolicy): Promise<CheckedPolicy> {
  checkShape(policy);
  const { key, issuer, identity, trustRoot, transparencyLog = true } = policy;
  return {
    key: key === undefined ? undefined : await readKey(key),
    issuer,
    identity,
    matchesIdentity: await compileIdentity(identity),
    trustRoot: trustRoot === undefined ? undefined : await readTrustRoot(trustRoot),
    needsLog: transparencyLog,
  };
}

function checkShape({ key, issuer, identity, trustRoot, transparencyLog }: SignaturePolicy): void {
  const isKeyless = issuer !== undefined || identity !== undefined;
  if (key === undefined && !isKeyless) {
    throw new SignaturePolicyError("verify", 'it needs a "key", or an "issuer" and an "identity"');
  }
  if (key !== undefined && isKeyless) {
    throw new SignaturePolicyError(
      "key",
      'it excludes "issuer" and "identity"; one rule demands one of them',
    );
  }
  if (isKeyless && (!issuer || !identity)) {
    throw new SignaturePolicyError(issuer ? "identity" : "issuer", '"issuer" and "identity" go together');
  }
  if (isKeyless && trustRoot === undefined) {
    throw new SignaturePolicyError(
      "trustRoot",
      "an identity is certified by an authority; name the file of its trusted root",
    );
  }
  if (isKeyless && transparencyLog === false) {
    throw new SignaturePolicyError(
      "transparencyLog",
      "a certificate is good for minutes; only a log says when it was used",
    );
  }
  if (key !== undefined && transparencyLog !== false && trustRoot === undefined) {
    const why =
      'the log that must know the signature is unknown; name a "trustRoot", or write "transparencyLog": false';
    throw new SignaturePolicyError("key", why);
  }
}

/** A pattern must match whole, so that `/^https:\/\/github.com\/acme/` does not let `acme-evil` in unseen. */
async function compileIdentity(identity: string | undefined): Promise<(identity: string) => boolean> {
  if (identity === undefined) return () => true;
  const isPattern = identity.length > 1 && identity.startsWith("/") && identity.endsWith("/");
  if (!isPattern) {
    if (!identity.includes("*")) return (one) => one === identity;
    const why = 'a "*" means nothing here; write the identity exactly, or a pattern between slashes';
    throw new SignaturePolicyError("identity", why);
  }
  const pattern = identity.slice(1, -1);
  if (/^[\^(]*\.[*+][)$]*$/.test(pattern)) throw new SignaturePolicyError("identity", "it lets everybody in");
  try {
    return await compilePattern(`^(?:${pattern})$`);
  } catch (cause) {
    throw new SignaturePolicyError("identity", cause instanceof Error ? cause.message : String(cause), {
      cause,
    });
  }
}

async function readKey(key: string): Promise<string> {
  const text = key.includes("-----BEGIN") ? key : await readFile("key", key);
  const { createPublicKey } = await import("node:crypto");
  if (text.includes("PRIVATE KEY")) {
    throw new SignaturePolicyError("key", "it holds a private key; only the public one belongs here");
  }
  try {
    return createPublicKey(text).export({ type: "spki", format: "pem" }).toString();
  } catch (cause) {
    throw new SignaturePolicyError("key", "it is no public key in PEM", { cause });
  }
}

async function readTrustRoot(path: string): Promise<unknown> {
  const text = await readFile("trustRoot", path);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SignaturePolicyError("trustRoot", `"${path}" holds no JSON`, { cause });
  }
}

async function readFile(property: string, path: string): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new SignaturePolicyError(property, `"${path}" cannot be read: ${whyNotRead(cause)}`, { cause });
  }
}
