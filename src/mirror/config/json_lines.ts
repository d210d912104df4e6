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
