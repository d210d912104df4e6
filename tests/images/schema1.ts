/** Builds signed Docker schema 1 manifests, which some registries still hold. */

import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED } from "../../src/oci/descriptor.ts";
import { bytesContent, generatedBytes } from "../registry/blob_content.ts";
import { manifestDigest } from "../registry/manifest_facts.ts";
import type { Image } from "./image.ts";

/** Options of {@linkcode buildSchema1}. */
export interface Schema1Options {
  /** Where the pseudo-random bytes start; 1 unless told. */
  seed?: number;
  /** How many layers; 2 unless told. */
  layers?: number;
  /** Repository the manifest says it is in. */
  name?: string;
  /** Tag the manifest says it has. */
  tag?: string;
}

/**
 * A schema 1 image in the JSON web signature form ("prettyjws"), whose digest leaves the signatures out.
 * The signature is genuine, by a key made once a process: digests are always the same, bytes within a process.
 */
export function buildSchema1(options: Schema1Options = {}): Image {
  const { seed = 1, layers = 2, name = "old/image", tag = "latest" } = options;
  const blobs = Array.from(
    { length: layers },
    (_, index) => bytesContent(generatedBytes(seed * 31 + index, 512)),
  );
  const payload = JSON.stringify(
    {
      schemaVersion: 1,
      name,
      tag,
      architecture: "amd64",
      fsLayers: blobs.map(({ digest }) => ({ blobSum: digest })),
      history: blobs.map((_, index) => ({ v1Compatibility: JSON.stringify({ id: `${seed}-${index}` }) })),
    },
    null,
    3,
  );
  const bytes = new TextEncoder().encode(signPayload(payload));
  const mediaType = MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED;
  const digest = manifestDigest(bytes, mediaType);
  return {
    bytes,
    mediaType,
    digest,
    descriptor: { mediaType, digest, size: bytes.length },
    blobs: new Map(blobs.map((blob) => [blob.digest, blob])),
    children: [],
  };
}

/** Puts the signatures before the payload's last lines, which the protected header keeps as `formatTail`. */
function signPayload(payload: string): string {
  const formatTail = "\n}";
  const formatLength = payload.length - formatTail.length;
  const header = { formatLength, formatTail: encodeBase64Url(formatTail), time: "2016-01-02T03:04:05Z" };
  const protectedHeader = encodeBase64Url(JSON.stringify(header));
  signingKey ??= createSigningKey();
  const signed = new TextEncoder().encode(`${protectedHeader}.${encodeBase64Url(payload)}`);
  const signature = {
    header: { jwk: signingKey.jwk, alg: "RS256" },
    signature: sign("sha256", signed, signingKey.privateKey).toString("base64url"),
    protected: protectedHeader,
  };
  const signatures = JSON.stringify([signature], null, 3).replaceAll("\n", "\n   ");
  return `${payload.slice(0, formatLength)},\n   "signatures": ${signatures}${formatTail}`;
}

interface SigningKey {
  privateKey: KeyObject;
  jwk: Record<string, unknown>;
}

let signingKey: SigningKey | undefined;

// RSA, because its signatures are the same each time; small, because nothing is at stake.
function createSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const der = publicKey.export({ type: "spki", format: "der" });
  const hash = createHash("sha256").update(der).digest().subarray(0, 30);
  const kid = encodeBase32(hash).match(/.{4}/g)?.join(":");
  return { privateKey, jwk: { ...publicKey.export({ format: "jwk" }), kid } };
}

/** Base 32 (RFC 4648) of bytes whose count is a multiple of 5. */
function encodeBase32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("");
  const groups = bits.match(/.{5}/g) ?? [];
  return groups.map((group) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".charAt(parseInt(group, 2))).join("");
}

function encodeBase64Url(text: string): string {
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
