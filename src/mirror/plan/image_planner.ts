/** Step 5 of the walk, the plan: what images stand for at their sources and are at their destinations, many side by side. */

import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import { Lanes } from "../lanes.ts";
import { tagKey } from "../store/store.ts";
import type { Belongings } from "./belongings.ts";
import { isIncomplete, type PresentImage } from "./belongings_check.ts";
import type { BelongingsPolicy } from "../rules/belongings_policy.ts";
import { DestinationLists, type ListContext } from "./destination_lists.ts";
import { isPermanent, messageOf, toError } from "./failure.ts";
import {
  type CopyTask,
  imageId,
  type Plan,
  type PlanFailure,
  type PlannedDestination,
  startPlan,
} from "./plan.ts";
import {
  isSameContent,
  type NothingLeft,
  rememberedDigest,
  resolveDestination,
  resolveRoot,
  type Root,
} from "./resolve.ts";
import type { WantedPair } from "./rule_expansion.ts";
import type { RuleLedger } from "./rule_ledger.ts";

/** What planning needs. */
export interface PlanContext extends ListContext {
  /** Finds what belongs to images; without it they come alone. */
  belongings?: Belongings | undefined;
  /** Whether to copy what the destination has already. */
  force?: boolean;
  /** Whether what the store remembers of a destination is believed without asking it. */
  trustRecords?: boolean;
  /** Platforms wanted of rules that name none; all of them without it. */
  platforms?: readonly string[];
  /** Passes that were made before over what had failed. */
  pass: number;
  /** Takes note of what rules list and want, where somebody asks afterwards. */
  ledger?: RuleLedger | undefined;
  /** Whether nothing new is to be begun. */
  isStopping: () => boolean;
  /** Milliseconds after which a destination that has not answered is left to follow alone. */
  patience: number;
}

/** Called with each piece of a plan; planning waits for it, so that not more is found than is made use of. */
export type TakePiece = (piece: Plan) => Promise<void> | void;

/** Images of the same registries that are looked at at once; the gates of the registries bound the requests. */
const IMAGES_AT_ONCE = 64;

/** One image with the destinations that are to be looked at. */
interface WantedImage {
  id: string;
  source: Reference;
  platforms: readonly string[] | undefined;
  destinations: Reference[];
  /** What is wanted of what belongs to the image, by destination, where that is not everything. */
  referrers: Map<Reference, BelongingsPolicy | false>;
  /** Destinations whose tags are left as they are. */
  kept: Set<Reference>;
  /** What the source has answered in this run. */
  found?: Descriptor | undefined;
  /** What every destination has, where nobody need be asked. */
  settled?: Digest | undefined;
}

/** What was found out about one destination. */
interface Answer {
  destination: Reference;
  there: Pick<Descriptor, "digest"> | undefined | Error;
}

/** Looks at images, each beside the others; a registry that is slow or dead holds up nobody but itself. */
export class ImagePlanner {
  #context: PlanContext;
  #take: TakePiece;
  #lists: DestinationLists;
  #lanes: Lanes<WantedImage>;
  /** Which image goes to a destination, by repository and name in it. */
  #owners = new Map<string, Map<string, string>>();
  #failed: WantedPair[] = [];
  #leftOff = new Set<string>();

  /** Nothing is asked before {@linkcode plan}. */
  constructor(context: PlanContext, take: TakePiece) {
    this.#context = context;
    this.#take = take;
    this.#lists = new DestinationLists(context);
    this.#lanes = new Lanes({ width: IMAGES_AT_ONCE, clock: context.registries.clock });
  }

  /** Images that could not be looked at, and may if that is tried again. */
  get failed(): readonly WantedPair[] {
    return this.#failed;
  }

  /** Source repositories (`registry/repository`) of images that were not looked at for want of time. */
  get leftOff(): ReadonlySet<string> {
    return this.#leftOff;
  }

  /**
   * Looks at the images of some pairs.
   *
   * @param piece Takes in what is refused because another rule has its destination.
   */
  async plan(pairs: readonly WantedPair[], piece: Plan): Promise<void> {
    await this.#lookAt(this.#toImages(pairs, piece));
  }

  /** Looks again at images that could not be looked at. */
  async planAgain(): Promise<void> {
    const pairs = this.#failed;
    this.#failed = [];
    this.#lists = new DestinationLists(this.#context);
    await this.#lookAt(this.#toImages(pairs));
  }

  /** Looks again at images of a plan, because somebody else may have copied them. */
  async planImages(tasks: readonly CopyTask[]): Promise<void> {
    const images = tasks.map(({ id, source, platforms, destinations }) => ({
      id,
      source,
      platforms,
      destinations: destinations.map(({ reference }) => reference),
      kept: new Set(
        destinations.flatMap(({ reference, overwrite }) => overwrite === "never" ? [reference] : []),
      ),
      referrers: new Map(
        destinations.flatMap(({ reference, referrers }) =>
          referrers === undefined ? [] : [[reference, referrers]]
        ),
      ),
    }));
    // What was listed before says nothing of what others have done since.
    this.#lists = new DestinationLists(this.#context);
    await this.#lookAt(images);
  }

  /** Two sources for one destination would overwrite each other, so the second is refused. */
  #toImages(pairs: readonly WantedPair[], piece?: Plan): WantedImage[] {
    const images = new Map<string, WantedImage>();
    for (const { source, destination, platforms, referrers, found, settled, overwrite } of pairs) {
      const id = imageId(formatReference(source), platforms);
      const owner = this.#own(destination, id, piece === undefined);
      if (owner === "known") continue;
      if (owner !== undefined) piece?.failed.push(refusal({ source, destination, platforms }, id, owner));
      else {
        const image: WantedImage = images.get(id) ??
          { id, source, platforms, destinations: [], referrers: new Map(), kept: new Set(), found, settled };
        images.set(id, image);
        // Another rule may want it at a place of which that is not known.
        if (image.settled !== settled) image.settled = undefined;
        image.destinations.push(destination);
        if (overwrite === "never") image.kept.add(destination);
        if (referrers !== undefined) image.referrers.set(destination, referrers);
      }
    }
    return [...images.values()];
  }

  /** Takes a destination for an image: `known` when it has it already, the other image when that has it. */
  #own(destination: Reference, id: string, isAgain: boolean): string | undefined {
    const { registry, repository, tag, digest } = destination;
    const key = `${registry}/${repository}`;
    const owners = this.#owners.get(key) ?? new Map<string, string>();
    this.#owners.set(key, owners);
    const name = tag ?? digest ?? "";
    const owner = owners.get(name);
    if (owner === undefined) owners.set(name, id);
    if (owner === undefined || isAgain) return undefined;
    return owner === id ? "known" : owner;
  }

  async #lookAt(images: readonly WantedImage[]): Promise<void> {
    const asked = images.filter(({ settled }) => settled === undefined);
    this.#lists.expect(asked.flatMap(({ destinations }) => destinations));
    const look = ([image]: WantedImage[]) => image === undefined ? Promise.resolve() : this.#lookAtOne(image);
    await Promise.all(
      images.map((image) => {
        const hosts = new Set(image.destinations.map(({ registry }) => registry));
        return this.#lanes.run(new Map([[`${image.source.registry} ${[...hosts]}`, [image]]]), look);
      }),
    );
  }

  /** Source and destinations are asked at once: in a run that finds nothing new, that is all there is. */
  async #lookAtOne(image: WantedImage): Promise<void> {
    const { signal, isStopping, patience, registries } = this.#context;
    const { registry, repository } = image.source;
    if (signal?.aborted || isStopping()) return void this.#leftOff.add(`${registry}/${repository}`);
    if (image.settled !== undefined) return await this.#take(this.#settledPiece(image, image.settled));
    const looking = settle(resolveRoot(image.source, image, this.#context));
    const asked = image.destinations.map((destination) => this.#ask(destination, looking));
    const root = await looking;
    const wait = (time: number, over: AbortSignal) => registries.clock.delay(time, over);
    const { early, late } = await splitByPatience(asked, patience, wait);
    await this.#tell(image, { root, answers: early, hasMore: late.length > 0 });
    if (late.length > 0) await this.#tell(image, { root, answers: await Promise.all(late) });
  }

  /** What never changes and is everywhere is unchanged. */
  #settledPiece({ id, source, platforms, destinations }: WantedImage, digest: Digest): Plan {
    const planned = destinations.map((reference): PlannedDestination => ({ reference, action: "unchanged" }));
    const task: CopyTask = { id, source, root: { digest }, ...onlyOf(platforms), destinations: planned };
    return { ...startPlan(this.#context.now()), tasks: [task] };
  }

  async #ask(destination: Reference, looking: Promise<Root | NothingLeft | Error>): Promise<Answer> {
    return { destination, there: await settle(this.#resolve(destination, looking)) };
  }

  /** What a destination has; where records are believed, it is not asked about what they say it has. */
  async #resolve(
    destination: Reference,
    looking: Promise<Root | NothingLeft | Error>,
  ): Promise<Pick<Descriptor, "digest"> | undefined> {
    if (await this.#lists.isAbsent(destination)) return undefined;
    if (this.#context.trustRecords === true) {
      const digest = await rememberedDigest(destination, this.#context);
      const root = await looking;
      if (
        root instanceof Error ||
        digest !== undefined && "descriptor" in root && root.descriptor.digest === digest
      ) {
        return { digest: digest ?? "" };
      }
    }
    return await resolveDestination(destination, this.#context);
  }

  async #tell(
    image: WantedImage,
    { root, answers, hasMore = false }: {
      root: Root | NothingLeft | Error;
      answers: readonly Answer[];
      hasMore?: boolean;
    },
  ): Promise<void> {
    if (this.#context.signal?.aborted) return;
    const piece = startPlan(this.#context.now());
    if (hasMore) {
      const { source, platforms, destinations } = image;
      const all = destinations.map(formatReference);
      piece.awaited = [{ source: formatReference(source), ...onlyOf(platforms), destinations: all }];
    }
    for (const answer of answers) await this.#addAnswer(piece, { image, root }, answer);
    await this.#take(piece);
  }

  async #addAnswer(
    piece: Plan,
    { image, root }: { image: WantedImage; root: Root | NothingLeft | Error },
    { destination, there }: Answer,
  ): Promise<void> {
    const { id, source, platforms, referrers, kept } = image;
    const policy = referrers.get(destination);
    const isKept = kept.has(destination) && destination.tag !== undefined;
    const pair: WantedPair = { source, destination, platforms, referrers: policy };
    if (isKept) pair.overwrite = "never";
    if (root instanceof Error) return this.#addFailure(piece, pair, root);
    if (there instanceof Error) return this.#addFailure(piece, pair, there);
    if ("has" in root) {
      const has = root.has.length === 0 ? "" : ` (it has ${root.has.join(", ")})`;
      piece.skipped.push({ ...namesOf(pair), reason: NO_PLATFORM + has });
      return;
    }
    const isSame = await isSameContent(root, there, { source, context: this.#context });
    const isDrifted = isKept && !isSame && there !== undefined;
    const action = isDrifted ? "drifted" : isSame && this.#context.force !== true ? "unchanged" : "copy";
    if (action === "unchanged") await this.#remember(destination, root.descriptor.digest, id);
    const planned: PlannedDestination = { reference: destination, action };
    if (policy !== undefined) planned.referrers = policy;
    if (isKept) planned.overwrite = "never";
    if (there !== undefined && there.digest !== "") planned.there = there.digest;
    if (action === "unchanged") {
      const lacks = await settle(this.#lacksBelongings({ source, destination, root, policy }));
      if (lacks instanceof Error) return this.#addFailure(piece, pair, lacks);
      if (lacks) planned.isIncomplete = true;
    }
    const [task = startTask({ id, source, root }, platforms)] = piece.tasks;
    if (piece.tasks.length === 0) piece.tasks.push(task);
    task.destinations.push(planned);
  }

  async #lacksBelongings(image: PresentImage): Promise<boolean> {
    const { belongings } = this.#context;
    return belongings !== undefined && await isIncomplete(image, belongings, this.#context);
  }

  #addFailure(piece: Plan, pair: WantedPair, error: Error): void {
    const isHopeless = isPermanent(error, this.#context.pass);
    piece.failed.push({ kind: "image", ...namesOf(pair), error: messageOf(error), isPermanent: isHopeless });
    if (!isHopeless) this.#failed.push(pair);
  }

  /** What is found unchanged is remembered like what is copied, so that the next run knows of it however it got there. */
  async #remember(destination: Reference, digest: string, source: string): Promise<void> {
    const { registry, repository, tag } = destination;
    if (tag === undefined || await rememberedDigest(destination, this.#context) === digest) return;
    const value = { digest, source, copiedAt: this.#context.now() };
    await this.#context.store.set(tagKey(registry, repository, tag), value);
  }
}

/** Waits for all of some promises, but for those that take long no longer than patience allows once others are there. */
async function splitByPatience<Value>(
  promises: readonly Promise<Value>[],
  patience: number,
  wait: (milliseconds: number, over: AbortSignal) => Promise<void>,
): Promise<{ early: Value[]; late: Promise<Value>[] }> {
  const all = Promise.all(promises);
  if (promises.length < 2 || !Number.isFinite(patience)) return { early: await all, late: [] };
  const settled = new Map<Promise<Value>, Value>();
  for (const promise of promises) promise.then((value) => settled.set(promise, value));
  const over = new AbortController();
  await Promise.race([all, wait(patience, over.signal).catch(() => {})]);
  // Else the timer of every image would outlive it.
  over.abort();
  const late = promises.filter((promise) => !settled.has(promise));
  if (late.length === 0 || settled.size === 0) return { early: await all, late: [] };
  // In the order of the rules, not of the answers: reports of two runs can then be compared.
  const early = promises.flatMap((promise) => settled.has(promise) ? [settled.get(promise) as Value] : []);
  return { early, late };
}

function startTask(
  { id, source, root }: { id: string; source: Reference; root: Root },
  platforms: readonly string[] | undefined,
): CopyTask {
  const task: CopyTask = { id, source, root: root.descriptor, ...onlyOf(platforms), destinations: [] };
  if (root.original !== undefined) task.original = root.original;
  return task;
}

/** The words image-syncer v1.5.5 uses. */
const NO_PLATFORM = "skip synchronization because no manifest fits platform filters";

function refusal(pair: WantedPair, id: string, owner: string): PlanFailure {
  const { source, destination, ...rest } = namesOf(pair);
  const error = `Cannot copy "${id}" to "${destination}": another rule copies "${owner}" there`;
  return { kind: "image", source, destination, ...rest, error, isPermanent: true };
}

function namesOf({ source, destination, platforms }: WantedPair): {
  source: string;
  destination: string;
  platforms?: string[];
} {
  const names = { source: formatReference(source), destination: formatReference(destination) };
  return { ...names, ...onlyOf(platforms) };
}

function onlyOf(platforms: readonly string[] | undefined): { platforms?: string[] } {
  return platforms === undefined ? {} : { platforms: [...platforms] };
}

async function settle<Value>(promise: Promise<Value>): Promise<Value | Error> {
  try {
    return await promise;
  } catch (error) {
    return toError(error);
  }
}
