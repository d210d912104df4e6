/** What the test registry holds: repositories, their manifests and tags, and blobs shared by digest. */

import type { Descriptor, Digest } from "../../src/oci/descriptor.ts";
import type { BlobContent, Bytes } from "./blob_content.ts";
import { type ManifestFacts, readManifest } from "./manifest_facts.ts";
import type { Upload } from "./upload.ts";

/** A manifest as it was pushed. */
export interface StoredManifest extends ManifestFacts {
  /** The exact bytes. */
  readonly bytes: Bytes;
  /** Digest under which it was pushed. */
  readonly digest: Digest;
  /** The Content-Type it was pushed with. */
  readonly mediaType: string;
}

/** A map that can list its keys in order without sorting them each time. */
export class SortedMap<Value> extends Map<string, Value> {
  #keys: string[] | undefined;

  /** Sets a value; only a new key costs a new sort, at the next list. */
  override set(key: string, value: Value): this {
    if (!this.has(key)) this.#keys = undefined;
    return super.set(key, value);
  }

  /** Deletes a value. */
  override delete(key: string): boolean {
    this.#keys = undefined;
    return super.delete(key);
  }

  /** Deletes all values. */
  override clear(): void {
    this.#keys = undefined;
    super.clear();
  }

  /** All keys in ASCII order. */
  sortedKeys(): readonly string[] {
    this.#keys ??= [...this.keys()].sort();
    return this.#keys;
  }
}

/** One repository. */
export class RepositoryState {
  /** Blobs by digest; the content objects are shared with other repositories. */
  readonly blobs: Map<Digest, BlobContent> = new Map();
  /** Manifests by digest. */
  readonly manifests: Map<Digest, StoredManifest> = new Map();
  /** Digests by tag. */
  readonly tags: SortedMap<Digest> = new SortedMap();
  /** Descriptors of referrers by the subject's digest, then by their own. */
  readonly referrers: Map<Digest, Map<Digest, Descriptor>> = new Map();
  /** Uploads under way by id. */
  readonly uploads: Map<string, Upload> = new Map();
  /** Digests of all blobs that a pushed manifest named. */
  readonly namedBlobs: Set<Digest> = new Set();

  /** Blobs whose upload was lost once. */
  readonly lost: Set<Digest> = new Set();

  /** Whether nothing was pushed to it; a registry does not know such a repository. */
  isEmpty(): boolean {
    return this.blobs.size === 0 && this.manifests.size === 0;
  }

  /** The manifest under a tag or digest. */
  findManifest(reference: string): StoredManifest | undefined {
    return this.manifests.get(reference.includes(":") ? reference : this.tags.get(reference) ?? "");
  }

  /** Keeps a manifest without checking it, and tags it when a tag is given. */
  addManifest(manifest: StoredManifest, tag?: string): void {
    this.manifests.set(manifest.digest, manifest);
    for (const blob of manifest.blobs) this.namedBlobs.add(blob.digest);
    if (tag !== undefined) this.tags.set(tag, manifest.digest);
    if (manifest.subject !== undefined) this.#addReferrer(manifest.subject, manifest);
  }

  /** Forgets a manifest and the tags that point at it; whether it was there. */
  deleteManifest(digest: Digest): boolean {
    const manifest = this.manifests.get(digest);
    if (manifest === undefined) return false;
    this.manifests.delete(digest);
    for (const [tag, target] of this.tags) if (target === digest) this.tags.delete(tag);
    if (manifest.subject !== undefined) this.referrers.get(manifest.subject)?.delete(digest);
    return true;
  }

  #addReferrer(subject: Digest, manifest: StoredManifest): void {
    const referrers = this.referrers.get(subject) ?? new Map<Digest, Descriptor>();
    this.referrers.set(subject, referrers);
    const descriptor: Descriptor = {
      mediaType: manifest.mediaType,
      digest: manifest.digest,
      size: manifest.bytes.length,
    };
    if (manifest.artifactType !== undefined) descriptor.artifactType = manifest.artifactType;
    if (manifest.annotations !== undefined) descriptor.annotations = manifest.annotations;
    referrers.set(manifest.digest, descriptor);
  }
}

/** Everything the registry holds. */
export class RegistryState {
  /** Repositories by name. */
  readonly repositories: Map<string, RepositoryState> = new Map();
  /** Blob contents by digest, shared by the repositories. */
  readonly blobs: Map<Digest, BlobContent> = new Map();

  /** The repository of that name, made when it is new. */
  repository(name: string): RepositoryState {
    let repository = this.repositories.get(name);
    if (repository === undefined) {
      repository = new RepositoryState();
      this.repositories.set(name, repository);
    }
    return repository;
  }

  /** Puts a blob into a repository; a content known already is shared. */
  addBlob(repository: string, content: BlobContent): void {
    const shared = this.blobs.get(content.digest) ?? content;
    this.blobs.set(content.digest, shared);
    this.repository(repository).blobs.set(content.digest, shared);
  }

  /** Puts a manifest into a repository without checking what it names. */
  addManifest(
    repository: string,
    manifest: { bytes: Bytes; digest: Digest; mediaType: string },
    tag?: string,
  ): void {
    const { bytes, digest, mediaType } = manifest;
    const facts = readManifest(bytes, mediaType);
    this.repository(repository).addManifest({ ...facts, bytes, digest, mediaType }, tag);
  }
}
