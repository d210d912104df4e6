/** The file below a file store: opened under a lock, read line by line, appended to, and replaced as a whole. */

import { dirname } from "node:path";
import { MAX_LINE_LENGTH } from "./record.ts";

/** A line of a file, without its newline. */
export interface Line {
  /** The bytes of the line; they are only good until the next line is asked for. */
  bytes: Uint8Array;
  /** Whether a newline followed; only the last line of a file may lack it. */
  isWhole: boolean;
}

/** Options of {@linkcode openRecordFile}. */
export interface OpenRecordFileOptions {
  /** Whether a missing file is created, readable by its owner only, with the directories above it. */
  create?: boolean;
}

const BUFFER_SIZE = 64 * 1024;
const NEWLINE = 0x0a;
const MAX_ATTEMPTS = 10;
const OWNER_ONLY = 0o600;
const encoder = new TextEncoder();

/**
 * Opens a file for reading and appending and holds a shared lock on it until it is closed, so that nobody replaces
 * it meanwhile.
 *
 * @throws {Deno.errors.NotFound} when the file is missing and not to be created; other errors of the system likewise.
 */
export async function openRecordFile(
  path: string,
  options: OpenRecordFileOptions = {},
): Promise<Deno.FsFile> {
  for (let attempt = 1;; attempt++) {
    const file = await openForAppend(path, options.create ?? false);
    try {
      await lockShared(file);
      // Where inode numbers are not stable no attempt would ever do; going on risks no more than lost facts.
      if (attempt === MAX_ATTEMPTS || await isStillAt(file, path)) return file;
    } catch (error) {
      file.close();
      throw error;
    }
    file.close();
  }
}

async function openForAppend(path: string, create: boolean): Promise<Deno.FsFile> {
  const options = { read: true, append: true, create, mode: OWNER_ONLY };
  try {
    return await Deno.open(path, options);
  } catch (error) {
    if (!create || !(error instanceof Deno.errors.NotFound)) throw error;
    await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return await Deno.open(path, options);
  }
}

async function lockShared(file: Deno.FsFile): Promise<void> {
  // Locks are mandatory on Windows: a shared one would keep this very process from writing.
  if (Deno.build.os === "windows") return;
  await file.lock(false).catch(ignoreMissingLocks);
}

async function lockAlone(file: Deno.FsFile): Promise<boolean> {
  if (Deno.build.os === "windows") return false;
  return await file.tryLock(true);
}

/** Some network file systems have no locks; the store then goes on without, and never replaces its file. */
function ignoreMissingLocks(): undefined {}

/** Whether the path still leads to the open file: another process may have replaced it before the lock was held. */
async function isStillAt(file: Deno.FsFile, path: string): Promise<boolean> {
  try {
    const [open, found] = await Promise.all([file.stat(), Deno.stat(path)]);
    return open.ino === found.ino && open.dev === found.dev;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Reads a file from where it stands to its end. Lines too long to be a record are passed over, unread.
 *
 * @param visit Called with each line: an iterator would wait at each of some hundred thousand.
 */
export async function visitLines(file: Deno.FsFile, visit: (line: Line) => void): Promise<void> {
  const splitter = new LineSplitter();
  const buffer = new Uint8Array(BUFFER_SIZE);
  for (let count = await file.read(buffer); count !== null; count = await file.read(buffer)) {
    for (const line of splitter.push(buffer.subarray(0, count))) visit(line);
  }
  if (splitter.length > 0) visit({ bytes: splitter.rest(), isWhole: false });
}

/** Cuts chunks at newlines and holds at most one line of the longest allowed length. */
class LineSplitter {
  #parts: Uint8Array[] = [];
  #length = 0;

  /** How many bytes came since the last newline. */
  get length(): number {
    return this.#length;
  }

  /** The lines that end in this chunk. */
  *push(chunk: Uint8Array): Generator<Line> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      this.#hold(chunk.subarray(start, end));
      yield { bytes: this.rest(), isWhole: true };
      start = end + 1;
    }
    this.#hold(chunk.slice(start));
  }

  /** What is held, which is then let go of; a line that is too long comes out empty. */
  rest(): Uint8Array {
    const [first, ...others] = this.#parts;
    const bytes = first === undefined || others.length === 0 ? first : concatenate(this.#parts, this.#length);
    this.#parts = [];
    this.#length = 0;
    return bytes ?? new Uint8Array();
  }

  #hold(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#length += part.length;
    if (this.#length > MAX_LINE_LENGTH) this.#parts = [];
    else this.#parts.push(part);
  }
}

function concatenate(parts: Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/**
 * Appends whole lines with one write, so that processes that append at the same time never mix their lines.
 *
 * @param size The size in bytes at which the file is known to end with a newline.
 * @returns The size at which it does so now.
 * @throws {Error} what the system says when the lines cannot be written.
 */
export async function appendLines(file: Deno.FsFile, lines: string, size: number): Promise<number> {
  for (let known = size, attempt = 1; attempt <= 2; attempt++, known = -1) {
    const found = (await file.stat()).size;
    // At any other size the last line may be torn, by another process or by a disk that was full.
    const bytes = encoder.encode(found === known ? lines : `\n${lines}`);
    if (await file.write(bytes) === bytes.length) return found + bytes.length;
  }
  throw new Error("only a part could be written");
}

/** Makes the lines that are to replace a file's content; `undefined` when it had better stay as it is. */
export type MakeLines = (file: Deno.FsFile) => Promise<string[] | undefined>;

/**
 * Replaces a file in one step, and only while no other process has it open: whoever looks, and whenever this process
 * is killed, finds the old file or the new one. Nothing happens when the file is in use.
 *
 * @throws {Error} what the system says when the file cannot be locked or the new one cannot be written; the old one is
 * then still there.
 */
export async function replaceRecordFile(path: string, makeLines: MakeLines): Promise<void> {
  const target = await Deno.realPath(path);
  using file = await Deno.open(target, { read: true, write: true });
  if (!await lockAlone(file) || !await isStillAt(file, target)) return;
  const lines = await makeLines(file);
  if (lines === undefined) return;
  const copy = `${target}.compact`;
  try {
    await writeCopy(copy, lines, await file.stat());
    await Deno.rename(copy, target);
  } catch (error) {
    await removeIfThere(copy);
    throw error;
  }
}

/** Writes the new file beside the old one, for the same owner and with the same mode. */
async function writeCopy(path: string, lines: string[], old: Deno.FileInfo): Promise<void> {
  await removeIfThere(path);
  using copy = await Deno.open(path, { write: true, createNew: true, mode: OWNER_ONLY });
  const info = await copy.stat();
  const isReplaceable = info.uid === old.uid && info.gid === old.gid && (old.nlink ?? 1) === 1;
  if (!isReplaceable) throw new Error("it has another owner or another name");
  if (old.mode !== null && old.mode !== info.mode) await Deno.chmod(path, old.mode & 0o777);
  await writeAll(copy, encoder.encode(lines.join("")));
  // Without this a power cut after the rename could leave an empty file.
  await copy.sync();
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length;) offset += await file.write(bytes.subarray(offset));
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
