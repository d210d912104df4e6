/** Step 7 of the walk, the run: generate, copy, retry, as users of image-syncer know it. */

import { pooledMap } from "@std/async/pool";
import type { Clock } from "../registry/clock.ts";
import { TransferSlots } from "../registry/gate.ts";
import { Repository } from "../registry/repository.ts";
import type { Transport } from "../registry/transport.ts";
import type { Rule } from "./config.ts";
import { copyTask } from "./copy.ts";
import { messageOf } from "./failure.ts";
import { type CopyTask, makePlan, type Plan, type PlanContext, retryPlan } from "./plan.ts";
import { Presence } from "./presence.ts";
import { type CopyEvent, type Report, ReportBuilder } from "./report.ts";
import { MemoryStore, type Store } from "./store.ts";
import type { CopyContext } from "./transfer.ts";

/** Options of {@linkcode mirror}. */
export interface MirrorOptions {
  /** How registries are reached; shared connections, tokens and limits. */
  transport: Transport;
  /** The memory between runs; none unless told. */
  store?: Store;
  /** Blobs under way at once, in all; 5 unless told. */
  concurrency?: number;
  /** Passes over what failed, after everything was tried once; 2 unless told. */
  retries?: number;
  /** Whether to copy what the destination has already. */
  force?: boolean;
  /** Called with everything that happens. */
  onEvent?: (event: CopyEvent) => void;
}

/** Images worked on at once for each blob under way: enough that manifests and checks of some overlap with blobs of others. */
const IMAGES_PER_TRANSFER = 4;
/** Images worked on at once, at least. */
const IMAGES_AT_LEAST = 16;

/**
 * Mirrors rules: makes a plan, copies what it says, and tries again what failed and may succeed.
 *
 * An abort of the transport's signal ends it early with a report of what was done.
 *
 * @returns What has become of every image; failures are in it, not thrown.
 * @example
 * ```ts
 * import { mirror, parseConfig, Transport } from "@image-syncer/image-syncer";
 *
 * const { rules } = parseConfig(`{ "images": { "alpine:3.20": "registry.example.com/mirror/alpine" } }`);
 * const report = await mirror(rules, { transport: new Transport() });
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
 * @throws The signal's reason when the transport is aborted.
 */
export async function planOnly(rules: readonly Rule[], options: MirrorOptions): Promise<Plan> {
  return await new Run(rules, options).plan();
}

class Run {
  #rules: readonly Rule[];
  #options: MirrorOptions;
  #builder: ReportBuilder;
  #context: CopyContext & PlanContext;
  #clock: Clock;
  #tasks = new Map<string, CopyTask>();

  constructor(rules: readonly Rule[], options: MirrorOptions) {
    const { transport } = options;
    this.#rules = rules;
    this.#options = options;
    this.#clock = transport.clock;
    this.#builder = new ReportBuilder(this.#time());
    this.#context = {
      open: openerOf(transport),
      presence: new Presence(),
      slots: new TransferSlots(options.concurrency ?? 5, (registry) => transport.gateOf(registry)),
      store: options.store ?? new MemoryStore(),
      now: () => transport.clock.now(),
      force: options.force ?? false,
      emit: (event) => this.#emit(event),
      signal: transport.signal,
    };
  }

  async plan(): Promise<Plan> {
    return await makePlan(this.#rules, this.#context);
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
    return this.#builder.finish(this.#time(), signal?.aborted ?? false);
  }

  async #mirror(): Promise<void> {
    this.#emit({ type: "phase-started", phase: "generate" });
    let plan = await this.plan();
    this.#take(plan);
    this.#emit({ type: "phase-started", phase: "copy" });
    await this.#copy(plan.tasks);
    for (let pass = 0; pass < (this.#options.retries ?? 2); pass++) {
      plan = await this.#retry(plan);
    }
  }

  async #retry(plan: Plan): Promise<Plan> {
    let next = plan;
    const fresh: CopyTask[] = [];
    if (plan.failed.some((failure) => !failure.isPermanent)) {
      this.#emit({ type: "phase-started", phase: "retry-generate" });
      next = await retryPlan(plan, this.#rules, this.#context);
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
      const destinations = [...known?.destinations ?? [], ...task.destinations];
      this.#tasks.set(task.id, { ...task, destinations });
    }
  }

  async #copy(tasks: readonly CopyTask[]): Promise<void> {
    const todo = tasks.filter(({ destinations }) => destinations.some(({ action }) => action === "copy"));
    if (todo.length === 0) return;
    await this.#loadHints();
    const concurrency = this.#options.concurrency ?? 5;
    const atOnce = Math.max(IMAGES_AT_LEAST, IMAGES_PER_TRANSFER * concurrency);
    for await (const _ of pooledMap(atOnce, todo, (task) => this.#copyOne(task))) {
      this.#context.signal?.throwIfAborted();
    }
  }

  async #copyOne(task: CopyTask): Promise<void> {
    if (this.#context.signal?.aborted) return;
    try {
      await copyTask(this.#context, task);
    } catch (error) {
      // A mistake of this program in one image is that image's failure; the others go on.
      for (const { reference } of task.destinations) {
        const type = "destination-failed";
        this.#emit({
          type,
          task: task.id,
          destination: reference,
          error: messageOf(error),
          isPermanent: true,
        });
      }
    }
  }

  /** What earlier runs put where, as hints: read once, when there is something to copy. */
  async #loadHints(): Promise<void> {
    const { store, presence } = this.#context;
    for await (const { key } of store.list(["blob"])) {
      const [, registry, repository, digest] = key;
      if (registry !== undefined && repository !== undefined && digest !== undefined) {
        presence.addHint(registry, repository, digest);
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

/** One handle for each repository and role, so that what it learns is shared. */
function openerOf(transport: Transport): CopyContext["open"] {
  const repositories = new Map<string, Repository>();
  return (registry, name, actions) => {
    const key = `${actions} ${registry}/${name}`;
    let repository = repositories.get(key);
    if (repository === undefined) {
      repository = new Repository(transport, registry, name, actions);
      repositories.set(key, repository);
    }
    return repository;
  };
}
