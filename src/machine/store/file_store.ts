/** The store in one file: facts as lines, appended in the background, the last line of a key winning. */

import type { Facts } from "../../mirror/store/memory_store.ts";
import {
  entryOf,
  isExpected,
  makeFact,
  type Store,
  type StoreEntry,
  type StoreKey,
  type StoreSetOptions,
  type StoreValue,
  valueOf,
} from "../../mirror/store/store.ts";
import { faultOf, whyNotWritten } from "../system_error.ts";
import { compactRecords, type LoadedRecords, loadRecords, SMALL_FILE, takeIn } from "./loaded_records.ts";
import { formatFact, formatRecord } from "./record.ts";
import { lockRecordFile, openRecordFile, type RecordFile } from "./record_file.ts";

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
/** How often a batch is written again because its file was replaced; where inode numbers are not stable none would ever do. */
const MAX_ATTEMPTS = 3;
/** By how much a file may grow before it is looked at whether it is worth rewriting. */
const GROWTH = 1.5;
/** Milliseconds after which a file that has grown is looked at even where little was seen to be outdated. */
const LOOK_INTERVAL = 24 * 60 * 60 * 1000;
const encoder = new TextEncoder();

/**
 * Opens the store in the file at `path`. A missing file is created at the first write, readable by its owner only.
 *
 * Several processes may have the same file open; each sees what stood there when it opened it, its own facts, and at `update`
 * what is there then. A file that is mostly outdated lines is rewritten, at opening and whenever it has grown by half. A file that
 * cannot be read or written is no error: the store then lives in memory and says so once.
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
  #file: RecordFile | undefined;
  /** The size in bytes at which the file is rewritten; found out at the next append where it is not known. */
  #compactAt: number | undefined;
  /** About how many bytes of the file this process has made outdated since it was last looked at. */
  #outdated = 0;
  /** When it was last looked at how much of the file is outdated, in milliseconds since 1970. */
  #lookedAt: number;
  #lines: string[] = [];
  #writing: Promise<void> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #update: Promise<unknown> = Promise.resolve();
  #hurry: () => void = () => {};
  #isHurried = false;
  #isMemoryOnly = false;

  /** Takes over what was loaded from the file at `path`. */
  constructor(path: string, loaded: LoadedRecords, options: FileStoreOptions) {
    this.#path = path;
    this.#facts = loaded.facts;
    this.#file = loaded.file;
    this.#now = options.now ?? Date.now;
    this.#lookedAt = this.#now();
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
    const become = this.#facts.put(fact);
    if (become !== "same") this.#write(formatFact(fact), become === "replaced");
    return Promise.resolve();
  }

  /** Forgets the value at a key. */
  delete(key: StoreKey): Promise<void> {
    if (this.#facts.remove(key)) this.#write(formatRecord({ key }), true);
    return Promise.resolve();
  }

  /** Sets the value at a key if what is there is what is expected, whoever has put it there. */
  async update(
    key: StoreKey,
    expected: StoreValue | undefined,
    value: StoreValue | undefined,
    options: StoreSetOptions = {},
  ): Promise<boolean> {
    const update = this.#update.then(() =>
      this.#alone(key, async () => {
        if (!isExpected(this.#facts.get(key), expected)) return false;
        await (value === undefined ? this.delete(key) : this.set(key, value, options));
        await this.flush();
        return true;
      })
    );
    this.#update = update.catch(() => {});
    return await update;
  }

  /** Every entry whose key starts with `prefix`. */
  async *list(prefix: StoreKey): AsyncGenerator<StoreEntry> {
    for (const fact of this.#facts.list(prefix)) yield entryOf(fact);
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
    await this.#stopWriting();
  }

  #write(line: string, isOutdating: boolean): void {
    if (this.#isMemoryOnly) return;
    if (isOutdating) this.#outdated += line.length;
    this.#lines.push(line);
    this.#writing ??= this.#drain();
  }

  /** Writes until nothing is left; what is set meanwhile makes the next batch. */
  async #drain(): Promise<void> {
    try {
      while (this.#lines.length > 0) {
        await this.#gather();
        await this.#inTurn(() => this.#append(takeBatch(this.#lines)));
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#writing = undefined;
    }
  }

  /** One thing is done with the file at a time. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #append(lines: string): Promise<void> {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const file = await this.#open();
      const size = await file.append(lines);
      if (!await file.isCurrent()) {
        await this.#letGo();
        continue;
      }
      this.#compactAt ??= GROWTH * Math.max(SMALL_FILE, size);
      if (size >= this.#compactAt && this.#isWasteful(size)) await this.#compact();
      return;
    }
  }

  /** Whether the file is worth reading, to be rewritten: others, and time, make facts outdated too. */
  #isWasteful(size: number): boolean {
    return this.#outdated * 3 > size || this.#now() - this.#lookedAt > LOOK_INTERVAL;
  }

  /** Without this the file of a service that is never opened again would grow for ever. */
  async #compact(): Promise<void> {
    await this.#letGo();
    await compactRecords(this.#path, this.#now);
    this.#compactAt = undefined;
    this.#outdated = 0;
    this.#lookedAt = this.#now();
  }

  async #open(): Promise<RecordFile> {
    return this.#file ??= await openRecordFile(this.#path, true);
  }

  async #letGo(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** Does something while no other process updates the file, and knowing what it says of a key. */
  async #alone(key: StoreKey, work: () => Promise<boolean>): Promise<boolean> {
    await this.flush();
    let unlock: (() => Promise<void>) | undefined;
    try {
      if (!this.#isMemoryOnly) {
        await this.#inTurn(async () => void await this.#open());
        // Where no lock can be made, nobody else is kept out.
        unlock = await lockRecordFile(this.#path, true).catch(() => undefined);
        await this.#inTurn(() => this.#catchUp(key));
      }
      return await work();
    } catch (error) {
      this.#fail(error);
      return false;
    } finally {
      await unlock?.();
    }
  }

  /** Takes in what other processes have appended; what is not written yet goes before it. */
  async #catchUp(key: StoreKey): Promise<void> {
    if (this.#file !== undefined && !await this.#file.isCurrent()) await this.#letGo();
    const file = await this.#open();
    if (!await file.hasContent()) return;
    if (file.readTo === 0) this.#facts.remove(key);
    await file.readOn((line) => takeIn(this.#facts, line));
    for (const line of this.#lines) takeIn(this.#facts, encoder.encode(line.trimEnd()));
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
    if (this.#isMemoryOnly) return;
    const isForbidden = faultOf(error) === "not-allowed";
    const why = isForbidden
      ? "it is not allowed; add it to --allow-read and --allow-write"
      : whyNotWritten(error);
    this.#stopWriting().catch(() => {});
    this.#onWarning(`Cannot write store "${this.#path}": ${why}; new facts last for this run only`);
  }

  async #stopWriting(): Promise<void> {
    this.#isMemoryOnly = true;
    this.#lines = [];
    await this.#letGo();
  }
}

/** Takes the first lines off, as many as are written at once, but at least one. */
function takeBatch(lines: string[]): string {
  let length = 0;
  const end = lines.findIndex((line) => (length += line.length) > BATCH_LENGTH);
  return lines.splice(0, end < 0 ? lines.length : Math.max(end, 1)).join("");
}
