/** The words of JSON with comments: text in, tokens out, in one pass. */

/** One word of the text. */
export interface Token {
  /** A bracket, brace, colon or comma; a text in quotes; or anything else up to the next of these. */
  readonly type: "sign" | "string" | "word";
  /** As written, quotes and all. */
  readonly text: string;
  /** Where it begins, in UTF-16 code units from zero. */
  readonly position: number;
}

const WHITESPACE = /[ \t\r\n]+/y;
const WORD = /[^ \t\r\n{}[\]:,"/]+/y;
const QUOTE_OR_ESCAPE = /["\\]/g;
const LINE_END = /[\r\n]/g;

/**
 * Cuts a text into tokens and leaves out whitespace and comments. What a token says is not checked.
 *
 * @throws {SyntaxError} when a block comment has no end
 */
export function* readTokens(text: string): Generator<Token> {
  let position = 0;
  while (position < text.length) {
    const skipped = skip(text, position);
    if (skipped === position) {
      const token = readToken(text, position);
      yield token;
      position += token.text.length;
    } else {
      position = skipped;
    }
  }
}

/** Where the whitespace or comment at `position` ends; `position` itself if there is none. */
function skip(text: string, position: number): number {
  if (text.startsWith("//", position)) return find(LINE_END, text, position);
  if (text.startsWith("/*", position)) {
    const end = text.indexOf("*/", position + 2);
    if (end < 0) throw new SyntaxError("Cannot parse JSONC: unexpected end of JSONC input");
    return end + 2;
  }
  return position + matchAt(WHITESPACE, text, position).length;
}

function readToken(text: string, position: number): Token {
  const first = text.charAt(position);
  if ("{}[]:,".includes(first)) return { type: "sign", text: first, position };
  if (first === '"') return { type: "string", text: readString(text, position), position };
  return { type: "word", text: matchAt(WORD, text, position) || first, position };
}

/** A text in quotes, or all the rest when the second quote is missing. */
function readString(text: string, position: number): string {
  let end = find(QUOTE_OR_ESCAPE, text, position + 1);
  while (text.charAt(end) === "\\") end = find(QUOTE_OR_ESCAPE, text, end + 2);
  return text.slice(position, end + 1);
}

function find(pattern: RegExp, text: string, position: number): number {
  pattern.lastIndex = position;
  return pattern.exec(text)?.index ?? text.length;
}

function matchAt(pattern: RegExp, text: string, position: number): string {
  pattern.lastIndex = position;
  return pattern.exec(text)?.[0] ?? "";
}
