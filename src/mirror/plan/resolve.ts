/** Step 5 of the walk, the plan: what a source stands for now, and what a destination has. */

import { algorithmOf, type Descriptor, type Digest, DigestError, isDigest } from "../../oci/descriptor.ts";
import { hasDigest } from "../../oci/manifest.ts";
import type { Reference } from "../../oci/reference.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Registries } from "../../registry/registries.ts";
import { filterPlatforms, platformsIn } from "./platform_filter.ts";
import { filteredKey, type Store, type StoreValue, tagKey } from "../store/store.ts";

/** What finding that out needs. */
export interface ResolveContext {
  /** The registries of the run. */
  registries: Registries;
  /** The memory between runs. */
  store: Store;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Ends it. */
  signal?: AbortSignal | undefined;
}

/** What is to be at the destinations, and the source's own digest where that is another. */
export interface Root {
  /** What is to be there. */
  descriptor: Descriptor;
  /** The source's own digest, where it is another. */
  original?: Digest;
}

/** The platforms wanted leave nothing of an image. */
export interface NothingLeft {
  /** The platforms that it has, as users write them; none where that is not known. */
  has: string[];
}

/**
 * What a source stands for, or what the platforms wanted leave of it.
 *
 * @param wanted Which platforms, and what the source has answered in this run, where that is known.
 * @throws {RegistryError} when there is none, or the registry refuses.
 */
export async function resolveRoot(
  source: Reference,
  { platforms, found: known }: { platforms: readonly string[] | undefined; found?: Descriptor | undefined },
  context: ResolveContext,
): Promise<Root | NothingLeft> {
  const found = known ?? await resolveSource(source, context);
  if (platforms === undefined) return { descriptor: found };
  try {
    return await leaveOnly(found, { source, platforms }, context);
  } catch (error) {
    // A tag that has moved between the two requests, and whose old manifest is gone, is looked at once more.
    if (!isGone(error) || source.tag === undefined || source.digest !== undefined) throw error;
    const now = await resolveSource(source, context);
    if (now.digest === found.digest) throw error;
    return await leaveOnly(now, { source, platforms }, context);
  }
}

/** Whether content is not where its registry had it a moment before. */
export function isGone(error: unknown): boolean {
  return error instanceof RegistryError && error.status === 404 || error instanceof DigestError;
}

/** An image, and what of it is wanted. */
interface WantedPlatforms {
  source: Reference;
  platforms: readonly string[];
}

async function leaveOnly(
  descriptor: Descriptor,
  wanted: WantedPlatforms,
  context: ResolveContext,
): Promise<Root | NothingLeft> {
  const left = await resolveFiltered(descriptor, wanted, context);
  if ("has" in left) return left;
  return left.digest === descriptor.digest
    ? { descriptor }
    : { descriptor: left, original: descriptor.digest };
}

/** What only some platforms leave follows from the digest, so it is found out once and remembered. */
async function resolveFiltered(
  descriptor: Descriptor,
  { source, platforms }: WantedPlatforms,
  context: ResolveContext,
): Promise<Descriptor | NothingLeft> {
  const key = filteredKey(descriptor.digest, platforms);
  const known = readDescriptor(await context.store.get(key));
  if (known !== undefined) return known;
  const repository = context.registries.open(source, "pull");
  const content = await repository.getManifest(descriptor.digest, {
    tag: source.tag,
    signal: context.signal,
  });
  const filter = { source: repository, rewritten: new Map(), signal: context.signal };
  const left = (await filterPlatforms(content, platforms, filter))?.descriptor;
  const value = left === undefined
    ? { has: await platformsIn(content, filter) }
    : { mediaType: left.mediaType, digest: left.digest, size: left.size };
  await context.store.set(key, value);
  return value;
}

function readDescriptor(value: StoreValue | undefined): Descriptor | NothingLeft | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  if (Array.isArray(value.has)) return { has: value.has.filter((one) => typeof one === "string") };
  const { mediaType, digest, size } = value;
  if (typeof mediaType !== "string" || typeof digest !== "string" || typeof size !== "number") {
    return undefined;
  }
  return { mediaType, digest, size };
}

/**
 * What a source stands for. A HEAD has no body, so a refusal is asked for again with GET, for the registry's own words.
 *
 * @throws {RegistryError} when there is none, or the registry refuses.
 */
export async function resolveSource(reference: Reference, context: ResolveContext): Promise<Descriptor> {
  const repository = context.registries.open(reference, "pull");
  const name = reference.digest ?? reference.tag ?? "latest";
  try {
    const found = await repository.resolve(name, context.signal);
    if (found !== undefined) return found;
  } catch (error) {
    if (!(error instanceof RegistryError) || !isWorthGet(error)) throw error;
  }
  return (await repository.getManifest(name, { signal: context.signal })).descriptor;
}

/** Other refusals of HEAD were asked for again already; whoever asks to wait is not asked another way. */
function isWorthGet({ status, retryAfter }: RegistryError): boolean {
  return retryAfter === undefined && ([401, 403, 502, 504].includes(status) || status >= 520);
}

/**
 * What a destination has. One that may not be looked at (ECR and Artifactory answer 403 for what is not there) counts as
 * having nothing: if it is a real refusal, the push is refused too, and in the registry's own words. A password that was refused
 * will be again, so that is said before anything is read, and in a dry run.
 */
export async function resolveDestination(
  reference: Reference,
  context: ResolveContext,
): Promise<Descriptor | undefined> {
  const repository = context.registries.open(reference, "pull,push");
  try {
    return await repository.resolve(reference.digest ?? reference.tag ?? "latest", context.signal);
  } catch (error) {
    const isRefused = error instanceof RegistryError && [401, 403].includes(error.status);
    if (isRefused && error.retry !== "never") return undefined;
    throw error;
  }
}

/**
 * Whether a destination has what is to be there. A registry may name the same bytes under another algorithm than the source does
 * (sha256 what came as sha512): then they are read and hashed with the destination's.
 */
export async function isSameContent(
  { descriptor, original }: Root,
  there: Pick<Descriptor, "digest"> | undefined,
  { source, context }: { source: Reference; context: ResolveContext },
): Promise<boolean> {
  if (there === undefined || there.digest === descriptor.digest) return there !== undefined;
  // What is left of an image was hashed here.
  if (original !== undefined || !isDigest(there.digest)) return false;
  if (algorithmOf(there.digest) === algorithmOf(descriptor.digest)) return false;
  const repository = context.registries.open(source, "pull");
  try {
    const options = { tag: source.tag, signal: context.signal };
    return await hasDigest(await repository.getManifest(descriptor.digest, options), there.digest);
  } catch {
    context.signal?.throwIfAborted();
    // Copying it meets the same failure, and has someone to tell.
    return false;
  }
}

/** The digest a store remembers to have been put, or seen, under a tag. */
export async function rememberedDigest(
  { registry, repository, tag }: Reference,
  { store }: Pick<ResolveContext, "store">,
): Promise<string | undefined> {
  const value = tag === undefined ? undefined : await store.get(tagKey(registry, repository, tag));
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return typeof value.digest === "string" ? value.digest : undefined;
}
