/** Step 6 of the walk, the copy: what belongs to an image is brought to one destination, in whichever way that holds it. */

import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import type { Content } from "../../oci/manifest.ts";
import { describeReferrer, subjectOf } from "../../oci/referrers.ts";
import type { Once } from "../../registry/once.ts";
import type { PutManifestResult } from "../../registry/repository/repository.ts";
import { artifactTypeOf, type Belonging } from "../rules/belongings_policy.ts";
import type { CopyContext, Destination } from "./copy_context.ts";
import type { FallbackLists } from "./fallback_lists.ts";
import type { ImageBelongings } from "./image_belongings.ts";
import { forAll } from "../work_pool.ts";

/** What the walk needs of those around it. */
export interface BelongingsWalkParts {
  /** Where everything goes. */
  destination: Destination;
  /** Brings what a manifest points at. */
  bringChildren: (content: Content) => Promise<void>;
  /** Puts a manifest whose children are there. */
  put: (content: Content, reference: string) => Promise<PutManifestResult>;
}

/** What the walks of a run share. */
export interface BelongingsServices {
  /** What copying needs. */
  context: CopyContext;
  /** What belongs to something, and was brought to a repository in this run. */
  attached: Once<string, number>;
  /** Lists of referrers at destinations without the referrers API. */
  lists: FallbackLists;
}

/** Brings what belongs to one image to one destination. */
export class BelongingsWalk {
  #services: BelongingsServices;
  #parts: BelongingsWalkParts;

  /** Nothing is sent before {@linkcode bring}. */
  constructor(services: BelongingsServices, parts: BelongingsWalkParts) {
    this.#services = services;
    this.#parts = parts;
  }

  /**
   * Brings what is missing, subjects before what belongs to them.
   *
   * @returns Whether anything was missing.
   * @throws {RegistryError} when a side refuses.
   * @throws {FallbackTagError} when somebody's image is where a list would have to be.
   */
  async bring(image: ImageBelongings): Promise<boolean> {
    const wanted = await image.wanted();
    let copied = 0;
    for (const level of levelsOf(wanted)) {
      const bring = (some: Belonging[]) => async () => {
        copied += await this.#bringOnce(some, image);
      };
      await forAll([...level.values()].map(bring));
    }
    return copied > 0;
  }

  /** Images share children, and what belongs to them. */
  async #bringOnce(some: readonly Belonging[], image: ImageBelongings): Promise<number> {
    const { registry, name } = this.#parts.destination.repository;
    const names = some.map(({ descriptor, tag = "" }) => `${tag}@${descriptor.digest}`);
    const key = [`${registry.host}/${name}`, some[0]?.subject, ...names].join(" ");
    return await this.#services.attached.do(key, () => this.#bringSome(some, image));
  }

  /** What belongs to one digest; put one after the other, for some registries lose what comes for one subject at once. */
  async #bringSome(some: readonly Belonging[], image: ImageBelongings): Promise<number> {
    const missing = await this.#missing(some);
    const contents = new Map<Belonging, Content>();
    await forAll(missing.map((one) => async () => {
      const content = await this.#read(one, image);
      if (content === undefined) return;
      await this.#parts.bringChildren(content);
      contents.set(one, content);
    }));
    const unlisted: Descriptor[] = [];
    for (const one of missing) {
      const content = contents.get(one);
      if (content === undefined) continue;
      const { subject } = await this.#parts.put(content, one.tag ?? content.descriptor.digest);
      const counts = image.counts[artifactTypeOf(one)];
      if (counts !== undefined) counts.copied++;
      if (one.tag !== undefined) continue;
      if (subject === undefined) unlisted.push({ ...one.descriptor, ...describeReferrer(content) });
      else this.#parts.destination.repository.registry.abilities.hasReferrers = true;
    }
    const [first] = some;
    if (first !== undefined && unlisted.length > 0) await this.#list(first.subject, unlisted);
    return contents.size;
  }

  async #read(one: Belonging, image: ImageBelongings): Promise<Content | undefined> {
    const content = await image.source.read(one);
    if (content === undefined || one.tag !== undefined || subjectOf(content) === one.subject) return content;
    const what = `"${
      image.source.repository.describe(one.descriptor.digest)
    }", whose manifest does not say so`;
    image.source.warn(`What belongs to "${one.subject}" names ${what}; it is left out`);
    return undefined;
  }

  async #missing(some: readonly Belonging[]): Promise<Belonging[]> {
    const { context: { belongings, known, signal } } = this.#services;
    const { repository } = this.#parts.destination;
    const [first] = some;
    if (first === undefined || known.isEmpty(repository, first.subject)) return [...some];
    const hasReferrers = some.some(({ tag }) => tag === undefined);
    const there = new Set(hasReferrers ? await belongings?.referrersAt(repository, first.subject) : []);
    const isThere = async ({ tag, descriptor: { digest } }: Belonging) =>
      tag === undefined ? there.has(digest) : (await repository.resolve(tag, signal))?.digest === digest;
    const found = await Promise.all(some.map(isThere));
    return some.filter((_, place) => !found[place]);
  }

  /** A registry that does not say that it has filed a referrer may have the API all the same. */
  async #list(subject: Digest, unlisted: readonly Descriptor[]): Promise<void> {
    const { context: { belongings, signal }, lists } = this.#services;
    const { repository } = this.#parts.destination;
    const listed = new Set((await belongings?.listNow(repository, subject))?.map(({ digest }) => digest));
    const rest = unlisted.filter(({ digest }) => !listed.has(digest));
    if (rest.length > 0) await lists.add(repository, { subject, added: rest }, signal);
  }
}

/** Belongings by their distance from the image, and in that by what they belong to. */
function levelsOf(all: readonly Belonging[]): Map<Digest, Belonging[]>[] {
  const levels: Map<Digest, Belonging[]>[] = [];
  for (const one of all) {
    const level = levels[one.depth] ??= new Map();
    const same = level.get(one.subject);
    if (same === undefined) level.set(one.subject, [one]);
    else same.push(one);
  }
  return levels;
}
