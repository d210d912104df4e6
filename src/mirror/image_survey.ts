/** Step 5 of the walk, the plan: reads the manifests of what is to be copied, and asks which of its parts are there already. */

import type { Descriptor, Digest } from "../oci/descriptor.ts";
import { childrenOf, type Content, ManifestError } from "../oci/manifest.ts";
import { formatReference } from "../oci/reference.ts";
import { Once } from "../registry/once.ts";
import { RegistryError } from "../registry/registry_error.ts";
import type { Repository } from "../registry/repository/repository.ts";
import { isPermanent, messageOf } from "./plan/failure.ts";
import type { CopyTask, Plan, PlannedDestination } from "./plan/plan.ts";
import { filterPlatforms } from "./plan/platform_filter.ts";
import type { RunContext } from "./run_context.ts";
import { blobKey } from "./store/store.ts";
import { mapAll } from "./work_pool.ts";

/** Images that are looked into at once; the gates of the registries bound the requests. */
const IMAGES_AT_ONCE = 32;
/** Indexes inside indexes, at most, as in copying. */
const DEPTH_LIMIT = 16;
/** Bytes of manifests that are kept for whoever runs the plan: what is beyond them is read again. */
const KEPT_BYTES = 64 * 1024 * 1024;

/** One image on its way to one destination, while it is looked into. */
interface Walk {
  source: Repository;
  destination: Repository;
}

/** What there is to know of the images of a plan before any of it is copied: nothing is sent, no blob is read. */
export class ImageSurvey {
  /** Manifests by digest, those among them that a choice of platforms has written anew. */
  readonly contents = new Map<Digest, Content>();
  #context: RunContext;
  #rewritten = new Set<Digest>();
  #reads = new Once<string, Content | undefined>({ remembers: true });
  #visits = new Once<string, void>({ remembers: true });
  #checks = new Once<string, boolean>({ remembers: true });
  #there = new Set<string>();
  #served = new Set<string>();
  #sizes = new Map<Digest, number>();

  /** Nothing is asked before {@linkcode run}. */
  constructor(context: RunContext) {
    this.#context = context;
  }

  /**
   * Looks into every image that is to be copied. One that cannot be read leaves the plan's tasks and is among its failures.
   *
   * @throws Nothing but the signal's reason.
   */
  async run(plan: Plan): Promise<void> {
    await this.#loadHints();
    await mapAll(plan.tasks, (task) => this.#lookInto(plan, task), IMAGES_AT_ONCE);
    this.#context.signal?.throwIfAborted();
  }

  /** The manifest that is to be at the destinations. */
  rootOf({ root }: CopyTask): Content {
    const content = this.contents.get(root.digest);
    if (content === undefined) throw new TypeError(`Cannot foretell "${root.digest}": it was not read`);
    return content;
  }

  /** Whether a manifest was made here and is at no source. */
  isRewritten(digest: Digest): boolean {
    return this.#rewritten.has(digest);
  }

  /** Whether a destination has a manifest or blob. */
  isThere(repository: Repository, digest: Digest): boolean {
    return this.#there.has(keyOf(repository, digest));
  }

  /** Whether a source serves a layer that has `urls` as well. */
  isServed(repository: Repository, digest: Digest): boolean {
    return this.#served.has(keyOf(repository, digest));
  }

  /** Bytes of a blob whose manifest does not say how many it has. */
  sizeOf(digest: Digest): number {
    return this.#sizes.get(digest) ?? 0;
  }

  /** What is kept for whoever runs the plan, by digest. */
  kept(): Content[] {
    let bytes = 0;
    return [...this.contents.values()].filter((content) => (bytes += content.bytes.length) <= KEPT_BYTES);
  }

  async #loadHints(): Promise<void> {
    const { store, known } = this.#context;
    for await (const { key: [, registry, repository, digest] } of store.list(["blob"])) {
      if (registry !== undefined && repository !== undefined && digest !== undefined) {
        known.addHint(registry, repository, digest);
      }
    }
  }

  async #lookInto(plan: Plan, task: CopyTask): Promise<void> {
    const todo = task.destinations.filter(({ action }) => action === "copy");
    if (todo.length === 0) return;
    const source = this.#context.registries.open(task.source, "pull");
    const reading = this.#readRoot(task, source);
    // Each destination meets the failure.
    reading.catch(() => {});
    await Promise.all(todo.map(async (one) => {
      try {
        const destination = this.#context.registries.open(one.reference, "pull,push");
        await this.#visitRoot({ source, destination }, await reading);
      } catch (error) {
        if (!this.#context.signal?.aborted) this.#fail(plan, { task, destination: one, error });
      }
    }));
  }

  #fail(
    plan: Plan,
    { task, destination, error }: { task: CopyTask; destination: PlannedDestination; error: unknown },
  ): void {
    task.destinations = task.destinations.filter((one) => one !== destination);
    plan.failed.push({
      kind: "image",
      source: formatReference(task.source),
      destination: formatReference(destination.reference),
      ...(task.platforms === undefined ? {} : { platforms: task.platforms }),
      error: messageOf(error),
      isPermanent: isPermanent(error, this.#context.pass),
    });
  }

  async #readRoot(task: CopyTask, source: Repository): Promise<Content> {
    const { signal } = this.#context;
    const planned = task.original ?? task.root.digest;
    const content = await source.getManifest(planned, { tag: task.source.tag, signal });
    if (task.original === undefined) return this.#keep(content);
    const rewritten = new Map<Digest, Content>();
    const left = await filterPlatforms(content, task.platforms ?? [], { source, rewritten, signal });
    for (const [digest, one] of rewritten) {
      this.#rewritten.add(digest);
      this.#keep(one);
    }
    if (left?.descriptor.digest === task.root.digest) return this.#keep(left);
    throw new ManifestError(
      `"${formatReference(task.source)}"`,
      "the platforms wanted leave another image than before",
    );
  }

  #keep(content: Content): Content {
    this.contents.set(content.descriptor.digest, content);
    return content;
  }

  async #visitRoot(walk: Walk, root: Content): Promise<void> {
    const { descriptor: { digest } } = root;
    if (await this.#holds(walk.destination, digest, "manifest")) return;
    await this.#visits.do(keyOf(walk.destination, digest), () => this.#visit(walk, root, 0));
  }

  async #visit(walk: Walk, content: Content, depth: number): Promise<void> {
    const { manifests, blobs } = childrenOf(content);
    if (manifests.length > 0 && depth >= DEPTH_LIMIT) {
      throw new ManifestError(
        `"${content.descriptor.digest}"`,
        `its index is nested more than ${DEPTH_LIMIT} deep`,
      );
    }
    await Promise.all([
      ...manifests.map((child) =>
        this.#visits.do(keyOf(walk.destination, child.digest), () => this.#visitChild(walk, child, depth + 1))
      ),
      ...blobs.map((blob) => this.#visitBlob(walk, blob)),
    ]);
  }

  async #visitChild(walk: Walk, child: Descriptor, depth: number): Promise<void> {
    if (await this.#holds(walk.destination, child.digest, "manifest")) return;
    const content = this.contents.get(child.digest) ?? await this.#read(walk.source, child);
    if (content === undefined) await this.#visitBlob(walk, child);
    else await this.#visit(walk, content, depth);
  }

  #read(source: Repository, child: Descriptor): Promise<Content | undefined> {
    return this.#reads.do(keyOf(source, child.digest), async () => {
      const content = await source.getChild(child, this.#context.signal);
      return content && this.#keep(content);
    });
  }

  async #visitBlob({ source, destination }: Walk, { digest, size, urls = [] }: Descriptor): Promise<void> {
    const { signal, store, now, known } = this.#context;
    if (urls.length > 0 && await source.hasBlob(digest, signal)) this.#served.add(keyOf(source, digest));
    if (size < 0 && !this.#sizes.has(digest)) {
      this.#sizes.set(digest, await source.blobLength(digest, signal) ?? 0);
    }
    if (!await this.#holds(destination, digest, "blob")) return;
    const { registry: { host }, name } = destination;
    if (known.isHinted(destination, digest)) return;
    // The run may then mount it, whichever image comes first.
    known.addHint(host, name, digest);
    await store.set(blobKey(host, name, digest), { size, seenAt: now() });
  }

  /** As in copying: what may not be looked at counts as not there. */
  #holds(repository: Repository, digest: Digest, kind: "manifest" | "blob"): Promise<boolean> {
    const { known, signal, force } = this.#context;
    return this.#checks.do(keyOf(repository, digest), async () => {
      if (known.isEmpty(repository, digest) || force && kind === "manifest") return false;
      try {
        const isThere = kind === "blob"
          ? await repository.hasBlob(digest, signal)
          : await repository.hasManifest(digest, { signal });
        if (isThere) this.#there.add(keyOf(repository, digest));
        return isThere;
      } catch (error) {
        if (error instanceof RegistryError && [401, 403].includes(error.status)) return false;
        throw error;
      }
    });
  }
}

function keyOf({ registry: { host }, name }: Repository, digest: Digest): string {
  return `${host}/${name} ${digest}`;
}
