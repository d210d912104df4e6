/** Step 1 of the walk, the words: digests, platforms, descriptors and media types, spelled as on the wire. */

/** A content digest such as `sha256:6c3c624b58db…` (OCI image-spec 1.1, Digests). */
export type Digest = string;

/** The machine an image is built for (OCI image-spec 1.1, Image Index property descriptions, `platform`). */
export interface Platform {
  /** Operating system in Go's spelling, for example `linux`. */
  os: string;
  /** CPU architecture in Go's spelling, for example `arm64`. */
  architecture: string;
  /** CPU variant, for example `v7` for 32-bit arm. */
  variant?: string;
  /** Version of the operating system, used by Windows images. */
  "os.version"?: string;
  /** Features the operating system must have, used by Windows images. */
  "os.features"?: string[];
}

/** A pointer to content (OCI image-spec 1.1, Content Descriptors). */
export interface Descriptor {
  /** Media type of the content pointed at. */
  mediaType: string;
  /** Digest of the content's bytes. */
  digest: Digest;
  /** Size of the content in bytes; `-1` where Docker schema 1 leaves it unknown. */
  size: number;
  /** Type of the artifact, when the content is one. */
  artifactType?: string;
  /** Platform of the content, set on the entries of an index. */
  platform?: Platform;
  /** Free-form notes. */
  annotations?: Record<string, string>;
  /** Other places the content can be downloaded from (non-distributable layers). */
  urls?: string[];
  /** The content itself in base64, for very small content. */
  data?: string;
}

/** Media type of Docker's signed schema 1 image manifest. */
export const MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/** Media type of Docker's unsigned schema 1 image manifest. */
export const MEDIA_TYPE_DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json";
/** Media type of Docker's schema 2 image manifest. */
export const MEDIA_TYPE_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
/** Media type of Docker's manifest list. */
export const MEDIA_TYPE_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
/** Media type of an OCI image manifest. */
export const MEDIA_TYPE_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
/** Media type of an OCI image index. */
export const MEDIA_TYPE_OCI_INDEX = "application/vnd.oci.image.index.v1+json";

/**
 * Every manifest media type this project carries, in the order of the `Accept` header.
 * HEAD and GET must send the same list, or a registry may convert one of them and answer with two digests.
 */
export const MANIFEST_MEDIA_TYPES: readonly string[] = [
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_DOCKER_LIST,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED,
  MEDIA_TYPE_DOCKER_SCHEMA1,
];

/** Whether a media type names a list of manifests (an OCI index or a Docker manifest list). */
export function isIndexType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE_OCI_INDEX || mediaType === MEDIA_TYPE_DOCKER_LIST;
}

/** Whether a media type names a Docker schema 1 manifest, signed or not. */
export function isSchema1Type(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED || mediaType === MEDIA_TYPE_DOCKER_SCHEMA1;
}

/** Whether a media type names a single image or artifact manifest with a config and layers. */
export function isManifestType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE_OCI_MANIFEST || mediaType === MEDIA_TYPE_DOCKER_MANIFEST;
}

const HEX: Record<string, RegExp> = {
  sha256: /^[a-f0-9]{64}$/,
  sha384: /^[a-f0-9]{96}$/,
  sha512: /^[a-f0-9]{128}$/,
};

/** Whether a text is a digest: known algorithms need their exact length in lower-case hex, others at least 32 characters. */
export function isDigest(text: string): boolean {
  const match = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]{32,256})$/.exec(text);
  if (match === null) return false;
  return HEX[match[1] ?? ""]?.test(match[2] ?? "") ?? true;
}

/** Finds the digest of bytes in memory, as {@linkcode digestOf} does; `algorithm` is in a digest's spelling. */
export type DigestOf = (bytes: Uint8Array<ArrayBuffer>, algorithm: string) => Digest | Promise<Digest>;

const SUBTLE_NAMES: Record<string, string> = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" };

/** Whether {@linkcode digestOf} knows an algorithm. */
export function isHashable(algorithm: string): boolean {
  return SUBTLE_NAMES[algorithm] !== undefined;
}

/**
 * The digest of some bytes.
 *
 * @param bytes What to hash.
 * @param algorithm Name in a digest's spelling, `sha256` unless told.
 * @throws {TypeError} when the algorithm is not one of sha256, sha384 and sha512.
 */
export async function digestOf(bytes: Uint8Array<ArrayBuffer>, algorithm = "sha256"): Promise<Digest> {
  const name = SUBTLE_NAMES[algorithm];
  if (name === undefined) throw new TypeError(`Cannot hash with "${algorithm}": unknown digest algorithm`);
  const hash = new Uint8Array(await crypto.subtle.digest(name, bytes));
  return `${algorithm}:${Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * The content that a descriptor carries itself (OCI image-spec 1.1, Content Descriptors, `data`), where it has the size and
 * digest that the descriptor says; else `undefined`, and the content is to be had from its registry.
 *
 * @param hash Finds the digest; {@linkcode digestOf} unless told.
 */
export async function embeddedContent(
  { data, digest, size }: Descriptor,
  hash: DigestOf = digestOf,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const algorithm = algorithmOf(digest);
  if (data === undefined || !isHashable(algorithm)) return undefined;
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
  return bytes.length === size && await hash(bytes, algorithm) === digest ? bytes : undefined;
}

/** The algorithm of a digest, for example `sha256`. */
export function algorithmOf(digest: Digest): string {
  return digest.slice(0, digest.indexOf(":"));
}

/** Bytes did not have the digest they should have. */
export class DigestError extends Error {
  /** The digest that was asked for. */
  readonly expected: Digest;
  /** The digest the bytes have. */
  readonly actual: Digest;

  /** Names what was checked, and both digests. */
  constructor(subject: string, expected: Digest, actual: Digest) {
    super(`Cannot trust ${subject}: expected digest "${expected}", got "${actual}"`);
    this.name = "DigestError";
    this.expected = expected;
    this.actual = actual;
  }
}
