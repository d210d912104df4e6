/** Step 6 of the walk, the copy: one image to its destinations, each on its own: children before parents, the tag last. */

import { type Digest, DigestError } from "../../oci/descriptor.ts";
import type { Content } from "../../oci/manifest.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import { Once } from "../../registry/once.ts";
import type { Repository } from "../../registry/repository.ts";
import { isPermanent, messageOf } from "../plan/failure.ts";
import type { CopyTask } from "../plan/plan.ts";
import { filterPlatforms } from "../plan/platform_filter.ts";
import { isGone } from "../plan/resolve.ts";
import { BlobCourier } from "./blob_courier.ts";
import { type CopyContext, StoppedError } from "./copy_context.ts";
import { DestinationWalk, type ImageSource, type WalkServices } from "./destination_walk.ts";
import { ManifestReader } from "./manifest_reader.ts";

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
    };
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
    const source: ImageSource = { task: task.id, repository, rewritten };
    const root = this.#readRoot(task, repository, rewritten);
    // Each destination tells of it; where there is none, nobody does.
    root.catch(() => {});
    const todo = task.destinations.filter(({ action }) => action === "copy");
    const isOver = this.#announce(repository, todo.map(({ reference }) => reference));
    const outcomes = await Promise.all(todo.map(({ reference }) => this.#bring(source, root, reference)))
      .finally(isOver);
    // An image that was interrupted has not failed: it is pending, and the next run goes on with it.
    if (outcomes.includes("pending")) return;
    const status = outcomes.includes("failed") ? "failed" : "copied";
    emit({ type: "task-finished", task: task.id, status });
  }

  /** While the image is under way its registries keep their part of the places. */
  #announce({ registry }: Repository, references: readonly Reference[]): () => void {
    const { registries, slots } = this.#context;
    const destinations = references.map((one) => registries.get(one.registry).gate);
    return slots.announce({ source: registry.gate, destinations });
  }

  async #bring(
    source: ImageSource,
    root: Promise<Content>,
    reference: Reference,
  ): Promise<"copied" | "failed" | "pending"> {
    const { emit, signal } = this.#context;
    const task = source.task;
    const destination = formatReference(reference);
    try {
      const walk = new DestinationWalk(this.#services, source, reference);
      await walk.bring(await root);
      emit({ type: "destination-copied", task, destination });
      return "copied";
    } catch (error) {
      if (signal?.aborted || error instanceof StoppedError) return "pending";
      emit({
        type: "destination-failed",
        task,
        destination,
        error: messageOf(error),
        isPermanent: isPermanent(error, this.#context.pass),
      });
      return "failed";
    }
  }

  /** The manifest the plan decided on, or what the platforms wanted leave of it. */
  async #readRoot(
    task: CopyTask,
    source: Repository,
    rewritten: Map<Digest, Content>,
  ): Promise<Content> {
    const { signal } = this.#context;
    const planned = task.original ?? task.root.digest;
    const content = await this.#readPlanned(task.source, planned, source);
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
