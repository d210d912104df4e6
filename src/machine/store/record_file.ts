/** The file below a file store: appended to, read on from where it was read to, and replaced as a whole by one process at a time. */

import { constants, type Stats } from "node:fs";
import { type FileHandle, mkdir, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { platform } from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { LineSplitter, type VisitLine } from "./line_splitter.ts";

const BUFFER_SIZE = 64 * 1024;
const OWNER_ONLY = 0o600;
/** Milliseconds after which a lock counts as left behind by a process that was killed. */
const LOCK_LIFETIME = 5000;
const LOCK_INTERVAL = 5;
const encoder = new TextEncoder();

/** Whether an error of the system has a code, such as `ENOENT`. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/**
 * Opens a file for reading and appending.
 *
 * @param canCreate Whether a missing file is created, readable by its owner only, with the directories above it.
 * @throws {Error} what the system says; of code `ENOENT` when the file is missing and not to be created.
 */
export async function openRecordFile(path: string, canCreate = false): Promise<RecordFile> {
  const flags = constants.O_RDWR | constants.O_APPEND | (canCreate ? constants.O_CREAT : 0);
  try {
    return new RecordFile(path, await open(path, flags, OWNER_ONLY));
  } catch (error) {
    if (!canCreate || !hasCode(error, "ENOENT")) throw error;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return new RecordFile(path, await open(path, flags, OWNER_ONLY));
  }
}

/** Opens a file that cannot be written, for what it tells. */
export async function openReadOnly(path: string): Promise<RecordFile> {
  return new RecordFile(path, await open(path, constants.O_RDONLY));
}

/** An open records file. */
export class RecordFile {
  #path: string;
  #file: FileHandle;
  #readTo = 0;
  /** The size in bytes at which the file is known to end with a newline; -1 when its last line may be torn. */
  #endsAt = 0;
  /** Which file this is, and what lies beside it while it is replaced. */
  #identity: { name: string; info: Stats } | undefined;

  /** A file that is open at a path. */
  constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Where in the file reading goes on, in bytes. */
  get readTo(): number {
    return this.#readTo;
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Whether there is something to read: a device takes what is written but tells nothing, or never ends. */
  async hasContent(): Promise<boolean> {
    const info = await this.#file.stat();
    if (info.isFile() || info.isCharacterDevice()) return info.isFile();
    throw new Error(info.isDirectory() ? "it is a directory" : "it is not a regular file");
  }

  /**
   * Reads on to the end. Lines too long to be a record are passed over, unread.
   *
   * @param visit Called with each line: an iterator would wait at each of some hundred thousand.
   */
  async readOn(visit: VisitLine): Promise<void> {
    const splitter = new LineSplitter();
    const buffer = new Uint8Array(BUFFER_SIZE);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, BUFFER_SIZE, this.#readTo);
      if (bytesRead === 0) break;
      this.#readTo += bytesRead;
      for (const line of splitter.push(buffer.subarray(0, bytesRead))) visit(line);
    }
    this.#endsAt = splitter.length > 0 ? -1 : this.#readTo;
    if (splitter.length > 0) visit(splitter.rest());
  }

  /**
   * Appends whole lines with one write, so that processes that append at the same time never mix their lines.
   *
   * @returns The size of the file in bytes.
   * @throws {Error} what the system says when the lines cannot be written.
   */
  async append(lines: string): Promise<number> {
    for (let attempt = 1; attempt <= 2; attempt++) {
      const found = (await this.#file.stat()).size;
      // At any other size the last line may be torn, by another process or by a disk that was full.
      const bytes = encoder.encode(found === this.#endsAt ? lines : `\n${lines}`);
      const { bytesWritten } = await this.#file.write(bytes, 0, bytes.length, null);
      this.#endsAt = bytesWritten === bytes.length ? found + bytes.length : -1;
      if (this.#endsAt < 0) continue;
      // What only this process has appended it knows already.
      const isAlone = this.#readTo === found && (await this.#file.stat()).size === this.#endsAt;
      if (isAlone) this.#readTo = this.#endsAt;
      return this.#endsAt;
    }
    throw new Error("only a part could be written");
  }

  /**
   * Whether the path still leads to this file. While another process may be replacing it, this waits: lines that were appended
   * before and are in the file that is there afterwards are safe.
   */
  async isCurrent(): Promise<boolean> {
    const { name, info: mine } = this.#identity ??= {
      name: await besides(this.#path, "compact"),
      info: await this.#file.stat(),
    };
    while (await isFresh(name)) await delay(LOCK_INTERVAL);
    try {
      const found = await stat(this.#path);
      return mine.ino === found.ino && mine.dev === found.dev;
    } catch (error) {
      if (hasCode(error, "ENOENT")) return false;
      throw error;
    }
  }
}

/** What lets go of a lock. */
export type Unlock = () => Promise<void>;

/**
 * Takes the lock of a file: a file beside it that only one can create. A lock of a process that was killed holds for five seconds.
 *
 * @param canWait Whether to wait for whoever has it.
 * @returns `undefined` when somebody else has it.
 * @throws {Error} what the system says where no file can be made beside it.
 */
export async function lockRecordFile(path: string, canWait: boolean): Promise<Unlock | undefined> {
  const name = await besides(path, "lock");
  for (;;) {
    try {
      await (await open(name, "wx", OWNER_ONLY)).close();
      return () => rm(name, { force: true });
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
    const age = await ageOf(name);
    // One that has gone meanwhile may be there again, of somebody else, before it could be removed.
    if (age !== undefined && age >= LOCK_LIFETIME) await rm(name, { force: true });
    else if (!canWait) return undefined;
    else await delay(LOCK_INTERVAL);
  }
}

/** A file beside another; links lead to one file, so they share what is beside it. */
async function besides(path: string, ending: "lock" | "compact"): Promise<string> {
  const target = await realpath(path).catch(() => path);
  return `${target}.${ending}`;
}

/** Whether a file is there that was not left behind by a process that was killed. */
async function isFresh(path: string): Promise<boolean> {
  const age = await ageOf(path);
  return age !== undefined && age < LOCK_LIFETIME;
}

/** Milliseconds since a file was written; `undefined` when it is not there. */
async function ageOf(path: string): Promise<number | undefined> {
  try {
    return Math.abs(Date.now() - (await stat(path)).mtimeMs);
  } catch {
    // Where there is no right to ask, there was none to make one.
    return undefined;
  }
}

/** Makes the lines that are to replace a file's content; `undefined` when it had better stay as it is. */
export type MakeLines = (file: RecordFile) => Promise<string[] | undefined>;

/**
 * Replaces a file in one step: whoever opens it, and whenever this process is killed, finds the old file or the new one. Who has
 * the old one open sees so after appending, and appends again. Nothing happens while somebody else has its lock.
 *
 * @throws {Error} what the system says when the file cannot be locked or the new one cannot be written; the old one is
 * then still there.
 */
export async function replaceRecordFile(path: string, makeLines: MakeLines): Promise<void> {
  // Windows keeps a file that somebody has open from being replaced.
  if (platform === "win32") return;
  const target = await realpath(path);
  const unlock = await lockRecordFile(target, false);
  if (unlock === undefined) return;
  const startedAt = Date.now();
  const name = await besides(target, "compact");
  try {
    // Made before the old file is read, so that who appends meanwhile knows to wait.
    if (!await writeCopy(name, target, makeLines)) return;
    // After this time others may have taken it for one that was left behind.
    if (Date.now() - startedAt < LOCK_LIFETIME) await rename(name, target);
  } finally {
    await rm(name, { force: true });
    await unlock();
  }
}

/** Writes the new file beside the old one, for the same owner and with the same mode; `false` when nothing was to be written. */
async function writeCopy(name: string, target: string, makeLines: MakeLines): Promise<boolean> {
  await rm(name, { force: true });
  const copy = await open(name, "wx", OWNER_ONLY);
  let file: RecordFile | undefined;
  try {
    file = await openReadOnly(target);
    checkReplaceable(await copy.stat(), await stat(target));
    const lines = await makeLines(file);
    if (lines === undefined) return false;
    await copy.chmod((await stat(target)).mode & 0o777);
    await copy.writeFile(lines.join(""));
    // Without this a power cut after the rename could leave an empty file.
    await copy.sync();
    return true;
  } finally {
    await file?.close();
    await copy.close();
  }
}

function checkReplaceable(copy: Stats, old: Stats): void {
  const isReplaceable = copy.uid === old.uid && copy.gid === old.gid && old.nlink === 1;
  if (!isReplaceable) throw new Error("it has another owner or another name");
}
