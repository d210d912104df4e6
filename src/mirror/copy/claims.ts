/** Step 6 of the walk, the copy: who is bringing one blob where, so that nobody brings it twice. */

import { defer, type Deferred } from "../../registry/deferred.ts";
import type { Digest } from "../../oci/descriptor.ts";
import type { Repository } from "../../registry/repository.ts";
import type { Destination } from "./destination.ts";
import type { Presence } from "./presence.ts";

/** The claims one image makes on one blob. */
export class Claims {
  #presence: Presence;
  #digest: Digest;
  #ends = new Map<Destination, Deferred<void>>();

  /** Claims nothing yet. */
  constructor(presence: Presence, digest: Digest) {
    this.#presence = presence;
    this.#digest = digest;
  }

  /** Somebody's bringing the blob to a repository, if somebody is. */
  flightTo({ registry, name }: Repository): Promise<void> | undefined {
    return this.#presence.flight(`${registry.host}/${name} ${this.#digest}`);
  }

  /** Somebody's bringing the blob to any repository of a registry, if somebody is. */
  flightToRegistry({ registry }: Repository): Promise<void> | undefined {
    return this.#presence.flight(`${registry.host} ${this.#digest}`);
  }

  /** Claims a repository. */
  claim(destination: Destination): void {
    const { registry, name } = destination.repository;
    const end = defer<void>();
    this.#ends.set(destination, end);
    this.#presence.setFlight(`${registry.host}/${name} ${this.#digest}`, end.promise);
  }

  /** Claims a repository and the lead in its registry. */
  lead(destination: Destination): void {
    this.claim(destination);
    const promise = this.#ends.get(destination)?.promise;
    if (promise === undefined) return;
    this.#presence.setFlight(`${destination.repository.registry.host} ${this.#digest}`, promise);
  }

  /** Tells those who wait how it ended. */
  settle(destination: Destination): void {
    const end = this.#ends.get(destination);
    if (destination.failure === undefined) end?.resolve();
    else end?.reject(destination.failure);
  }
}
