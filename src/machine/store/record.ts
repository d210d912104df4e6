/** One line of a records file: how a fact is written, and what is understood of whatever stands there. */

import type { Fact, StoreKey } from "../../mirror/store/store.ts";

/** The longest line, in bytes, that is written or read; longer ones are passed over. */
export const MAX_LINE_LENGTH = 1024 * 1024;

/** What one line says: a fact, or without a text that a key is forgotten. */
export interface StoreRecord {
  /** The key spoken of. */
  key: StoreKey;
  /** The value as JSON text; without it the line is a tombstone. */
  text?: string;
  /** When the fact is gone, in milliseconds since 1970. */
  expiresAt?: number;
}

/** Spells a record as one line with its newline: `{"k":[…],"v":…,"e":…}`. */
export function formatRecord(record: StoreRecord): string {
  const value = record.text === undefined ? "" : `,"v":${record.text}`;
  const expiry = record.expiresAt === undefined ? "" : `,"e":${record.expiresAt}`;
  return `{"k":${JSON.stringify(record.key)}${value}${expiry}}\n`;
}

/** Spells a fact as one line, or as a tombstone when it is too long to be read again. */
export function formatFact(fact: Fact): string {
  const line = formatRecord(fact);
  const isShort = line.length * 3 <= MAX_LINE_LENGTH || encoder.encode(line).length <= MAX_LINE_LENGTH;
  return isShort ? line : formatRecord({ key: fact.key });
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads one line without its newline.
 *
 * @returns `undefined` when the line is none of this project's form, such as `registry,digest,size` of image-syncer 1.0.3: it says
 * that a registry has a blob, but not in which repository, so nothing can be asked, or mounted, by it.
 */
export function parseRecord(line: Uint8Array): StoreRecord | undefined {
  const text = decodeLine(line);
  if (text === undefined) return undefined;
  return text.startsWith("{") ? parseOwnForm(text) : undefined;
}

/** A fact as `Facts` takes it in where many are read. */
export interface PlainFact {
  /** All parts of its key but the last, encoded. */
  group: string;
  /** The last part of its key. */
  last: string;
  /** Its value as JSON text, and where it expires `@` and the time in milliseconds since 1970. */
  kept: string;
}

/** Texts without escapes, a flat object of texts and whole numbers, an expiry perhaps. */
const PLAIN_FACT = (() => {
  const text = String.raw`[ !#-[\]-~]+`;
  const member = `"${text}":(?:"${text}"|0|[1-9]\\d{0,14})`;
  return new RegExp(
    `^\\{"k":(\\["${text}"(?:,"${text}")*),"(${text})"\\],"v":(\\{${member}(?:,${member})*\\})(?:,"e":([1-9]\\d{0,14}))?\\}$`,
  );
})();

/**
 * Reads a line that looks as nearly all do; `undefined` when it does not, which says nothing of whether it tells a fact.
 *
 * A mirror of 10,000 tags has 110,000 lines to read before its first request: 0.60 s where all were parsed as JSON.
 */
export function parsePlainFact(line: Uint8Array): PlainFact | undefined {
  const whole = latin1.decode(line);
  const [, parts, last, text, expiry] = PLAIN_FACT.exec(whole) ?? [];
  if (parts === undefined || last === undefined || text === undefined) return undefined;
  // Parts of a text keep all of it in memory, so what stays is read once more.
  const copy = (from: number, length: number) => latin1.decode(line.subarray(from, from + length));
  const start = '{"k":'.length + parts.length + ',"'.length;
  const value = copy(start + last.length + '"],"v":'.length, text.length);
  return {
    group: `${parts}]`,
    last: copy(start, last.length),
    kept: expiry === undefined ? value : `${value}@${expiry}`,
  };
}

const latin1 = new TextDecoder("latin1");

/** The text of a line, or `undefined` when it is not UTF-8. */
function decodeLine(line: Uint8Array): string | undefined {
  // A power cut may leave a run of NUL bytes in front of what was appended afterwards.
  const start = line.findIndex((byte) => byte !== 0);
  try {
    return decoder.decode(line.subarray(Math.max(start, 0))).trim();
  } catch {
    return undefined;
  }
}

function parseOwnForm(text: string): StoreRecord | undefined {
  const { k: key, v: value, e: expiresAt } = parseObject(text);
  if (!isKey(key) || !(expiresAt === undefined || typeof expiresAt === "number")) return undefined;
  const record: StoreRecord = { key };
  if (value !== undefined) record.text = JSON.stringify(value);
  if (expiresAt !== undefined) record.expiresAt = expiresAt;
  return record;
}

/** The members of a JSON object, none when the text is not JSON. */
function parseObject(text: string): { k?: unknown; v?: unknown; e?: unknown } {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function isKey(value: unknown): value is StoreKey {
  return Array.isArray(value) && value.length > 0 && value.every((part) => typeof part === "string");
}
