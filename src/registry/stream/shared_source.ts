/** Step 2 of the walk, the wire: one read of a source for several uploads, whose last bytes can be given once more. */

import type { ByteSource } from "./body.ts";

/** Options of a {@linkcode SharedSource}. */
export interface SharedSourceOptions {
  /** Bytes that are kept for an upload that broke off. */
  kept: number;
  /** Bytes a reader may be behind the fastest one before that one waits for it. */
  lag: number;
  /** Milliseconds the fastest reader waits for a slower one that does not move; one that moves holds up six times as long in all. */
  patience: number;
  /** Position of the source's first byte; 0 unless told. */
  start?: number;
}

/** A reader of a {@linkcode SharedSource} fell too far behind the others. */
export class LaggardError extends Error {
  /** Says by how much, in bytes. */
  constructor(lag: number) {
    super(`it fell ${lag} bytes behind the other destinations`);
    this.name = "LaggardError";
  }
}

interface Reader {
  position: number;
  /** Milliseconds that others have waited for it. */
  heldUp: number;
  failure: LaggardError | undefined;
}

/** A piece, and its length: a runtime may take the memory of a piece that it was given. */
interface Kept {
  piece: Uint8Array<ArrayBuffer>;
  length: number;
}

/** How much longer a reader that moves may hold up the others, in all, than one that does not. */
const MOVING_FACTOR = 6;

/**
 * Reads a source once for whoever reads along. Readers may come while what they want is still kept: what no other reader has
 * read yet, up to the lag, and the last bytes, so that an upload that broke off goes on without asking the source again.
 * Whoever stays behind for too long is dropped (its `read` throws {@linkcode LaggardError}), the others go on.
 */
export class SharedSource {
  /**
   * Whether each piece is copied for whoever reads it: with several readers a runtime must not be given the one piece. What one
   * reader alone was given goes back to the source once it is no longer kept: by then the runtime has asked for all that came
   * after it, so it has long written it.
   */
  isCopying = false;
  #source: ByteSource;
  #options: SharedSourceOptions;
  #kept: Kept[] = [];
  #keptBytes = 0;
  #position: number;
  #isEnded = false;
  #readers = new Set<Reader>();
  #pulling: Promise<void> | undefined;
  #wakeUps = new Set<() => void>();

  /** Nothing is read yet. */
  constructor(source: ByteSource, options: SharedSourceOptions) {
    this.#source = source;
    this.#options = options;
    this.#position = options.start ?? 0;
  }

  /** Whether the bytes from a position on can be given without asking the source again. */
  canGive(offset: number): boolean {
    const isKept = offset <= this.#position && offset >= this.#position - this.#keptBytes;
    return isKept && this.#kept.every(({ piece, length }) => piece.length === length);
  }

  /** A reader from a position on, which must be one that can be given. Cancelling it leaves the source open. */
  reader(offset: number): ByteSource {
    const reader: Reader = { position: offset, heldUp: 0, failure: undefined };
    this.#readers.add(reader);
    return {
      read: () => this.#read(reader),
      cancel: () => {
        this.#readers.delete(reader);
        this.#wake();
      },
    };
  }

  /** Gives all memory back, where it goes back: every byte has arrived where it was sent. */
  finish(): void {
    while (this.#kept.length > 0) this.#forgetFirst();
  }

  /** Lets go of the source. */
  cancel(reason: unknown): void {
    this.#kept = [];
    this.#keptBytes = 0;
    this.#source.cancel(reason);
  }

  async #read(reader: Reader): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (this.#readers.has(reader)) {
      const piece = this.#keptFrom(reader.position);
      if (piece !== undefined) {
        reader.position += piece.length;
        this.#wake();
        return this.isCopying || this.#readers.size > 1 ? piece.slice() : piece;
      }
      if (this.#isEnded) return undefined;
      const laggards = this.#laggardsOf(reader);
      if (laggards.length > 0) await this.#waitFor(laggards);
      // A read that an abandoned reader began is waited for: its bytes are kept like any others.
      else await (this.#pulling ??= this.#pull().finally(() => this.#pulling = undefined));
    }
    if (reader.failure !== undefined) throw reader.failure;
    return undefined;
  }

  #keptFrom(offset: number): Uint8Array<ArrayBuffer> | undefined {
    let start = this.#position - this.#keptBytes;
    for (const { piece, length } of this.#kept) {
      const end = start + length;
      if (offset < end) return offset === start ? piece : piece.subarray(offset - start);
      start = end;
    }
    return undefined;
  }

  async #pull(): Promise<void> {
    const piece = await this.#source.read();
    if (piece === undefined) this.#isEnded = true;
    else {
      this.#kept.push({ piece, length: piece.length });
      this.#keptBytes += piece.length;
      this.#position += piece.length;
    }
    this.#forget();
    this.#wake();
  }

  /** Forgets what is more than is kept and has been read by everybody. */
  #forget(): void {
    const slowest = Math.min(...[...this.#readers].map(({ position }) => position));
    for (let first = this.#kept[0]; first !== undefined && this.#kept.length > 1; first = this.#kept[0]) {
      const end = this.#position - this.#keptBytes + first.length;
      if (this.#keptBytes - first.length < this.#options.kept || slowest < end) return;
      this.#forgetFirst();
    }
  }

  #forgetFirst(): void {
    const first = this.#kept.shift();
    if (first === undefined) return;
    this.#keptBytes -= first.length;
    this.#source.recycle?.(first.piece);
  }

  #laggardsOf(fastest: Reader): Reader[] {
    const limit = fastest.position - this.#options.lag;
    return [...this.#readers].filter((other) => other !== fastest && other.position < limit);
  }

  /** Waits until some reader has moved; who has not for the whole of the patience, or has held up the others too long, is dropped. */
  async #waitFor(laggards: Reader[]): Promise<void> {
    const { patience } = this.#options;
    const before = laggards.map((reader) => ({ reader, position: reader.position }));
    const since = performance.now();
    const hasMoved = await this.#movement();
    const waited = performance.now() - since;
    for (const { reader, position } of before) {
      reader.heldUp += waited;
      const isStuck = !hasMoved && reader.position === position;
      if (isStuck || reader.heldUp > MOVING_FACTOR * patience) this.#drop(reader);
    }
  }

  #drop(reader: Reader): void {
    if (!this.#readers.delete(reader)) return;
    reader.failure = new LaggardError(this.#position - reader.position);
    this.#wake();
  }

  #movement(): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (hasMoved: boolean) => {
        clearTimeout(timer);
        this.#wakeUps.delete(wake);
        resolve(hasMoved);
      };
      const wake = () => finish(true);
      const timer = setTimeout(() => finish(false), this.#options.patience);
      this.#wakeUps.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#wakeUps]) wake();
  }
}

/** Cuts a source into parts of given lengths, for uploads in chunks. */
export class SlicedSource {
  #source: ByteSource;
  #rest: Uint8Array<ArrayBuffer> | undefined;

  /** Nothing is read before a part is. */
  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** The next `length` bytes; parts are read one after the other. Cancelling a part leaves the source open. */
  take(length: number): ByteSource {
    let left = length;
    return {
      read: async () => {
        if (left === 0) return undefined;
        const piece = this.#rest ?? await this.#source.read();
        this.#rest = undefined;
        if (piece === undefined) return undefined;
        const part = piece.length > left ? piece.subarray(0, left) : piece;
        if (part.length < piece.length) this.#rest = piece.subarray(part.length);
        left -= part.length;
        return part;
      },
      cancel: () => {},
    };
  }
}
