/** Step 6 of the walk, the copy: what registries are known to hold, in this run, and what sources are known not to. */

import type { Digest } from "../../oci/descriptor.ts";

/** The one repository that holds something, or all of them: most content is in one, and a set of one takes far more memory. */
type Names = string | Set<string>;

/** A repository, as a `Repository` is one. */
export interface Place {
  /** Its registry. */
  readonly registry: { readonly host: string };
  /** Name of the repository. */
  readonly name: string;
}

/** Content by registry and repository; there is an entry for every blob of a run. */
class Holders {
  #registries = new Map<string, Map<Digest, Names>>();

  has({ registry: { host }, name }: Place, digest: Digest): boolean {
    const names = this.#registries.get(host)?.get(digest);
    return names === name || names instanceof Set && names.has(name);
  }

  add({ registry: { host }, name }: Place, digest: Digest): void {
    const digests = this.#registries.get(host) ?? new Map<Digest, Names>();
    this.#registries.set(host, digests);
    const names = digests.get(digest);
    if (names === undefined) digests.set(digest, name);
    else if (names instanceof Set) names.add(name);
    else if (names !== name) digests.set(digest, new Set([names, name]));
  }

  /** Another repository of the same registry that holds something, the first one known. */
  other({ registry: { host }, name }: Place, digest: Digest): string | undefined {
    const names = this.#registries.get(host)?.get(digest);
    if (!(names instanceof Set)) return names === name ? undefined : names;
    for (const one of names) if (one !== name) return one;
    return undefined;
  }

  forget({ registry: { host }, name }: Place): void {
    for (const [digest, names] of this.#registries.get(host) ?? []) {
      if (names instanceof Set) names.delete(name);
      else if (names === name) this.#registries.get(host)?.delete(digest);
    }
  }
}

/**
 * The memory of a run: which content, blobs and manifests, is in which repository. All of it was seen or done in this run, except
 * hints, which come from a store and only ever suggest what to ask.
 */
export class KnownBlobs {
  #seen = new Holders();
  #hinted = new Holders();
  #empty = new Set<string>();
  #shared = new Set<string>();
  #doubted = new Set<string>();
  #unreadable = new Map<string, Error>();

  /** Whether content was seen in a repository. */
  has(place: Place, digest: Digest): boolean {
    return this.#seen.has(place, digest);
  }

  /** Content was seen in, or sent to, a repository. */
  add(place: Place, digest: Digest): void {
    this.#seen.add(place, digest);
  }

  /** Forgets everything about a repository, and doubts it from now on: it has shown that what was known is wrong. */
  forget(place: Place): void {
    this.#seen.forget(place);
    this.#hinted.forget(place);
    this.#empty.delete(nameOf(place));
    this.#doubted.add(nameOf(place));
  }

  /** Whether a repository has shown that its word is not to be taken: blobs go there as plain uploads, which are the surest. */
  isDoubted(place: Place): boolean {
    return this.#doubted.has(nameOf(place));
  }

  /** A repository has no tags, so nothing need be asked before it is pushed to. */
  setEmpty(place: Place): void {
    this.#empty.add(nameOf(place));
  }

  /** Others push to a repository as well: that it has no tags says nothing of what is there. */
  setShared(place: Place): void {
    this.#shared.add(nameOf(place));
  }

  /** Whether a repository had no tags, and nothing is remembered to have been sent there before. */
  isEmpty(place: Place, digest: Digest): boolean {
    const name = nameOf(place);
    return this.#empty.has(name) && !this.#shared.has(name) && !this.isHinted(place, digest);
  }

  /** A store remembers that content was in a repository. */
  addHint(registry: string, name: string, digest: Digest): void {
    this.#hinted.add({ registry: { host: registry }, name }, digest);
  }

  /** Whether a store remembers content in a repository. */
  isHinted(place: Place, digest: Digest): boolean {
    return this.#hinted.has(place, digest);
  }

  /** Another repository of the same registry that holds a blob: seen in this run, else hinted. */
  holderOf(place: Place, digest: Digest): string | undefined {
    return this.#seen.other(place, digest) ?? this.#hinted.other(place, digest);
  }

  /** Why a source's content cannot be had, when that was found out in this pass: no use in every image asking again. */
  unreadable(source: Place, digest: Digest): Error | undefined {
    return this.#unreadable.get(`${nameOf(source)} ${digest}`);
  }

  /** A source's content cannot be had: it is missing or corrupt. */
  setUnreadable(source: Place, digest: Digest, error: Error): void {
    this.#unreadable.set(`${nameOf(source)} ${digest}`, error);
  }

  /** Another pass may ask once more for what could not be had in this one. */
  forgetUnreadable(): void {
    this.#unreadable.clear();
  }
}

function nameOf({ registry, name }: Place): string {
  return `${registry.host}/${name}`;
}
