/** Step 1 of the walk, the words: manifests and indexes, and what they point at. */

import {
  algorithmOf,
  type Descriptor,
  type Digest,
  DigestError,
  digestOf,
  isDigest,
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
  /** Manifests, in the order of the index. */
  manifests: Descriptor[];
  /** Config and layers, each digest once. */
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

/**
 * Builds {@linkcode Content} from the bytes of a manifest.
 *
 * @param bytes The bytes as served.
 * @param contentType The `Content-Type` they were served with, if any; a type that is no manifest type yields to what the bytes say.
 * @param expected Digest the bytes must have, if it is known.
 * @param subject What the bytes are, for errors; the digest unless told.
 * @throws {ManifestError} when the bytes are no manifest.
 * @throws {DigestError} when the digest differs from the one expected.
 */
export async function parseContent(
  bytes: Uint8Array<ArrayBuffer>,
  contentType?: string,
  expected?: Digest,
  subject?: string,
): Promise<Content> {
  const what = subject ?? expected;
  const name = what === undefined ? "" : `"${what}"`;
  const fields = parseFields(bytes, name);
  const mediaType = mediaTypeOf(fields, contentType, name);
  const hashed = isSchema1Type(mediaType) ? schema1Payload(fields, bytes, name) : bytes;
  const digest = await digestOf(hashed, expected === undefined ? "sha256" : algorithmOf(expected));
  if (expected !== undefined && expected !== digest) {
    throw new DigestError(`manifest ${name}`, expected, digest);
  }
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

function parseFields(bytes: Uint8Array, name: string): Fields {
  if (bytes.length > MANIFEST_SIZE_LIMIT) throw new ManifestError(name, "larger than 4 MiB");
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ManifestError(name, "not JSON", { cause });
  }
  if (!isFields(value)) throw new ManifestError(name, "not a JSON object");
  return value;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Old registries serve manifests as `text/plain` or `application/json`, so a useless header yields to the bytes. */
function mediaTypeOf(fields: Fields, contentType: string | undefined, name: string): string {
  // CVE-2021-41190: bytes that read as an image by one field and as an index by another are refused.
  if (Array.isArray(fields.manifests) && (Array.isArray(fields.layers) || fields.config !== undefined)) {
    throw new ManifestError(name, `it has both "manifests" and "layers"`);
  }
  const header = contentType?.split(";")[0]?.trim().toLowerCase();
  for (const type of [header, fields.mediaType]) {
    if (typeof type === "string" && (isIndexType(type) || isManifestType(type) || isSchema1Type(type))) {
      return type;
    }
  }
  return typeFromShape(fields, name);
}

function typeFromShape(fields: Fields, name: string): string {
  const declared = typeof fields.mediaType === "string" ? fields.mediaType : undefined;
  if (fields.schemaVersion === 1 && Array.isArray(fields.fsLayers)) {
    return Array.isArray(fields.signatures) ? MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED : MEDIA_TYPE_DOCKER_SCHEMA1;
  }
  if (Array.isArray(fields.manifests)) {
    const isDocker = fields.manifests.some((entry) =>
      isFields(entry) && entry.mediaType === MEDIA_TYPE_DOCKER_MANIFEST
    );
    return declared ?? (isDocker ? MEDIA_TYPE_DOCKER_LIST : MEDIA_TYPE_OCI_INDEX);
  }
  if (isFields(fields.config) && Array.isArray(fields.layers)) return declared ?? MEDIA_TYPE_OCI_MANIFEST;
  if (declared !== undefined && Array.isArray(fields.blobs)) return declared;
  throw new ManifestError(name, `unsupported manifest type "${declared ?? "unknown"}"`);
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
  if (isSchema1Type(mediaType)) return { manifests: [], blobs: unique(schema1Blobs(fields, digest)) };
  if (Array.isArray(fields.manifests)) return indexChildren(fields.manifests, digest);
  const layers = fields.layers ?? fields.blobs ?? [];
  if (!Array.isArray(layers)) throw new ManifestError(`"${digest}"`, `"layers" is not a list`);
  const config = fields.config === undefined ? [] : [fields.config];
  return {
    manifests: [],
    blobs: unique([...config, ...layers].map((value) => parseDescriptor(value, digest))),
  };
}

/** An index may list blobs beside manifests (OCI image-spec 1.1 lets `manifests` hold any media type): those are blobs to copy. */
function indexChildren(entries: unknown[], digest: Digest): Children {
  const children = unique(entries.map((value) => parseDescriptor(value, digest)));
  const isManifest = ({ mediaType }: Descriptor) =>
    isIndexType(mediaType) || isManifestType(mediaType) || isSchema1Type(mediaType) ||
    /\.manifest\.|\.index\./.test(mediaType);
  return {
    manifests: children.filter(isManifest),
    blobs: children.filter((child) => !isManifest(child)),
  };
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

function unique(descriptors: Descriptor[]): Descriptor[] {
  return [...new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor])).values()];
}

function parseDescriptor(value: unknown, digest: Digest): Descriptor {
  if (!isFields(value)) throw new ManifestError(`"${digest}"`, "a descriptor is not an object");
  if (typeof value.digest !== "string" || !isDigest(value.digest)) {
    throw new ManifestError(`"${digest}"`, `a descriptor has no valid digest`);
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
