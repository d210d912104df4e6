/** Step 8 of the walk, the report: what happens while a plan runs, and what has become of it, as plain JSON. */

import type { Digest } from "../oci/descriptor.ts";
import type { RegistryEvent } from "../registry/request.ts";
import { imageId } from "./plan/image_id.ts";
import type { Plan, PlanFailure } from "./plan/plan.ts";

/** What happens during a run. A progress view, a log, a report and a status page are readers of one stream of these. */
export type CopyEvent =
  | { type: "phase-started"; phase: "generate" | "copy" | "retry-generate" | "retry-copy" }
  | { type: "planned"; plan: Plan }
  | { type: "planning-ended" }
  | { type: "task-started"; task: string }
  | { type: "blob-started"; task: string; digest: Digest; size: number; destinations: string[] }
  | { type: "blob-progress"; task: string; digest: Digest; bytes: number }
  | { type: "blob-ended"; task: string; digest: Digest }
  | { type: "blob-copied"; task: string; digest: Digest; size: number; destination: string }
  | {
    type: "blob-skipped";
    task: string;
    digest: Digest;
    size: number;
    destination: string;
    reason: "exists" | "mounted" | "foreign";
  }
  | { type: "manifest-pushed"; task: string; digest: Digest; destination: string }
  | { type: "destination-copied"; task: string; destination: string }
  | { type: "destination-failed"; task: string; destination: string; error: string; isPermanent: boolean }
  | { type: "task-finished"; task: string; status: TaskStatus }
  | { type: "warning"; message: string }
  | RegistryEvent;

/** The phases of a run, in order; the retries may come several times or not at all. */
export type Phase = Extract<CopyEvent, { type: "phase-started" }>["phase"];

/** What has become of an image. `skipped` is an image none of whose platforms is wanted; `pending` stands
 * only in the report of a run that was interrupted. */
export type TaskStatus = "copied" | "unchanged" | "skipped" | "failed" | "pending";

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
  totals: Record<TaskStatus | "rulesFailed", number>;
  /** Every image. */
  tasks: ReportTask[];
  /** Rules that could not be turned into images. */
  rules: { source: string; destination?: string; error: string }[];
}

/** An empty report. */
export function startReport(startedAt: string): Report {
  return {
    startedAt,
    bytes: { copied: 0, mounted: 0, skipped: 0 },
    totals: { copied: 0, unchanged: 0, skipped: 0, failed: 0, pending: 0, rulesFailed: 0 },
    tasks: [],
    rules: [],
  };
}

/** Folds events into a report. The report is changed in place: a copy for each event would be quadratic in the tags. */
export class ReportBuilder {
  /** The report so far; totals and statuses are right after {@linkcode finish}. */
  readonly report: Report;
  #tasks = new Map<string, ReportTask>();

  /** Starts an empty report. */
  constructor(startedAt: string) {
    this.report = startReport(startedAt);
  }

  /** Takes in one event. */
  add(event: CopyEvent): void {
    if (event.type === "planned") this.#addPlan(event.plan);
    else if (event.type === "blob-copied") this.#count(event.task, "copied", event.size);
    else if (event.type === "blob-skipped") this.#addSkip(event);
    else if (event.type === "destination-copied") {
      this.#settle(event.task, event.destination, { status: "copied" });
    } else if (event.type === "destination-failed") {
      const { error, isPermanent } = event;
      this.#settle(event.task, event.destination, { status: "failed", error, isPermanent });
    }
  }

  /** Destinations that failed and may succeed if tried again, by task. */
  retryable(): Map<string, string[]> {
    const found = new Map<string, string[]>();
    for (const task of this.report.tasks) {
      const references = task.destinations
        .filter((one) => one.status === "failed" && one.isPermanent !== true)
        .map((one) => one.reference);
      if (references.length > 0) found.set(task.id, references);
    }
    return found;
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
      for (const { status } of task.destinations) report.totals[status]++;
    }
    report.totals.rulesFailed = report.rules.length;
    return report;
  }

  #addPlan(plan: Plan): void {
    for (const { id, source, root, destinations } of plan.tasks) {
      const task = this.#task(id, source);
      task.digest = root.digest;
      for (const { reference, action } of destinations) {
        this.#set(task, { reference, status: action === "unchanged" ? "unchanged" : "pending" });
      }
    }
    for (const { source, destination, platforms, reason } of plan.skipped) {
      const task = this.#task(imageId(source, platforms), source);
      task.reason = reason;
      this.#set(task, { reference: destination, status: "skipped" });
    }
    if (plan.replaces !== "images") this.report.rules = [];
    for (const failure of plan.failed) this.#addFailure(failure);
  }

  #addFailure({ kind, source, destination, platforms, error, isPermanent }: PlanFailure): void {
    if (kind === "image" && destination !== undefined) {
      const task = this.#task(imageId(source, platforms), source);
      this.#set(task, { reference: destination, status: "failed", error, isPermanent });
    } else {
      this.report.rules.push(destination === undefined ? { source, error } : { source, destination, error });
    }
  }

  #addSkip({ task, size, reason }: Extract<CopyEvent, { type: "blob-skipped" }>): void {
    if (reason !== "foreign") this.#count(task, reason === "mounted" ? "mounted" : "skipped", size);
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
    (["failed", "pending", "copied", "unchanged", "skipped"] as const).find((one) =>
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
