/** Step 6 of the walk, the copy: what belongs to one image, what of it a destination is to have, and whether it may come in. */

import { type Descriptor, type Digest, DigestError, digestOf, isIndexType } from "../../oci/descriptor.ts";
import { childrenOf, type Content, mayBeBlob } from "../../oci/manifest.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { readBytes } from "../../registry/stream/read_body.ts";
import { type Belongings, ignoreMissing, type ReadManifest } from "../plan/belongings.ts";
import { demandKey, type PresentImage, rememberBelongings } from "../plan/belongings_check.ts";
import {
  artifactTypeOf,
  type Belonging,
  type BelongingCounts,
  type BelongingsPolicy,
  compileFilter,
  hasDemands,
  RefusedImageError,
} from "../rules/belongings_policy.ts";
import type { CopyContext } from "./copy_context.ts";
import { type CreateVerifier, isSignatureType, type SignatureManifest } from "../plan/verification.ts";

/** Bytes that a signature may have; more is none. */
const SIGNATURE_LIMIT = 4 * 1024 * 1024;

/** What is at a source, and how it is read. */
export interface BelongingsSource {
  /** Finds what belongs to what. */
  belongings: Belongings;
  /** Where the image is. */
  repository: Repository;
  /** Its root, as it is copied. */
  root: Promise<Content>;
  /** The source's own digest, where platforms have left something else of it. */
  original: Digest | undefined;
  /** Reads manifests. */
  read: ReadManifest;
}

/** Everything that belongs to one image at its source, found once for all its destinations. */
export class SourceBelongings {
  readonly #source: BelongingsSource;
  #found: Promise<Belonging[]> | undefined;

  /** Nothing is asked yet. */
  constructor(source: BelongingsSource) {
    this.#source = source;
  }

  /** Where it is. */
  get repository(): Repository {
    return this.#source.repository;
  }

  /** Reads a manifest, or gives `undefined` and a warning where a list names what is not there. */
  async read({ subject, descriptor }: Belonging): Promise<Content | undefined> {
    const { belongings, read, repository } = this.#source;
    const content = await read(descriptor).catch(ignoreMissing);
    if (content === undefined) {
      const what = `"${repository.describe(descriptor.digest)}", which is not there`;
      belongings.warn(`What belongs to "${subject}" names ${what}; it is left out`);
    }
    return content;
  }

  /** Tells of something odd once. */
  warn(message: string): void {
    this.#source.belongings.warn(message);
  }

  /**
   * All of it, subjects before what belongs to them.
   *
   * @throws {RegistryError} when the source refuses.
   */
  all(): Promise<Belonging[]> {
    this.#found ??= this.#find();
    return this.#found;
  }

  async #find(): Promise<Belonging[]> {
    const { belongings, repository, root, original, read } = this.#source;
    const content = await root;
    const digests = new Set(original === undefined ? [content.descriptor.digest] : []);
    await addSubjects(content, digests, read);
    if (original !== undefined) await this.#warnOfRoot(original);
    return await belongings.find(repository, [...digests], read);
  }

  /** Said where somebody would miss something. */
  async #warnOfRoot(original: Digest): Promise<void> {
    const { belongings, repository } = this.#source;
    const { referrers, tags } = await belongings.ofRoot(repository, original) ?? { referrers: [], tags: [] };
    if (referrers.length + tags.length === 0) return;
    const what =
      "signatures and whatever else belongs to the indexes themselves no longer match and do not come along";
    belongings.warn(`Choosing platforms gives indexes new digests: ${what}`);
  }

  /** What belongs to the root itself. */
  async ofRoot(): Promise<Belonging[]> {
    const { root, original } = this.#source;
    const { digest } = (await root).descriptor;
    if (original !== undefined) {
      return await this.#source.belongings.find(this.repository, [original], this.#source.read);
    }
    return (await this.all()).filter(({ subject }) => subject === digest);
  }

  /** Digest that signatures must name. */
  async rootDigest(): Promise<Digest> {
    return this.#source.original ?? (await this.#source.root).descriptor.digest;
  }
}

/** Digests of everything in an image that something may belong to. */
async function addSubjects(content: Content, digests: Set<Digest>, read: ReadManifest): Promise<void> {
  for (const child of childrenOf(content).manifests) {
    if (mayBeBlob(child) || digests.has(child.digest)) continue;
    digests.add(child.digest);
    if (!isIndexType(child.mediaType)) continue;
    // Whoever copies the child meets what is wrong with it.
    const index = await read(child).catch(() => undefined);
    if (index !== undefined) await addSubjects(index, digests, read);
  }
}

/** What of an image's belongings one destination is to have. */
export class ImageBelongings {
  readonly #source: SourceBelongings;
  readonly #image: PresentImage;
  readonly #policy: BelongingsPolicy;
  #wanted: Promise<Belonging[]> | undefined;
  #counts: Record<string, BelongingCounts> = {};

  /** Everything, unless the image's policy says otherwise. */
  constructor(source: SourceBelongings, image: PresentImage) {
    this.#source = source;
    this.#image = image;
    this.#policy = image.policy || {};
  }

  /** What is at the source. */
  get source(): SourceBelongings {
    return this.#source;
  }

  /** How many there are of each artifact type; whoever copies one counts it. */
  get counts(): Record<string, BelongingCounts> {
    return this.#counts;
  }

  /** Whether there is anything to bring. */
  async hasWanted(): Promise<boolean> {
    return (await this.wanted()).length > 0;
  }

  /**
   * What the rule's filters leave, subjects before what belongs to them.
   *
   * @throws {RegistryError} when the source refuses.
   */
  wanted(): Promise<Belonging[]> {
    this.#wanted ??= this.#filter();
    return this.#wanted;
  }

  async #filter(): Promise<Belonging[]> {
    const isWanted = await compileFilter(this.#policy);
    const left = new Set<Digest>();
    const wanted: Belonging[] = [];
    for (const one of await this.#source.all()) {
      const type = artifactTypeOf(one);
      const counts = this.#counts[type] ??= { found: 0, copied: 0, skipped: 0 };
      counts.found++;
      // What belongs to something that stays behind stays with it.
      if (isWanted(type) && !left.has(one.subject)) wanted.push(one);
      else {
        counts.skipped++;
        left.add(one.descriptor.digest);
      }
    }
    return wanted;
  }

  /**
   * Lets the image pass, or not. What has passed once passes again: a digest is always the same image.
   *
   * @param name Its name, for the message.
   * @throws {RefusedImageError} when it lacks what the rule demands.
   * @throws {RegistryError} when the source refuses.
   */
  async judge(name: string, { store, createVerifier }: CopyContext): Promise<void> {
    if (!hasDemands(this.#policy)) return;
    const key = demandKey(this.#image, this.#policy);
    if (await store.get(key) === true) return;
    await this.#judgeNow(name, createVerifier);
    await store.set(key, true);
  }

  /**
   * Remembers that everything is where it was to be brought.
   *
   * @param isShared Whether others write to the lists it is in as well, so that the next run looks once more.
   */
  async remember(isShared: boolean, context: CopyContext): Promise<void> {
    const { belongings } = context;
    if (belongings !== undefined) await rememberBelongings(this.#image, { belongings, isShared }, context);
  }

  async #judgeNow(image: string, createVerifier: CreateVerifier | undefined): Promise<void> {
    const { require = [], verify } = this.#policy;
    const found = await this.#source.ofRoot();
    const types = new Set(found.map(artifactTypeOf));
    const missing = require.filter((type) => !types.has(type));
    if (missing.length > 0) {
      throw new RefusedImageError(image, `nothing of type ${missing.join(", ")} belongs to it`);
    }
    if (verify === undefined) return;
    if (createVerifier === undefined) {
      throw new RefusedImageError(image, "its signatures cannot be checked here: no check was given");
    }
    const check = await createVerifier(verify);
    const verdict = await check(await this.#source.rootDigest(), this.#signatures(found));
    if (!verdict.isTrusted) throw new RefusedImageError(image, verdict.reason);
  }

  async *#signatures(found: readonly Belonging[]): AsyncIterable<SignatureManifest> {
    const { repository } = this.#source;
    for (const one of found) {
      if (!isSignatureType(artifactTypeOf(one))) continue;
      const content = await this.#source.read(one);
      if (content === undefined) continue;
      const manifest = JSON.parse(new TextDecoder().decode(content.bytes));
      yield { digest: one.descriptor.digest, manifest, readBlob: (blob) => readBlob(repository, blob) };
    }
  }
}

async function readBlob(
  repository: Repository,
  { digest, size }: Descriptor,
): Promise<Uint8Array<ArrayBuffer>> {
  const { limits, signal } = repository.registry.context;
  const response = await repository.getBlob(digest, { size, signal });
  const bytes = await readBytes(response, SIGNATURE_LIMIT, { ...limits, signal });
  const actual = await digestOf(bytes);
  if (actual !== digest) throw new DigestError(`"${repository.describe(digest)}"`, digest, actual);
  return bytes;
}
