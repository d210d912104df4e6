/** Step 5 of the walk, the plan: what belongs to an image at its source, by referrers, fallback tags and cosign's tags. */

import { type Descriptor, type Digest, isIndexType } from "../../oci/descriptor.ts";
import { childrenOf, type Content, mayBeBlob } from "../../oci/manifest.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import { cosignTagsOf, fallbackTagOf, readReferrers } from "../../oci/referrers.ts";
import { Once } from "../../registry/once.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Registries } from "../../registry/registries.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { lacksReferrersKey, listTagKey, type Store } from "../store/store.ts";
import type { Belonging } from "../rules/belongings_policy.ts";
import { mapAll } from "../work_pool.ts";
import { isListTag, maybeBelongingTag, SourceTags } from "./source_tags.ts";

/** What finding belongings needs. */
export interface BelongingsOptions {
  /** The registries of the run. */
  registries: Registries;
  /** The memory between runs. */
  store: Store;
  /** Milliseconds after which what was remembered is looked at again. */
  every: number;
  /** Tells of what is odd, in a sentence. */
  onWarning: (message: string) => void;
}

/** What belongs to an image itself, as far as one request and the list of tags tell. */
export interface RootBelongings {
  /** Digests of its referrers. */
  referrers: readonly Digest[];
  /** cosign's tags of it. */
  tags: readonly string[];
}

/** Reads a manifest of a source; `undefined` where it is none. */
export type ReadManifest = (descriptor: Descriptor) => Promise<Content | undefined>;

/** Signatures of signatures, at most: deeper is nothing a person made. */
const DEPTH_LIMIT = 8;
/** Things that may belong to one image, in all. */
const COUNT_LIMIT = 20_000;
/** Digests that are asked about at once for one image. */
const ASKED_AT_ONCE = 16;

/** Finds out what belongs to images of a run, and remembers what registries can. */
export class Belongings {
  #options: BelongingsOptions;
  #tags = new SourceTags();
  #first = new Once<string, Descriptor[] | undefined>();
  #referrers = new Once<string, Descriptor[] | undefined>({ remembers: true });
  #lists = new Once<string, Descriptor[] | undefined>({ remembers: true });
  #lookedUp = new Once<string, void>({ remembers: true });
  #listTags = new Set<string>();
  #warned = new Set<string>();

  /** Nothing is asked yet. */
  constructor(options: BelongingsOptions) {
    this.#options = options;
  }

  /** Milliseconds after which what was remembered is looked at again. */
  get every(): number {
    return this.#options.every;
  }

  /**
   * Every tag of a source, page by page, those that belong to images noted.
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async *listTags(repository: Repository): AsyncIterable<string[]> {
    for await (const page of this.#tags.list(repository, this.#signal)) {
      const doubtful = page.filter(isListTag);
      await mapAll(doubtful, (tag) => this.#noteTag(repository, tag), ASKED_AT_ONCE);
      yield page;
    }
  }

  /** Whether a tag of a page that was listed belongs to an image, and is copied with it and not by itself. */
  isBelonging({ registry, repository, tag = "" }: Reference): boolean {
    if (!isListTag(tag)) return maybeBelongingTag(tag);
    return this.#listTags.has(`${registry}/${repository} ${tag}`);
  }

  /** A tag that looks like a list of referrers may be somebody's image; which it is, is remembered. */
  async #noteTag(repository: Repository, tag: string): Promise<void> {
    const { store, every } = this.#options;
    const { host } = repository.registry;
    const key = listTagKey(host, repository.name, tag);
    let isList = await store.get(key);
    if (typeof isList !== "boolean") {
      isList = await this.#readList(repository, tag) !== undefined;
      await store.set(key, isList, { expiresIn: every });
    }
    if (isList) this.#listTags.add(`${host}/${repository.name} ${tag}`);
  }

  get #signal(): AbortSignal | undefined {
    return this.#options.registries.signal;
  }

  /**
   * What belongs to an image itself, with at most one request; `undefined` where that would take more.
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async ofRoot(repository: Repository, digest: Digest): Promise<RootBelongings | undefined> {
    const known = await this.#tags.known(repository);
    const listed = await this.#askReferrers(repository, digest);
    const tags = cosignTagsOf(digest).filter((tag) => known?.has(tag));
    if (listed !== undefined) return { referrers: digestsOf(listed), tags };
    if (known === undefined) return undefined;
    const fallback = fallbackTagOf(digest);
    const entries = known.has(fallback) ? await this.#readList(repository, fallback) : [];
    return { referrers: digestsOf(entries ?? []), tags };
  }

  /**
   * Everything that belongs to an image and its children, and to that in turn: subjects before what belongs to them, each
   * thing once for each subject.
   *
   * @param subjects The image's digest, and those of its children.
   * @throws {RegistryError} when the registry refuses.
   */
  async find(
    repository: Repository,
    subjects: Iterable<Digest>,
    read: ReadManifest,
  ): Promise<Belonging[]> {
    const found: Belonging[] = [];
    const seen = new Set<Digest>(subjects);
    let asked = [...seen];
    for (let depth = 0; asked.length > 0 && depth < DEPTH_LIMIT; depth++) {
      const ask = (subject: Digest) => this.#direct(repository, subject, depth);
      const level = (await mapAll(asked, ask, ASKED_AT_ONCE)).flat();
      for (const one of level) found.push(one);
      if (found.length > COUNT_LIMIT) throw tooMany(repository, found.length);
      asked = (await this.#subjectsIn(level, read)).filter((digest) => !seen.has(digest));
      for (const digest of asked) seen.add(digest);
    }
    return found;
  }

  /** What may have belongings of its own: what was found, and what is in it where that is an index. */
  async #subjectsIn(level: readonly Belonging[], read: ReadManifest): Promise<Digest[]> {
    const digests = new Set(level.map(({ descriptor }) => descriptor.digest));
    for (const { descriptor } of level) {
      if (!isIndexType(descriptor.mediaType)) continue;
      const content = await read(descriptor).catch(ignoreMissing);
      if (content === undefined) continue;
      for (const child of childrenOf(content).manifests) if (!mayBeBlob(child)) digests.add(child.digest);
    }
    return [...digests];
  }

  async #direct(repository: Repository, subject: Digest, depth: number): Promise<Belonging[]> {
    const listed = await this.#askReferrers(repository, subject) ?? [];
    const known = await this.#tags.find(repository, this.#signal);
    const fallback = fallbackTagOf(subject);
    const hasList = known === undefined ? listed.length === 0 : known.has(fallback);
    const entries = hasList ? await this.#readList(repository, fallback) ?? [] : [];
    // A registry that has learned the referrers API need not have read the lists that were there before.
    const referrers = new Map([...entries, ...listed].map((descriptor) => [descriptor.digest, descriptor]));
    const signed = await this.#cosignTags(repository, subject, known);
    return [
      ...[...referrers.values()].map((descriptor): Belonging => ({ subject, descriptor, depth })),
      ...signed.map(([tag, descriptor]): Belonging => ({ subject, descriptor, tag, depth })),
    ];
  }

  async #cosignTags(
    repository: Repository,
    subject: Digest,
    known: ReadonlySet<string> | undefined,
  ): Promise<[string, Descriptor][]> {
    const tags = cosignTagsOf(subject).filter((tag) => known === undefined || known.has(tag));
    const found = await Promise.all(tags.map(async (tag): Promise<[string, Descriptor][]> => {
      const descriptor = await repository.resolve(tag, this.#signal);
      return descriptor === undefined ? [] : [[tag, descriptor]];
    }));
    return found.flat();
  }

  /** The referrers that a registry lists; `undefined` where it has no such list, which is remembered. */
  #askReferrers(repository: Repository, digest: Digest): Promise<Descriptor[] | undefined> {
    const { registry, name } = repository;
    return this.#referrers.do(`${registry.host}/${name} ${digest}`, async () => {
      await this.#recall(repository);
      const { abilities } = registry;
      // Of many who ask a registry that nobody knows one does, and the others learn of it.
      let first = this.#first.get(registry.host);
      for (; abilities.hasReferrers === undefined && first; first = this.#first.get(registry.host)) {
        await first.catch(() => {});
      }
      if (abilities.hasReferrers !== undefined) return await this.#list(repository, digest);
      return await this.#first.do(registry.host, () => this.#list(repository, digest));
    });
  }

  /**
   * The referrers that a registry lists now; `undefined` where it has no such list.
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async listNow(repository: Repository, digest: Digest): Promise<Descriptor[] | undefined> {
    await this.#recall(repository);
    return await this.#list(repository, digest);
  }

  /** Earlier runs have learned of some registries that they have no such list. */
  async #recall({ registry }: Repository): Promise<void> {
    await this.#lookedUp.do(registry.host, async () => {
      const isLacking = await this.#options.store.get(lacksReferrersKey(registry.host));
      if (isLacking === true) registry.abilities.hasReferrers ??= false;
    });
  }

  async #list(repository: Repository, digest: Digest): Promise<Descriptor[] | undefined> {
    const { host, abilities } = repository.registry;
    const wasLacking = abilities.hasReferrers === false;
    const listed = await repository.listReferrers(digest, { signal: this.#signal });
    const isLacking: boolean = abilities.hasReferrers === false;
    const { store, every } = this.#options;
    if (isLacking && !wasLacking) await store.set(lacksReferrersKey(host), true, { expiresIn: every });
    return listed;
  }

  /**
   * Digests of the referrers that a destination has of a digest, by the referrers API or under the fallback tag.
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async referrersAt(repository: Repository, subject: Digest): Promise<Digest[]> {
    const listed = await this.listNow(repository, subject);
    if (listed !== undefined) return digestsOf(listed);
    const tag = fallbackTagOf(subject);
    const content = await repository.getManifest(tag, { signal: this.#signal }).catch(ignoreMissing);
    return digestsOf(content === undefined ? [] : readReferrers(content) ?? []);
  }

  /** What a tag lists, or `undefined` where it is not there or no list. */
  #readList(repository: Repository, tag: string): Promise<Descriptor[] | undefined> {
    const key = `${repository.registry.host}/${repository.name} ${tag}`;
    return this.#lists.do(key, async () => {
      const content = await repository.getManifest(tag, { signal: this.#signal }).catch(ignoreMissing);
      return content === undefined ? undefined : readReferrers(content);
    });
  }

  /** Tells of something odd once. */
  warn(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.#options.onWarning(message);
  }
}

/** What says whether what belongs to an image itself has changed since it was looked at. */
export function fingerprintOf({ referrers, tags }: RootBelongings): string {
  return [...referrers, ...tags].sort().join(" ");
}

function digestsOf(descriptors: readonly Descriptor[]): Digest[] {
  return descriptors.map(({ digest }) => digest);
}

/** What is not there counts as nothing; every other failure is one. */
export function ignoreMissing(error: unknown): undefined {
  if (error instanceof RegistryError && error.status === 404) return undefined;
  throw error;
}

function tooMany({ registry, name }: Repository, count: number): Error {
  const image = formatReference({ registry: registry.host, repository: name });
  return new Error(
    `Cannot copy what belongs to an image of "${image}": it is more than ${COUNT_LIMIT} manifests (${count})`,
  );
}
