/** What a file store finds when it opens its file: read once, rewritten first when most of it is outdated. */

import { Facts } from "../../mirror/store/store.ts";
import { formatFact, parsePlainFact, parseRecord } from "./record.ts";
import { openRecordFile, replaceRecordFile, visitLines } from "./record_file.ts";

/** What was found in a records file. */
export interface LoadedRecords {
  /** The facts of the file. */
  facts: Facts;
  /** The open file, when it can be appended to. */
  file?: Deno.FsFile;
  /** The size in bytes at which the file ends with a newline; -1 when its last line is torn. */
  size: number;
  /** How many lines there are, empty ones aside. */
  lines: number;
  /** How many of the lines tell of a fact that a later line or its expiry has made outdated. */
  deadLines: number;
  /** What was thrown when the file could not be used; none when it is only missing. */
  error?: unknown;
}

/** How many lines may be outdated before a file is worth rewriting. */
const MAX_DEAD_LINES = 1000;

/**
 * Opens and reads the records file at `path`, after rewriting it when that is worth it. Nothing is thrown.
 *
 * @param now The clock that expiry is measured by, in milliseconds since 1970.
 */
export async function loadRecords(path: string, now: () => number): Promise<LoadedRecords> {
  const loaded = await tryToRead(path, now);
  if (loaded.file === undefined || !isWasteful(loaded)) return loaded;
  loaded.file.close();
  await compact(path, now);
  return await tryToRead(path, now);
}

function isWasteful(loaded: LoadedRecords): boolean {
  return loaded.deadLines > MAX_DEAD_LINES && loaded.deadLines * 2 > loaded.lines;
}

/** Opens and reads a file; every error but that of a missing file is kept for the warning. */
async function tryToRead(path: string, now: () => number): Promise<LoadedRecords> {
  try {
    return await readRecords(await openRecordFile(path), now);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return emptyRecords(now);
    return { ...await loadReadOnly(path, now), error };
  }
}

/** Reads a file that cannot be written, as far as it can be read: what it tells is still worth knowing. */
async function loadReadOnly(path: string, now: () => number): Promise<LoadedRecords> {
  try {
    // Opening a pipe would wait for somebody to write to it.
    if (!(await Deno.stat(path)).isFile) return emptyRecords(now);
    const { file, ...loaded } = await readRecords(await Deno.open(path), now);
    file?.close();
    return loaded;
  } catch {
    return emptyRecords(now);
  }
}

/** Reads an open file to its end; a file that fails is closed. */
async function readRecords(file: Deno.FsFile, now: () => number): Promise<LoadedRecords> {
  const loaded: LoadedRecords = { ...emptyRecords(now), file };
  try {
    if (await hasContent(file)) await readInto(loaded, file);
    return loaded;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Whether there is something to read: a device takes what is written but tells nothing, or never ends. */
async function hasContent(file: Deno.FsFile): Promise<boolean> {
  const info = await file.stat();
  if (info.isFile || info.isCharDevice) return info.isFile;
  throw new Error(info.isDirectory ? "it is a directory" : "it is not a regular file");
}

async function readInto(loaded: LoadedRecords, file: Deno.FsFile): Promise<void> {
  let told = 0;
  let isWhole = true;
  await visitLines(file, (line) => {
    if (line.bytes.length > 0) loaded.lines++;
    if (takeIn(loaded.facts, line.bytes)) told++;
    isWhole = line.isWhole;
  });
  // Lines that are not understood are not counted: a file full of them is somebody else's and stays as it is.
  loaded.deadLines = told - loaded.facts.size;
  loaded.size = isWhole ? (await file.seek(0, Deno.SeekMode.Current)) : -1;
}

/** Takes in what a line tells; returns whether that is anything. */
function takeIn(facts: Facts, line: Uint8Array): boolean {
  const plain = parsePlainFact(line);
  if (plain !== undefined) {
    facts.load(plain.group, plain.last, plain.text);
    return true;
  }
  const record = parseRecord(line);
  if (record?.text !== undefined) facts.put({ ...record, text: record.text });
  else if (record !== undefined) facts.remove(record.key);
  return record !== undefined;
}

/** Rewrites a file without its outdated lines. It may fail; the file as it was does as well. */
async function compact(path: string, now: () => number): Promise<void> {
  const makeLines = async (file: Deno.FsFile) => {
    const loaded: LoadedRecords = { ...emptyRecords(now), file };
    await readInto(loaded, file);
    return isWasteful(loaded) ? Array.from(loaded.facts.list([]), formatFact) : undefined;
  };
  await replaceRecordFile(path, makeLines).catch(() => {});
}

function emptyRecords(now: () => number): LoadedRecords {
  return { facts: new Facts(now), size: 0, lines: 0, deadLines: 0 };
}
