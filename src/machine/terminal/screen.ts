/** Standard output and standard error, with a live view that stays below whatever is printed. */

// log-update and its like draw such a view too, but bring 15 packages and end the program under `--allow-env=NAME` lists;
// what is needed of them is "erase so many lines".
import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { stripVTControlCharacters } from "node:util";
import { isDumb, type Paint, paintFor, paintMark } from "./colour.ts";
import { printableLine } from "./printable.ts";

/** Milliseconds between two frames. */
const FRAME_INTERVAL = 100;
const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";
/** What a terminal has that does not say how large it is: containers and serial lines tell 0 by 0. */
const USUAL_SIZE = { columns: 80, rows: 24 };
const OUTPUT = 1;
const ERRORS = 2;

/** Draws the live view: gets the room there is and gives the lines. */
export type DrawFrame = (size: { columns: number; rows: number }) => string[];

/** Where a {@linkcode Screen} prints. */
export interface ScreenOptions {
  /** Reads a variable; none is set unless told. */
  environment?: (name: string) => string | undefined;
  /** Writes to a file descriptor, 1 or 2, and gives the number of bytes that it took. */
  write?: (descriptor: number, bytes: Uint8Array) => number;
  /** Whether a file descriptor is a terminal. */
  isTerminal?: (descriptor: number) => boolean;
  /** How large the terminal says it is. */
  size?: () => { columns?: number | undefined; rows?: number | undefined };
}

/** What the program prints to. */
export class Screen {
  /** Colours of standard error. */
  readonly paintErrors: Paint;
  /** Whether a live view makes sense: a person sees standard error on a terminal that can erase. */
  readonly hasLiveView: boolean;
  #paintOutput: Paint;
  #options: Required<ScreenOptions>;
  #draw: DrawFrame | undefined;
  #drawn: string[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #encoder = new TextEncoder();

  /** Prints to this process' own streams unless told otherwise. */
  constructor(options: ScreenOptions = {}) {
    const { environment = () => undefined, write = writeSync, isTerminal = isatty } = options;
    this.#options = { environment, write, isTerminal, size: options.size ?? (() => process.stderr) };
    this.#paintOutput = paintFor(isTerminal(OUTPUT), environment);
    this.paintErrors = paintFor(isTerminal(ERRORS), environment);
    this.hasLiveView = isTerminal(ERRORS) && !isDumb(environment);
  }

  /** Starts the live view. */
  show(draw: DrawFrame): void {
    this.#draw = draw;
    this.#write(ERRORS, HIDE_CURSOR);
    this.#timer = setInterval(() => this.refresh(), FRAME_INTERVAL);
  }

  /** Ends the live view and leaves nothing of it. */
  hide(): void {
    if (this.#draw === undefined) return;
    clearInterval(this.#timer);
    this.#draw = undefined;
    this.#write(ERRORS, `${this.#erase()}${SHOW_CURSOR}`);
  }

  /** Prints one line on standard output, whatever others have written into it. */
  out(line: string): void {
    this.text(paintMark(printableLine(line), this.#paintOutput));
  }

  /** Prints one line on standard error, whatever others have written into it. */
  err(line: string): void {
    const text = paintMark(printableLine(line), this.paintErrors);
    this.#above(() => this.#write(ERRORS, `${text}\n`));
  }

  /** Prints a text of our own, which may have several lines, on standard output. */
  text(text: string): void {
    this.#above(() => this.#write(OUTPUT, `${text}\n`));
  }

  /** Draws the live view anew. Erasing and drawing go in one write, so that nothing flickers. */
  refresh(): void {
    if (this.#draw === undefined) return;
    const lines = this.#draw(this.#size());
    const frame = `${this.#erase()}${lines.map((line) => `${line}\n`).join("")}`;
    this.#drawn = lines;
    this.#write(ERRORS, frame);
  }

  #above(print: () => void): void {
    const erase = this.#erase();
    if (erase !== "") this.#write(ERRORS, erase);
    print();
  }

  /** A terminal that has become narrower has broken the lines of the last frame into more: they all go. */
  #erase(): string {
    const { columns, rows } = this.#size();
    const heights = this.#drawn.map((line) => Math.max(1, Math.ceil(widthOf(line) / columns)));
    const height = Math.min(rows, heights.reduce((sum, one) => sum + one, 0));
    this.#drawn = [];
    return height === 0 ? "" : `\r\x1b[${height}A\x1b[J`;
  }

  #size(): { columns: number; rows: number } {
    const { columns, rows } = this.#options.size();
    return { columns: columns || USUAL_SIZE.columns, rows: rows || USUAL_SIZE.rows };
  }

  /** A reader that went away (`| head`) is no reason to stop mirroring, nor is one that is slow. */
  #write(descriptor: number, text: string): void {
    const bytes = this.#encoder.encode(text);
    for (let written = 0; written < bytes.length;) {
      try {
        written += this.#options.write(descriptor, bytes.subarray(written));
      } catch (error) {
        const { code } = error as { code?: string };
        if (code === "EPIPE") return;
        if (code !== "EAGAIN") throw error;
      }
    }
  }
}

/** Characters that a line takes on a terminal, without its colours. */
function widthOf(line: string): number {
  return stripVTControlCharacters(line).length;
}
