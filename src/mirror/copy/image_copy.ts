/** Step 6 of the walk, the copy: one image to its destinations, each on its own: children before parents, the tag last. */

import { type Descriptor, type Digest, DigestError } from "../../oci/descriptor.ts";
import type { Content } from "../../oci/manifest.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import { Once } from "../../registry/once.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { isPermanent, isTagKept, messageOf } from "../plan/failure.ts";
import type { CopyTask, PlannedDestination } from "../plan/plan.ts";
import { filterPlatforms } from "../plan/platform_filter.ts";
import { isGone } from "../plan/resolve.ts";
import { BlobCourier } from "./blob_courier.ts";
import { type CopyContext, StoppedError } from "./copy_context.ts";
import { DestinationWalk, type ImageSource, type WalkServices } from "./destination_walk.ts";
import { FallbackLists } from "./fallback_lists.ts";
import { ImageBelongings, SourceBelongings } from "./image_belongings.ts";
import { ManifestReader } from "./manifest_reader.ts";

/** An image on its way to its destinations. */
interface CopiedImage {
  task: CopyTask;
  source: ImageSource;
  root: Promise<Content>;
  belongings: SourceBelongings | undefined;
}

type Outcome = "copied" | "unchanged" | "failed" | "pending" | "drifted";

/** Copies the images of a run, and knows what of them is under way. */
export class ImageCopier {
  #context: CopyContext;
  #services: WalkServices;

  /** Nothing is under way. */
  constructor(context: CopyContext) {
    this.#context = context;
    this.#services = {
      context,
      courier: new BlobCourier(context),
      manifests: new ManifestReader(context),
      arrivals: new Once(),
      attached: new Once({ remembers: true }),
      lists: new FallbackLists(),
    };
  }

  /**
   * Looks once more, at the end of a run, at the lists of referrers that it has written, and mends what others have overwritten.
   *
   * @returns What could not be mended, in sentences.
   */
  async mendLists(): Promise<string[]> {
    return await this.#services.lists.mend(this.#context.signal);
  }

  /**
   * Copies one image to those of its destinations that are to have it. What fails is told by an event, not thrown, as soon as
   * it has; no destination waits for another.
   */
  async copyImage(task: CopyTask): Promise<void> {
    const { registries, emit } = this.#context;
    emit({ type: "task-started", task: task.id });
    const repository = registries.open(task.source, "pull");
    const rewritten = new Map<Digest, Content>();
    const root = this.#readRoot(task, repository, rewritten);
    // Each destination tells of it; where there is none, nobody does.
    root.catch(() => {});
    const source: ImageSource = { task: task.id, repository, rewritten };
    const belongings = this.#belongingsOf(task, source, root);
    const todo = task.destinations.filter(({ action, isIncomplete }) => action === "copy" || isIncomplete);
    const isOver = this.#announce(repository, todo.map(({ reference }) => reference));
    const image = { task, source, root, belongings };
    const outcomes = await Promise.all(todo.map((destination) => this.#bring(image, destination)))
      .finally(isOver);
    // An image that was interrupted has not failed: it is pending, and the next run goes on with it.
    if (outcomes.includes("pending")) return;
    const status = (["failed", "drifted", "copied"] as const).find((one) => outcomes.includes(one)) ??
      "unchanged";
    emit({ type: "task-finished", task: task.id, status });
  }

  #belongingsOf(
    task: CopyTask,
    { repository, rewritten }: ImageSource,
    root: Promise<Content>,
  ): SourceBelongings | undefined {
    const { belongings } = this.#context;
    if (belongings === undefined) return undefined;
    const { manifests } = this.#services;
    const { original } = task;
    const read = async (descriptor: Descriptor) =>
      rewritten.get(descriptor.digest) ?? await manifests.child(repository, descriptor);
    return new SourceBelongings({ belongings, repository, root, original, read });
  }

  /** While the image is under way its registries keep their part of the places. */
  #announce({ registry }: Repository, references: readonly Reference[]): () => void {
    const { registries, slots } = this.#context;
    const destinations = references.map((one) => registries.get(one.registry).gate);
    return slots.announce({ source: registry.gate, destinations });
  }

  async #bring(image: CopiedImage, destination: PlannedDestination): Promise<Outcome> {
    const { emit, signal } = this.#context;
    const { id: task } = image.task;
    const name = formatReference(destination.reference);
    try {
      if (!await this.#bringWhole(image, destination)) return "unchanged";
      emit({ type: "destination-copied", task, destination: name });
      return "copied";
    } catch (error) {
      if (signal?.aborted || error instanceof StoppedError) return "pending";
      if (destination.overwrite === "never" && isTagKept(error)) {
        emit({ type: "destination-drifted", task, destination: name });
        return "drifted";
      }
      emit({
        type: "destination-failed",
        task,
        destination: name,
        error: messageOf(error),
        isPermanent: isPermanent(error, this.#context.pass),
      });
      return "failed";
    }
  }

  /** Brings the image with what belongs to it; whether anything was missing. */
  async #bringWhole(
    { task, source, root, belongings }: CopiedImage,
    { reference: destination, referrers: policy, isIncomplete }: PlannedDestination,
  ): Promise<boolean> {
    const content = await root;
    const walk = new DestinationWalk(this.#services, source, destination);
    if (belongings === undefined || policy === false) {
      await walk.bring(content);
      return true;
    }
    const { descriptor } = content;
    const whole = task.original === undefined ? { descriptor } : { descriptor, original: task.original };
    const image = new ImageBelongings(belongings, { source: task.source, destination, root: whole, policy });
    await image.judge(task.id, this.#context);
    if (isIncomplete && !await walk.bringBelongings(image)) {
      return await this.#remember(image, { task: task.id, destination, isChanged: false });
    }
    if (!isIncomplete) await walk.bring(content, image);
    return await this.#remember(image, { task: task.id, destination, isChanged: true });
  }

  /** Remembers, and tells, that what belongs to an image is there. */
  async #remember(
    image: ImageBelongings,
    { task, destination, isChanged }: { task: string; destination: Reference; isChanged: boolean },
  ): Promise<boolean> {
    const { counts } = image;
    await image.remember(this.#services.lists.has(destination), this.#context);
    const event = {
      type: "belongings-brought",
      task,
      destination: formatReference(destination),
      counts,
    } as const;
    if (Object.keys(counts).length > 0) this.#context.emit(event);
    return isChanged;
  }

  /** The manifest the plan decided on, or what the platforms wanted leave of it. */
  async #readRoot(
    task: CopyTask,
    source: Repository,
    rewritten: Map<Digest, Content>,
  ): Promise<Content> {
    const { kept, signal } = this.#context;
    const read = kept.get(task.root.digest);
    if (read !== undefined) return read;
    const planned = task.original ?? task.root.digest;
    const content = await this.#services.manifests.root(
      source,
      planned,
      () => this.#readPlanned(task.source, planned, source),
    );
    if (task.original === undefined) return content;
    const left = await filterPlatforms(content, task.platforms ?? [], { source, rewritten, signal });
    const hasMoved = content.descriptor.digest !== planned;
    if (left !== undefined && (hasMoved || left.descriptor.digest === task.root.digest)) return left;
    const actual = left?.descriptor.digest ?? "nothing";
    throw new DigestError(`what is left of "${formatReference(task.source)}"`, task.root.digest, actual);
  }

  /** A tag that has moved since it was planned, and whose old manifest is gone, is read as it is now, once. */
  async #readPlanned({ tag, digest }: Reference, planned: Digest, source: Repository): Promise<Content> {
    const { signal } = this.#context;
    try {
      return await source.getManifest(planned, { tag, signal });
    } catch (error) {
      if (!isGone(error) || tag === undefined || digest !== undefined) throw error;
      const now = await source.resolve(tag, signal);
      if (now === undefined || now.digest === planned) throw error;
      return await source.getManifest(now.digest, { tag, signal });
    }
  }
}
