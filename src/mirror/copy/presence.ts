/** Step 6 of the walk, the copy: what is known, in this run, to be at a destination. */

import type { Digest } from "../../oci/descriptor.ts";
import type { Repository } from "../../registry/repository.ts";
import { Holders, type Place } from "./holders.ts";

/**
 * The memory of a run: which content is in which repository, and what is on its way there. All of it was seen or done in
 * this run, except hints, which come from a store and only ever suggest what to ask.
 */
export class Presence {
  #seen = new Holders();
  #hinted = new Holders();
  #empty = new Set<string>();
  #flights = new Map<string, Promise<void>>();
  #poison = new Map<string, Error>();

  /** Whether content was seen in a repository. */
  has(repository: Repository, digest: Digest): boolean {
    return this.#seen.has(placeOf(repository), digest);
  }

  /** Content was seen in, or sent to, a repository. */
  add(repository: Repository, digest: Digest): void {
    this.#seen.add(placeOf(repository), digest);
  }

  /** Forgets everything about a repository: it has shown that what was known is wrong. */
  forget(repository: Repository): void {
    this.#seen.forget(placeOf(repository));
    this.#empty.delete(nameOf(repository));
  }

  /** A repository has no tags, so nothing need be asked before it is pushed to. */
  setEmpty(repository: Repository): void {
    this.#empty.add(nameOf(repository));
  }

  /** Whether a repository had no tags, and nothing is remembered to have been sent there before. */
  isEmpty(repository: Repository, digest: Digest): boolean {
    return this.#empty.has(nameOf(repository)) && !this.isHinted(repository, digest);
  }

  /** A store remembers that content was in a repository. */
  addHint(registry: string, repository: string, digest: Digest): void {
    this.#hinted.add({ registry, name: repository }, digest);
  }

  /** Whether a store remembers content in a repository. */
  isHinted(repository: Repository, digest: Digest): boolean {
    return this.#hinted.has(placeOf(repository), digest);
  }

  /** Another repository of the same registry that holds a blob: seen in this run, else hinted. */
  holderOf(repository: Repository, digest: Digest): string | undefined {
    const place = placeOf(repository);
    return this.#seen.other(place, digest) ?? this.#hinted.other(place, digest);
  }

  /** Why a source's content cannot be had, when that was found out in this run: no use in every image asking again. */
  poisonOf(source: Repository, digest: Digest): Error | undefined {
    return this.#poison.get(`${nameOf(source)} ${digest}`);
  }

  /** A source's content cannot be had: it is missing or corrupt. */
  setPoison(source: Repository, digest: Digest, error: Error): void {
    this.#poison.set(`${nameOf(source)} ${digest}`, error);
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
}

function nameOf({ registry, name }: Repository): string {
  return `${registry.host}/${name}`;
}

function placeOf({ registry, name }: Repository): Place {
  return { registry: registry.host, name };
}
