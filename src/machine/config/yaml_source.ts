/** A config in YAML: its value, and the lines its keys stand on; and other values written so. */

import process from "node:process";
import {
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  stringify,
  visit,
} from "yaml";
import { ConfigError } from "../../mirror/config/config.ts";
import { BOOLEAN_KEYS, type ConfigSource } from "../../mirror/config/config_text.ts";
import type { Lines, Path } from "../../mirror/config/json_lines.ts";

/** Values that aliases may come to: as many as a large config has rules, and far fewer than a "billion laughs". */
const ALIAS_LIMIT = 10_000;

/**
 * Parses YAML 1.1, the dialect of image-syncer's Go version, with its understanding of texts: keys, and values where a text
 * is wanted, are as they are written (`password: yes` is "yes", and `y` is a key like any other); `<<` merges.
 *
 * @param file Name of the file, for messages.
 * @throws {ConfigError} with the line and column of the first problem.
 */
export function parseYaml(text: string, file?: string): ConfigSource {
  const counter = new LineCounter();
  const document = parseQuietly(withoutEmptyEnd(text), {
    version: "1.1",
    lineCounter: counter,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: "error",
  });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const { line, col } = counter.linePos(problem.pos[0]);
    throw new ConfigError(
      { file, line },
      `it is not valid YAML at column ${col}: ${problem.code.toLowerCase().replaceAll("_", " ")}`,
    );
  }
  visit(document, {
    Collection: (_, node) => {
      const kind = /^tag:yaml\.org,2002:(omap|set|pairs)$/.exec(node.tag ?? "")?.[1];
      if (kind === undefined) return;
      const { line } = counter.linePos(node.range?.[0] ?? 0);
      throw new ConfigError({ file, line }, `a YAML "!!${kind}" is no map; write the keys without it`);
    },
    Scalar: (key, node, ancestors) => keepAsWritten(node, key === "key" ? undefined : keyBefore(ancestors)),
  });
  const lines = linesOf(document.contents, counter);
  const source: ConfigSource = { value: valueOf(document, file), lines };
  return file === undefined ? source : { ...source, file };
}

/** Many generators end a document with the mark that begins another one. */
function withoutEmptyEnd(text: string): string {
  return text.replace(/(\n)(?:(?:---|\.\.\.)[ \t]*(?:#[^\n]*)?\s*)+$/, "$1");
}

/** A password of digits is a password, and so is "yes": it is the text that it is. So are a date, 1:30, and every key. */
function keepAsWritten(node: Scalar, key: string | undefined): void {
  if (typeof node.value === "string" || node.source === undefined) return;
  const isWanted = key !== undefined &&
    (node.value === null || typeof node.value === "boolean" && BOOLEAN_KEYS.includes(key));
  if (!isWanted) node.value = node.source;
}

/** The key whose value, or whose list's item, a node is. */
function keyBefore(ancestors: readonly unknown[]): string {
  const pair = ancestors.findLast(isPair);
  return pair === undefined ? "" : keyOf(pair);
}

/** The parser looks for debugging variables at every token, and an environment that may not be read must not end it. */
function parseQuietly(...args: Parameters<typeof parseDocument>): ReturnType<typeof parseDocument> {
  const { env } = process;
  process.env = {};
  try {
    return parseDocument(...args);
  } finally {
    process.env = env;
  }
}

function valueOf(document: ReturnType<typeof parseDocument>, file: string | undefined): unknown {
  try {
    return document.toJS({ maxAliasCount: ALIAS_LIMIT });
  } catch (cause) {
    const isMissing = cause instanceof ReferenceError && /unresolved/i.test(cause.message);
    const why = isMissing ? "a YAML alias in it has no anchor" : "its YAML aliases come to too much";
    throw new ConfigError({ file }, why, { cause });
  }
}

function linesOf(root: Node | null, counter: LineCounter): Lines {
  const lines = new Map<string, number>();
  const duplicates: Lines["duplicates"] = [];
  if (root !== null) {
    visit(root, {
      Pair: (_, pair, ancestors) => {
        const path = [...pathOf(ancestors), keyOf(pair)];
        const line = isScalar(pair.key) ? counter.linePos(pair.key.range?.[0] ?? 0).line : undefined;
        if (line === undefined) return;
        const known = lines.get(JSON.stringify(path));
        if (known !== undefined) duplicates.push({ path, lines: [known, line] });
        else lines.set(JSON.stringify(path), line);
      },
    });
  }
  return { duplicates, lineOf: (path) => nearestLine(lines, path) };
}

function pathOf(ancestors: readonly unknown[]): Path {
  return ancestors.flatMap((node, index): (string | number)[] => {
    if (isPair(node)) return [keyOf(node)];
    // Maps in a list are different maps, whatever their keys.
    return isSeq(node) && index + 1 < ancestors.length ? [node.items.indexOf(ancestors[index + 1])] : [];
  });
}

function isPair(node: unknown): node is Pair {
  return typeof node === "object" && node !== null && "key" in node && "value" in node && !isScalar(node);
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : "";
}

function nearestLine(lines: Map<string, number>, path: Path): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(JSON.stringify(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return undefined;
}

/** Writes a value as YAML. */
export function formatYaml(value: unknown): string {
  return stringify(value);
}
