/** Step 2 of the walk, the wire: reads a body within a limit on bytes not moving, and until somebody gives up. */

import { TimeLimitError } from "../fetch.ts";
import type { PieceReader } from "./piece_reader.ts";

/** What ends the reading of a body before its end. */
export interface WatchOptions {
  /** Milliseconds without a byte moving. */
  stall: number;
  /** Gives up. */
  signal: AbortSignal | undefined;
}

/** A reader that does not wait for ever. It has one timer and one listener for a whole body: for each piece they cost more than the piece. */
export class WatchedReader {
  readonly #reader: PieceReader;
  readonly #options: WatchOptions;
  /** When the read under way began (`performance.now()`); nobody waits otherwise. */
  #waitingSince = Infinity;
  #fail: (reason: unknown) => void = () => {};
  #stalled: TimeLimitError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onAbort = () => this.#fail(this.#options.signal?.reason);

  /** Takes over a reader, which must be read to its end or cancelled. */
  constructor(reader: PieceReader, options: WatchOptions) {
    this.#reader = reader;
    this.#options = options;
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#watch(options.stall);
  }

  /**
   * The next piece, or `undefined` at the end. One read at a time.
   *
   * @throws {TimeLimitError} when nothing comes for too long.
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
      return piece;
    } catch (error) {
      throw this.#options.signal?.aborted ? error : this.#stalled ?? error;
    } finally {
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

  #watch(wait: number): void {
    const { stall } = this.#options;
    this.#timer = setTimeout(() => {
      const waited = performance.now() - this.#waitingSince;
      if (waited >= stall) this.#end(stall);
      else this.#watch(waited > 0 ? stall - waited : stall);
    }, wait);
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
