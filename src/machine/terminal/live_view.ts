/** What a person at a terminal sees while a run is on: the images done, and every blob under way. */

import { type CopyEvent, formatBytes } from "../../mirror/report.ts";

/** One blob under way. */
interface BlobView {
  image: string;
  digest: string;
  size: number;
  bytes: number;
  startedAt: number;
}

/** How much room there is. */
export interface FrameSize {
  /** Characters a line has. */
  columns: number;
  /** Lines there are. */
  rows: number;
}

/** Follows a run's events and draws what they come to. Nothing is printed here. */
export class LiveView {
  #blobs = new Map<string, BlobView>();
  #isPlanned = false;
  #images = 0;
  #done = 0;
  #failed = 0;
  #sent = 0;
  #now: () => number;
  /** Bytes sent at some recent moments, for a rate that neither jumps nor lags. */
  #samples: { at: number; sent: number }[] = [];

  /** @param now Milliseconds from any fixed moment. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Takes in one event. */
  add(event: CopyEvent): void {
    if (event.type === "planned") {
      this.#isPlanned = true;
      this.#images += event.plan.tasks.flatMap((task) =>
        task.destinations
      ).filter(({ action }) => action === "copy").length;
    } else if (event.type === "blob-started") {
      const { task, digest, size } = event;
      this.#blobs.set(`${task} ${digest}`, { image: task, digest, size, bytes: 0, startedAt: this.#now() });
    } else if (event.type === "blob-progress") this.#progress(event);
    else if (event.type === "blob-ended") this.#blobs.delete(`${event.task} ${event.digest}`);
    else if (event.type === "destination-failed") this.#failed++;
    else if (event.type === "destination-copied") this.#done++;
  }

  #progress({ task, digest, bytes }: Extract<CopyEvent, { type: "blob-progress" }>): void {
    this.#sent += bytes;
    const blob = this.#blobs.get(`${task} ${digest}`);
    if (blob !== undefined) blob.bytes += bytes;
  }

  /** The lines to show now, none wider or more than there is room for. */
  frame({ columns, rows }: FrameSize): string[] {
    const blobs = [...this.#blobs.values()];
    const room = Math.max(1, Math.min(blobs.length, rows - 3));
    const lines = [
      this.#headline(blobs.length),
      ...blobs.slice(0, room).map((blob) => this.#line(blob, columns)),
    ];
    if (blobs.length > room) lines.push(`  and ${blobs.length - room} more`);
    return lines.map((line) => line.slice(0, Math.max(0, columns - 1)));
  }

  #headline(count: number): string {
    if (!this.#isPlanned) return "looking at sources and destinations";
    const failed = this.#failed === 0 ? "" : `, ${this.#failed} failed`;
    const rate = `${formatBytes(Math.round(this.#rate()))}/s`;
    const blobs = `${count} ${count === 1 ? "blob" : "blobs"} under way`;
    return `${this.#done} of ${this.#images} images${failed}  ${blobs}  ${formatBytes(this.#sent)}  ${rate}`;
  }

  /** Bytes a second over the last five seconds. */
  #rate(): number {
    const now = this.#now();
    this.#samples.push({ at: now, sent: this.#sent });
    while (this.#samples.length > 2 && (this.#samples[0]?.at ?? now) < now - 5000) this.#samples.shift();
    const [first] = this.#samples;
    if (first === undefined || now - first.at < 1) return 0;
    return (this.#sent - first.sent) * 1000 / (now - first.at);
  }

  #line(blob: BlobView, columns: number): string {
    const share = blob.size > 0 ? Math.min(1, blob.bytes / blob.size) : 0;
    const seconds = (this.#now() - blob.startedAt) / 1000;
    const rate = seconds > 0.2 ? blob.bytes / seconds : 0;
    const left = rate > 0 && blob.size > 0 ? formatSeconds((blob.size - blob.bytes) / rate) : "--:--";
    const amount = blob.size > 0
      ? `${formatBytes(blob.bytes)} of ${formatBytes(blob.size)}`
      : formatBytes(blob.bytes);
    const width = columns >= 100 ? 20 : 10;
    const bar = "#".repeat(Math.round(share * width)).padEnd(width, ".");
    const percent = `${Math.floor(share * 100)}%`.padStart(4);
    const digest = blob.digest.replace(/^sha256:/, "").slice(0, 12);
    const numbers = `${percent}  ${amount.padEnd(22)} ${formatBytes(Math.round(rate))}/s  ${left} left`;
    const start = `  ${digest} [${bar}] ${numbers}  `;
    return `${start}${shorten(blob.image, columns - 1 - start.length)}`;
  }
}

/** Seconds as minutes and seconds, or hours where it takes them: `1:05`, `2:10:00`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** The end of a name says more than its beginning: the registry is the same on most lines. */
function shorten(name: string, room: number): string {
  return name.length <= room ? name : `…${name.slice(name.length - Math.max(0, room - 1))}`;
}
