/** Step 6 of the walk, the copy: one image to one destination: is it there? all children, then the manifest, the tag last. */

import { type Descriptor, type Digest, DigestError } from "../../oci/descriptor.ts";
import { childrenOf, type Content, ManifestError } from "../../oci/manifest.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import type { Once } from "../../registry/once.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { PutManifestResult, Repository } from "../../registry/repository/repository.ts";
import { forgetBlobs, tagKey } from "../store/store.ts";
import type { BlobCourier } from "./blob_courier.ts";
import { BelongingsWalk } from "./belongings_walk.ts";
import type { CopyContext, Destination } from "./copy_context.ts";
import type { FallbackLists } from "./fallback_lists.ts";
import type { ImageBelongings } from "./image_belongings.ts";
import type { ManifestReader } from "./manifest_reader.ts";
import { forAll } from "../work_pool.ts";

/** Indexes inside indexes, at most: deeper is nothing a person made. */
const DEPTH_LIMIT = 16;
/** What all walks of a run share. */
export interface WalkServices {
  /** What copying needs. */
  context: CopyContext;
  /** Brings blobs. */
  courier: BlobCourier;
  /** Reads manifests. */
  manifests: ManifestReader;
  /** Manifests on their way, by repository and digest: each is brought to a repository once, however many images share it. */
  arrivals: Once<string, void>;
  /** What belongs to something, and was brought to a repository in this run. */
  attached: Once<string, number>;
  /** Lists of referrers at destinations without the referrers API. */
  lists: FallbackLists;
}

/** Where an image comes from. */
export interface ImageSource {
  /** Name of the task in events. */
  task: string;
  /** Where it is. */
  repository: Repository;
  /** Indexes that a choice of platforms has written anew; the source does not have them. */
  rewritten: Map<Digest, Content>;
}

/** A manifest in hand, and how deep in its image it is. */
export interface Node {
  /** The manifest. */
  content: Content;
  /** 0 for the root. */
  depth: number;
}

/** Brings one image to one destination; what other destinations do, wait for or fail at is nothing to it. */
export class DestinationWalk {
  #services: WalkServices;
  #context: CopyContext;
  #source: ImageSource;
  #reference: Reference;
  #destination: Destination;

  /** Nothing is sent before {@linkcode bring}. */
  constructor(services: WalkServices, source: ImageSource, reference: Reference) {
    this.#services = services;
    this.#context = services.context;
    this.#source = source;
    this.#reference = reference;
    const repository = services.context.registries.open(reference, "pull,push");
    this.#destination = { repository, name: formatReference(reference) };
  }

  /**
   * Brings the image. A tag is put last, so it never points at something incomplete; who sees it finds what belongs to the
   * image as well.
   *
   * @param belongings What belongs to the image and is to come with it.
   * @throws {RegistryError} when a side refuses, after everything was tried that may help.
   * @throws {DigestError} when a side has other content under a digest.
   * @throws {ManifestError} when something of the source is no image.
   * @throws {StoppedError} when the run's time is up.
   */
  async bring(root: Content, belongings?: ImageBelongings): Promise<void> {
    const { tag } = this.#reference;
    const node = { content: root, depth: 0 };
    // Found while the image is brought; what is wrong with it is met below.
    const finding = belongings?.hasWanted();
    finding?.catch(() => {});
    const isThere = await this.#bringBelow(node).catch(async (error) => {
      // Nothing of a failed image is left under way: whoever embeds the core may close everything after the run.
      await finding?.catch(() => {});
      throw error;
    });
    const hasBelongings = await finding === true;
    if (!isThere && (tag === undefined || hasBelongings)) await this.#putByDigest(node);
    if (hasBelongings) await this.bringBelongings(belongings);
    if (tag !== undefined) await this.#bringTag(root, tag);
  }

  /**
   * Brings what belongs to an image that is there.
   *
   * @returns Whether anything was missing.
   * @throws What {@linkcode bring} throws.
   */
  async bringBelongings(belongings: ImageBelongings | undefined): Promise<boolean> {
    if (belongings === undefined) return false;
    const walk = new BelongingsWalk(this.#services, {
      destination: this.#destination,
      bringChildren: (content) => this.#bringChildren({ content, depth: 0 }),
      put: (content, reference) => this.#put({ content, depth: 0 }, reference),
    });
    return await walk.bring(belongings);
  }

  /** Brings what a root is made of; whether the root itself was there, and so all of it. */
  async #bringBelow(root: Node): Promise<boolean> {
    if (await this.#holds(root.content.descriptor)) return true;
    await this.#bringChildren(root);
    return false;
  }

  async #bringTag(root: Content, tag: string): Promise<void> {
    await this.#putTag(root, tag);
    const { digest } = root.descriptor;
    const { registry, repository } = this.#reference;
    const { known, store, now } = this.#context;
    const value = { digest, source: this.#source.task, copiedAt: now() };
    await store.set(tagKey(registry, repository, tag), value);
    known.add(this.#repository, digest);
  }

  get #repository(): Repository {
    return this.#destination.repository;
  }

  /** Whether the destination has a manifest; one HEAD may save its blobs a HEAD each. */
  async #holds({ digest, size }: Descriptor): Promise<boolean> {
    const { known, force, signal } = this.#context;
    if (known.has(this.#repository, digest)) return true;
    // Who forces a copy doubts what the registry says of its manifests, so everything below is looked at again.
    if (force || known.isEmpty(this.#repository, digest)) return false;
    try {
      const isThere = await this.#repository.hasManifest(digest, { size, signal });
      if (isThere) known.add(this.#repository, digest);
      return isThere;
    } catch (error) {
      // As with tags: who may not look may still push, and is told so in the registry's own words if not.
      if (error instanceof RegistryError && [401, 403].includes(error.status)) return false;
      throw error;
    }
  }

  async #bringChildren({ content, depth }: Node): Promise<void> {
    const { manifests, blobs } = childrenOf(content);
    if (manifests.length > 0 && depth >= DEPTH_LIMIT) {
      const { digest } = content.descriptor;
      throw new ManifestError(`"${digest}"`, `its index is nested more than ${DEPTH_LIMIT} deep`);
    }
    await forAll([
      ...manifests.map((child) => () => this.#bringManifest(child, depth + 1)),
      ...blobs.map((blob) => () => this.#bringLayer(blob)),
    ]);
  }

  /** A child of an index. Who waits for another image that brings it tries by itself if that came to nothing. */
  async #bringManifest(child: Descriptor, depth: number): Promise<void> {
    const { known, signal } = this.#context;
    const { arrivals } = this.#services;
    const { registry, name } = this.#repository;
    const key = `${registry.host}/${name} ${child.digest}`;
    while (!known.has(this.#repository, child.digest)) {
      const underWay = arrivals.get(key);
      if (underWay === undefined) return await arrivals.do(key, () => this.#bringMissing(child, depth));
      await underWay.catch(() => {});
      signal?.throwIfAborted();
    }
  }

  async #bringMissing(child: Descriptor, depth: number): Promise<void> {
    const { repository, rewritten } = this.#source;
    if (await this.#holds(child)) return;
    const content = rewritten.get(child.digest) ??
      await this.#services.manifests.child(repository, child);
    if (content === undefined) return await this.#bringBlob(child);
    const node = { content, depth };
    await this.#bringChildren(node);
    await this.#putByDigest(node);
  }

  /** A layer with `urls` belongs to somebody who forbids to distribute it; it is copied only where the source serves it itself. */
  async #bringLayer(blob: Descriptor): Promise<void> {
    const { digest, size, urls = [] } = blob;
    const { emit, signal } = this.#context;
    const isElsewhere = urls.length > 0 && !await this.#source.repository.hasBlob(digest, signal);
    if (!isElsewhere) return await this.#bringBlob(blob);
    const { task } = this.#source;
    const { name: destination } = this.#destination;
    emit({ type: "blob-skipped", task, digest, size, destination, reason: "foreign" });
  }

  async #bringBlob(blob: Descriptor): Promise<void> {
    const { task, repository: source } = this.#source;
    await this.#services.courier.bring({ task, source, blob, destination: this.#destination });
  }

  async #putByDigest(node: Node): Promise<void> {
    const { digest } = node.content.descriptor;
    await this.#put(node, digest);
    this.#context.known.add(this.#repository, digest);
  }

  /**
   * Puts a manifest. A registry that says something is missing is believed over what was known: its repository is forgotten,
   * everything below the manifest is looked at again and sent, and the manifest put once more.
   */
  async #put(node: Node, reference: string): Promise<PutManifestResult> {
    const { known, store, signal, emit } = this.#context;
    const { digest } = node.content.descriptor;
    let result: PutManifestResult;
    try {
      result = await this.#repository.putManifest(reference, node.content, { signal });
    } catch (error) {
      if (!isIncomplete(error)) throw error;
      known.forget(this.#repository);
      await forgetBlobs(store, this.#repository.registry.host, this.#repository.name);
      await this.#bringChildren(node);
      result = await this.#repository.putManifest(reference, node.content, { signal });
    }
    const destination = this.#repository.describe(reference);
    emit({ type: "manifest-pushed", task: this.#source.task, digest, destination });
    return result;
  }

  /**
   * Puts the root under its tag. A registry whose tags cannot be changed (ECR, Harbor) refuses even what differs in nothing
   * but white space, as indexes do that image-syncer's Go version has written: such a destination is left as it is.
   */
  async #putTag(content: Content, tag: string): Promise<void> {
    try {
      await this.#put({ content, depth: 0 }, tag);
    } catch (error) {
      const isRefused = error instanceof RegistryError && error.isPermanent &&
        [400, 403, 405, 409, 412].includes(error.status);
      if (!isRefused || !await this.#hasSameJson(content, tag)) throw error;
      const message =
        `"${this.#destination.name}" cannot be changed and has the same content under another digest; it is left as it is`;
      return this.#context.emit({ type: "warning", message });
    }
    await this.#verifyTag(content, tag);
  }

  /** Who verifies does not take a 201 for an answer: the tag must be served, and stand for what was put. */
  async #verifyTag({ descriptor: { digest } }: Content, tag: string): Promise<void> {
    const { createHasher, signal } = this.#context;
    if (createHasher === undefined) return;
    const found = await this.#repository.resolve(tag, signal);
    if (found?.digest === digest) return;
    throw new DigestError(`what "${this.#destination.name}" stands for`, digest, found?.digest ?? "nothing");
  }

  async #hasSameJson(content: Content, tag: string): Promise<boolean> {
    try {
      const there = await this.#repository.getManifest(tag, { signal: this.#context.signal });
      return canonicalJson(there.bytes) === canonicalJson(content.bytes);
    } catch (error) {
      if (error instanceof RegistryError) return false;
      throw error;
    }
  }
}

/** JSON without what does not count: white space and the order of keys. */
function canonicalJson(bytes: Uint8Array): string {
  return JSON.stringify(JSON.parse(new TextDecoder().decode(bytes)), (_, value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([left], [right]) => left < right ? -1 : 1));
  });
}

function isIncomplete(error: unknown): boolean {
  const codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
  return error instanceof RegistryError && codes.some((code) => error.hasCode(code));
}
