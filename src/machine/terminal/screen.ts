/** Standard output and standard error, with a live view that stays below whatever is printed. */

// log-update and its like draw such a view too, but bring 15 packages and end the program under `--allow-env=NAME` lists;
// what is needed of them is "erase so many lines".

/** Milliseconds between two frames. */
const FRAME_INTERVAL = 100;
const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";

/** Draws the live view: gets the room there is and gives the lines. */
export type DrawFrame = (size: { columns: number; rows: number }) => string[];

/** What the program prints to. */
export class Screen {
  #draw: DrawFrame | undefined;
  #drawn = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #encoder = new TextEncoder();

  /** Whether a live view makes sense: a person sees standard error. */
  static hasTerminal(): boolean {
    return Deno.stderr.isTerminal();
  }

  /** Starts the live view. */
  show(draw: DrawFrame): void {
    this.#draw = draw;
    this.#write(Deno.stderr, HIDE_CURSOR);
    this.#timer = setInterval(() => this.#refresh(), FRAME_INTERVAL);
  }

  /** Ends the live view and leaves nothing of it. */
  hide(): void {
    if (this.#draw === undefined) return;
    clearInterval(this.#timer);
    this.#draw = undefined;
    this.#write(Deno.stderr, `${this.#erase()}${SHOW_CURSOR}`);
  }

  /** Prints a line on standard output. */
  out(line: string): void {
    this.#above(() => this.#write(Deno.stdout, `${line}\n`));
  }

  /** Prints a line on standard error. */
  err(line: string): void {
    this.#above(() => this.#write(Deno.stderr, `${line}\n`));
  }

  #above(print: () => void): void {
    const erase = this.#erase();
    if (erase !== "") this.#write(Deno.stderr, erase);
    print();
  }

  /** Erasing and drawing go in one write, so that nothing flickers. */
  #refresh(): void {
    if (this.#draw === undefined) return;
    const lines = this.#draw(consoleSize());
    const frame = `${this.#erase()}${lines.map((line) => `${line}\n`).join("")}`;
    this.#drawn = lines.length;
    this.#write(Deno.stderr, frame);
  }

  #erase(): string {
    const lines = this.#drawn;
    this.#drawn = 0;
    return lines === 0 ? "" : `\x1b[${lines}A\x1b[J`;
  }

  /** A reader that went away (`| head`) is no reason to stop mirroring. */
  #write(target: { writeSync(bytes: Uint8Array): number }, text: string): void {
    const bytes = this.#encoder.encode(text);
    try {
      for (let written = 0; written < bytes.length;) written += target.writeSync(bytes.subarray(written));
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
  }
}

function consoleSize(): { columns: number; rows: number } {
  try {
    return Deno.consoleSize();
  } catch {
    return { columns: 80, rows: 24 };
  }
}
