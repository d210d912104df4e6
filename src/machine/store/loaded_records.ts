/** What a file store finds when it opens its file: read once, rewritten first when most of it is outdated. */

import { stat } from "node:fs/promises";
import { Facts } from "../../mirror/store/memory_store.ts";
import { formatFact, parsePlainFact, parseRecord } from "./record.ts";
import { hasCode, openReadOnly, openRecordFile, type RecordFile, replaceRecordFile } from "./record_file.ts";

/** What was found in a records file. */
export interface LoadedRecords {
  /** The facts of the file. */
  facts: Facts;
  /** The open file, when it can be appended to. */
  file?: RecordFile;
  /** Bytes read. */
  size: number;
  /** How many lines there are, empty ones aside. */
  lines: number;
  /** How many of the lines tell of a fact that a later line or its expiry has made outdated. */
  deadLines: number;
  /** What was thrown when the file could not be used; none when it is only missing. */
  error?: unknown;
}

/** How many lines may be outdated, in a file of few bytes, before it is worth rewriting. */
const MAX_DEAD_LINES = 1000;
/** Bytes below which a file is small. */
export const SMALL_FILE = 1024 * 1024;

/**
 * Opens and reads the records file at `path`, after rewriting it when that is worth it. Nothing is thrown.
 *
 * @param now The clock that expiry is measured by, in milliseconds since 1970.
 */
export async function loadRecords(path: string, now: () => number): Promise<LoadedRecords> {
  const loaded = await tryToRead(path, now);
  if (loaded.file === undefined || !isWasteful(loaded)) return loaded;
  await loaded.file.close();
  await compactRecords(path, now);
  return await tryToRead(path, now);
}

/** Rewrites a file without its outdated lines, if that is worth it. It may fail; the file as it was does as well. */
export async function compactRecords(path: string, now: () => number): Promise<void> {
  const makeLines = async (file: RecordFile) => {
    const loaded = emptyRecords(now);
    await readInto(loaded, file);
    return isWasteful(loaded) ? Array.from(loaded.facts.list([]), formatFact) : undefined;
  };
  await replaceRecordFile(path, makeLines).catch(() => {});
}

/** Takes in what a line tells; returns whether that is anything. */
export function takeIn(facts: Facts, line: Uint8Array): boolean {
  const plain = parsePlainFact(line);
  if (plain !== undefined) {
    facts.load(plain.group, plain.last, plain.kept);
    return true;
  }
  const record = parseRecord(line);
  if (record?.text !== undefined) facts.put({ ...record, text: record.text });
  else if (record !== undefined) facts.remove(record.key);
  return record !== undefined;
}

function isWasteful({ lines, deadLines, size }: LoadedRecords): boolean {
  return (deadLines > MAX_DEAD_LINES || size > SMALL_FILE) && deadLines * 3 > lines;
}

/** Opens and reads a file; every error but that of a missing file is kept for the warning. */
async function tryToRead(path: string, now: () => number): Promise<LoadedRecords> {
  try {
    return await readRecords(await openRecordFile(path), now);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return emptyRecords(now);
    return { ...await loadReadOnly(path, now), error };
  }
}

/** Reads a file that cannot be written, as far as it can be read: what it tells is still worth knowing. */
async function loadReadOnly(path: string, now: () => number): Promise<LoadedRecords> {
  try {
    // Opening a pipe would wait for somebody to write to it.
    if (!(await stat(path)).isFile()) return emptyRecords(now);
    const { file, ...loaded } = await readRecords(await openReadOnly(path), now);
    await file?.close();
    return loaded;
  } catch {
    return emptyRecords(now);
  }
}

/** Reads an open file to its end; a file that fails is closed. */
async function readRecords(file: RecordFile, now: () => number): Promise<LoadedRecords> {
  const loaded: LoadedRecords = { ...emptyRecords(now), file };
  try {
    if (await file.hasContent()) await readInto(loaded, file);
    return loaded;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readInto(loaded: LoadedRecords, file: RecordFile): Promise<void> {
  let told = 0;
  await file.readOn((line) => {
    if (line.length > 0) loaded.lines++;
    if (takeIn(loaded.facts, line)) told++;
  });
  // Lines that are not understood are not counted: a file full of them is somebody else's and stays as it is.
  loaded.deadLines = told - loaded.facts.size;
  loaded.size = file.readTo;
}

function emptyRecords(now: () => number): LoadedRecords {
  return { facts: new Facts(now), size: 0, lines: 0, deadLines: 0 };
}
