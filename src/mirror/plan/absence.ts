/** Step 5 of the walk, the plan: which destinations need not be asked, because their repository was listed. */

import { pooledMap } from "@std/async/pool";
import { formatReference, type Reference } from "../../oci/reference.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import { type LookContext, rememberedDigest } from "./look.ts";
import type { KnownBlobs } from "../copy/known_blobs.ts";

/** What finding out needs. */
export interface AbsenceContext extends LookContext {
  /** Takes note of repositories that are empty. */
  known: KnownBlobs;
}

/** Repositories that are listed at once; the gates of the registries bound the requests. */
const LISTS_AT_ONCE = 64;
/** Missing tags from which on listing a destination is cheaper than asking for each. */
const LIST_DESTINATION_FROM = 3;

/**
 * Destinations that are known not to be there. A repository that several tags go to and nothing is remembered of is listed
 * once, which is one request instead of one for each tag, and tells when it is empty.
 */
export async function findAbsent(
  destinations: readonly Reference[],
  context: AbsenceContext,
): Promise<Set<string>> {
  const byRepository = new Map<string, Reference[]>();
  for (const destination of destinations) {
    if (destination.tag === undefined) continue;
    const key = `${destination.registry}/${destination.repository}`;
    const references = byRepository.get(key);
    if (references === undefined) byRepository.set(key, [destination]);
    else references.push(destination);
  }
  const absent = new Set<string>();
  const candidates = [...byRepository.values()].filter((one) => one.length >= LIST_DESTINATION_FROM);
  const list = (references: Reference[]) => listAbsent(references, context);
  for await (const found of pooledMap(LISTS_AT_ONCE, candidates, list)) {
    for (const one of found) absent.add(one);
  }
  return absent;
}

async function listAbsent(references: readonly Reference[], context: AbsenceContext): Promise<string[]> {
  const [first] = references;
  if (first === undefined || await isRemembered(references, context)) return [];
  const repository = context.registries.open(first, "pull,push");
  try {
    const tags = new Set<string>();
    for await (const page of repository.listTags(context.signal)) for (const tag of page) tags.add(tag);
    if (tags.size === 0) context.known.setEmpty(repository);
    return references.filter(({ tag }) => !tags.has(tag ?? "")).map(formatReference);
  } catch (error) {
    context.signal?.throwIfAborted();
    if (!(error instanceof RegistryError) || !error.hasCode("NAME_UNKNOWN")) return [];
    context.known.setEmpty(repository);
    return references.map(formatReference);
  }
}

/** Whether any of some tags was copied before: then they are likely there, and a HEAD for each is what it takes anyway. */
async function isRemembered(references: readonly Reference[], context: AbsenceContext): Promise<boolean> {
  for (const reference of references) {
    if (await rememberedDigest(reference, context) !== undefined) return true;
  }
  return false;
}
