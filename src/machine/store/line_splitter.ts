/** The lines of a records file, cut out of its bytes as they are read. */

import { joinPieces } from "../../registry/stream/body.ts";
import { MAX_LINE_LENGTH } from "./record.ts";

/** Gets the bytes of a line without its newline; they are only good until the next line is asked for. */
export type VisitLine = (line: Uint8Array) => void;

const NEWLINE = 0x0a;

/** Cuts chunks at newlines and holds at most one line of the longest allowed length. */
export class LineSplitter {
  #parts: Uint8Array[] = [];
  #length = 0;

  /** How many bytes came since the last newline. */
  get length(): number {
    return this.#length;
  }

  /** The lines that end in this chunk. */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      this.#hold(chunk.subarray(start, end));
      yield this.rest();
      start = end + 1;
    }
    this.#hold(chunk.slice(start));
  }

  /** What is held, which is then let go of; a line that is too long comes out empty. */
  rest(): Uint8Array {
    const [first, ...others] = this.#parts;
    const bytes = first === undefined || others.length === 0 ? first : joinPieces(this.#parts, this.#length);
    this.#parts = [];
    this.#length = 0;
    return bytes ?? new Uint8Array();
  }

  #hold(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#length += part.length;
    if (this.#length > MAX_LINE_LENGTH) this.#parts = [];
    else this.#parts.push(part);
  }
}
