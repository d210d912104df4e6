/** Step 5 of the walk, the plan: which destinations need not be asked, because their repository was listed. */

import type { Reference } from "../../oci/reference.ts";
import { Once } from "../../registry/once.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { rememberedDigest, type ResolveContext } from "./resolve.ts";

/** What listing destinations needs. */
export interface ListContext extends ResolveContext {
  /** Takes note of repositories that are empty. */
  known: { setEmpty(repository: Repository): void };
}

/** Tags of one repository from which on listing it is cheaper than asking for each. */
export const LIST_FROM = 3;

/**
 * What is at destinations. A repository that several tags go to and nothing is remembered of is listed once a run, which is
 * one request instead of one for each tag, and tells when it is empty.
 */
export class DestinationLists {
  #context: ListContext;
  /** Tags by repository; `undefined` where it was not listed, and each tag is asked about. */
  #lists = new Once<string, ReadonlySet<string> | undefined>({ remembers: true });

  /** Nothing is listed yet. */
  constructor(context: ListContext) {
    this.#context = context;
  }

  /** Begins to list the repositories that several of some destinations are in. */
  expect(destinations: readonly Reference[]): void {
    const byRepository = new Map<string, Reference[]>();
    for (const destination of destinations) {
      if (destination.tag === undefined) continue;
      const key = keyOf(destination);
      const references = byRepository.get(key);
      if (references === undefined) byRepository.set(key, [destination]);
      else references.push(destination);
    }
    for (const [key, references] of byRepository) {
      if (references.length < LIST_FROM || this.#lists.get(key) !== undefined) continue;
      // Who asks whether a destination is absent meets the failure.
      this.#lists.do(key, () => this.#list(references)).catch(() => {});
    }
  }

  /** Whether a destination is known not to be there. */
  async isAbsent(destination: Reference): Promise<boolean> {
    if (destination.tag === undefined) return false;
    const tags = await this.#lists.get(keyOf(destination));
    return tags !== undefined && !tags.has(destination.tag);
  }

  async #list(references: readonly Reference[]): Promise<ReadonlySet<string> | undefined> {
    const [first] = references;
    if (first === undefined || await this.#isRemembered(references)) return undefined;
    const { registries, signal, known } = this.#context;
    const repository = registries.open(first, "pull,push");
    const tags = new Set<string>();
    try {
      for await (const page of repository.listTags(signal)) for (const tag of page) tags.add(tag);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RegistryError) || !error.hasCode("NAME_UNKNOWN")) return undefined;
      tags.clear();
    }
    if (tags.size === 0) known.setEmpty(repository);
    return tags;
  }

  /** Whether any of some tags was copied before: then they are likely there, and a HEAD for each is what it takes anyway. */
  async #isRemembered(references: readonly Reference[]): Promise<boolean> {
    for (const reference of references) {
      if (await rememberedDigest(reference, this.#context) !== undefined) return true;
    }
    return false;
  }
}

function keyOf({ registry, repository }: Reference): string {
  return `${registry}/${repository}`;
}
