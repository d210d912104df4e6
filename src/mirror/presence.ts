/** Step 6 of the walk, the copy: what is known, in this run, to be at a destination. */

import type { Digest } from "../oci/descriptor.ts";
import type { Repository } from "../registry/repository.ts";

/** What one destination repository is known to hold. */
interface Holdings {
  digests: Set<Digest>;
  isEmpty: boolean;
}

/**
 * The memory of a run: which content is in which repository, and what is on its way there. All of it was seen or done in
 * this run, except hints, which come from a store and only ever suggest what to ask.
 */
export class Presence {
  #holdings = new Map<string, Holdings>();
  #holders = new Map<string, Set<string>>();
  #hints = new Map<string, Set<string>>();
  #flights = new Map<string, Promise<void>>();
  #poison = new Map<string, Error>();

  /** Whether content was seen in a repository. */
  has(repository: Repository, digest: Digest): boolean {
    return this.#of(repository).digests.has(digest);
  }

  /** Content was seen in, or sent to, a repository. */
  add(repository: Repository, digest: Digest): void {
    this.#of(repository).digests.add(digest);
    remember(this.#holders, `${repository.registry} ${digest}`, repository.name);
  }

  /** Forgets everything about a repository: it has shown that what was known is wrong. */
  forget(repository: Repository): void {
    const holdings = this.#of(repository);
    for (const digest of holdings.digests) {
      this.#holders.get(`${repository.registry} ${digest}`)?.delete(repository.name);
    }
    holdings.digests.clear();
    holdings.isEmpty = false;
  }

  /** A repository has no tags, so nothing need be asked before it is pushed to. */
  setEmpty(repository: Repository): void {
    this.#of(repository).isEmpty = true;
  }

  /** Whether a repository had no tags, and nothing is remembered to have been sent there before. */
  isEmpty(repository: Repository, digest: Digest): boolean {
    return this.#of(repository).isEmpty && !this.isHinted(repository, digest);
  }

  /** A store remembers that content was in a repository. */
  addHint(registry: string, repository: string, digest: Digest): void {
    remember(this.#hints, `${registry} ${digest}`, repository);
  }

  /** Whether a store remembers content in a repository. */
  isHinted(repository: Repository, digest: Digest): boolean {
    return this.#hints.get(`${repository.registry} ${digest}`)?.has(repository.name) ?? false;
  }

  /** Another repository of the same registry that holds a blob: seen in this run, else hinted. */
  holderOf(repository: Repository, digest: Digest): string | undefined {
    const key = `${repository.registry} ${digest}`;
    for (const names of [this.#holders.get(key), this.#hints.get(key)]) {
      for (const name of names ?? []) if (name !== repository.name) return name;
    }
    return undefined;
  }

  /** Why a source's content cannot be had, when that was found out in this run: no use in every image asking again. */
  poisonOf(source: Repository, digest: Digest): Error | undefined {
    return this.#poison.get(`${source.registry}/${source.name} ${digest}`);
  }

  /** A source's content cannot be had: it is missing or corrupt. */
  setPoison(source: Repository, digest: Digest, error: Error): void {
    this.#poison.set(`${source.registry}/${source.name} ${digest}`, error);
  }

  /** Whether a failure is that of a source's content. */
  isPoison(error: unknown): boolean {
    return [...this.#poison.values()].some((poison) => poison === error);
  }

  /** What is under way under a key, if anything is. */
  flight(key: string): Promise<void> | undefined {
    return this.#flights.get(key);
  }

  /** Says that something is under way; it is forgotten when it has ended, whichever way. */
  setFlight(key: string, flight: Promise<void>): void {
    this.#flights.set(key, flight);
    const end = () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    flight.then(end, end);
  }

  #of({ registry, name }: Repository): Holdings {
    const key = `${registry}/${name}`;
    let holdings = this.#holdings.get(key);
    if (holdings === undefined) this.#holdings.set(key, holdings = { digests: new Set(), isEmpty: false });
    return holdings;
  }
}

function remember(map: Map<string, Set<string>>, key: string, value: string): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, new Set([value]));
  else values.add(value);
}
