/** Watches a registry in memory: at no moment may a tag point at something that is not all there. */

import type { Intercept } from "../registry.ts";
import type { RegistryState, RepositoryState } from "../registry.ts";

/** A registry's tags as seen after each manifest that was put. */
export class TagWatch {
  /** Every tag that was seen pointing at something incomplete. */
  readonly broken: string[] = [];
  /** How often was looked. */
  looks = 0;

  /** For the registry's `intercept`. */
  readonly intercept: Intercept = async (request, context) => {
    if (request.method !== "PUT" || context.kind !== "manifest") return undefined;
    const response = await context.next();
    this.#look(context.state);
    return response;
  };

  #look(state: RegistryState): void {
    this.looks++;
    for (const [name, repository] of state.repositories) {
      for (const [tag, digest] of repository.tags) {
        const missing = missingBelow(repository, digest);
        if (missing !== undefined) this.broken.push(`${name}:${tag} lacks ${missing}`);
      }
    }
  }
}

/** The first thing that is not in a repository, of a manifest and all that it names. */
function missingBelow(repository: RepositoryState, digest: string): string | undefined {
  const manifest = repository.manifests.get(digest);
  if (manifest === undefined) return digest;
  const blob = manifest.blobs.find((one) => !repository.blobs.has(one.digest));
  if (blob !== undefined) return blob.digest;
  for (const child of manifest.children) {
    const missing = missingBelow(repository, child.digest);
    if (missing !== undefined) return missing;
  }
  return undefined;
}
