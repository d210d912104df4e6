/** A config in YAML: its value, and the lines its keys stand on. */

import process from "node:process";
import { isScalar, LineCounter, type Node, type Pair, parseDocument, visit } from "yaml";
import { ConfigError } from "../../mirror/config/config.ts";
import type { ConfigSource } from "../../mirror/config/config_text.ts";
import type { Lines, Path } from "../../mirror/config/json_lines.ts";

/** Values that aliases may come to: as many as a large config has rules, and far fewer than a "billion laughs". */
const ALIAS_LIMIT = 10_000;

/**
 * Parses YAML 1.1, the dialect of image-syncer's Go version: `yes` and `on` are true, and `<<` merges.
 *
 * @param file Name of the file, for messages.
 * @throws {ConfigError} with the line and column of the first problem.
 */
export function parseYaml(text: string, file?: string): ConfigSource {
  const counter = new LineCounter();
  const document = parseQuietly(text, {
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
  const lines = linesOf(document.contents, counter);
  // A password of digits is a password: image-syncer's Go version takes it as the text it is. So are a date and 1:30.
  visit(document, {
    Scalar: (_, node) => {
      const isKept = ["string", "boolean"].includes(typeof node.value) || node.value === null;
      if (!isKept && node.source !== undefined) node.value = node.source;
    },
  });
  const source: ConfigSource = { value: valueOf(document, file), lines };
  return file === undefined ? source : { ...source, file };
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
  return ancestors.filter(isPair).map(keyOf);
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
