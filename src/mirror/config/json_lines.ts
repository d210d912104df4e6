/** Step 3 of the walk, the config: on which line of a JSONC text each key stands, for messages. */

/** Where a key stands, as the keys and array indexes that lead to it. */
export type Path = readonly (string | number)[];

/** Lines of a text that holds JSONC. */
export interface Lines {
  /** Line (from 1) of the value at a path, or of its key; of the nearest one above when there is none. */
  lineOf(path: Path): number | undefined;
  /** Keys that stand twice in one object. */
  duplicates: { path: Path; lines: [number, number] }[];
}

// Everything that matters here: strings, structure and line ends; comments are matched so that what is in them is not.
const TOKEN = /"(?:[^"\\\n]|\\.)*"|[{}[\],:]|\n|\/\/[^\n]*|\/\*[^]*?\*\//g;

/** How deep a key may stand to have a line: no config is deeper, and each level more makes each key dearer. */
const DEPTH_LIMIT = 32;

/** A container being read: an object waits for a key where an array counts. */
interface Level {
  isArray: boolean;
  index: number;
  key: string | undefined;
}

/** Finds the lines of a text that was already parsed without error; anything else gives lines that are only near. */
export function findLines(text: string): Lines {
  const lines = new Map<string, number>();
  const duplicates: Lines["duplicates"] = [];
  const levels: Level[] = [];
  let line = 1;
  for (const [token] of text.matchAll(TOKEN)) {
    const level = levels.at(-1);
    if (token === "\n") line++;
    else if (token.startsWith("/")) line += token.split("\n").length - 1;
    else if (token === "{" || token === "[") {
      note(lines, levels, line);
      levels.push({ isArray: token === "[", index: 0, key: undefined });
    } else if (token === "}" || token === "]") levels.pop();
    else if (levels.length > DEPTH_LIMIT) continue;
    else if (token === ",") advance(level);
    else if (token.startsWith('"') && level !== undefined && !level.isArray && level.key === undefined) {
      level.key = decode(token);
      const path = pathOf(levels);
      const first = lines.get(JSON.stringify(path));
      if (first !== undefined) duplicates.push({ path, lines: [first, line] });
      lines.set(JSON.stringify(path), line);
    } else if (level?.isArray) note(lines, levels, line);
  }
  return { duplicates, lineOf: (path) => nearest(lines, path) };
}

function note(lines: Map<string, number>, levels: Level[], line: number): void {
  if (levels.length <= DEPTH_LIMIT && levels.at(-1)?.isArray) lines.set(JSON.stringify(pathOf(levels)), line);
}

function advance(level: Level | undefined): void {
  if (level === undefined) return;
  level.index++;
  level.key = undefined;
}

function pathOf(levels: Level[]): Path {
  return levels.map((level) => level.isArray ? level.index : level.key ?? "");
}

function decode(token: string): string {
  try {
    return JSON.parse(token);
  } catch {
    return token.slice(1, -1);
  }
}

function nearest(lines: Map<string, number>, path: Path): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(JSON.stringify(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return undefined;
}

/** Where a JSON text breaks off, and why, without repeating what stands there: it may be a password. */
export interface JsonMistake {
  /** Line, from 1. */
  line: number;
  /** Column, from 1. */
  column: number;
  /** A sentence's end, for people. */
  why: string;
}

/**
 * Says what is wrong with a text that is no JSON.
 *
 * @param offset Where the parser stopped; the end unless told.
 */
export function explainJson(text: string, offset: number = text.trimEnd().length): JsonMistake {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  const column = offset - before.lastIndexOf("\n");
  return { line, column, why: reasonAt(text, offset) };
}

const QUOTE_HINT = "texts and keys stand between double quotes";

function reasonAt(text: string, offset: number): string {
  if (text.includes("\u0000")) return "it is not UTF-8 but UTF-16; save it as UTF-8";
  const first = text[offset] ?? "";
  if (offset >= text.trimEnd().length) {
    return "it ends too early: a bracket, a brace or a comment is not closed";
  }
  if (/["']/.test(first) && isAfterValue(text, offset)) return "a comma is missing before it";
  if (first === '"') return reasonOfText(text.slice(offset));
  if (/['\u2018-\u201F]/.test(first)) return QUOTE_HINT;
  if (first === ",") return "there is a comma too many";
  if (first === ":") return "there is a colon too many";
  if (first === "}" || first === "]") return "there is a bracket or brace too many";
  if (isAfterValue(text, offset)) return "a comma or a colon is missing before it";
  if (/[0-9.+-]/.test(first)) return "it is no number as JSON writes it";
  return `${QUOTE_HINT}; only numbers, true, false and null do not`;
}

function isAfterValue(text: string, offset: number): boolean {
  const before = text.slice(0, offset).replace(/\/\/[^\n]*|\/\*[^]*?\*\//g, "").trimEnd();
  return before !== "" && !/[,:[{]$/.test(before);
}

function reasonOfText(rest: string): string {
  const whole = /^"(?:[^"\\\n]|\\[^\n])*"/.exec(rest)?.[0];
  if (whole === undefined) {
    return "a text does not end on its line: a quote is missing, or a line end is written as it is";
  }
  const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}|(.))/g;
  const wrong = [...whole.matchAll(escape)].find((match) => match[1] !== undefined)?.[1];
  return wrong === undefined
    ? "there is a character that must be escaped"
    : `"\\${wrong}" is no escape; a backslash is written "\\\\"`;
}

/** What kind of value something is, for messages. */
export function nameType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
