/** The store in one file: facts as lines, appended in the background, the last line of a key winning. */

import {
  type Facts,
  makeFact,
  type Store,
  type StoreEntry,
  type StoreKey,
  type StoreSetOptions,
  type StoreValue,
  valueOf,
} from "../../mirror/store/store.ts";
import { formatFact, formatRecord } from "./record.ts";
import { appendLines, openRecordFile } from "./record_file.ts";
import { type LoadedRecords, loadRecords } from "./loaded_records.ts";

/** Options of {@linkcode openFileStore}. */
export interface FileStoreOptions {
  /** Told at most once, in a sentence, that the file cannot be read or written and facts last for this run only. */
  onWarning?: (message: string) => void;
  /** The clock that expiry is measured by, in milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
}

/** Lines written at once, in UTF-16 units: about 64 KiB. */
const BATCH_LENGTH = 64 * 1024;
/**
 * Milliseconds for which lines gather before they are written. Who is killed in between loses facts, which costs a request each;
 * written as they come, the 11,000 facts of 1,000 tags took 0.4 s of CPU.
 */
const BATCH_TIME = 50;

/**
 * Opens the store in the file at `path`. A missing file is created at the first write, readable by its owner only.
 *
 * Several processes may have the same file open; each sees what stood there when it opened it, and its own facts. A
 * file that is mostly outdated lines is rewritten at opening, if no other process has it open. A file that cannot be
 * read or written is no error: the store then lives in memory and says so once. Records files of image-syncer 1.0.3
 * are read as hints (`hintKey`).
 */
export async function openFileStore(path: string, options: FileStoreOptions = {}): Promise<FileStore> {
  return new FileStore(path, await loadRecords(path, options.now ?? Date.now), options);
}

/** A store in a file; made by {@linkcode openFileStore}. */
export class FileStore implements Store {
  #path: string;
  #facts: Facts;
  #now: () => number;
  #onWarning: (message: string) => void;
  #file: Deno.FsFile | undefined;
  #size: number;
  #lines: string[] = [];
  #writing: Promise<void> | undefined;
  #hurry: () => void = () => {};
  #isHurried = false;
  #isMemoryOnly = false;

  /** Takes over what was loaded from the file at `path`. */
  constructor(path: string, loaded: LoadedRecords, options: FileStoreOptions) {
    this.#path = path;
    this.#facts = loaded.facts;
    this.#file = loaded.file;
    this.#size = loaded.size;
    this.#now = options.now ?? Date.now;
    this.#onWarning = options.onWarning ?? (() => {});
    if (loaded.error !== undefined) this.#fail(loaded.error);
  }

  /** The value at a key. */
  get(key: StoreKey): Promise<StoreValue | undefined> {
    const fact = this.#facts.get(key);
    return Promise.resolve(fact && valueOf(fact));
  }

  /** Sets the value at a key; the line is written in the background, and none when the fact is already there. */
  set(key: StoreKey, value: StoreValue, options: StoreSetOptions = {}): Promise<void> {
    const fact = makeFact({ key, value }, this.#now(), options);
    if (this.#facts.put(fact)) this.#write(formatFact(fact));
    return Promise.resolve();
  }

  /** Forgets the value at a key. */
  delete(key: StoreKey): Promise<void> {
    if (this.#facts.remove(key)) this.#write(formatRecord({ key }));
    return Promise.resolve();
  }

  /** Every entry whose key starts with `prefix`. */
  async *list(prefix: StoreKey): AsyncGenerator<StoreEntry> {
    for (const fact of this.#facts.list(prefix)) yield { key: fact.key, value: valueOf(fact) };
  }

  /** Waits until everything set so far is handed to the system. */
  async flush(): Promise<void> {
    this.#isHurried = true;
    this.#hurry();
    await this.#writing;
    this.#isHurried = false;
  }

  /** Flushes and closes the file. */
  async close(): Promise<void> {
    await this.flush();
    this.#stopWriting();
  }

  #write(line: string): void {
    if (this.#isMemoryOnly) return;
    this.#lines.push(line);
    this.#writing ??= this.#drain();
  }

  /** Writes until nothing is left; what is set meanwhile makes the next batch. */
  async #drain(): Promise<void> {
    try {
      this.#file ??= await openRecordFile(this.#path, { create: true });
      while (this.#lines.length > 0) {
        await this.#gather();
        this.#size = await appendLines(this.#file, takeBatch(this.#lines), this.#size);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#writing = undefined;
    }
  }

  /** Waits for more lines, unless somebody waits for these. */
  async #gather(): Promise<void> {
    if (this.#isHurried) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, BATCH_TIME);
    this.#hurry = resolve;
    await promise;
    clearTimeout(timer);
  }

  #fail(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.#stopWriting();
    this.#onWarning(`Cannot write store "${this.#path}": ${why}; new facts last for this run only`);
  }

  #stopWriting(): void {
    this.#isMemoryOnly = true;
    this.#lines = [];
    this.#file?.close();
    this.#file = undefined;
  }
}

/** Takes the first lines off, as many as are written at once, but at least one. */
function takeBatch(lines: string[]): string {
  let length = 0;
  const end = lines.findIndex((line) => (length += line.length) > BATCH_LENGTH);
  return lines.splice(0, end < 0 ? lines.length : Math.max(end, 1)).join("");
}
