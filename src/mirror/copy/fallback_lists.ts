/** Step 6 of the walk, the copy: lists of referrers under fallback tags, where a destination has no referrers API. */

import { type Descriptor, type Digest, DigestError } from "../../oci/descriptor.ts";
import { addReferrers, fallbackTagOf, readReferrers } from "../../oci/referrers.ts";
import type { Content } from "../../oci/manifest.ts";
import type { Reference } from "../../oci/reference.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { ignoreMissing } from "../plan/belongings.ts";
import { FallbackTagError } from "../rules/belongings_policy.ts";

/** Writes of one list, at most: others write it too, and registries cannot compare and set. */
const ATTEMPTS = 20;

interface KeptList {
  repository: Repository;
  subject: Digest;
  added: Map<Digest, Descriptor>;
}

/** The lists that a run has written to (OCI distribution-spec 1.1, Referrers Tag Schema). */
export class FallbackLists {
  #lists = new Map<string, KeptList>();
  #repositories = new Set<string>();
  #writing = new Map<string, Promise<void>>();

  /**
   * Adds referrers to the list of their subject. What others have listed stays; writes to one list follow each other.
   *
   * @throws {FallbackTagError} when the tag is somebody's image.
   * @throws {RegistryError} when the registry refuses.
   */
  async add(
    repository: Repository,
    { subject, added }: { subject: Digest; added: readonly Descriptor[] },
    signal?: AbortSignal,
  ): Promise<void> {
    const key = `${repository.registry.host}/${repository.name} ${subject}`;
    this.#repositories.add(`${repository.registry.host}/${repository.name}`);
    const list = this.#lists.get(key) ?? { repository, subject, added: new Map<Digest, Descriptor>() };
    this.#lists.set(key, list);
    for (const one of added) list.added.set(one.digest, one);
    const before = this.#writing.get(key) ?? Promise.resolve();
    const writing = before.catch(() => {}).then(() => write(list, signal));
    this.#writing.set(key, writing);
    await writing;
  }

  /** Whether any list in a repository was written. */
  has({ registry, repository }: Reference): boolean {
    return this.#repositories.has(`${registry}/${repository}`);
  }

  /**
   * Reads every list once more, at the end of a run, and mends those that somebody else has overwritten.
   *
   * @returns What could not be mended, in sentences.
   */
  async mend(signal?: AbortSignal): Promise<string[]> {
    const failures: string[] = [];
    for (const list of this.#lists.values()) {
      try {
        await write(list, signal);
      } catch (error) {
        signal?.throwIfAborted();
        failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    this.#lists.clear();
    return failures;
  }
}

/** Reads, adds what is missing and puts, until a reading lacks nothing. */
async function write({ repository, subject, added }: KeptList, signal?: AbortSignal): Promise<void> {
  const tag = fallbackTagOf(subject);
  let refused: string | undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const content = await repository.getManifest(tag, { signal }).catch(ignoreMissing);
    const referrers = content === undefined ? [] : readReferrers(content);
    if (referrers === undefined) throw new FallbackTagError(repository.describe(tag));
    const merged = await addReferrers({ content, referrers }, [...added.values()]);
    if (merged === undefined) return;
    // Who refuses the tag that it gave itself minds no conditions.
    const ifMatch = content?.etag === refused ? undefined : content?.etag;
    if (!await put(repository, tag, { merged, ifMatch, signal })) refused = ifMatch;
  }
  throw new Error(
    `Cannot list what belongs to "${repository.describe(subject)}": others write the list all the time`,
  );
}

/** Whether it was put; who has written in between is found by the next reading. */
async function put(
  repository: Repository,
  tag: string,
  { merged, ifMatch, signal }: {
    merged: Content;
    ifMatch: string | undefined;
    signal: AbortSignal | undefined;
  },
): Promise<boolean> {
  try {
    await repository.putManifest(tag, merged, { ifMatch, signal });
    return true;
  } catch (error) {
    if (error instanceof DigestError) return true;
    if (error instanceof RegistryError && error.status === 412 && ifMatch !== undefined) return false;
    throw error;
  }
}
