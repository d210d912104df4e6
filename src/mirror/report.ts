/** Step 8 of the walk, the report: what happens while a plan runs, and what has become of it, as plain JSON. */

import type { Digest } from "../oci/descriptor.ts";
import type { CopyEvent, Phase, TaskStatus } from "./copy/copy_event.ts";
import { formatReference, splitReference } from "../oci/reference.ts";
import type { DeletionOutcome } from "./plan/tag_deletion.ts";
import { imageId, type Plan, type PlanFailure } from "./plan/plan.ts";
import type { DroppedTags } from "./rules/selection.ts";

/** Numbers of bytes: sent, found by mounting, found at the destination. */
export interface ByteCounts {
  /** Bytes of blobs sent. */
  copied: number;
  /** Bytes of blobs mounted from another repository of the destination's registry. */
  mounted: number;
  /** Bytes of blobs that were at the destination already. */
  skipped: number;
}

/** What has become of an image at one destination. */
export interface ReportDestination {
  /** Where the image was to go. */
  reference: string;
  /** What has become of it. */
  status: TaskStatus;
  /** Why it failed. */
  error?: string;
  /** Whether trying again cannot help. */
  isPermanent?: boolean;
}

/** What has become of one image. */
export interface ReportTask {
  /** Name of the task in events. */
  id: string;
  /** Where the image came from. */
  source: string;
  /** Its digest there, once it is known. */
  digest?: Digest;
  /** `failed` if it failed at any destination, else `copied` if it was copied to any. */
  status: TaskStatus;
  /** What has become of it at each destination. */
  destinations: ReportDestination[];
  /** Bytes for all destinations together. */
  bytes: ByteCounts;
  /** What belongs to the image, by artifact type, where this run has looked; what was brought is for all destinations together. */
  belongings?: Record<string, { found: number; copied: number; skipped: number }>;
  /** The first error, when it failed. */
  error?: string;
  /** Why it was skipped, when it was. */
  reason?: string;
}

/** What has become of a run. */
export interface Report {
  /** When it began, in ISO 8601. */
  startedAt: string;
  /** When it ended; not there while it is under way. */
  finishedAt?: string;
  /** Whether it was stopped before it was through. */
  isInterrupted?: boolean;
  /** Bytes for all tasks together. */
  bytes: ByteCounts;
  /** Numbers of images (a source at one destination), and of rules that could not be turned into images. */
  totals: Record<Exclude<TaskStatus, "drifted"> | "rulesFailed", number> & { drifted?: number };
  /** Every image. */
  tasks: ReportTask[];
  /** Rules that could not be turned into images. */
  rules: { source: string; destination?: string; error: string }[];
  /** Rules that select nothing of their sources. */
  emptyRules: { source: string }[];
  /** Tags that were to be deleted at destinations, and what has become of each. */
  deletions?: DeletionOutcome[];
  /** What filters have left out of the tags of rules: how many, and the first few. */
  dropped?: ({ source: string } & DroppedTags)[];
  /** Source repository that the next run begins with, where this one ended before it was through. */
  next?: string;
}

/** An empty report. */
export function startReport(startedAt: string): Report {
  return {
    startedAt,
    bytes: { copied: 0, mounted: 0, skipped: 0 },
    totals: { copied: 0, unchanged: 0, skipped: 0, failed: 0, pending: 0, rulesFailed: 0 },
    tasks: [],
    rules: [],
    emptyRules: [],
  };
}

/** Folds events into a report. The report is changed in place: a copy for each event would be quadratic in the tags. */
export class ReportBuilder {
  /** The report so far; totals and statuses are right after {@linkcode finish}. */
  readonly report: Report;
  #tasks = new Map<string, ReportTask>();
  #lookedAtAgain = new Set<Report["rules"][number]>();

  /** Starts an empty report. */
  constructor(startedAt: string) {
    this.report = startReport(startedAt);
  }

  /** Takes in one event. */
  add(event: CopyEvent): void {
    if (event.type === "planned") this.#addPlan(event.plan);
    else if (event.type === "phase-started") this.#startPhase(event.phase);
    else if (event.type === "tag-deletion") this.#addDeletion(event);
    else if (event.type === "blob-copied") this.#count(event.task, "copied", event.size);
    else if (event.type === "blob-skipped") this.#addSkip(event);
    else if (event.type === "belongings-brought") this.#addBelongings(event);
    else if (event.type === "destination-copied") {
      this.#settle(event.task, event.destination, { status: "copied" });
    } else if (event.type === "destination-drifted") {
      this.#settle(event.task, event.destination, { status: "drifted" });
    } else if (event.type === "destination-failed") {
      const { error, isPermanent } = event;
      this.#settle(event.task, event.destination, { status: "failed", error, isPermanent });
    }
  }

  /** Destinations of a task that failed and may succeed if tried again, as references are written. */
  retryable(id: string): Set<string> {
    const { destinations = [] } = this.#tasks.get(id) ?? {};
    const failed = destinations.filter((one) => one.status === "failed" && one.isPermanent !== true);
    return new Set(failed.map(({ reference }) => reference));
  }

  /** Whether a task is through: nothing of it is pending, or may succeed if tried again. */
  isSettled(id: string): boolean {
    const { destinations = [] } = this.#tasks.get(id) ?? {};
    return destinations.every(({ status, isPermanent }) =>
      status === "failed" ? isPermanent : status !== "pending"
    );
  }

  /** Source repositories (`registry/repository`) of images that have not been reached. */
  pendingRepositories(): Set<string> {
    const pending = this.report.tasks.filter(({ destinations }) =>
      destinations.some(({ status }) => status === "pending")
    );
    return new Set(pending.map(({ source }) => {
      const { registry, repository } = splitReference(source);
      return `${registry}/${repository}`;
    }));
  }

  /** Whether any image has not been reached. */
  hasPending(): boolean {
    return this.report.tasks.some((task) => task.destinations.some(({ status }) => status === "pending"));
  }

  /** Closes the report. */
  finish(finishedAt: string, isInterrupted: boolean): Report {
    const { report } = this;
    report.finishedAt = finishedAt;
    if (isInterrupted) report.isInterrupted = true;
    for (const task of report.tasks) {
      summarize(task);
      for (const { status } of task.destinations) report.totals[status] = (report.totals[status] ?? 0) + 1;
    }
    for (const { status } of report.deletions ?? []) if (status === "failed") report.totals.failed++;
    report.totals.rulesFailed = report.rules.length;
    return report;
  }

  #addPlan(plan: Plan): void {
    for (const { source, platforms, destinations } of plan.awaited ?? []) {
      const task = this.#task(imageId(source, platforms), source);
      const known = new Set(task.destinations.map(({ reference }) => reference));
      for (const reference of destinations) {
        if (!known.has(reference)) task.destinations.push({ reference, status: "pending" });
      }
    }
    for (const { id, source, platforms, root, destinations } of plan.tasks) {
      // The name of a whole image is its source: one text in memory, of which there may be very many.
      const task = this.#task(id, platforms === undefined ? id : formatReference(source));
      task.digest = root.digest;
      for (const { reference, action } of destinations) {
        const status = action === "copy" ? "pending" : action;
        this.#set(task, { reference: formatReference(reference), status });
      }
    }
    for (const { source, destination, platforms, reason } of plan.skipped) {
      const task = this.#task(imageId(source, platforms), source);
      task.reason = reason;
      this.#set(task, { reference: destination, status: "skipped" });
    }
    for (const { source } of plan.empty) this.report.emptyRules.push({ source });
    for (const { rule: _, ...dropped } of plan.dropped) (this.report.dropped ??= []).push(dropped);
    for (const failure of plan.failed) this.#addFailure(failure);
  }

  #addDeletion({ type: _, ...outcome }: Extract<CopyEvent, { type: "tag-deletion" }>): void {
    (this.report.deletions ??= []).push(outcome);
  }

  #addFailure({ kind, source, destination, platforms, error, isPermanent }: PlanFailure): void {
    if (kind === "image" && destination !== undefined) {
      const task = this.#task(imageId(source, platforms), source);
      this.#set(task, { reference: destination, status: "failed", error, isPermanent });
    } else {
      const failure = destination === undefined ? { source, error } : { source, destination, error };
      this.report.rules.push(failure);
      if (!isPermanent) this.#lookedAtAgain.add(failure);
    }
  }

  /** Rules that are looked at again say anew what is wrong with them. */
  #startPhase(phase: Phase): void {
    if (phase !== "retry-generate") return;
    this.report.rules = this.report.rules.filter((failure) => !this.#lookedAtAgain.has(failure));
    this.#lookedAtAgain.clear();
  }

  #addSkip({ task, size, reason }: Extract<CopyEvent, { type: "blob-skipped" }>): void {
    if (reason !== "foreign") this.#count(task, reason === "mounted" ? "mounted" : "skipped", size);
  }

  #addBelongings({ task: id, counts }: Extract<CopyEvent, { type: "belongings-brought" }>): void {
    const task = this.#tasks.get(id);
    if (task === undefined) return;
    task.belongings ??= {};
    for (const [type, { found, copied, skipped }] of Object.entries(counts)) {
      const sum = task.belongings[type] ??= { found, copied: 0, skipped: 0 };
      sum.copied += copied;
      sum.skipped = Math.max(sum.skipped, skipped);
    }
  }

  #task(id: string, source: string): ReportTask {
    let task = this.#tasks.get(id);
    if (task === undefined) {
      task = {
        id,
        source,
        status: "pending",
        destinations: [],
        bytes: { copied: 0, mounted: 0, skipped: 0 },
      };
      this.#tasks.set(id, task);
      this.report.tasks.push(task);
    }
    return task;
  }

  #set(task: ReportTask, destination: ReportDestination): void {
    const index = task.destinations.findIndex(({ reference }) => reference === destination.reference);
    if (index < 0) task.destinations.push(destination);
    else task.destinations[index] = destination;
  }

  #settle(id: string, reference: string, state: Omit<ReportDestination, "reference">): void {
    const task = this.#tasks.get(id);
    if (task !== undefined) this.#set(task, { reference, ...state });
  }

  #count(id: string, kind: keyof ByteCounts, size: number): void {
    const bytes = Math.max(0, size);
    this.report.bytes[kind] += bytes;
    const task = this.#tasks.get(id);
    if (task !== undefined) task.bytes[kind] += bytes;
  }
}

function summarize(task: ReportTask): void {
  const statuses = task.destinations.map(({ status }) => status);
  task.status =
    (["failed", "pending", "drifted", "copied", "unchanged", "skipped"] as const).find((one) =>
      statuses.includes(one)
    ) ??
      "unchanged";
  const error = task.destinations.find((one) => one.error !== undefined)?.error;
  if (error !== undefined) task.error = error;
}

/** The last line of a run, as image-syncer v1.0.3 writes it and scripts look for it. */
export function formatSummary({ totals }: Report): string {
  return `Finished, ${totals.failed} sync tasks failed, ${totals.rulesFailed} tasks generate failed`;
}

/** A number of bytes for people, in powers of 1024: `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
