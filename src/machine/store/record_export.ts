/** A store as lines that another store takes in: a head that says what they are, a line a fact, an end that says how many. */

import { SetupError } from "../../mirror/config/config.ts";
import { isExpired, type Store, type StoreEntry } from "../../mirror/store/store.ts";
import { formatRecord, parseRecord } from "./record.ts";

/** Lines cannot be taken in. */
export class RecordsError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "RecordsError";

  /** Says what is wrong with them. */
  constructor(why: string, options: ErrorOptions & { action?: "export" | "import" } = {}) {
    super(`Cannot ${options.action ?? "import"} records: ${why}`, options);
  }
}

/** The form of the lines; a program reads its own and older ones. */
const VERSION = 1;
/** How many facts are set before they are made durable. */
const BATCH = 1000;
const encoder = new TextEncoder();

/** Gives every fact of a store as a line with its newline, a head before them and an end behind them. */
export async function* exportRecords(store: Store): AsyncGenerator<string> {
  let count = 0;
  yield `${JSON.stringify({ imageSyncerRecords: VERSION })}\n`;
  for await (const { key, value, expiresAt } of store.list([])) {
    count++;
    yield formatRecord({
      key,
      text: JSON.stringify(value),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    });
  }
  yield `${JSON.stringify({ count })}\n`;
}

/** Options of {@linkcode importRecords}. */
export interface ImportRecordsOptions {
  /** The clock that expiry is measured by, in milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
}

/**
 * Sets in a store what lines of {@linkcode exportRecords} tell, over what is there.
 *
 * @param lines Without their newlines.
 * @returns How many facts were set; what has expired meanwhile is left out.
 * @throws {RecordsError} when they are something else, of a later form, damaged, or end too early; what came before is set then.
 */
export async function importRecords(
  store: Store,
  lines: AsyncIterable<string>,
  options: ImportRecordsOptions = {},
): Promise<number> {
  const { now = Date.now } = options;
  let [number, read, count] = [0, 0, 0];
  let end: number | undefined;
  for await (const line of lines) {
    number++;
    if (number === 1) checkHead(line);
    else if (line.trim() === "") continue;
    else if (end !== undefined) throw new RecordsError(`line ${number} comes after the end`);
    else if ((end = readEnd(line)) === undefined) {
      if (await setEntry(store, readEntry(line, number), now())) count++;
      if (++read % BATCH === 0) await store.flush();
    }
  }
  await store.flush();
  if (number === 0) throw new RecordsError("there are none");
  if (end !== read) {
    throw new RecordsError(`they are cut off after line ${number}; what came before was taken in`);
  }
  return count;
}

function checkHead(line: string): void {
  const version = parseObject(line).imageSyncerRecords;
  if (version === VERSION) return;
  if (typeof version === "number") {
    throw new RecordsError(
      `they are of form ${version}, and this program reads form ${VERSION}; use a newer one`,
    );
  }
  throw new RecordsError(`${describe(line)}; make them with: image-syncer records export`);
}

/** What somebody may take for records. */
function describe(line: string): string {
  if (line.startsWith("SQLite format 3")) return "this is a database itself";
  if (line.startsWith('{"k":')) return "this is the file of a store itself, to be used as --store file:PATH";
  if (/^[^,]+,[a-z0-9]+:[0-9a-f]+,\d+$/.test(line)) {
    return "these are of image-syncer 1.0.3, and name no repository, so that nothing can be done with them";
  }
  return "they do not begin as records do";
}

function readEnd(line: string): number | undefined {
  const { count } = parseObject(line);
  return typeof count === "number" ? count : undefined;
}

function readEntry(line: string, number: number): StoreEntry {
  const record = parseRecord(encoder.encode(line));
  if (record?.text === undefined) throw new RecordsError(`line ${number} is no record`);
  const { key, text, expiresAt } = record;
  return { key, value: JSON.parse(text), ...(expiresAt === undefined ? {} : { expiresAt }) };
}

/** Whether a fact was set: what has expired is not. */
async function setEntry(store: Store, { key, value, expiresAt }: StoreEntry, now: number): Promise<boolean> {
  if (isExpired(expiresAt === undefined ? {} : { expiresAt }, now)) return false;
  await store.set(key, value, expiresAt === undefined ? {} : { expiresIn: expiresAt - now });
  return true;
}

/** The members of a JSON object, none when the text is none. */
function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
