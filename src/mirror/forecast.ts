/** Step 5 of the walk, the plan: what running it will take, in bytes, blobs, requests and pulls, foretold as copying goes. */

import { type Descriptor, type Digest, embeddedContent } from "../oci/descriptor.ts";
import { childrenOf, type Content } from "../oci/manifest.ts";
import { DOCKER_HUB, type Reference } from "../oci/reference.ts";
import type { LearnedAbilities } from "../registry/abilities.ts";
import type { Repository } from "../registry/repository/repository.ts";
import type { ImageSurvey } from "./image_survey.ts";
import { LIST_FROM } from "./plan/destination_lists.ts";
import type { CopyTask, Plan } from "./plan/plan.ts";
import type { RunContext } from "./run_context.ts";
import { readLearned } from "./store/learned_abilities.ts";
import { abilitiesKey, challengeKey, rateKey } from "./store/store.ts";

/** Bytes up to which a blob may be sent with the request that opens its upload. */
const SMALL_BLOB_LIMIT = 64 * 1024;

/** Bytes of a part of a blob whose length nobody knows. */
const UNSIZED_PART = 4 * 1024 * 1024;

/** A number that is sure, or what it is at the least and at the most. */
export interface Range {
  /** What is likely. */
  expected: number;
  /** The least it can be, if nothing goes wrong. */
  least: number;
  /** The most it can be, if nothing goes wrong. */
  most: number;
}

/** Numbers for what is read from sources, sent to destinations, and mounted there. */
export interface Amounts {
  /** Read from sources. */
  read: number;
  /** Sent to destinations. */
  send: number;
  /** Mounted at destinations from other repositories of their registries. */
  mount: number;
}

/** What running a plan will take. */
export interface Forecast {
  /** Bytes of blobs. */
  bytes: Amounts;
  /** Blobs, each once a registry that is sent it. */
  blobs: Amounts;
  /** Requests of `apply`. */
  requests: Range;
  /** Pulls as Docker Hub counts them. */
  pulls: {
    /** Made for the plan itself. */
    spent: number;
    /** Of `apply`, which reads nothing again that the plan has kept. */
    apply: number;
    /** Of a run without the plan. */
    run: number;
    /** How many Docker Hub says are left; `null` where it was not asked or does not say. */
    left: number | null;
  };
  /** Seconds at the rate of the last run that copied anything; `null` where there was none. */
  seconds: number | null;
}

/** What the sum of a forecast is made of. */
interface Totals {
  bytes: Amounts;
  blobs: Amounts;
  requests: Range;
  pulls: { apply: number; run: number };
}

/** Where an image is and goes, while it is foretold. */
interface Walk {
  source: Repository;
  destination: Repository;
}

/**
 * Foretells what {@linkcode applyPlan} will take for a plan whose images were surveyed. It goes the way that copying goes, with
 * the same memory of what is where, one image after the other.
 */
export async function foretell(plan: Plan, survey: ImageSurvey, context: RunContext): Promise<Forecast> {
  const forecaster = new Forecaster(survey, context);
  for (const task of plan.tasks) await forecaster.addTask(task);
  const { bytes, blobs, requests, pulls } = await forecaster.finish();
  const { made, left = null } = context.registries.get(DOCKER_HUB).pulls;
  const seconds = await secondsFor(bytes.send, context);
  return { bytes, blobs, requests, pulls: { spent: made, ...pulls, left }, seconds };
}

async function secondsFor(bytes: number, { store }: RunContext): Promise<number | null> {
  const value = await store.get(rateKey());
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const { bytes: moved, milliseconds } = value;
  if (typeof moved !== "number" || typeof milliseconds !== "number" || moved <= 0) return null;
  return Math.round(bytes / moved * milliseconds / 100) / 10;
}

class Forecaster {
  #survey: ImageSurvey;
  #context: RunContext;
  #totals: Totals = {
    bytes: { read: 0, send: 0, mount: 0 },
    blobs: { read: 0, send: 0, mount: 0 },
    requests: { expected: 0, least: 0, most: 0 },
    pulls: { apply: 0, run: 0 },
  };
  #read = new Set<string>();
  #repositories = new Map<Repository, Set<string>>();
  #abilities = new Map<string, LearnedAbilities | undefined>();
  /** Tags that their repositories did not have yet. */
  #newTags = new Map<Repository, number>();
  /** Registries that have been given a small blob: the first one tells how they take it. */
  #tried = new Set<string>();

  constructor(survey: ImageSurvey, context: RunContext) {
    this.#survey = survey;
    this.#context = context;
  }

  async addTask(task: CopyTask): Promise<void> {
    const todo = task.destinations.filter(({ action }) => action === "copy");
    if (todo.length === 0) return;
    const root = this.#survey.rootOf(task);
    const source = this.#open(task.source, "pull");
    // Whether the tag has moved.
    if (task.source.digest === undefined) this.#count(1);
    const { digest } = root.descriptor;
    this.#pull(source, { key: task.original ?? digest, digest, original: task.original });
    for (const { reference, there } of todo) {
      const destination = this.#open(reference, "pull,push");
      // Whether it is still what the plan saw.
      if (reference.tag !== undefined) this.#countLook(destination, there);
      await this.#addImage({ source, destination }, root, reference);
    }
  }

  /** What each registry costs that is used at all: to get to know it, and to log in. */
  async finish(): Promise<Totals> {
    const { store } = this.#context;
    const met = new Set<string>();
    for (const [{ registry: { host } }, scopes] of this.#repositories) {
      const value = await store.get(challengeKey(host));
      const scheme = typeof value === "object" && value !== null && !Array.isArray(value)
        ? value.scheme
        : undefined;
      if (scheme === undefined && !met.has(host)) this.#count(1);
      met.add(host);
      if (scheme === "bearer") this.#count(scopes.size);
      else if (scheme === undefined) this.#count(0, 0, scopes.size);
    }
    return this.#totals;
  }

  #open(reference: Reference, actions: "pull" | "pull,push"): Repository {
    const repository = this.#context.registries.open(reference, actions);
    const scopes = this.#repositories.get(repository) ?? new Set([""]);
    this.#repositories.set(repository, scopes);
    return repository;
  }

  #count(expected: number, least = expected, most = expected): void {
    const { requests } = this.#totals;
    requests.expected += expected;
    requests.least += least;
    requests.most += most;
  }

  /** New tags are asked about one by one, or by a list of their repository. */
  #countLook(destination: Repository, there: Digest | undefined): void {
    const count = there === undefined ? (this.#newTags.get(destination) ?? 0) + 1 : 0;
    if (there === undefined) this.#newTags.set(destination, count);
    if (count < LIST_FROM) this.#count(1);
    // The list costs one request, and each tag one where any of them was there before.
    else if (count === LIST_FROM) this.#count(2 - LIST_FROM, 2 - LIST_FROM, 1);
    else this.#count(0, 0, 1);
  }

  /** A manifest that is read at its source; what the plan has kept is not read again. */
  #pull(
    source: Repository,
    { key, digest, original }: { key: string; digest: Digest; original?: Digest | undefined },
  ): void {
    const isNew = !this.#read.has(`${source.registry.host}/${source.name} ${key}`);
    this.#read.add(`${source.registry.host}/${source.name} ${key}`);
    const isKept = this.#survey.contents.has(digest);
    const count = isNew && source.registry.host === DOCKER_HUB ? 1 : 0;
    this.#totals.pulls.run += count;
    if (!isKept && isNew) {
      this.#totals.pulls.apply += count;
      this.#count(original === undefined ? 1 : 2);
    }
  }

  async #addImage(walk: Walk, root: Content, reference: Reference): Promise<void> {
    const { createHasher } = this.#context;
    if (!this.#holds(walk, root.descriptor)) {
      await this.#addChildren(walk, root);
      if (reference.tag === undefined) this.#count(1);
    }
    this.#context.known.add(walk.destination, root.descriptor.digest);
    if (reference.tag === undefined) return;
    this.#count(1);
    if (createHasher !== undefined) this.#count(1);
  }

  #holds({ destination }: Walk, { digest }: Descriptor): boolean {
    const { known, force } = this.#context;
    if (known.has(destination, digest)) return true;
    if (force || known.isEmpty(destination, digest)) return false;
    this.#count(1);
    return this.#survey.isThere(destination, digest);
  }

  async #addChildren(walk: Walk, content: Content): Promise<void> {
    const { manifests, blobs } = childrenOf(content);
    for (const child of manifests) await this.#addChild(walk, child);
    for (const blob of blobs) await this.#addLayer(walk, blob);
  }

  async #addChild(walk: Walk, child: Descriptor): Promise<void> {
    const { known } = this.#context;
    if (known.has(walk.destination, child.digest)) return;
    if (!this.#holds(walk, child)) {
      const content = this.#survey.contents.get(child.digest);
      if (content === undefined) return await this.#addBlob(walk, child);
      const isServed = (await embeddedContent(child)) === undefined;
      if (isServed && !this.#survey.isRewritten(child.digest)) {
        this.#pull(walk.source, { key: child.digest, digest: child.digest });
      }
      await this.#addChildren(walk, content);
      this.#count(1);
    }
    known.add(walk.destination, child.digest);
  }

  async #addLayer(walk: Walk, blob: Descriptor): Promise<void> {
    if ((blob.urls ?? []).length > 0) {
      this.#count(1);
      if (!this.#survey.isServed(walk.source, blob.digest)) return;
    }
    await this.#addBlob(walk, blob);
  }

  async #addBlob(walk: Walk, blob: Descriptor): Promise<void> {
    const { known } = this.#context;
    const { destination, source } = walk;
    const { digest } = blob;
    if (known.has(destination, digest)) return;
    if (!known.isEmpty(destination, digest)) {
      this.#count(1);
      if (this.#survey.isThere(destination, digest)) return known.add(destination, digest);
    }
    const { host } = destination.registry;
    const learned = await this.#learned(host);
    const isNear = source.registry === destination.registry && source.name !== destination.name;
    const from = isNear ? source.name : known.holderOf(destination, digest);
    const asks = from !== undefined && !(learned?.mounts === "refused" && this.#tried.has(`mount ${host}`));
    if (asks && (learned?.mounts ?? "granted") === "granted") {
      this.#addMount(walk, blob, { from, isSure: learned?.mounts === "granted" });
    } else {
      const begun = asks ? learned?.mounts : undefined;
      await this.#addUpload(walk, blob, { learned, begun: begun === "granted" ? undefined : begun });
    }
    known.add(destination, digest);
  }

  /** A mount that is not granted opens an upload, whose bytes are then read and sent. */
  #addMount(
    { destination }: Walk,
    blob: Descriptor,
    { from, isSure }: { from: string; isSure: boolean },
  ): void {
    this.#count(1, 1, isSure ? 1 : 3);
    this.#repositories.get(destination)?.add(from);
    this.#totals.bytes.mount += this.#sizeOf(blob);
    this.#totals.blobs.mount++;
  }

  /** An upload; one that a mount has opened has its session already. */
  async #addUpload(
    { source, destination }: Walk,
    blob: Descriptor,
    { learned, begun }: {
      learned: LearnedAbilities | undefined;
      begun: LearnedAbilities["mounts"] | undefined;
    },
  ): Promise<void> {
    const { bytes, blobs } = this.#totals;
    const { host } = destination.registry;
    const size = this.#sizeOf(blob);
    bytes.send += size;
    blobs.send++;
    if (begun === "refused") this.#tried.add(`mount ${host}`);
    if (begun === "refused") this.#count(1);
    if (begun === undefined) this.#addUploadRequests(host, blob, learned);
    else this.#addSessionRequests(blob, learned);
    const key = `${source.registry.host}/${source.name} blob ${blob.digest}`;
    if ((await embeddedContent(blob)) !== undefined) return;
    const isFirst = !this.#read.has(key);
    this.#read.add(key);
    // Who comes late to a read begins another.
    this.#count(isFirst ? 1 : 0, isFirst ? 1 : 0, 1);
    if (isFirst) bytes.read += size;
    if (isFirst) blobs.read++;
  }

  #addUploadRequests(host: string, blob: Descriptor, learned: LearnedAbilities | undefined): void {
    const isSmall = blob.size >= 0 && blob.size <= Math.min(SMALL_BLOB_LIMIT, learned?.chunk ?? Infinity);
    if (!isSmall || learned?.postsWhole === false) return this.#addSessionRequests(blob, learned);
    if (learned?.postsWhole === true) return this.#count(1);
    const isFirst = !this.#tried.has(host);
    this.#tried.add(host);
    // Whoever refuses to be given a blob at once is asked once more, the first time.
    this.#count(1, 1, isFirst ? 3 : 2);
  }

  /** One that opens the upload and one that ends it, with all of the blob or after its parts. */
  #addSessionRequests({ size }: Descriptor, learned: LearnedAbilities | undefined): void {
    const chunk = learned?.chunk ?? Infinity;
    const parts = size < 0 || size > chunk ? Math.ceil(Math.max(1, size) / Math.min(chunk, UNSIZED_PART)) : 0;
    this.#count(2 + parts);
  }

  #sizeOf(blob: Descriptor): number {
    return Math.max(0, blob.size < 0 ? this.#survey.sizeOf(blob.digest) : blob.size);
  }

  async #learned(host: string): Promise<LearnedAbilities | undefined> {
    if (this.#abilities.has(host)) return this.#abilities.get(host);
    const now = this.#context.registries.get(host).abilities.learned;
    const learned = now ?? readLearned(await this.#context.store.get(abilitiesKey(host)));
    this.#abilities.set(host, learned);
    return learned;
  }
}
