/** Step 1 of the walk, the words: manifests and indexes, and what they point at. */

import {
  algorithmOf,
  type Descriptor,
  type Digest,
  DigestError,
  type DigestOf,
  digestOf,
  isDigest,
  isHashable,
  isIndexType,
  isManifestType,
  isSchema1Type,
  MEDIA_TYPE_DOCKER_LIST,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_DOCKER_SCHEMA1,
  MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
  type Platform,
} from "./descriptor.ts";
import { printable } from "./printable.ts";

/** An image or artifact (OCI image-spec 1.1, Image Manifest; Docker schema 2 has the same shape). */
export interface Manifest {
  /** Always 2. */
  schemaVersion: number;
  /** Media type of this manifest. */
  mediaType?: string;
  /** Type of the artifact, when it is one. */
  artifactType?: string;
  /** The image's configuration. */
  config: Descriptor;
  /** The image's layers, base first. */
  layers: Descriptor[];
  /** The manifest this one is about. */
  subject?: Descriptor;
  /** Free-form notes. */
  annotations?: Record<string, string>;
}

/** A list of manifests (OCI image-spec 1.1, Image Index; a Docker manifest list has the same shape). */
export interface Index {
  /** Always 2. */
  schemaVersion: number;
  /** Media type of this index. */
  mediaType?: string;
  /** Type of the artifact, when it is one. */
  artifactType?: string;
  /** The manifests, one a platform as a rule. */
  manifests: Descriptor[];
  /** The manifest this index is about. */
  subject?: Descriptor;
  /** Free-form notes. */
  annotations?: Record<string, string>;
}

/** Manifest bytes as served, never serialized again, so that their digest holds. */
export interface Content {
  /** Media type, digest and size of the bytes. */
  descriptor: Descriptor;
  /** The bytes. */
  bytes: Uint8Array<ArrayBuffer>;
}

/** What some content points at. */
export interface Children {
  /** Whatever is not known to be a blob (see {@linkcode mayBeBlob}), in the order of the index. */
  manifests: Descriptor[];
  /** Config and layers. */
  blobs: Descriptor[];
}

/** The largest manifest that is read, in bytes (4 MiB, the limit the distribution-spec asks registries to take). */
export const MANIFEST_SIZE_LIMIT = 4 * 1024 * 1024;

/** Some bytes are not a manifest. */
export class ManifestError extends Error {
  /** Says what was wrong with which manifest. */
  constructor(subject: string, why: string, options?: ErrorOptions) {
    super(`Cannot read manifest${subject === "" ? "" : ` ${subject}`}: ${why}`, options);
    this.name = "ManifestError";
  }
}

type Fields = Record<string, unknown>;

/** Options of {@linkcode parseContent}. */
export interface ParseOptions {
  /** Digest that the bytes must have, if it is known. */
  expected?: Digest | undefined;
  /** What the bytes are, for errors. */
  subject?: string;
  /** Finds the digest of the bytes; WebCrypto unless told. */
  hash?: DigestOf;
}

/**
 * Builds {@linkcode Content} from the bytes of a manifest.
 *
 * @param bytes The bytes as served.
 * @param contentType The `Content-Type` they were served with, if any; the body's own type counts before it.
 * @param options What the bytes are, for errors (the digest unless told), and what hashes them.
 * @throws {ManifestError} when the bytes are no manifest.
 * @throws {DigestError} when the digest differs from the one expected.
 */
export async function parseContent(
  bytes: Uint8Array<ArrayBuffer>,
  contentType?: string,
  { expected, subject, hash = digestOf }: ParseOptions = {},
): Promise<Content> {
  const what = subject ?? expected;
  const name = what === undefined ? "" : `"${what}"`;
  const fields = parseFields(bytes, name, contentType);
  const mediaType = mediaTypeOf(fields, essenceOf(contentType), name);
  const hashed = isSchema1Type(mediaType) ? schema1Payload(fields, bytes, name) : bytes;
  const digest = await hash(hashed, expected === undefined ? "sha256" : algorithmOf(expected));
  if (expected !== undefined && expected !== digest) {
    throw new DigestError(`manifest ${name}`, expected, digest);
  }
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

/**
 * Whether a manifest has a digest, which may be of another algorithm than the one it is known by: then its bytes are hashed
 * anew (OCI distribution-spec 1.1, Pulling manifests: a registry may answer with another algorithm).
 */
export async function hasDigest({ descriptor, bytes }: Content, digest: Digest): Promise<boolean> {
  const { mediaType, digest: known } = descriptor;
  if (digest === known) return true;
  const algorithm = algorithmOf(digest);
  if (!isDigest(digest) || !isHashable(algorithm) || algorithm === algorithmOf(known)) return false;
  const name = `"${known}"`;
  const hashed = isSchema1Type(mediaType) ? schema1Payload(parseFields(bytes, name), bytes, name) : bytes;
  return await digestOf(hashed, algorithm) === digest;
}

/** A byte that is not UTF-8 is no reason to refuse: the bytes are carried as they are, and nothing but pointers is read from them. */
function parseFields(bytes: Uint8Array, name: string, contentType?: string): Fields {
  if (bytes.length > MANIFEST_SIZE_LIMIT) throw new ManifestError(name, "larger than 4 MiB");
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    const isPage = essenceOf(contentType) === "text/html";
    throw new ManifestError(name, isPage ? "not JSON but a web page (text/html)" : "not JSON", { cause });
  }
  if (!isFields(value)) throw new ManifestError(name, "not a JSON object");
  return withoutNull(value);
}

/** Go writes an empty list, and what is not there, as `null`. */
function withoutNull(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A `Content-Type` without its parameters; media types are the same in any case of letters (RFC 9110, section 8.3.1). */
function essenceOf(contentType: string | undefined): string | undefined {
  return contentType?.split(";")[0]?.trim().toLowerCase();
}

/** What kind of manifest some bytes are by the lists they have. */
type Shape = "index" | "image" | "artifact" | "schema 1";

/**
 * The body's own type where it has one, for that is what it must be pushed as (OCI distribution-spec 1.1, Pushing manifests);
 * then that of the header; then what the shape says, for old registries serve manifests as `text/plain` or `application/json`.
 */
function mediaTypeOf(fields: Fields, header: string | undefined, name: string): string {
  const shape = shapeOf(fields, name);
  const own = typeof fields.mediaType === "string" && fields.mediaType !== "" ? fields.mediaType : undefined;
  const served = header?.startsWith("application/vnd.") ? header : undefined;
  const type = own ?? served;
  if (shape === undefined) throw new ManifestError(name, whyNot(type ?? header));
  if (type === undefined) return typeOfShape(fields, shape, name);
  if (fits(type, shape)) return type;
  const other = own === undefined || served === undefined || own === served
    ? ""
    : ` and was served as "${served}"`;
  const said = own === undefined ? "it was served as" : "it says that it is";
  throw new ManifestError(
    name,
    `${said} "${printable(type)}"${other}, but it has the fields of ${article(shape)}`,
  );
}

function article(shape: Shape): string {
  return `${/^[ai]/.test(shape) ? "an" : "a"} ${shape === "schema 1" ? "schema 1 manifest" : shape}`;
}

function whyNot(type: string | undefined): string {
  return `unsupported manifest type "${printable(type ?? "unknown")}": ` +
    `it has none of the lists "manifests", "layers", "blobs" and "fsLayers"`;
}

function shapeOf(fields: Fields, name: string): Shape | undefined {
  // CVE-2021-41190: bytes that read as an image by one field and as an index by another are refused.
  if (Array.isArray(fields.manifests) && (Array.isArray(fields.layers) || fields.config !== undefined)) {
    throw new ManifestError(name, `it has both "manifests" and "layers"`);
  }
  if (Array.isArray(fields.manifests)) return "index";
  if (Array.isArray(fields.layers)) return "image";
  if (Array.isArray(fields.fsLayers)) return "schema 1";
  return Array.isArray(fields.blobs) ? "artifact" : undefined;
}

/** A type that nobody here knows may have any shape. */
function fits(mediaType: string, shape: Shape): boolean {
  const type = mediaType.toLowerCase();
  if (isIndexType(type)) return shape === "index";
  if (isManifestType(type)) return shape === "image";
  return !isSchema1Type(type) || shape === "schema 1";
}

function typeOfShape(fields: Fields, shape: Shape, name: string): string {
  switch (shape) {
    case "index": {
      const entries = fields.manifests as unknown[];
      const isDocker = entries.some((one) => isFields(one) && one.mediaType === MEDIA_TYPE_DOCKER_MANIFEST);
      return isDocker ? MEDIA_TYPE_DOCKER_LIST : MEDIA_TYPE_OCI_INDEX;
    }
    case "image":
      return MEDIA_TYPE_OCI_MANIFEST;
    case "schema 1":
      return Array.isArray(fields.signatures) ? MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED : MEDIA_TYPE_DOCKER_SCHEMA1;
    case "artifact":
      throw new ManifestError(name, `it has "blobs", but nothing says what type it is`);
  }
}

/**
 * The part of a signed schema 1 manifest that its digest covers: the signatures are cut out again
 * (Docker image manifest v2 schema 1, Signed manifests: `formatLength` bytes followed by `formatTail`).
 */
function schema1Payload(
  fields: Fields,
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
): Uint8Array<ArrayBuffer> {
  const signature: unknown = Array.isArray(fields.signatures) ? fields.signatures[0] : undefined;
  if (!isFields(signature) || typeof signature.protected !== "string") return bytes;
  try {
    const header: unknown = JSON.parse(new TextDecoder().decode(fromBase64Url(signature.protected)));
    if (
      !isFields(header) || typeof header.formatLength !== "number" || typeof header.formatTail !== "string"
    ) {
      return bytes;
    }
    const tail = fromBase64Url(header.formatTail);
    // A length from outside makes no memory of its size.
    if (!Number.isSafeInteger(header.formatLength) || header.formatLength > bytes.length) {
      throw new RangeError(`its payload cannot have ${header.formatLength} bytes`);
    }
    const payload = new Uint8Array(header.formatLength + tail.length);
    payload.set(bytes.subarray(0, header.formatLength));
    payload.set(tail, header.formatLength);
    return payload;
  } catch (cause) {
    throw new ManifestError(name, "its signature header is malformed", { cause });
  }
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/**
 * What a manifest or index points at, in its own order, each digest once.
 *
 * Docker schema 1 gives no sizes, so its blobs have size -1.
 *
 * @throws {ManifestError} when a pointer is malformed.
 */
export function childrenOf(content: Content): Children {
  const { mediaType, digest } = content.descriptor;
  const fields = parseFields(content.bytes, `"${digest}"`);
  const parse = (value: unknown) => parseDescriptor(value, digest);
  if (isSchema1Type(mediaType)) return { manifests: [], blobs: unique(schema1Blobs(fields, digest), digest) };
  if (Array.isArray(fields.manifests)) {
    const entries = unique(fields.manifests.map(parse), digest);
    return { manifests: entries.filter((entry) => !isBlob(entry)), blobs: entries.filter(isBlob) };
  }
  const layers = fields.layers ?? fields.blobs ?? [];
  if (!Array.isArray(layers)) throw new ManifestError(`"${digest}"`, `"layers" is not a list`);
  const config = fields.config === undefined ? [] : [fields.config];
  return { manifests: [], blobs: unique([...config, ...layers].map(parse), digest) };
}

/**
 * The entries of an index that is a list and no image (OCI distribution-spec 1.1, Listing Referrers), each digest once.
 *
 * @param subject What the list is of, for errors.
 * @throws {ManifestError} when the bytes are no index, or an entry is malformed.
 */
export function parseIndexEntries(bytes: Uint8Array, subject: string): Descriptor[] {
  const { schemaVersion, manifests = [] } = parseFields(bytes, `"${subject}"`);
  // An empty list may be `null`; what is no index at all has not even a version.
  if (!Array.isArray(manifests) || schemaVersion === undefined && manifests.length === 0) {
    throw new ManifestError(`"${subject}"`, `it has no list "manifests"`);
  }
  return unique(manifests.map((value) => parseDescriptor(value, subject)), subject);
}

/** Whether some content lists manifests: by its type, or where nobody here knows that, by its shape. */
export function isIndex({ descriptor, bytes }: Content): boolean {
  if (isIndexType(descriptor.mediaType)) return true;
  return mayBeBlob(descriptor) && Array.isArray(parseFields(bytes, `"${descriptor.digest}"`).manifests);
}

/** Media types of layers and configs, in which an index may point at a blob (OCI image-spec 1.1, Image Index). */
const BLOB_TYPE =
  /^application\/vnd\.(?:oci|docker)\.(?:image\.(?:layer|rootfs|config)|container\.image|empty)\b|[.+](?:tar|gzip|zstd)\b/i;

function isBlob({ mediaType }: Descriptor): boolean {
  return BLOB_TYPE.test(mediaType);
}

/**
 * Whether an entry of an index may be a blob although it stands among its manifests: its media type says neither, so its
 * source is asked for a manifest first.
 */
export function mayBeBlob({ mediaType }: Pick<Descriptor, "mediaType">): boolean {
  const type = mediaType.toLowerCase();
  return !(isIndexType(type) || isManifestType(type) || isSchema1Type(type));
}

function schema1Blobs(fields: Fields, digest: Digest): Descriptor[] {
  const layers = Array.isArray(fields.fsLayers) ? fields.fsLayers : [];
  return layers.map((layer: unknown) => {
    const blobSum = isFields(layer) ? layer.blobSum : undefined;
    if (typeof blobSum !== "string" || !isDigest(blobSum)) {
      throw new ManifestError(`"${digest}"`, "a layer has no digest");
    }
    return { mediaType: "application/octet-stream", digest: blobSum, size: -1 };
  });
}

/** Each digest once; one that is pointed at with two sizes cannot be right in both. */
function unique(descriptors: Descriptor[], digest: Digest): Descriptor[] {
  const found = new Map<Digest, Descriptor>();
  for (const descriptor of descriptors) {
    const known = found.get(descriptor.digest);
    if (known === undefined) found.set(descriptor.digest, descriptor);
    else if (known.size !== descriptor.size) {
      const why =
        `"${known.digest}" has a size of ${known.size} bytes in one place and of ${descriptor.size} in another`;
      throw new ManifestError(`"${digest}"`, why);
    }
  }
  return [...found.values()];
}

function parseDescriptor(value: unknown, digest: Digest): Descriptor {
  if (!isFields(value)) throw new ManifestError(`"${digest}"`, "a descriptor is not an object");
  if (typeof value.digest !== "string" || !isDigest(value.digest)) {
    throw new ManifestError(`"${digest}"`, "a descriptor has no valid digest");
  }
  if (!Number.isSafeInteger(value.size) || Number(value.size) < 0) {
    throw new ManifestError(`"${digest}"`, `the descriptor of "${value.digest}" has no valid size`);
  }
  const mediaType = typeof value.mediaType === "string" ? value.mediaType : "application/octet-stream";
  const descriptor: Descriptor = { mediaType, digest: value.digest, size: Number(value.size) };
  const platform = parsePlatform(value.platform);
  if (platform !== undefined) descriptor.platform = platform;
  if (typeof value.artifactType === "string") descriptor.artifactType = value.artifactType;
  if (isFields(value.annotations)) descriptor.annotations = stringFields(value.annotations);
  if (Array.isArray(value.urls)) descriptor.urls = value.urls.filter((url) => typeof url === "string");
  if (typeof value.data === "string") descriptor.data = value.data;
  return descriptor;
}

function parsePlatform(value: unknown): Platform | undefined {
  if (!isFields(value) || typeof value.os !== "string" || typeof value.architecture !== "string") {
    return undefined;
  }
  const platform: Platform = { os: value.os, architecture: value.architecture };
  if (typeof value.variant === "string") platform.variant = value.variant;
  if (typeof value["os.version"] === "string") platform["os.version"] = value["os.version"];
  const features = value["os.features"];
  if (Array.isArray(features)) platform["os.features"] = features.filter((one) => typeof one === "string");
  return platform;
}

function stringFields(fields: Fields): Record<string, string> {
  const entries = Object.entries(fields).filter((entry): entry is [string, string] =>
    typeof entry[1] === "string"
  );
  return Object.fromEntries(entries);
}
