/** Step 2 of the walk, the wire: reads a body within limits on bytes not moving or hardly moving, and until somebody gives up. */

import { SlowBodyError, TimeLimitError } from "../fetch.ts";
import type { PieceReader } from "./piece_reader.ts";

/** What ends the reading of a body before its end. */
export interface WatchOptions {
  /** Milliseconds without a byte moving. */
  stall: number;
  /** Bytes a second that must come at least; no limit unless told. */
  rate?: number;
  /** Milliseconds of waiting over which the rate is measured. */
  window?: number;
  /** Gives up. */
  signal: AbortSignal | undefined;
}

/** A reader that does not wait for ever. It has one timer and one listener for a whole body: for each piece they cost more than the piece. */
export class WatchedReader {
  readonly #reader: PieceReader;
  readonly #options: WatchOptions;
  /** When the read under way began (`performance.now()`); nobody waits otherwise. */
  #waitingSince = Infinity;
  /** Milliseconds waited and bytes come since the rate was measured last. */
  #waited = 0;
  #came = 0;
  #fail: (reason: unknown) => void = () => {};
  #stalled: TimeLimitError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onAbort = () => this.#fail(this.#options.signal?.reason);

  /** Takes over a reader, which must be read to its end or cancelled. */
  constructor(reader: PieceReader, options: WatchOptions) {
    this.#reader = reader;
    this.#options = options;
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#watch(this.#interval(0));
  }

  /**
   * The next piece, or `undefined` at the end. One read at a time.
   *
   * @throws {TimeLimitError} when nothing comes for too long.
   * @throws {SlowBodyError} when hardly anything comes for too long.
   * @throws The signal's reason when it aborts.
   */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    // A signal that has aborted tells nobody any more.
    this.#options.signal?.throwIfAborted();
    this.#waitingSince = performance.now();
    try {
      const piece = await new Promise<Uint8Array<ArrayBuffer> | undefined>((resolve, reject) => {
        this.#fail = reject;
        this.#reader.read().then(resolve, reject);
      });
      if (piece === undefined) this.#stop();
      else this.#came += piece.length;
      return piece;
    } catch (error) {
      throw this.#options.signal?.aborted ? error : this.#stalled ?? error;
    } finally {
      this.#waited += performance.now() - this.#waitingSince;
      this.#waitingSince = Infinity;
    }
  }

  /** Lets go of the body. */
  cancel(reason: unknown): Promise<void> {
    this.#stop();
    return this.#reader.cancel(reason);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }

  /** Milliseconds until one of the limits may be reached; not less than a twentieth of the window, for time in which nobody reads. */
  #interval(waiting: number): number {
    const { stall, rate, window } = this.#options;
    if (rate === undefined || window === undefined) return stall - waiting;
    return Math.min(stall - waiting, Math.max(window - this.#waited - waiting, window / 20));
  }

  #watch(wait: number): void {
    const { stall } = this.#options;
    this.#timer = setTimeout(() => {
      const waiting = Math.max(0, performance.now() - this.#waitingSince);
      if (waiting > 0 && this.#isSlow(waiting)) {
        this.#fail(new SlowBodyError(this.#came, this.#waited + waiting));
      } else if (waiting >= stall) this.#end(stall);
      else this.#watch(this.#interval(waiting));
    }, wait);
  }

  /** Whether too little has come over the whole of a window; only the time counts in which somebody waited for it. */
  #isSlow(waiting: number): boolean {
    const { rate, window } = this.#options;
    if (rate === undefined || window === undefined || this.#waited + waiting < window) return false;
    if (this.#came < rate * window / 1000) return this.#came > 0;
    this.#waited = -waiting;
    this.#came = 0;
    return false;
  }

  /** What has come need not be asked for again, so a reader that holds some bytes back is made to give them first. */
  #end(stall: number): void {
    if (this.#stalled === undefined && this.#reader.interrupt !== undefined) {
      this.#stalled = new TimeLimitError(stall);
      this.#reader.interrupt();
      this.#watch(stall);
    } else this.#fail(this.#stalled ??= new TimeLimitError(stall));
  }
}
