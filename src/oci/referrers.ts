/** Step 1 of the walk, the words: what belongs to an image, by `subject`, by fallback tag and by cosign's tags. */

import {
  algorithmOf,
  type Descriptor,
  type Digest,
  isIndexType,
  isSchema1Type,
  MEDIA_TYPE_OCI_INDEX,
} from "./descriptor.ts";
import { type Content, parseContent } from "./manifest.ts";

/** Ends of the tags under which cosign keeps what belongs to an image: signatures, attestations, SBOMs. */
const COSIGN_TAG_ENDS = [".sig", ".att", ".sbom"] as const;

/** The referrers of a digest, as a fallback tag holds them. */
export interface ReferrersIndex {
  /** What the tag stands for now; `undefined` where it does not exist. */
  content: Content | undefined;
  /** What it lists. */
  referrers: Descriptor[];
}

/**
 * The tag under which a registry without the referrers API keeps the referrers of a digest
 * (OCI distribution-spec 1.1, Referrers Tag Schema: both parts are cut, and what a tag may not hold becomes a dash).
 */
export function fallbackTagOf(digest: Digest): string {
  const algorithm = algorithmOf(digest);
  const encoded = digest.slice(algorithm.length + 1);
  return `${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`.replace(/[^A-Za-z0-9_.-]/g, "-");
}

/** The tags under which cosign keeps what belongs to a digest (cosign, Signature Specification, Storage). */
export function cosignTagsOf(digest: Digest): string[] {
  const name = digest.replace(":", "-");
  return COSIGN_TAG_ENDS.map((end) => `${name}${end}`);
}

const FALLBACK_TAG = /^([a-z0-9]+(?:[._-][a-z0-9]+)*)-([a-f0-9]{64,128})$/;
const COSIGN_TAG = /^(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})\.(?:sig|att|sbom)$/;

/** Whether a tag has the form of a fallback tag; what it stands for decides whether it is one ({@linkcode readReferrers}). */
export function isFallbackTag(tag: string): boolean {
  return FALLBACK_TAG.test(tag);
}

/** Whether a tag is one of cosign's; `undefined` when it is not, else the digest that it belongs to. */
export function subjectOfCosignTag(tag: string): Digest | undefined {
  return COSIGN_TAG.exec(tag)?.[1]?.replace("-", ":");
}

/** What of a manifest says what it belongs to. */
interface ReferrerFields {
  artifactType?: unknown;
  config?: { mediaType?: unknown };
  subject?: { digest?: unknown };
  annotations?: unknown;
  manifests?: unknown;
}

function fieldsOf({ bytes, descriptor }: Content): ReferrerFields {
  // Docker's first schema knows neither subject nor type.
  if (isSchema1Type(descriptor.mediaType)) return {};
  return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
}

/** The digest that a manifest says it belongs to (OCI image-spec 1.1, `subject`). */
export function subjectOf(content: Content): Digest | undefined {
  const { digest } = fieldsOf(content).subject ?? {};
  return typeof digest === "string" ? digest : undefined;
}

/**
 * A manifest as a list of referrers describes it: with its artifact type, the config's media type where it names none, and
 * its annotations (OCI distribution-spec 1.1, Listing Referrers and Referrers Tag Schema).
 */
export function describeReferrer(content: Content): Descriptor {
  const { artifactType, config, annotations } = fieldsOf(content);
  const { mediaType, digest, size } = content.descriptor;
  const type = [artifactType, config?.mediaType].find((one) => typeof one === "string" && one !== "");
  const notes = isNotes(annotations) ? { annotations } : {};
  return { mediaType, digest, size, ...(typeof type === "string" ? { artifactType: type } : {}), ...notes };
}

function isNotes(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.values(value).every((one) => typeof one === "string");
}

/**
 * What a fallback tag lists, or `undefined` when what it stands for is no list of referrers: somebody's image under a tag
 * that only looks like one.
 */
export function readReferrers(content: Content): Descriptor[] | undefined {
  if (!isIndexType(content.descriptor.mediaType)) return undefined;
  const { manifests } = fieldsOf(content);
  if (!Array.isArray(manifests)) return undefined;
  const entries = manifests.filter(isEntry);
  // An image's index says for which platform an entry is, a list of referrers never does.
  const isImage = entries.length > 0 && entries.every(({ platform }) => platform !== undefined);
  return isImage ? undefined : entries;
}

function isEntry(value: unknown): value is Descriptor {
  const entry = value as Partial<Descriptor> | null;
  return typeof entry?.mediaType === "string" && typeof entry.digest === "string" &&
    typeof entry.size === "number";
}

/**
 * A fallback tag's list with more referrers in it (OCI distribution-spec 1.1, Pushing Manifests with Subject: pull, add what
 * is missing, push). What it lists already stays as it is, known or not.
 *
 * @returns `undefined` when it lists them all.
 * @throws {ManifestError} when the list would be larger than registries take.
 */
export async function addReferrers(
  { content, referrers }: ReferrersIndex,
  added: readonly Descriptor[],
): Promise<Content | undefined> {
  const known = new Set(referrers.map(({ digest }) => digest));
  const missing = added.filter(({ digest }) => !known.has(digest));
  if (missing.length === 0 && content !== undefined) return undefined;
  const fields = content === undefined ? {} : fieldsOf(content);
  const manifests = [...Array.isArray(fields.manifests) ? fields.manifests : [], ...missing];
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, ...fields, manifests };
  const bytes = new TextEncoder().encode(JSON.stringify(index));
  return await parseContent(bytes, MEDIA_TYPE_OCI_INDEX);
}
