/** Step 7 of the walk, the run: deletes tags, each after a last look, and digests only where nothing else has them. */

import type { Digest } from "../../oci/descriptor.ts";
import { childrenOf } from "../../oci/manifest.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import { Once } from "../../registry/once.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { missingKey, tagKey } from "../store/store.ts";
import { mapAll } from "../work_pool.ts";
import { messageOf } from "./failure.ts";
import type { PlannedDeletion } from "./plan.ts";
import type { ResolveContext } from "./resolve.ts";

/** Tags that are looked at at once. */
const TAGS_AT_ONCE = 32;

/** What has become of a tag that was to be deleted. */
export interface DeletionOutcome {
  /** The tag. */
  reference: string;
  /** What it stood for. */
  digest: Digest;
  /** `kept` where somebody else has changed or needs it. */
  status: "deleted" | "kept" | "failed";
  /** Whether the tag alone went, or what it stood for. */
  by?: "tag" | "digest";
  /** Why it was kept, or could not be deleted. */
  why?: string;
}

/** What deleting needs. */
export interface DeletionContext extends ResolveContext {
  /** Told of each tag. */
  onOutcome: (outcome: DeletionOutcome) => void;
  /** Whether nothing new is to be begun. */
  isStopping: () => boolean;
}

/** Everything of a repository that has a name. */
interface NamedContent {
  /** Tags by what they stand for. */
  tags: Map<Digest, Set<string>>;
  /** What indexes have in them. */
  children: Set<Digest>;
}

/** Deletes one after the other. */
export async function deleteTags(
  deletions: readonly PlannedDeletion[],
  context: DeletionContext,
): Promise<void> {
  const deleter = new TagDeleter(deletions, context);
  for (const deletion of deletions) {
    if (context.isStopping()) return;
    context.signal?.throwIfAborted();
    await deleter.delete(deletion);
  }
}

class TagDeleter {
  #context: DeletionContext;
  #going: Map<string, PlannedDeletion>;
  /** Repositories and digests that were deleted with all their tags. */
  #gone = new Set<string>();
  #named = new Once<string, NamedContent>({ remembers: true });

  constructor(deletions: readonly PlannedDeletion[], context: DeletionContext) {
    this.#context = context;
    this.#going = new Map(deletions.map((deletion) => [formatReference(deletion.reference), deletion]));
  }

  async delete(deletion: PlannedDeletion): Promise<void> {
    const { reference, digest } = deletion;
    const { registries, signal } = this.#context;
    const name = formatReference(reference);
    const keep = (why: string) => this.#tell({ reference: name, digest, status: "kept", why });
    try {
      const repository = registries.open(reference, "pull,push");
      const isGone = this.#gone.has(keyOf(repository, digest));
      if (!isGone && await this.#isBack(deletion)) return keep("it is at the source again");
      const there = await repository.resolve(reference.tag ?? "", signal);
      if (there === undefined && isGone) {
        this.#tell({ reference: name, digest, status: "deleted", by: "digest" });
      }
      if (there === undefined) return await this.#forget(reference);
      if (there.digest !== digest) return keep(`it stands for "${there.digest}" now, not for "${digest}"`);
      const outcome = await this.#remove(repository, reference, digest);
      this.#tell({ reference: name, digest, ...outcome });
      if (outcome.status !== "deleted") return;
      await this.#forget(reference);
      for (const tag of deletion.belongings ?? []) await this.#deleteBelonging(repository, deletion, tag);
    } catch (error) {
      signal?.throwIfAborted();
      this.#tell({ reference: name, digest, status: "failed", why: messageOf(error) });
    }
  }

  #tell(outcome: DeletionOutcome): void {
    this.#context.onOutcome(outcome);
  }

  /** What belongs to an image goes when nothing has its digest any more, and stays when that is in doubt. */
  async #deleteBelonging(repository: Repository, deletion: PlannedDeletion, tag: string): Promise<void> {
    const { signal } = this.#context;
    const reference = { ...deletion.reference, tag };
    const name = formatReference(reference);
    let digest = deletion.digest;
    try {
      const owner = await this.#whoNeeds(repository, digest);
      if (owner !== undefined) return;
      const there = await repository.resolve(tag, signal);
      if (there === undefined) return;
      digest = there.digest;
      this.#going.set(name, { ...deletion, reference, digest, reason: "unselected" });
      this.#tell({ reference: name, digest, ...await this.#remove(repository, reference, digest) });
    } catch (error) {
      signal?.throwIfAborted();
      this.#tell({ reference: name, digest, status: "kept", why: messageOf(error) });
    }
  }

  async #isBack({ reason, source, reference: { tag = "" } }: PlannedDeletion): Promise<boolean> {
    if (reason !== "gone") return false;
    const slash = source.indexOf("/");
    const place = { registry: source.slice(0, slash), repository: source.slice(slash + 1) };
    return await this.#context.registries.open(place, "pull").resolve(tag, this.#context.signal) !==
      undefined;
  }

  async #forget({ registry, repository, tag = "" }: Reference): Promise<void> {
    await this.#context.store.delete(tagKey(registry, repository, tag));
    await this.#context.store.delete(missingKey(registry, repository, tag));
  }

  async #remove(
    repository: Repository,
    reference: Reference,
    digest: Digest,
  ): Promise<Pick<DeletionOutcome, "status" | "by" | "why">> {
    const { signal } = this.#context;
    try {
      await repository.deleteManifest(reference.tag ?? "", signal);
      return { status: "deleted", by: "tag" };
    } catch (error) {
      if (!isTagRefused(error)) throw error;
    }
    // Only digests can be deleted here, and with one go all its tags and all indexes that have it.
    const why = await this.#whoNeeds(repository, digest);
    if (why !== undefined) return { status: "kept", why };
    await repository.deleteManifest(digest, signal);
    this.#gone.add(keyOf(repository, digest));
    return { status: "deleted", by: "digest" };
  }

  async #whoNeeds(repository: Repository, digest: Digest): Promise<string | undefined> {
    const place = `${repository.registry.host}/${repository.name}`;
    const { tags, children } = await this.#named.do(place, () => this.#findNamed(repository));
    for (const tag of tags.get(digest) ?? []) {
      const deletion = this.#going.get(`${place}:${tag}`);
      const goesToo = deletion?.digest === digest && !await this.#isBack(deletion);
      if (!goesToo) return `only digests can be deleted here, and "${digest}" is "${tag}" too`;
    }
    if (children.has(digest)) return `only digests can be deleted here, and an index has "${digest}" in it`;
    return undefined;
  }

  /** What every tag stands for and every index has; one that cannot be read leaves everything in doubt. */
  async #findNamed(repository: Repository): Promise<NamedContent> {
    const { signal } = this.#context;
    const named: NamedContent = { tags: new Map(), children: new Set() };
    const all: string[] = [];
    for await (const page of repository.listTags(signal)) all.push(...page);
    const look = async (tag: string) => {
      const found = await repository.resolve(tag, signal);
      if (found === undefined) return;
      const tags = named.tags.get(found.digest) ?? new Set();
      named.tags.set(found.digest, tags.add(tag));
      await this.#addChildren(repository, found.digest, named.children);
    };
    await mapAll(all, look, TAGS_AT_ONCE);
    return named;
  }

  async #addChildren(repository: Repository, digest: Digest, children: Set<Digest>): Promise<void> {
    const { signal } = this.#context;
    for (const child of childrenOf(await repository.getManifest(digest, { signal })).manifests) {
      if (children.has(child.digest)) continue;
      children.add(child.digest);
      if (await repository.getChild(child, signal) === undefined) continue;
      await this.#addChildren(repository, child.digest, children);
    }
  }
}

function keyOf({ registry: { host }, name }: Repository, digest: Digest): string {
  return `${host}/${name} ${digest}`;
}

/** Registries that delete digests alone say so in several ways (distribution 2.8: 405 UNSUPPORTED, or 400 DIGEST_INVALID). */
function isTagRefused(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  return [400, 405, 501].includes(error.status) || error.hasCode("UNSUPPORTED");
}
