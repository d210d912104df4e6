/** Step 7 of the walk, the run: generate, copy, retry, as users of image-syncer know it. */

import { formatReference } from "../oci/reference.ts";
import type { Rule } from "./config/config.ts";
import type { CopyEvent, Phase } from "./copy/copy_event.ts";
import { ImageCopier } from "./copy/image_copy.ts";
import { Lanes } from "./lanes.ts";
import { messageOf } from "./plan/failure.ts";
import {
  type CopyTask,
  type Plan,
  type PlannedDeletion,
  type PlannedDestination,
  startPlan,
} from "./plan/plan.ts";
import { makePlan, Planner } from "./plan/planner.ts";
import { RuleLedger } from "./plan/rule_ledger.ts";
import { type Report, ReportBuilder } from "./report.ts";
import { rulesFor } from "./rules/belongings_policy.ts";
import { createContext, DEFAULT_CONCURRENCY, type MirrorOptions, type RunContext } from "./run_context.ts";
import { mergeLearned, readLearned } from "./store/learned_abilities.ts";
import { abilitiesKey, cursorKey, rateKey } from "./store/store.ts";

/** Milliseconds before the first pass over what has failed; twice as many before each further one. */
const PASS_PAUSE = 1000;
/** Milliseconds before it is asked what has become of images that other workers have; twice as many before each further time. */
const CLAIM_PAUSE = 1000;

/** How often a run that has copied nothing may exceed the time it was given. */
const OVERTIME = 10;
/** Images that wait for a lane before no more are looked at for it. */
const IMAGES_AHEAD = 1000;

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
 * Runs a plan that was made before, by {@linkcode planOnly}: copies what it says, and tries again what failed.
 *
 * @returns What has become of every image; failures are in it, not thrown.
 */
export async function runPlan(plan: Plan, options: MirrorOptions): Promise<Report> {
  return await new Run([], options).runPlan(plan);
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
  #startedAt: number;
  #builder: ReportBuilder;
  #context: RunContext;
  #planner: Planner;
  #copier: ImageCopier;
  /** Images are copied beside each other, those between the same two registries a few at a time. */
  #lanes: Lanes<PlannedDestination>;
  #copying = new Set<Promise<void>>();
  /** Images that are being copied, or have failed. */
  #tasks = new Map<string, CopyTask>();
  /** Images that somebody else has claimed. */
  #elsewhere: CopyTask[] = [];
  #hints: Promise<void> | undefined;
  /** The phase that begins with the next image that is copied. */
  #nextPhase: Phase | undefined = "copy";
  #hasCopied = false;
  /** Destination registries that something was to be copied to. */
  #hosts = new Set<string>();
  /** When the first bytes were read, in milliseconds since 1970. */
  #readAt = Infinity;

  constructor(rules: readonly Rule[], options: MirrorOptions) {
    const { registries: { clock }, concurrency = DEFAULT_CONCURRENCY } = options;
    this.#rules = rulesFor(rules, options);
    this.#options = options;
    this.#startedAt = clock.now();
    this.#builder = new ReportBuilder(this.#time());
    this.#context = createContext(options, {
      isStopping: () => this.#isStopping(),
      emit: (event) => this.#emit(event),
    });
    if (this.#rules.some(({ prune }) => prune !== undefined)) this.#context.ledger = new RuleLedger();
    this.#planner = new Planner(this.#context, (piece) => this.#take(piece));
    this.#copier = new ImageCopier(this.#context);
    const width = Math.max(IMAGES_AT_LEAST, IMAGES_PER_TRANSFER * concurrency);
    this.#lanes = new Lanes({ width, depth: IMAGES_AHEAD, patience: this.#context.patience, clock });
  }

  async plan(): Promise<Plan> {
    return this.#select(await makePlan(this.#rules, this.#context));
  }

  mirror(): Promise<Report> {
    return this.#run(async () => {
      this.#emit({ type: "phase-started", phase: "generate" });
      const first = await this.#context.store.get(cursorKey());
      await this.#planner.planRules(this.#rules, typeof first === "string" ? first : undefined);
      this.#emit({ type: "planning-ended" });
    });
  }

  runPlan(plan: Plan): Promise<Report> {
    return this.#run(async () => {
      await this.#take(plan);
      this.#emit({ type: "planning-ended" });
    }, plan.deletions ?? []);
  }

  /** What is in doubt is not deleted: a run that was cut short, or that sees only a part of the work, deletes nothing. */
  async #prune(deletions: readonly PlannedDeletion[] | undefined): Promise<void> {
    const { claim, select } = this.#options;
    if (this.#isStopping() || this.#context.signal?.aborted) return;
    const hasWork = deletions === undefined
      ? this.#rules.some(({ prune }) => prune !== undefined)
      : deletions.length > 0;
    if (!hasWork) return;
    if (claim !== undefined || select !== undefined) {
      const message = "Nothing is deleted where several workers share the work: none of them sees all of it";
      return this.#emit({ type: "warning", message });
    }
    const { prune } = await import("./prune_run.ts");
    await prune({ rules: this.#rules, report: this.#builder.report, deletions }, this.#context);
  }

  async #run(
    find: () => Promise<void>,
    deletions?: readonly PlannedDeletion[],
  ): Promise<Report> {
    const { signal, store } = this.#context;
    try {
      await find();
      this.#beginPhase();
      await this.#allCopied();
      await this.#retry();
      await this.#revisit();
      await this.#mendLists();
      await this.#prune(deletions);
    } catch (error) {
      await Promise.allSettled(this.#copying);
      // Anything but an abort is a mistake of this program, and hiding it would call a mirror complete that is not.
      if (!signal?.aborted) throw error;
    }
    const next = await this.#keepPlace();
    await this.#keepLessons();
    await store.flush();
    const hasStopped = next !== undefined || this.#builder.hasPending() && this.#isStopping();
    const report = this.#builder.finish(this.#time(), signal?.aborted === true || hasStopped);
    return next === undefined ? report : { ...report, next };
  }

  /** Whether the run's time is up; a run that has found nothing to copy by then is given more, until it has copied one image. */
  #isStopping(): boolean {
    return this.#timeLeft() <= 0;
  }

  #timeLeft(): number {
    const { stopAt = Infinity } = this.#options;
    const mayGoOn = !this.#hasCopied && this.#readAt >= stopAt;
    const limit = mayGoOn ? this.#startedAt + OVERTIME * (stopAt - this.#startedAt) : stopAt;
    return limit - this.#context.now();
  }

  /** Remembers where the next run begins: with the first repository of this run's order that is not through. */
  async #keepPlace(): Promise<string | undefined> {
    const { store, signal } = this.#context;
    const pending = this.#builder.pendingRepositories();
    const { order } = this.#planner;
    const next = order.find((name) => !this.#planner.isPlanned(name) || pending.has(name));
    const isEarly = signal?.aborted === true || this.#isStopping();
    if (isEarly && next !== undefined) await store.set(cursorKey(), next);
    else if (order.length > 0 && await store.get(cursorKey()) !== undefined) {
      await store.delete(cursorKey());
    }
    return isEarly ? next : undefined;
  }

  /** Remembers what foretells the next run: how registries take uploads, and how fast this run was. */
  async #keepLessons(): Promise<void> {
    const { store, registries, now } = this.#context;
    for (const host of this.#hosts) {
      const { learned } = registries.get(host).abilities;
      if (learned === undefined) continue;
      const before = readLearned(await store.get(abilitiesKey(host)));
      await store.set(abilitiesKey(host), mergeLearned(before, learned));
    }
    const { copied: bytes } = this.#builder.report.bytes;
    const milliseconds = now() - this.#startedAt;
    if (bytes > 0 && milliseconds > 0) await store.set(rateKey(), { bytes, milliseconds });
  }

  /** What failed is tried again, after everything was tried once. */
  async #retry(): Promise<void> {
    for (let pass = 0; pass < (this.#options.retries ?? 2); pass++) {
      const failed = this.#failedTasks();
      if (this.#isStopping() || !this.#planner.hasFailed && failed.length === 0) return;
      await this.#pause(pass);
      this.#nextPhase = "retry-copy";
      if (this.#planner.hasFailed) {
        this.#emit({ type: "phase-started", phase: "retry-generate" });
        await this.#planner.planAgain();
      }
      for (const task of failed) await this.#copy(task);
      await this.#allCopied();
    }
  }

  /** What was refused for a moment is let in after it; what could not be had, or reached, is asked for again. */
  async #pause(pass: number): Promise<void> {
    this.#context.pass = pass + 1;
    await this.#context.registries.clock.delay(PASS_PAUSE * 2 ** pass, this.#context.signal);
    this.#context.registries.reconsider();
    this.#context.known.forgetUnreadable();
  }

  #select(plan: Plan): Plan {
    return this.#options.select?.(plan) ?? plan;
  }

  #failedTasks(): CopyTask[] {
    return [...this.#tasks.values()].flatMap((task) => {
      const failed = this.#builder.retryable(task.id);
      const destinations = task.destinations.filter(({ reference }) =>
        failed.has(formatReference(reference))
      );
      return destinations.length === 0 ? [] : [{ ...task, destinations }];
    });
  }

  /** Takes in a piece of the plan: what it says is to be copied is copied beside the planning of the rest. */
  async #take(piece: Plan): Promise<void> {
    const plan = this.#select(piece);
    this.#emit({ type: "planned", plan });
    for (const message of plan.warnings) this.#emit({ type: "warning", message });
    for (const task of plan.tasks) {
      const destinations = task.destinations.filter(({ action, isIncomplete }) =>
        action === "copy" || isIncomplete
      );
      if (destinations.length > 0) await this.#copy({ ...task, destinations });
    }
  }

  /** Begins to copy an image; waits only while very many wait before it. */
  async #copy(task: CopyTask): Promise<void> {
    const lanes = new Map<string, PlannedDestination[]>();
    for (const destination of task.destinations) {
      this.#hosts.add(destination.reference.registry);
      const lane = `${task.source.registry} > ${destination.reference.registry}`;
      lanes.set(lane, [...lanes.get(lane) ?? [], destination]);
    }
    await this.#lanes.room([...lanes.keys()]);
    this.#beginPhase();
    const known = this.#tasks.get(task.id)?.destinations.filter((one) => !task.destinations.includes(one)) ??
      [];
    this.#tasks.set(task.id, { ...task, destinations: [...known, ...task.destinations] });
    const copying = this.#lanes.run(lanes, (destinations) => this.#copyOne({ ...task, destinations }));
    const ended = copying.finally(() => this.#copying.delete(ended));
    this.#copying.add(ended);
  }

  #beginPhase(): void {
    if (this.#nextPhase !== undefined) this.#emit({ type: "phase-started", phase: this.#nextPhase });
    this.#nextPhase = undefined;
  }

  async #allCopied(): Promise<void> {
    while (this.#copying.size > 0) await Promise.all(this.#copying);
    this.#context.signal?.throwIfAborted();
  }

  async #copyOne(task: CopyTask): Promise<void> {
    const { signal } = this.#context;
    this.#hints ??= this.#loadHints();
    await this.#hints;
    if (signal?.aborted || this.#isStopping()) return;
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
    if (this.#builder.isSettled(task.id)) this.#tasks.delete(task.id);
  }

  /** A mistake of this program in one image is that image's failure; the others go on. */
  #fail(task: CopyTask, error: unknown): void {
    const failure = { error: messageOf(error), isPermanent: true };
    for (const { reference } of task.destinations) {
      const destination = formatReference(reference);
      this.#emit({ type: "destination-failed", task: task.id, destination, ...failure });
    }
  }

  async #mendLists(): Promise<void> {
    for (const message of await this.#copier.mendLists()) this.#emit({ type: "warning", message });
  }

  /** Waits for what others have claimed, without asking a registry, and does what they have left undone. */
  async #revisit(): Promise<void> {
    const { registries, signal } = this.#context;
    let pause = CLAIM_PAUSE;
    while (this.#elsewhere.length > 0 && !this.#isStopping()) {
      await registries.clock.delay(Math.min(pause, this.#timeLeft()), signal);
      const tasks = this.#elsewhere;
      const { copied, free, wait } = await this.#options.revisit?.(tasks) ??
        { copied: [], free: tasks, wait: CLAIM_PAUSE };
      const ended = new Set([...copied, ...free]);
      pause = Math.min(ended.size > 0 ? CLAIM_PAUSE : 2 * pause, wait);
      this.#elsewhere = tasks.filter((task) => !ended.has(task));
      this.#settleElsewhere(copied);
      if (free.length > 0) await this.#takeOver(free);
    }
  }

  /** What others have copied is as it should be. */
  #settleElsewhere(copied: readonly CopyTask[]): void {
    if (copied.length === 0) return;
    const tasks = copied.map((task) => ({
      ...task,
      destinations: task.destinations.map((one) => ({ ...one, action: "unchanged" as const })),
    }));
    this.#emit({ type: "planned", plan: { ...startPlan(this.#context.now()), tasks } });
  }

  /** Looks at what nobody has any more, and copies what is missing. */
  async #takeOver(tasks: readonly CopyTask[]): Promise<void> {
    const { registries, known } = this.#context;
    for (const { reference } of tasks.flatMap(({ destinations }) => destinations)) {
      known.setShared(registries.open(reference, "pull,push"));
    }
    await this.#planner.planImages(tasks);
    await this.#allCopied();
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
    if (event.type === "destination-copied") this.#hasCopied = true;
    if (event.type === "blob-progress") this.#readAt = Math.min(this.#readAt, this.#context.now());
    this.#builder.add(event);
    this.#options.onEvent?.(event);
  }

  #time(): string {
    return new Date(this.#options.registries.clock.now()).toISOString();
  }
}
