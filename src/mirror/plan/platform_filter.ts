/** Step 5 of the walk, the plan: what is left of an image when only some platforms are wanted. */

import {
  type Descriptor,
  type Digest,
  isIndexType,
  isSchema1Type,
  type Platform,
} from "../../oci/descriptor.ts";
import { childrenOf, type Content, isIndex, parseContent } from "../../oci/manifest.ts";
import { matchesPlatform, parsePlatformSelector, type PlatformSelector } from "../../oci/platform.ts";
import { nearestName } from "../config/nearest.ts";
import { readText } from "../../registry/stream/read_body.ts";
import type { Repository } from "../../registry/repository/repository.ts";

/** Stands among the platforms wanted for "without what BuildKit attests", which some registries refuse (SWR of Huawei Cloud). */
export const NO_ATTESTATIONS = "no attestations";

/** Names that Go has for systems and architectures (go tool dist list, 1.26), and `unknown` as BuildKit writes it. */
const SYSTEMS =
  "aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows unknown"
    .split(" ");
const ARCHITECTURES =
  "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm unknown".split(
    " ",
  );
/** What people write for it. */
const MEANT: Record<string, string> = {
  x86_64: "amd64",
  x64: "amd64",
  aarch64: "arm64",
  i386: "386",
  armv7: "arm/v7",
  macos: "darwin",
};

/** Annotation of an attestation: the digest of the manifest it describes (BuildKit, "Image attestation storage"). */
const DESCRIBES = "vnd.docker.reference.digest";
/** Bytes of a config that are read to learn its platform. */
const CONFIG_LIMIT = 8 * 1024 * 1024;

/** What is needed to look into images. */
export interface FilterContext {
  /** Where the image is. */
  source: Repository;
  /** Takes every index that was written anew: the source has none of them. */
  rewritten: Map<Digest, Content>;
  /** Ends the reading. */
  signal?: AbortSignal | undefined;
}

/**
 * Leaves only some platforms of an image.
 *
 * An index is written anew without the other entries, so its digest changes, unless every entry is wanted. Attestations
 * stay with the manifests they describe; entries that belong to no platform (artifacts) stay.
 *
 * @param content A manifest or index of the source.
 * @param platforms What is wanted, for example `["linux/amd64", "linux/arm/v7"]`.
 * @returns What is left, the content itself when all of it is wanted, or `undefined` when nothing is.
 * @throws {RegistryError} when what is needed to decide cannot be read.
 */
export async function filterPlatforms(
  content: Content,
  platforms: readonly string[],
  context: FilterContext,
): Promise<Content | undefined> {
  const names = platforms.filter((platform) => platform !== NO_ATTESTATIONS);
  const wanted: Wanted = {
    selectors: names.length === 0 ? [{}] : names.map(parsePlatformSelector),
    hasAttestations: names.length === platforms.length,
  };
  if (!isIndex(content)) {
    return await isWanted(content, wanted.selectors, context) ? content : undefined;
  }
  return await filterIndex(content, wanted, context);
}

/** What is wanted of an index. */
interface Wanted {
  selectors: readonly PlatformSelector[];
  hasAttestations: boolean;
}

/** The platforms that an image has, as users write them; nothing where it names none. */
export async function platformsIn(content: Content, context: FilterContext): Promise<string[]> {
  const entries = isIndex(content) ? readIndex(content).manifests : [];
  const found = isIndex(content)
    ? entries.map(({ platform }) => platform ?? undefined)
    : [await platformOf(content, context)];
  const named = found.filter((one) => one !== undefined && one.os !== "unknown");
  const text = named.map((one) => [one?.os, one?.architecture, one?.variant].filter(Boolean).join("/"));
  return [...new Set(text)];
}

/** A sentence for each platform wanted whose system or architecture nobody has: no image ever fits it. */
export function oddPlatforms(platforms: readonly string[]): string[] {
  const names = [...new Set(platforms)].filter((platform) => platform !== NO_ATTESTATIONS);
  return names.flatMap((platform) => {
    const [os = "*", architecture = "*"] = platform.toLowerCase().split("/");
    return [oddName(platform, os, SYSTEMS), oddName(platform, architecture, ARCHITECTURES)].flat();
  });
}

function oddName(platform: string, name: string, known: readonly string[]): string[] {
  if (name === "*" || known.includes(name)) return [];
  const meant = MEANT[name] ?? nearestName(name, known);
  const hint = meant === undefined ? "" : `; did you mean "${meant}"?`;
  return [`Platform "${platform}" is wanted, but nothing is called "${name}"${hint}`];
}

async function filterIndex(
  content: Content,
  wanted: Wanted,
  context: FilterContext,
): Promise<Content | undefined> {
  const { hasAttestations } = wanted;
  const manifests = new Set(childrenOf(content).manifests.map(({ digest }) => digest));
  const { manifests: entries } = readIndex(content);
  const isImage = (entry: Descriptor) =>
    manifests.has(entry.digest) && entry.annotations?.[DESCRIBES] === undefined;
  // By entry, not by digest: one manifest may be listed for several platforms.
  const left = await Promise.all(
    entries.map((entry) => isImage(entry) ? filterEntry(entry, wanted, context) : undefined),
  );
  const kept = new Set(entries.filter((_, index) => left[index] !== undefined).map(({ digest }) => digest));
  if (kept.size === 0) return undefined;
  const stays = (entry: Descriptor) =>
    !manifests.has(entry.digest) ||
    hasAttestations && !isImage(entry) && kept.has(entry.annotations?.[DESCRIBES] ?? "");
  return await rewriteIndex(
    content,
    entries.map((entry, index) => stays(entry) ? entry : left[index]),
    context,
  );
}

function readIndex(content: Content): { manifests: Descriptor[] } {
  return JSON.parse(new TextDecoder().decode(content.bytes));
}

/** What stands for an entry in the filtered index; a nested index may itself become another. */
async function filterEntry(
  entry: Descriptor,
  wanted: Wanted,
  context: FilterContext,
): Promise<Descriptor | undefined> {
  const { selectors } = wanted;
  const platform = entry.platform ?? undefined;
  if (platform !== undefined && !isIndexType(entry.mediaType)) {
    return matchesPlatform(platform, selectors) ? entry : undefined;
  }
  const child = await context.source.getChild(entry, context.signal);
  // A blob belongs to no platform.
  if (child === undefined) return entry;
  if (!isIndex(child)) {
    return await isWanted(child, selectors, context) ? entry : undefined;
  }
  const left = await filterIndex(child, wanted, context);
  if (left === undefined) return undefined;
  const { digest, size } = left.descriptor;
  // What an entry carries itself is the index as it was.
  const { data: _, ...rest } = entry;
  return { ...(digest === entry.digest ? entry : rest), digest, size };
}

/** Keeps everything of the index as it was written but its entries; the same entries give the same bytes in every run. */
async function rewriteIndex(
  content: Content,
  left: readonly (Descriptor | undefined)[],
  { rewritten }: FilterContext,
): Promise<Content> {
  const index = readIndex(content);
  const manifests = left.filter((entry) => entry !== undefined);
  const isSame = manifests.length === index.manifests.length &&
    manifests.every(({ digest }, position) => digest === index.manifests[position]?.digest);
  if (isSame) return content;
  const bytes = new TextEncoder().encode(JSON.stringify({ ...index, manifests }));
  const filtered = await parseContent(bytes, content.descriptor.mediaType);
  rewritten.set(filtered.descriptor.digest, filtered);
  return filtered;
}

/** Whether a single image is wanted; what has no platform (an artifact, schema 1) is not what a filter is about. */
async function isWanted(
  content: Content,
  selectors: readonly PlatformSelector[],
  context: FilterContext,
): Promise<boolean> {
  if (isSchema1Type(content.descriptor.mediaType)) return true;
  const platform = await platformOf(content, context);
  return platform === undefined || matchesPlatform(platform, selectors);
}

/** What was read of configs, each once for whoever holds the manifest. */
const PLATFORMS = new WeakMap<Content, Promise<Platform | undefined>>();

function platformOf(content: Content, context: FilterContext): Promise<Platform | undefined> {
  const known = PLATFORMS.get(content) ?? readPlatform(content, context);
  PLATFORMS.set(content, known);
  return known;
}

/** The platform an image's config names (OCI image-spec 1.1, Image Configuration). */
async function readPlatform(
  content: Content,
  { source, signal }: FilterContext,
): Promise<Platform | undefined> {
  const { config } = JSON.parse(new TextDecoder().decode(content.bytes)) as { config?: Descriptor };
  if (config === undefined || config.size > CONFIG_LIMIT) return undefined;
  const response = await source.getBlob(config.digest, { signal });
  const text = await readText(response, CONFIG_LIMIT, source.registry.context.limits);
  try {
    const { os, architecture, variant } = JSON.parse(text) as Partial<Platform>;
    if (typeof os !== "string" || typeof architecture !== "string") return undefined;
    return typeof variant === "string" ? { os, architecture, variant } : { os, architecture };
  } catch {
    return undefined;
  }
}
