/** Step 6 of the walk, the copy: which repositories of a registry hold which content. */

import type { Digest } from "../../oci/descriptor.ts";

/** The one repository that holds something, or all of them: most content is in one, and a set of one takes far more memory. */
type Names = string | Set<string>;

/** A place in a registry. */
export interface Place {
  /** Canonical registry. */
  readonly registry: string;
  /** Name of the repository. */
  readonly name: string;
}

/** Content by registry and repository; there is an entry for every blob of a run. */
export class Holders {
  #registries = new Map<string, Map<Digest, Names>>();

  /** Whether a repository holds something. */
  has({ registry, name }: Place, digest: Digest): boolean {
    const names = this.#registries.get(registry)?.get(digest);
    return names === name || names instanceof Set && names.has(name);
  }

  /** A repository holds something. */
  add({ registry, name }: Place, digest: Digest): void {
    const digests = this.#registries.get(registry) ?? new Map<Digest, Names>();
    this.#registries.set(registry, digests);
    const names = digests.get(digest);
    if (names === undefined) digests.set(digest, name);
    else if (names instanceof Set) names.add(name);
    else if (names !== name) digests.set(digest, new Set([names, name]));
  }

  /** Another repository of the same registry that holds something, the first one known. */
  other({ registry, name }: Place, digest: Digest): string | undefined {
    const names = this.#registries.get(registry)?.get(digest);
    if (!(names instanceof Set)) return names === name ? undefined : names;
    for (const one of names) if (one !== name) return one;
    return undefined;
  }

  /** Forgets everything about a repository. */
  forget({ registry, name }: Place): void {
    const digests = this.#registries.get(registry) ?? new Map<Digest, Names>();
    for (const [digest, names] of digests) {
      if (names instanceof Set) names.delete(name);
      else if (names === name) digests.delete(digest);
    }
  }
}
