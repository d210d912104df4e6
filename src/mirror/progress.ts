/** Step 8 of the walk, the progress: one fold of a run's events, which live view, page, log and report have their numbers from. */

import { formatReference } from "../oci/reference.ts";
import type { CopyEvent, Phase, TaskStatus } from "./copy/copy_event.ts";
import { imageId, type Plan, type PlanFailure } from "./plan/plan.ts";
import { type ByteCounts, formatBytes, type Report } from "./report.ts";

/** How far a run is; plain JSON. An image is one source at one destination, as in the report. */
export interface Progress {
  /** Whether everything has been looked at, so that no more images are found. */
  isPlanned: boolean;
  /** Images by what has become of them so far, and rules that could not be turned into images. */
  totals: Report["totals"];
  /** Bytes of blobs by how they came to the destinations. */
  bytes: ByteCounts;
  /** Bytes read from sources. */
  read: number;
  /** Bytes read a second over the last seconds. */
  rate: number;
  /** Seconds until the run is through; not there as long as nobody can know. */
  secondsLeft?: number;
}

/** One blob under way. */
export interface BlobProgress {
  /** The image it belongs to. */
  task: string;
  /** Its digest. */
  digest: string;
  /** Its size in bytes, 0 or less where it is not known. */
  size: number;
  /** Bytes read of it so far. */
  bytes: number;
  /** When it was begun, by the clock of the fold. */
  startedAt: number;
}

/** An image at one destination, whenever what is known of it changes. */
export interface ImageChange {
  /** Name of the image in events. */
  task: string;
  /** Where it comes from. */
  source: string;
  /** Where it goes. */
  destination: string;
  /** What was known of it; nothing, when it is new. */
  from?: TaskStatus;
  /** What has become of it. */
  to: TaskStatus;
  /** Why it failed, if it did. */
  error?: string;
}

/** Options of {@linkcode ProgressFold}. */
export interface ProgressOptions {
  /** Milliseconds from any fixed moment; `performance.now` unless told. */
  now?: () => number;
  /** Told of each image whose status changes. */
  onImage?: (change: ImageChange) => void;
}

/** Milliseconds that a rate is taken over, so that it neither jumps nor lags. */
const RATE_WINDOW = 5000;

/** An image that may still change. */
interface OpenImage {
  source: string;
  status: TaskStatus;
}

/**
 * Folds the events of a run, in whatever order they come: a plan may arrive in pieces while images of earlier pieces are
 * copied already, and an image that failed counts as copied once another try has succeeded.
 */
export class ProgressFold {
  #now: () => number;
  #onImage: ((change: ImageChange) => void) | undefined;
  #isPlanned = false;
  /** Rules that failed and are looked at again: they say anew what is wrong with them. */
  #rulesToRetry = 0;
  #totals: Report["totals"] = { copied: 0, unchanged: 0, skipped: 0, failed: 0, pending: 0, rulesFailed: 0 };
  #bytes: ByteCounts = { copied: 0, mounted: 0, skipped: 0 };
  #read = 0;
  /** Images that are pending or have failed. Those that are through are counted and forgotten: there may be very many. */
  #open = new Map<string, OpenImage>();
  #begun = new Set<string>();
  #beganAt: number | undefined;
  #blobs = new Map<string, BlobProgress>();
  #samples: { at: number; read: number }[] = [];

  /** Nothing has happened yet. */
  constructor({ now = () => performance.now(), onImage }: ProgressOptions = {}) {
    this.#now = now;
    this.#onImage = onImage;
  }

  /** Blobs under way. */
  get blobs(): readonly BlobProgress[] {
    return [...this.#blobs.values()];
  }

  /** Images that were not at their destinations when they were looked at, and are or are to be copied. */
  get toCopy(): number {
    return imagesToCopy(this.#totals);
  }

  /** How far the run is now. */
  snapshot(): Progress {
    const rate = this.#rate();
    const { totals, bytes } = this;
    const progress: Progress = { isPlanned: this.#isPlanned, totals, bytes, read: this.#read, rate };
    const secondsLeft = this.#secondsLeft();
    return secondsLeft === undefined ? progress : { ...progress, secondsLeft };
  }

  /** Images by status. */
  get totals(): Report["totals"] {
    return { ...this.#totals };
  }

  /** Bytes by how they came to the destinations. */
  get bytes(): ByteCounts {
    return { ...this.#bytes };
  }

  /** Takes in one event. */
  add(event: CopyEvent): void {
    if (event.type === "planned") this.#addPlan(event.plan);
    else if (event.type === "phase-started") this.#startPhase(event.phase);
    else if (event.type === "planning-ended") this.#isPlanned = true;
    else if (event.type === "task-started") this.#begin(event.task);
    else if (event.type === "task-finished") this.#begun.delete(event.task);
    else if (event.type === "destination-copied") this.#settle(event, "copied");
    else if (event.type === "destination-drifted") this.#settle(event, "drifted");
    else if (event.type === "destination-failed") this.#settle(event, "failed", event.error);
    else this.#addBlob(event);
  }

  #addBlob(event: CopyEvent): void {
    if (event.type === "blob-started") {
      const { task, digest, size } = event;
      const startedAt = this.#now();
      this.#blobs.set(`${task} ${digest}`, { task, digest, size, bytes: 0, startedAt });
    } else if (event.type === "blob-progress") {
      this.#read += event.bytes;
      const blob = this.#blobs.get(`${event.task} ${event.digest}`);
      if (blob !== undefined) blob.bytes += event.bytes;
    } else if (event.type === "blob-ended") this.#blobs.delete(`${event.task} ${event.digest}`);
    else if (event.type === "blob-copied") this.#bytes.copied += Math.max(0, event.size);
    else if (event.type === "blob-skipped" && event.reason !== "foreign") {
      this.#bytes[event.reason === "mounted" ? "mounted" : "skipped"] += Math.max(0, event.size);
    }
  }

  #addPlan({ tasks, skipped, failed }: Plan): void {
    for (const { id, source, destinations } of tasks) {
      for (const { reference, action, isIncomplete } of destinations) {
        const where = { source: formatReference(source), destination: formatReference(reference) };
        this.#set({ task: id, ...where }, action === "copy" ? "pending" : action);
        const key = `${id}\n${where.destination}`;
        if (isIncomplete) this.#open.set(key, { source: where.source, status: "unchanged" });
      }
    }
    for (const { source, destination, platforms } of skipped) {
      this.#set({ task: imageId(source, platforms), source, destination }, "skipped");
    }
    for (const failure of failed) this.#addFailure(failure);
  }

  #addFailure({ kind, source, destination, platforms, error, isPermanent }: PlanFailure): void {
    if (kind === "image" && destination !== undefined) {
      this.#set({ task: imageId(source, platforms), source, destination }, "failed", error);
      return;
    }
    this.#totals.rulesFailed++;
    if (!isPermanent) this.#rulesToRetry++;
  }

  #startPhase(phase: Phase): void {
    if (phase !== "retry-generate") return;
    this.#totals.rulesFailed -= this.#rulesToRetry;
    this.#rulesToRetry = 0;
  }

  #begin(task: string): void {
    this.#beganAt ??= this.#now();
    this.#begun.add(task);
  }

  #settle(
    { task, destination }: { task: string; destination: string },
    to: TaskStatus,
    error?: string,
  ): void {
    this.#set({ task, source: task, destination }, to, error);
  }

  #set(
    { task, ...where }: { task: string; source: string; destination: string },
    to: TaskStatus,
    error?: string,
  ): void {
    const key = `${task}\n${where.destination}`;
    const before = this.#open.get(key);
    const source = before?.source ?? where.source;
    if (before !== undefined) this.#count(before.status, -1);
    this.#count(to, 1);
    if (to === "pending" || to === "failed") this.#open.set(key, { source, status: to });
    else this.#open.delete(key);
    const change: ImageChange = { task, source, destination: where.destination, to };
    if (before !== undefined) change.from = before.status;
    if (error !== undefined) change.error = error;
    this.#onImage?.(change);
  }

  #count(status: TaskStatus, more: 1 | -1): void {
    this.#totals[status] = (this.#totals[status] ?? 0) + more;
  }

  #rate(): number {
    const now = this.#now();
    this.#samples.push({ at: now, read: this.#read });
    while (this.#samples.length > 2 && (this.#samples[0]?.at ?? now) < now - RATE_WINDOW) {
      this.#samples.shift();
    }
    const [first] = this.#samples;
    if (first === undefined || now - first.at < 1) return 0;
    return (this.#read - first.read) * 1000 / (now - first.at);
  }

  /** What is left takes as long as what is through has taken; nothing ends before the blobs under way do. */
  #secondsLeft(): number | undefined {
    const { copied, pending } = this.#totals;
    if (!this.#isPlanned || this.#beganAt === undefined || pending === 0) return undefined;
    const seconds = (this.#now() - this.#beganAt) / 1000;
    const rest = this.blobs.reduce((sum, { size, bytes }) => sum + Math.max(0, size - bytes), 0);
    const ofBlobs = this.#read > 0 ? rest * seconds / this.#read : 0;
    if (copied > 0) return Math.max(ofBlobs, seconds * pending / copied);
    // Before the first image is through only the blobs under way tell anything, and only if no image has yet to begin.
    return pending <= this.#begun.size && ofBlobs > 0 ? ofBlobs : undefined;
  }
}

/** Images that were not at their destinations when they were looked at. */
export function imagesToCopy({ copied, failed, pending }: Report["totals"]): number {
  return copied + failed + pending;
}

/** Images that were looked at, whatever has become of them. */
export function imagesFound(totals: Report["totals"]): number {
  return imagesToCopy(totals) + totals.unchanged + totals.skipped + (totals.drifted ?? 0);
}

/** How far a run is, in one line: `12 of 40 images copied, 1 failed, 1.2 GiB read, 5.3 MiB/s, about 4:10 left`. */
export function formatProgress({ isPlanned, totals, read, rate, secondsLeft }: Progress): string {
  const { copied, failed, rulesFailed } = totals;
  const found = imagesToCopy(totals);
  const looked = `${imagesFound(totals)} images found so far`;
  const parts = isPlanned ? [] : [`looking at sources, ${looked}`];
  if (isPlanned || found > 0) parts.push(`${copied} of ${found} images copied`);
  if (failed > 0) parts.push(`${failed} failed`);
  if (rulesFailed > 0) parts.push(`${rulesFailed} ${rulesFailed === 1 ? "rule" : "rules"} failed`);
  if (read > 0) parts.push(`${formatBytes(read)} read`, `${formatBytes(Math.round(rate))}/s`);
  if (secondsLeft !== undefined) parts.push(`about ${formatClock(secondsLeft)} left`);
  return parts.join(", ");
}

/** Seconds as minutes and seconds, or hours where it takes them: `1:05`, `2:10:00`. */
export function formatClock(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
