/** What a person at a terminal sees while a run is on: how far it is, and every blob under way. */

import {
  type BlobProgress,
  formatClock,
  imagesFound,
  imagesToCopy,
  type Progress,
  ProgressFold,
} from "../../mirror/progress.ts";
import type { CopyEvent } from "../../mirror/copy/copy_event.ts";
import { formatBytes } from "../../mirror/report.ts";
import { type Paint, plain } from "./colour.ts";

/** How much room there is. */
export interface FrameSize {
  /** Characters a line has. */
  columns: number;
  /** Lines there are. */
  rows: number;
}

/** Options of {@linkcode LiveView}. */
export interface LiveViewOptions {
  /** Milliseconds from any fixed moment; `performance.now` unless told. */
  now?: () => number;
  /** Colours; none unless told. */
  paint?: Paint;
}

/** From this width on a line has room for everything. */
const WIDE = 100;
/** Below this width a line has no bar. */
const NARROW = 60;
/** Below this width a line has nothing but a share and a name. */
const TINY = 30;

/** Follows a run's events and draws what they come to. Nothing is printed here. */
export class LiveView {
  /** The numbers that are shown. */
  readonly fold: ProgressFold;
  #now: () => number;
  #paint: Paint;

  /** Shows a run that has not begun. */
  constructor({ now = () => performance.now(), paint = plain }: LiveViewOptions = {}) {
    this.fold = new ProgressFold({ now });
    this.#now = now;
    this.#paint = paint;
  }

  /** Takes in one event. */
  add(event: CopyEvent): void {
    this.fold.add(event);
  }

  /** The lines to show now, none wider or more than there is room for. */
  frame({ columns, rows }: FrameSize): string[] {
    const { blobs } = this.fold;
    const width = columns - 1;
    const room = Math.max(1, Math.min(blobs.length, rows - 3));
    const lines = [this.#headline(blobs.length, width)];
    if (rows > 2) lines.push(...blobs.slice(0, room).map((blob) => this.#line(blob, width)));
    if (blobs.length > room && rows > 3) lines.push(fit([`  and ${blobs.length - room} more`], width));
    return lines;
  }

  /** What matters most stands first: where there is no room, the last parts are left out. */
  #headline(blobs: number, width: number): string {
    const progress = this.fold.snapshot();
    const { totals, isPlanned, read, rate, secondsLeft } = progress;
    const total = imagesToCopy(totals);
    const parts = [headOf(progress)];
    if (secondsLeft !== undefined) parts.push(`${formatClock(secondsLeft)} left`);
    if (read > 0) parts.push(`${formatBytes(Math.round(rate))}/s`, formatBytes(read));
    if (isPlanned || total > 0) parts.push(`${blobs} ${blobs === 1 ? "blob" : "blobs"} under way`);
    const line = fit(parts, width);
    return this.#paint(totals.failed + totals.rulesFailed > 0 ? "red" : "bold", line);
  }

  #line(blob: BlobProgress, width: number): string {
    const share = blob.size > 0 ? Math.min(1, blob.bytes / blob.size) : 0;
    const numbers = `${Math.floor(share * 100)}%`.padStart(4);
    if (width < TINY) return `${numbers} ${shorten(blob.task, width - 5)}`.slice(0, Math.max(0, width));
    const left = `${this.#timeLeft(blob)} left`;
    if (width < NARROW) return this.#join([numbers, left], blob, width);
    const bar = barOf(share, width < WIDE ? 8 : 20);
    const amount = blob.size > 0
      ? `${formatBytes(blob.bytes)} of ${formatBytes(blob.size)}`
      : formatBytes(blob.bytes);
    if (width < WIDE) return this.#join([bar, numbers, left], blob, width);
    const digest = blob.digest.replace(/^sha256:/, "").slice(0, 12);
    const rate = `${formatBytes(Math.round(this.#rateOf(blob)))}/s`;
    return this.#join([digest, bar, numbers, amount.padEnd(22), rate.padStart(11), left], blob, width);
  }

  #join(parts: string[], blob: BlobProgress, width: number): string {
    const start = `  ${parts.join("  ")}  `;
    return `${this.#paint("dim", start)}${shorten(blob.task, width - start.length)}`;
  }

  #rateOf({ bytes, startedAt }: BlobProgress): number {
    const seconds = (this.#now() - startedAt) / 1000;
    return seconds > 0.2 ? bytes / seconds : 0;
  }

  #timeLeft(blob: BlobProgress): string {
    const rate = this.#rateOf(blob);
    const text = rate > 0 && blob.size > 0 ? formatClock((blob.size - blob.bytes) / rate) : "--:--";
    return text.padStart(5);
  }
}

function headOf({ totals, isPlanned }: Progress): string {
  const { copied, failed, rulesFailed } = totals;
  const total = imagesToCopy(totals);
  const found = imagesFound(totals);
  if (!isPlanned && total === 0) {
    return found === 0 ? "looking at sources and destinations" : `looking at sources: ${found} images found`;
  }
  const bad = failed + rulesFailed === 0 ? "" : `, ${failed + rulesFailed} failed`;
  return `${copied} of ${total}${isPlanned ? "" : " or more"} images${bad}`;
}

function barOf(share: number, width: number): string {
  return `[${"#".repeat(Math.round(share * width)).padEnd(width, ".")}]`;
}

/** As many parts as there is room for, at least the first, cut if it has to be. */
function fit(parts: readonly string[], width: number): string {
  let line = parts[0] ?? "";
  for (const part of parts.slice(1)) {
    if (line.length + 2 + part.length > width) break;
    line += `  ${part}`;
  }
  return line.slice(0, Math.max(0, width));
}

/** The end of a name says more than its beginning: the registry is the same on most lines. */
function shorten(name: string, room: number): string {
  if (name.length <= room) return name;
  return room < 2 ? "" : `…${name.slice(name.length - (room - 1))}`;
}
