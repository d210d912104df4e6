/** Colours where a terminal has them and nobody has said no: `NO_COLOR`, `TERM=dumb` and pipes get plain text. */

/** What a piece of text is to look like. */
export type Tone = "red" | "yellow" | "green" | "bold" | "dim";

/** Gives a text a tone; what comes back is as wide as before. */
export type Paint = (tone: Tone, text: string) => string;

/** Select Graphic Rendition of ECMA-48: what begins a tone, and what ends it. */
const CODES: Record<Tone, [begin: number, end: number]> = {
  red: [31, 39],
  yellow: [33, 39],
  green: [32, 39],
  bold: [1, 22],
  dim: [2, 22],
};

/** Leaves a text as it is. */
export function plain(_tone: Tone, text: string): string {
  return text;
}

function colourful(tone: Tone, text: string): string {
  const [begin, end] = CODES[tone];
  return `\x1b[${begin}m${text}\x1b[${end}m`;
}

/**
 * How an output is painted.
 *
 * @param isTerminal Whether a person sees it.
 * @param environment Variables; `NO_COLOR` with any value but none, as <https://no-color.org> has it, and `TERM`.
 */
export function paintFor(isTerminal: boolean, environment: (name: string) => string | undefined): Paint {
  const isPlain = !isTerminal || (environment("NO_COLOR") ?? "") !== "" || isDumb(environment);
  return isPlain ? plain : colourful;
}

/** Whether a terminal says that it understands no escapes. */
export function isDumb(environment: (name: string) => string | undefined): boolean {
  return environment("TERM") === "dumb";
}

/** Beginnings of lines that say how something went. */
const MARKS: [mark: RegExp, tone: Tone][] = [
  [/^ {2}failed {2}|^error:|^Interrupted/, "red"],
  [/^ {2}copied {2}/, "green"],
  [/^warn:/, "yellow"],
];

/** Paints the word at the beginning of a line that says how something went. */
export function paintMark(line: string, paint: Paint): string {
  for (const [mark, tone] of MARKS) {
    const [word] = mark.exec(line) ?? [];
    if (word !== undefined) return `${paint(tone, word)}${line.slice(word.length)}`;
  }
  return line;
}
