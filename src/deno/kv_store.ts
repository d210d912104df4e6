/** The store in Deno KV, on a machine or on Deno Deploy: facts as JSON bytes, written in the background in batches. */

import { SetupError } from "../mirror/config/config.ts";
import {
  currentFact,
  encodeKey,
  entryOf,
  type Fact,
  hasPrefix,
  isExpected,
  makeFact,
  type Store,
  type StoreEntry,
  type StoreKey,
  type StoreSetOptions,
  type StoreValue,
  valueOf,
} from "../mirror/store/store.ts";
import { checkDatabase, SqliteStoreError } from "../machine/store/sqlite_database.ts";
import { whenFree } from "./kv_busy.ts";
import {
  addChange,
  decodeFact,
  isStorable,
  isStorableKey,
  type KvChange,
  makeChange,
  takeBatch,
  writeChanges,
} from "./kv_change.ts";

/** Milliseconds for which a database that did not take something is not written to. */
const REST = 60_000;

/** Options of {@linkcode openKvStore}. */
export interface KvStoreOptions {
  /** Path of the database file, `:memory:`, or URL of a remote database; the default database of Deno without it. */
  path?: string;
  /** A database that is open already, instead of a path; it is not closed with the store. */
  kv?: Deno.Kv;
  /** First parts of every key in the database; `["image-syncer"]` unless told. */
  prefix?: string[];
  /** Told at most once, in a sentence, that the database does not answer and facts last for this run only. */
  onWarning?: (message: string) => void;
  /** The clock that expiry is measured by, in milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
  /** Milliseconds an operation may take; 15 seconds unless told. */
  deadline?: number | undefined;
}

/** A Deno KV database could not be opened. */
export class KvStoreError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "KvStoreError";
}

/**
 * Opens the store in a Deno KV database.
 *
 * Once open it never fails: what cannot be stored (a value over 64 KiB, a key over 2 KiB, anything once the database
 * has failed) is remembered for this run only.
 *
 * @throws {KvStoreError} when this Deno was started without Deno KV, or the database cannot be opened.
 */
export async function openKvStore(options: KvStoreOptions = {}): Promise<KvStore> {
  return new KvStore(options.kv ?? await openKv(options.path), options);
}

/**
 * Opens a Deno KV database.
 *
 * @param path Path of its file, `:memory:`, or URL of a remote one; the default database of Deno without it.
 * @throws {KvStoreError} when this Deno was started without Deno KV, or the database cannot be opened.
 * @throws {SqliteStoreError} when its file is damaged.
 */
export async function openKv(path: string | undefined): Promise<Deno.Kv> {
  const name = path === undefined ? "the default Deno KV store" : `Deno KV store "${path}"`;
  if (typeof Deno.openKv !== "function") {
    const advice = 'Deno KV is off; run with --unstable-kv or put "unstable": ["kv"] into deno.json';
    throw new KvStoreError(`Cannot open ${name}: ${advice}`);
  }
  try {
    if (path !== undefined && path !== ":memory:" && !/^https?:/.test(path)) await checkDatabase(path, name);
    return await whenFree(() => Deno.openKv(path));
  } catch (cause) {
    if (cause instanceof SqliteStoreError) throw cause;
    throw new KvStoreError(`Cannot open ${name}: ${reasonOf(cause)}`, { cause });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A store in Deno KV; made by {@linkcode openKvStore}. */
export class KvStore implements Store {
  #kv: Deno.Kv;
  #isOwner: boolean;
  #prefix: readonly string[];
  #now: () => number;
  #deadline: number | undefined;
  #onWarning: (message: string) => void;
  /** What the database does not hold yet, or cannot hold: it goes before what the database says. */
  #unwritten = new Map<string, KvChange>();
  #queue = new Map<string, KvChange>();
  #writing: Promise<void> | undefined;
  /** When the database is written to again, in milliseconds since 1970, after it did not take something. */
  #restsUntil = -Infinity;
  #isClosed = false;
  #hasWarned = false;

  /** A store in an open database. */
  constructor(kv: Deno.Kv, options: KvStoreOptions = {}) {
    this.#kv = kv;
    this.#isOwner = options.kv === undefined;
    this.#prefix = options.prefix ?? ["image-syncer"];
    this.#now = options.now ?? Date.now;
    this.#deadline = options.deadline;
    this.#onWarning = options.onWarning ?? (() => {});
  }

  /** The value at a key; what was just set here is seen before it is written. */
  async get(key: StoreKey): Promise<StoreValue | undefined> {
    const unwritten = this.#unwritten.get(encodeKey(this.#fullKey(key)));
    const fact = currentFact(unwritten === undefined ? await this.#read(key) : unwritten.fact, this.#now());
    return fact && valueOf(fact);
  }

  /** Sets the value at a key; it is written in the background, unless the very same fact is there already. */
  set(key: StoreKey, value: StoreValue, options: StoreSetOptions = {}): Promise<void> {
    this.#change(makeChange(this.#fullKey(key), makeFact({ key, value }, this.#now(), options)));
    return Promise.resolve();
  }

  /** Forgets the value at a key. */
  delete(key: StoreKey): Promise<void> {
    this.#change(makeChange(this.#fullKey(key)));
    return Promise.resolve();
  }

  /** Sets the value at a key if what is there is what is expected, among all who have the database open. */
  async update(
    key: StoreKey,
    expected: StoreValue | undefined,
    value: StoreValue | undefined,
    options: StoreSetOptions = {},
  ): Promise<boolean> {
    await this.flush();
    const full = this.#fullKey(key);
    // What the database cannot hold, or has not taken, is nobody else's.
    if (!isStorableKey(full) || this.#unwritten.has(encodeKey(full))) return false;
    const fact = value === undefined ? undefined : makeFact({ key, value }, this.#now(), options);
    try {
      return await whenFree(() => this.#swap(expected, makeChange(full, fact)), this.#deadline);
    } catch (error) {
      this.#warn("write", error);
      return false;
    }
  }

  /** Every entry whose key starts with `prefix`. */
  async *list(prefix: StoreKey): AsyncGenerator<StoreEntry> {
    const unwritten = new Map(this.#unwritten);
    for await (const fact of this.#listWritten(prefix)) {
      if (!unwritten.has(encodeKey(this.#fullKey(fact.key)))) yield entryOf(fact);
    }
    for (const change of unwritten.values()) {
      const fact = currentFact(change.fact, this.#now());
      if (fact !== undefined && hasPrefix(fact.key, prefix)) yield entryOf(fact);
    }
  }

  /** Waits until everything set so far is in the database. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  /** Flushes, and closes the database if the store has opened it. */
  async close(): Promise<void> {
    await this.flush();
    this.#isClosed = true;
    if (this.#isOwner) this.#kv.close();
    this.#isOwner = false;
  }

  #fullKey(key: StoreKey): string[] {
    return [...this.#prefix, ...key];
  }

  async #swap(expected: StoreValue | undefined, change: KvChange): Promise<boolean> {
    const { value, versionstamp } = await this.#kv.get(change.key);
    const found = currentFact(decodeFact(change.key, value), this.#now());
    if (!isStorable(change) || !isExpected(found, expected)) return false;
    const operation = this.#kv.atomic().check({ key: change.key, versionstamp });
    return (await addChange(operation, change, this.#now()).commit()).ok;
  }

  async #read(key: StoreKey): Promise<Fact | undefined> {
    const full = this.#fullKey(key);
    if (!isStorableKey(full)) return undefined;
    try {
      return decodeFact([...key], (await whenFree(() => this.#kv.get(full), this.#deadline)).value);
    } catch (error) {
      this.#warn("read", error);
      return undefined;
    }
  }

  /** The facts in the database under a prefix that have not expired. */
  async *#listWritten(prefix: StoreKey): AsyncGenerator<Fact> {
    const start = this.#fullKey(prefix);
    if (!isStorableKey(start)) return;
    try {
      // A `prefix` selector leaves out the key that is the prefix itself; `true` sorts after every text.
      for await (const entry of this.#kv.list({ start, end: [...start, true] }, { batchSize: 500 })) {
        const key = entry.key.slice(this.#prefix.length);
        if (!key.every((part) => typeof part === "string")) continue;
        const fact = currentFact(decodeFact(key, entry.value), this.#now());
        if (fact !== undefined) yield fact;
      }
    } catch (error) {
      this.#warn("read", error);
    }
  }

  #change(change: KvChange): void {
    const key = encodeKey(change.key);
    this.#unwritten.set(key, change);
    if (this.#isClosed || this.#now() < this.#restsUntil || !isStorableKey(change.key)) return;
    if (this.#restsUntil > 0) this.#queueUnwritten();
    this.#queue.set(key, change);
    this.#writing ??= this.#drain();
  }

  /** A database that was gone for a while gets what it has missed. */
  #queueUnwritten(): void {
    this.#restsUntil = -Infinity;
    for (const [key, change] of this.#unwritten) {
      if (isStorable(change)) this.#queue.set(key, change);
    }
  }

  /** Writes until nothing is left; what is set meanwhile makes the next batch. */
  async #drain(): Promise<void> {
    try {
      while (this.#queue.size > 0) await this.#writeBatch(takeBatch(this.#queue));
    } catch (error) {
      this.#restsUntil = this.#now() + REST;
      this.#queue.clear();
      this.#warn("write", error);
    } finally {
      this.#writing = undefined;
    }
  }

  async #writeBatch(batch: Map<string, KvChange>): Promise<void> {
    await whenFree(() => writeChanges(this.#kv, [...batch.values()], this.#now()), this.#deadline);
    for (const [key, change] of batch) {
      if (isStorable(change) && this.#unwritten.get(key) === change) this.#unwritten.delete(key);
    }
  }

  #warn(action: "read" | "write", error: unknown): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#onWarning(`Cannot ${action} Deno KV store: ${reasonOf(error)}; new facts last for this run only`);
  }
}
