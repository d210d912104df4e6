/** Step 2 of the walk, the wire: bytes that can be given once more when the one they were sent to broke off. */

import type { ByteSource } from "./body.ts";

/**
 * Keeps the last bytes of a source, so that an upload that broke off goes on from where the registry says it is without
 * asking the source again. Readers come one after the other, never two at once.
 */
export class ReplaySource {
  #source: ByteSource;
  #limit: number;
  #kept: { piece: Uint8Array<ArrayBuffer>; length: number }[] = [];
  #keptBytes = 0;
  #position: number;
  #pending: Promise<Uint8Array<ArrayBuffer> | undefined> | undefined;

  /**
   * Nothing is read yet.
   *
   * @param source What is read; its position must be `start`.
   * @param limit Bytes that are kept.
   * @param start Position of the first byte.
   */
  constructor(source: ByteSource, limit: number, start = 0) {
    this.#source = source;
    this.#limit = limit;
    this.#position = start;
  }

  /**
   * Whether memory goes back to the source once a piece is no longer kept. By then the runtime has asked for all the pieces
   * kept after it, so it has long written this one; two readers that share the pieces know no such order.
   */
  isRecycling = false;

  /** Whether the bytes from a position on can be given without asking the source again. */
  canReplay(offset: number): boolean {
    const isKept = offset <= this.#position && offset >= this.#position - this.#keptBytes;
    // A runtime may have taken the memory of a piece it was given.
    return isKept && this.#kept.every(({ piece, length }) => piece.length === length);
  }

  /** A reader from a position on; it must be one that can be replayed. Cancelling it leaves the source open. */
  from(offset: number): ByteSource {
    let position = offset;
    return {
      read: async () => {
        const piece = this.#keptFrom(position) ?? await this.#more(position);
        if (piece !== undefined) position += piece.length;
        return piece;
      },
      cancel: () => {},
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

  #keptFrom(offset: number): Uint8Array<ArrayBuffer> | undefined {
    let start = this.#position - this.#keptBytes;
    for (const { piece, length } of this.#kept) {
      const end = start + length;
      if (offset < end) return piece.subarray(offset - start);
      start = end;
    }
    return undefined;
  }

  /** A read that an abandoned reader began is waited for: its bytes are kept like any others. */
  async #more(offset: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.#pending ??= this.#read().finally(() => this.#pending = undefined);
    const piece = await this.#pending;
    return piece === undefined ? undefined : this.#keptFrom(offset);
  }

  async #read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const piece = await this.#source.read();
    if (piece === undefined) return undefined;
    this.#kept.push({ piece, length: piece.length });
    this.#keptBytes += piece.length;
    this.#position += piece.length;
    while (this.#kept.length > 1 && this.#keptBytes - (this.#kept[0]?.length ?? 0) >= this.#limit) {
      this.#forgetFirst();
    }
    return piece;
  }

  #forgetFirst(): void {
    const first = this.#kept.shift();
    if (first === undefined) return;
    this.#keptBytes -= first.length;
    if (this.isRecycling) this.#source.recycle?.(first.piece);
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
