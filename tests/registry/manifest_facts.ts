/** What the test registry reads out of a manifest: the blobs, children and subject it names. */

import {
  type Descriptor,
  type Digest,
  isIndexType,
  isSchema1Type,
  MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED,
} from "../../src/oci/descriptor.ts";
import { type Bytes, concatenate } from "./blob_content.ts";
import { digestAlgorithm, digestBytes } from "./digest.ts";
import { Refusal } from "./refusal.ts";

/** What a manifest names. */
export interface ManifestFacts {
  /** Blobs that must be there: config, layers, artifact blobs, schema 1 layers. */
  readonly blobs: readonly { digest: Digest }[];
  /** Manifests that must be there: the children of an index. */
  readonly children: readonly Descriptor[];
  /** Digest of the manifest this one refers to. */
  readonly subject?: Digest;
  /** The artifact's type: its own, else the config's media type. */
  readonly artifactType?: string;
  /** Annotations, which the referrers list repeats. */
  readonly annotations?: Record<string, string>;
}

/** The fields of all manifest kinds, all of them unchecked. */
interface LooseManifest {
  mediaType?: unknown;
  artifactType?: string;
  config?: Descriptor;
  layers?: Descriptor[];
  blobs?: Descriptor[];
  manifests?: Descriptor[];
  fsLayers?: { blobSum: Digest }[];
  subject?: Descriptor;
  annotations?: Record<string, string>;
}

/**
 * Reads the facts out of a manifest's bytes.
 *
 * @throws {Refusal} with MANIFEST_INVALID when the bytes are no JSON object, its `mediaType` contradicts, or a
 * descriptor has no digest.
 */
export function readManifest(bytes: Bytes, mediaType: string): ManifestFacts {
  const manifest = parseManifest(bytes);
  if (typeof manifest.mediaType === "string" && manifest.mediaType !== mediaType) {
    throw new Refusal(
      400,
      "MANIFEST_INVALID",
      `Content-Type "${mediaType}" is not the mediaType of the manifest`,
    );
  }
  const facts = collectFacts(manifest, mediaType);
  for (const descriptor of [...facts.blobs, ...facts.children]) {
    if (digestAlgorithm(descriptor.digest) === undefined) {
      throw new Refusal(400, "MANIFEST_INVALID", "a descriptor has no valid digest");
    }
  }
  return facts;
}

/** The media type a manifest gives itself, for pushes without a Content-Type. */
export function ownMediaType(bytes: Bytes): string | undefined {
  const { mediaType } = parseManifest(bytes);
  return typeof mediaType === "string" ? mediaType : undefined;
}

/**
 * The digest a registry files a manifest under. That of signed schema 1 is taken over the payload that was signed,
 * which is the document without its signatures (Docker image-spec 2.1, "Signed Manifests").
 */
export function manifestDigest(bytes: Bytes, mediaType: string, algorithm = "sha256"): Digest {
  const signed = mediaType === MEDIA_TYPE_DOCKER_SCHEMA1_SIGNED;
  return digestBytes(signed ? signedPayload(bytes) : bytes, algorithm);
}

/** The signed part of a schema 1 manifest: `formatLength` bytes of it, then the decoded `formatTail`. */
export function signedPayload(bytes: Bytes): Bytes {
  const { signatures } = parseManifest(bytes) as { signatures?: { protected: string }[] };
  const header = signatures?.[0]?.protected;
  if (header === undefined) throw new Refusal(400, "MANIFEST_INVALID", "the manifest has no signature");
  const { formatLength, formatTail } = JSON.parse(new TextDecoder().decode(decodeBase64Url(header)));
  return concatenate([bytes.subarray(0, formatLength), decodeBase64Url(formatTail)]);
}

function decodeBase64Url(text: string): Bytes {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}

/** Go reads JSON with bytes that are not UTF-8, and so do registries. */
function parseManifest(bytes: Bytes): LooseManifest {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    throw new Refusal(400, "MANIFEST_INVALID", "the manifest is not JSON", { cause: error });
  }
  throw new Refusal(400, "MANIFEST_INVALID", "the manifest is not a JSON object");
}

function collectFacts(manifest: LooseManifest, mediaType: string): ManifestFacts {
  const isIndex = isIndexType(mediaType);
  const blobs = isSchema1Type(mediaType)
    ? (manifest.fsLayers ?? []).map(({ blobSum }) => ({ digest: blobSum }))
    : isIndex
    ? []
    : pushedBlobs(manifest);
  const artifactType = manifest.artifactType || (isIndex ? undefined : manifest.config?.mediaType);
  return {
    blobs,
    children: isIndex ? manifest.manifests ?? [] : [],
    ...(manifest.subject && { subject: manifest.subject.digest }),
    ...(artifactType && { artifactType }),
    ...(manifest.annotations && { annotations: manifest.annotations }),
  };
}

/** Config, layers and artifact blobs, without the layers that live elsewhere. */
function pushedBlobs(manifest: LooseManifest): Descriptor[] {
  const config = manifest.config === undefined ? [] : [manifest.config];
  const layers = [...manifest.layers ?? [], ...manifest.blobs ?? []];
  return [...config, ...layers.filter((layer) => !isForeign(layer))];
}

function isForeign(layer: Descriptor): boolean {
  return (layer.urls?.length ?? 0) > 0 || /\.foreign\.|\.nondistributable\./.test(layer.mediaType);
}
