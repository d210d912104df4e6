/** Step 4 of the walk, the rules: when the images of tags were made, and which tags need not be looked at again. */

import { type Descriptor, type Digest, DigestError, isDigest } from "../../oci/descriptor.ts";
import { childrenOf, type Content, isIndex, ManifestError } from "../../oci/manifest.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { readText } from "../../registry/stream/read_body.ts";
import { createdKey, type StoreValue, tagKey } from "../store/store.ts";
import { imageId } from "./plan.ts";
import { filterPlatforms } from "./platform_filter.ts";
import { type ResolveContext, resolveSource } from "./resolve.ts";
import type { ReferencePair } from "../rules/rules.ts";

/** What is known of a tag's image. */
export interface ImageDate {
  /** What the tag stands for at its source; unknown where it is gone. */
  digest?: Digest;
  /** When it was made, in milliseconds since 1970; not there where nobody can say. */
  created?: number;
  /** What the source has answered in this run. */
  found?: Descriptor;
}

/** Key of annotations that say when something was made (OCI image-spec 1.1, Pre-Defined Annotation Keys). */
const CREATED = "org.opencontainers.image.created";
/** Annotation of an attestation: the digest of the manifest it describes (BuildKit, "Image attestation storage"). */
const DESCRIBES = "vnd.docker.reference.digest";
/** Dates before it stand for none: builds that are to be reproducible write 1970, Go's zero is the year 1. */
const FIRST_DATE = Date.UTC(1971, 0, 1);
/** Bytes of a config that are read to learn its date. */
const CONFIG_LIMIT = 8 * 1024 * 1024;
/** Indexes inside indexes that are looked into. */
const DEPTH_LIMIT = 4;

/** Finds out when images were made: each digest is read once, and remembered. */
export class TagDates {
  #context: ResolveContext;

  /** Nothing is read yet. */
  constructor(context: ResolveContext) {
    this.#context = context;
  }

  /** Milliseconds since 1970. */
  now(): number {
    return this.#context.now();
  }

  /**
   * What every destination of a tag has, if the records say that all have what was copied from this very source: a tag that
   * never changes need not be asked for then.
   */
  async settledDigest(
    pairs: readonly ReferencePair[],
    platforms: readonly string[] | undefined,
  ): Promise<Digest | undefined> {
    let settled: Digest | undefined;
    for (const { source, destination: { registry, repository, tag = "" } } of pairs) {
      const value = fieldsOf(await this.#context.store.get(tagKey(registry, repository, tag)));
      const { digest, source: from } = value;
      if (typeof digest !== "string" || !isDigest(digest)) return undefined;
      if (from !== imageId(formatReference(source), platforms)) return undefined;
      if (settled !== undefined && settled !== digest) return undefined;
      settled = digest;
    }
    return settled;
  }

  /**
   * When a tag's image was made, or what is wanted of it.
   *
   * @param isSettled Whether the tag never changes, so that what was found out before is true.
   * @throws {RegistryError} when the source refuses; what is gone or cannot be read has no date.
   */
  async find(
    source: Reference,
    platforms: readonly string[] | undefined,
    isSettled: boolean,
  ): Promise<ImageDate> {
    const { store } = this.#context;
    const ofTag = createdKey(formatReference(source), platforms);
    const known = isSettled ? readDate(await store.get(ofTag)) : undefined;
    if (known !== undefined) return known;
    const found = await noneIfGone(() => resolveSource(source, this.#context));
    if (found === undefined) return {};
    const { digest } = found;
    const ofDigest = createdKey(digest, platforms);
    let date = readDate(await store.get(ofDigest));
    if (date === undefined) {
      const created = await noneIfGone(() => this.#read(source, digest, platforms));
      date = { digest, ...(created === undefined ? {} : { created }) };
      await store.set(ofDigest, { digest, created: created ?? null });
    }
    if (isSettled) await store.set(ofTag, { digest, created: date.created ?? null });
    return { ...date, found };
  }

  async #read(
    source: Reference,
    digest: Digest,
    platforms: readonly string[] | undefined,
  ): Promise<number | undefined> {
    const { registries, signal } = this.#context;
    const repository = registries.open(source, "pull");
    const content = await repository.getManifest(digest, { tag: source.tag, signal });
    const filter = { source: repository, rewritten: new Map(), signal };
    const wanted = platforms === undefined ? content : await filterPlatforms(content, platforms, filter);
    return await createdOf(wanted ?? content, repository, { signal, depth: 0 });
  }
}

/** When an image was made: an index when the newest of its images was. */
async function createdOf(
  content: Content,
  repository: Repository,
  { signal, depth }: { signal: AbortSignal | undefined; depth: number },
): Promise<number | undefined> {
  const { annotations, config, manifests } = JSON.parse(new TextDecoder().decode(content.bytes));
  const own = parseDate(annotations?.[CREATED]);
  if (!isIndex(content)) return own ?? await createdOfConfig(config, repository, signal);
  const known = new Set(childrenOf(content).manifests.map(({ digest }) => digest));
  const entries = (manifests as Descriptor[]).filter((entry) =>
    known.has(entry.digest) && entry.annotations?.[DESCRIBES] === undefined
  );
  const dates = entries.map((entry) => parseDate(entry.annotations?.[CREATED]));
  if (dates.length > 0 && dates.every((date) => date !== undefined)) return Math.max(...dates);
  // What the index says of itself saves reading all of its images.
  if (own !== undefined || depth >= DEPTH_LIMIT) return own;
  const read = await Promise.all(entries.map(async (entry, index) => {
    if (dates[index] !== undefined) return dates[index];
    const child = await repository.getChild(entry, signal);
    return child && await createdOf(child, repository, { signal, depth: depth + 1 });
  }));
  const found = read.filter((date) => date !== undefined);
  return found.length === 0 ? undefined : Math.max(...found);
}

async function createdOfConfig(
  config: Descriptor | undefined,
  repository: Repository,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  if (typeof config?.digest !== "string" || config.size > CONFIG_LIMIT) return undefined;
  const response = await repository.getBlob(config.digest, { size: config.size, signal });
  const text = await readText(response, CONFIG_LIMIT, repository.registry.context.limits);
  return parseDate(JSON.parse(text)?.created);
}

function parseDate(text: unknown): number | undefined {
  const date = typeof text === "string" ? Date.parse(text) : NaN;
  return date >= FIRST_DATE ? date : undefined;
}

/** What is gone, or no image at all, has no date; a registry that refuses is another matter. */
async function noneIfGone<Value>(find: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await find();
  } catch (error) {
    const isUnreadable = [DigestError, ManifestError, SyntaxError].some((type) => error instanceof type);
    if (isUnreadable || error instanceof RegistryError && error.status === 404) return undefined;
    throw error;
  }
}

function fieldsOf(value: StoreValue | undefined): Record<string, StoreValue> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function readDate(value: StoreValue | undefined): ImageDate | undefined {
  const { digest, created } = fieldsOf(value);
  if (typeof digest !== "string" || !isDigest(digest)) return undefined;
  return typeof created === "number" ? { digest, created } : { digest };
}
