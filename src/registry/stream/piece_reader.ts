/** Step 2 of the walk, the wire: a body in pieces that are as large as its line is fast. */

import type { BufferPool } from "./buffer_pool.ts";
import type { SourceResponse } from "../fetch.ts";

/** Bytes of the smallest piece that is asked for; most runtimes have no more at once (Deno's fetch: 64 KiB). */
const SMALLEST_PIECE = 64 * 1024;
/**
 * Bytes of the largest piece. Each piece costs some 30 µs of CPU on its way whatever its size: 3 × 1 GiB took 0.84 s of CPU a GB in
 * pieces of 128 KiB, 0.75 in 256 KiB, 0.62 in 512 KiB, 0.60 in 1 MiB. 2 MiB gave nothing, and 20 MB more for 8 blobs at once.
 */
const LARGEST_PIECE = 1024 * 1024;
/** Bytes of a piece that is waited for until it is full, where the body gives little at once: larger ones cost more memory, not less CPU. */
const WHOLE_PIECE = 512 * 1024;
/**
 * Bytes of the smallest body that is waited for in whole pieces. One that breaks off is lost and asked for again, so shorter
 * bodies and slow ones (where a whole piece looks like a stall) are taken as they come.
 */
const WHOLE_PIECES_FROM = 64 * 1024 * 1024;
/** Milliseconds a piece may take, to come or to be taken, before the line counts as slow. */
const SLOW_PIECE = 1000;

/** What reading depends on. */
export interface PieceReaderOptions {
  /** Bytes of the body; -1 where nobody knows. */
  size: number;
  /** Whether the line is known to be slow or to break. */
  isSlow: boolean;
  /** Where memory to read into comes from; whoever is through with a piece gives it back there. */
  buffers: BufferPool;
}

/** Reads a body piece by piece. */
export interface PieceReader {
  /** The next piece, or `undefined` at the end. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Where a read may hold bytes back for more to come: makes one that waits give them, or fail when there are none. */
  interrupt?(): void;
  /** Lets go of the body. */
  cancel(reason: unknown): Promise<void>;
}

/** Opens a reader of an answer's body; an empty body is none at all on some runtimes. */
export function openPieceReader(
  { body, interrupt }: SourceResponse,
  options: PieceReaderOptions,
): PieceReader | undefined {
  if (body === null) return undefined;
  let reader: ReadableStreamBYOBReader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    // Bun and workerd give what they have.
    return new PlainReader(body.getReader());
  }
  return interrupt === undefined
    ? new BufferReader(reader, options)
    : new GrowingReader(reader, options, interrupt);
}

class PlainReader implements PieceReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

  constructor(reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>) {
    this.#reader = reader;
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return (await this.#reader.read()).value;
  }

  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }
}

/** Reads into memory of its own choice. */
class BufferReader implements PieceReader {
  readonly #reader: ReadableStreamBYOBReader;
  readonly #buffers: BufferPool;
  protected isSlow: boolean;
  readonly #isLong: boolean;
  #handedAt = Infinity;

  constructor(reader: ReadableStreamBYOBReader, { size, isSlow, buffers }: PieceReaderOptions) {
    this.#reader = reader;
    this.#buffers = buffers;
    this.isSlow = isSlow;
    this.#isLong = size >= WHOLE_PIECES_FROM;
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const askedAt = performance.now();
    // Whoever takes a second for a piece is sending it over a slow line.
    if (askedAt - this.#handedAt > SLOW_PIECE) this.isSlow = true;
    const { size, min } = this.wanted();
    const { value } = await this.#reader.read(new Uint8Array(this.#buffers.take(size)), { min });
    this.#handedAt = performance.now();
    if (this.#handedAt - askedAt > SLOW_PIECE) this.isSlow = true;
    if (value === undefined || value.length > 0) return value;
    this.#buffers.give(value.buffer);
    return undefined;
  }

  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }

  /** How many bytes are asked for, and how many are waited for. */
  protected wanted(): { size: number; min: number } {
    return this.#isLong && !this.isSlow
      ? { size: WHOLE_PIECE, min: WHOLE_PIECE }
      : { size: SMALLEST_PIECE, min: 1 };
  }
}

/** Asks for more where a piece was full, and for less where much of it stayed empty: pieces are kept, with all of their memory. */
class GrowingReader extends BufferReader {
  readonly interrupt: () => void;
  #size = SMALLEST_PIECE;

  constructor(reader: ReadableStreamBYOBReader, options: PieceReaderOptions, interrupt: () => void) {
    super(reader, options);
    this.interrupt = interrupt;
  }

  override async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const piece = await super.read();
    const length = piece?.length ?? 0;
    if (length === this.#size) this.#size = Math.min(LARGEST_PIECE, 2 * this.#size);
    else if (length < this.#size / 2) this.#size = Math.max(SMALLEST_PIECE, this.#size / 2);
    return piece;
  }

  protected override wanted(): { size: number; min: number } {
    if (this.isSlow) this.#size = SMALLEST_PIECE;
    this.isSlow = false;
    return { size: this.#size, min: 1 };
  }
}
