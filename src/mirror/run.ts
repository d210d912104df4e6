/** Step 7 of the walk, the run: generate, copy, retry, as users of image-syncer know it. */

import { pooledMap } from "@std/async/pool";
import { type DigestOf, digestOf } from "../oci/descriptor.ts";
import type { Clock } from "../registry/clock.ts";
import { TransferSlots } from "../registry/transfer_slots.ts";
import type { CreateHasher } from "../registry/hasher.ts";
import type { Registries } from "../registry/registries.ts";
import type { Rule } from "./config/config.ts";
import type { CopyContext } from "./copy/copy_context.ts";
import { ImageCopier } from "./copy/image_copy.ts";
import { KnownBlobs } from "./copy/known_blobs.ts";
import { messageOf } from "./plan/failure.ts";
import { type CopyTask, makePlan, type Plan, type PlanContext, replan, retryPlan } from "./plan/plan.ts";
import { type CopyEvent, type Report, ReportBuilder } from "./report.ts";
import { MemoryStore, type Store } from "./store/store.ts";

/** Options of {@linkcode mirror}. */
export interface MirrorOptions {
  /** The registries of the run: shared connections, tokens and limits. */
  registries: Registries;
  /** The memory between runs; none unless told. */
  store?: Store;
  /** Blobs under way at once, in all; 5 unless told. */
  concurrency?: number;
  /** Passes over what failed, after everything was tried once; 2 unless told. */
  retries?: number;
  /** Whether to copy what the destination has already. */
  force?: boolean;
  /** Whether to believe the store that a tag it remembers is still at its destination, which saves a request each. */
  trustRecords?: boolean;
  /** Hashes every blob as it passes; without it blobs above 1 MiB are checked by their destinations alone. */
  createHasher?: CreateHasher;
  /** Finds the digest of a small blob; WebCrypto unless told, which takes 50 µs of CPU however small it is. */
  digestOf?: DigestOf;
  /** Platforms wanted of rules that name none, for example `linux/arm64`; all of them unless told. */
  platforms?: readonly string[];
  /** Milliseconds since 1970 from which on nothing new is begun; what is under way then ends, the rest stays `pending`. */
  stopAt?: number;
  /**
   * Asked before an image is copied, where several workers share the work. It resolves to what gives the image back, or to
   * `undefined` when somebody else has it; the run then comes back to it at its end.
   */
  claim?: (task: CopyTask) => Promise<(() => Promise<void>) | undefined>;
  /** Leaves out part of a plan, where several workers share the work without knowing of each other. */
  select?: (plan: Plan) => Plan;
  /** Called with everything that happens. */
  onEvent?: (event: CopyEvent) => void;
}

/** Milliseconds before the first pass over what has failed; twice as many before each further one. */
const PASS_PAUSE = 1000;
/** Milliseconds between two looks at an image that another worker has. */
const CLAIM_INTERVAL = 1000;

/** Images worked on at once for each blob under way: enough that manifests and checks of some overlap with blobs of others. */
const IMAGES_PER_TRANSFER = 4;
/** Images worked on at once, at least. */
const IMAGES_AT_LEAST = 16;

/**
 * Mirrors rules: makes a plan, copies what it says, and tries again what failed and may succeed.
 *
 * An abort of the registries' signal ends it early with a report of what was done.
 *
 * @returns What has become of every image; failures are in it, not thrown.
 * @example
 * ```ts
 * import { mirror, parseConfig, Registries } from "@image-syncer/image-syncer";
 *
 * const { rules } = parseConfig(`{ "images": { "alpine:3.20": "registry.example.com/mirror/alpine" } }`);
 * const report = await mirror(rules, { registries: new Registries() });
 * console.log(report.totals);
 * ```
 */
export async function mirror(rules: readonly Rule[], options: MirrorOptions): Promise<Report> {
  const run = new Run(rules, options);
  return await run.mirror();
}

/**
 * Makes the plan that {@linkcode mirror} would run, and stops there.
 *
 * @throws The registries' signal's reason when it is aborted.
 */
export async function planOnly(rules: readonly Rule[], options: MirrorOptions): Promise<Plan> {
  return await new Run(rules, options).plan();
}

class Run {
  #rules: readonly Rule[];
  #options: MirrorOptions;
  #builder: ReportBuilder;
  #context: CopyContext & PlanContext;
  #copier: ImageCopier;
  #clock: Clock;
  #tasks = new Map<string, CopyTask>();
  /** Images that somebody else has claimed. */
  #elsewhere: CopyTask[] = [];

  constructor(rules: readonly Rule[], options: MirrorOptions) {
    const { registries } = options;
    this.#rules = rules;
    this.#options = options;
    this.#clock = registries.clock;
    this.#builder = new ReportBuilder(this.#time());
    this.#context = {
      registries,
      known: new KnownBlobs(),
      slots: new TransferSlots(options.concurrency ?? 5),
      store: options.store ?? new MemoryStore(),
      now: () => registries.clock.now(),
      force: options.force ?? false,
      pass: 0,
      trustRecords: options.trustRecords ?? false,
      createHasher: options.createHasher,
      digestOf: options.digestOf ?? digestOf,
      platforms: options.platforms ?? [],
      isStopping: () => registries.clock.now() >= (options.stopAt ?? Infinity),
      emit: (event) => this.#emit(event),
      signal: registries.signal,
    };
    this.#copier = new ImageCopier(this.#context);
  }

  async plan(): Promise<Plan> {
    return this.#select(await makePlan(this.#rules, this.#context));
  }

  async mirror(): Promise<Report> {
    const { signal } = this.#context;
    try {
      await this.#mirror();
    } catch (error) {
      // Anything but an abort is a mistake of this program, and hiding it would call a mirror complete that is not.
      if (!signal?.aborted) throw error;
    }
    await this.#context.store.flush();
    const hasStopped = this.#builder.hasPending() && this.#context.isStopping();
    return this.#builder.finish(this.#time(), signal?.aborted === true || hasStopped);
  }

  async #mirror(): Promise<void> {
    this.#emit({ type: "phase-started", phase: "generate" });
    let plan = await this.plan();
    this.#take(plan);
    this.#emit({ type: "planning-ended" });
    this.#emit({ type: "phase-started", phase: "copy" });
    await this.#copy(plan.tasks);
    for (let pass = 0; pass < (this.#options.retries ?? 2); pass++) {
      if (this.#context.isStopping()) return;
      plan = await this.#retry(plan, pass);
    }
    await this.#revisit();
  }

  async #retry(plan: Plan, pass: number): Promise<Plan> {
    let next = plan;
    const fresh: CopyTask[] = [];
    if (!plan.failed.some((failure) => !failure.isPermanent) && this.#failedTasks().length === 0) return plan;
    await this.#pause(pass);
    if (plan.failed.some((failure) => !failure.isPermanent)) {
      this.#emit({ type: "phase-started", phase: "retry-generate" });
      const tasks = [...this.#tasks.values()];
      next = this.#select(await retryPlan({ ...plan, tasks }, this.#rules, this.#context));
      this.#take(next);
      fresh.push(...next.tasks);
    }
    const again = [...fresh, ...this.#failedTasks()];
    if (again.length > 0) {
      this.#emit({ type: "phase-started", phase: "retry-copy" });
      await this.#copy(again);
    }
    return next;
  }

  /** What was refused for a moment is let in after it; what could not be had, or reached, is asked for again. */
  async #pause(pass: number): Promise<void> {
    this.#context.pass = pass + 1;
    await this.#clock.delay(PASS_PAUSE * 2 ** pass, this.#context.signal);
    this.#options.registries.reconsider();
    this.#context.known.forgetUnreadable();
  }

  #select(plan: Plan): Plan {
    return this.#options.select?.(plan) ?? plan;
  }

  #failedTasks(): CopyTask[] {
    const tasks: CopyTask[] = [];
    for (const [id, references] of this.#builder.retryable()) {
      const task = this.#tasks.get(id);
      if (task === undefined) continue;
      const destinations = task.destinations.filter(({ reference }) => references.includes(reference));
      if (destinations.length > 0) tasks.push({ ...task, destinations });
    }
    return tasks;
  }

  #take(plan: Plan): void {
    this.#emit({ type: "planned", plan });
    for (const message of plan.warnings) this.#emit({ type: "warning", message });
    for (const task of plan.tasks) {
      const known = this.#tasks.get(task.id);
      const names = new Set(task.destinations.map(({ reference }) => reference));
      const others = known?.destinations.filter(({ reference }) => !names.has(reference)) ?? [];
      const destinations = [...others, ...task.destinations];
      this.#tasks.set(task.id, { ...task, destinations });
    }
  }

  async #copy(tasks: readonly CopyTask[]): Promise<void> {
    const todo = tasks.filter(({ destinations }) => destinations.some(({ action }) => action === "copy"));
    if (todo.length === 0) return;
    await this.#loadHints();
    const concurrency = this.#options.concurrency ?? 5;
    const atOnce = Math.max(IMAGES_AT_LEAST, IMAGES_PER_TRANSFER * concurrency);
    // The loop has no body to throw from: pooledMap would leave the rest unhandled.
    for await (const _ of pooledMap(atOnce, todo, (task) => this.#copyOne(task)));
    this.#context.signal?.throwIfAborted();
  }

  async #copyOne(task: CopyTask): Promise<void> {
    const { signal, isStopping } = this.#context;
    if (signal?.aborted || isStopping()) return;
    const giveBack = await this.#options.claim?.(task);
    if (this.#options.claim !== undefined && giveBack === undefined) {
      this.#elsewhere.push(task);
      return;
    }
    try {
      await this.#copier.copyImage(task);
    } catch (error) {
      this.#fail(task, error);
    } finally {
      await giveBack?.();
    }
  }

  /** A mistake of this program in one image is that image's failure; the others go on. */
  #fail(task: CopyTask, error: unknown): void {
    const failure = { error: messageOf(error), isPermanent: true };
    for (const { reference } of task.destinations.filter(({ action }) => action === "copy")) {
      this.#emit({ type: "destination-failed", task: task.id, destination: reference, ...failure });
    }
  }

  /** Looks at what others have claimed until they are through with it, and does what they have left undone. */
  async #revisit(): Promise<void> {
    while (this.#elsewhere.length > 0 && !this.#context.isStopping()) {
      const tasks = this.#elsewhere;
      this.#elsewhere = [];
      await this.#clock.delay(CLAIM_INTERVAL, this.#context.signal);
      const plan = await replan(tasks, this.#context);
      this.#take(plan);
      await this.#copy(plan.tasks);
    }
  }

  /** What earlier runs put where, as hints: read once, when there is something to copy. */
  async #loadHints(): Promise<void> {
    const { store, known } = this.#context;
    for await (const { key } of store.list(["blob"])) {
      const [, registry, repository, digest] = key;
      if (registry !== undefined && repository !== undefined && digest !== undefined) {
        known.addHint(registry, repository, digest);
      }
    }
  }

  #emit(event: CopyEvent): void {
    this.#builder.add(event);
    this.#options.onEvent?.(event);
  }

  #time(): string {
    return new Date(this.#clock.now()).toISOString();
  }
}
