/** The memory between runs, as the wire uses it: what registries ask for. */

import type { Challenge } from "../../registry/login/challenge.ts";
import type { ChallengeMemory } from "../../registry/request.ts";
import { challengeKey, type Store } from "./store.ts";

/**
 * Remembers in a store what registries ask for; a registry that asks for the same again is not written again.
 *
 * @example Save the first request to each registry in the next run
 * ```ts
 * import { challengeMemory, MemoryStore, Registries } from "@image-syncer/image-syncer";
 *
 * const registries = new Registries({ challenges: challengeMemory(new MemoryStore()) });
 * console.log(registries.signal);
 * ```
 */
export function challengeMemory(store: Store): ChallengeMemory {
  return {
    get: async (registry) => {
      const value = await store.get(challengeKey(registry));
      if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
      const { scheme, realm, service } = value;
      if (typeof scheme !== "string") return undefined;
      const parameters: Record<string, string> = {};
      if (typeof realm === "string") parameters.realm = realm;
      if (typeof service === "string") parameters.service = service;
      return { scheme, parameters };
    },
    set: async (registry, challenge) => await store.set(challengeKey(registry), factOf(challenge)),
    delete: async (registry) => await store.delete(challengeKey(registry)),
  };
}

/** Of the parameters only what every request shares; a scope belongs to the one that was refused. */
function factOf({ scheme, parameters: { realm, service } }: Challenge): Record<string, string> {
  return { scheme, ...(realm === undefined ? {} : { realm }), ...(service === undefined ? {} : { service }) };
}
