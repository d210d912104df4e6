/** The store in a SQLite database: facts as rows, written in the background in batches, shared safely among processes. */

import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
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
} from "../../mirror/store/store.ts";
import { checkDatabase, openDatabase, whenNotBusy } from "./sqlite_database.ts";

/** Options of {@linkcode openSqliteStore}. */
export interface SqliteStoreOptions {
  /** Told at most once, in a sentence, that the database cannot be written. */
  onWarning?: (message: string) => void;
  /** The clock that expiry is measured by, in milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
}

/** Milliseconds for which facts gather before they are written. */
const BATCH_TIME = 50;
/** Milliseconds between two times that what has expired is deleted. */
const CLEANING_INTERVAL = 24 * 60 * 60 * 1000;
const UPSERT = `INSERT INTO facts (key, value, expires) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
  SET value = excluded.value, expires = excluded.expires
  WHERE value <> excluded.value OR expires IS NOT excluded.expires`;

/**
 * Opens the store in the SQLite database at `path`. A missing one is created, readable by its owner only. Several processes may
 * have the same one open, and each sees at once what the others have set and flushed.
 *
 * @throws {SqliteStoreError} when the database cannot be opened, or is damaged, or the runtime has no `node:sqlite`.
 */
export async function openSqliteStore(path: string, options: SqliteStoreOptions = {}): Promise<SqliteStore> {
  const name = `store "sqlite:${path}"`;
  if (path !== ":memory:") {
    await checkDatabase(path, name);
    await createFile(path).catch(() => {});
  }
  return new SqliteStore(await openDatabase(path, name), { ...options, path });
}

async function createFile(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await (await open(path, "a", 0o600)).close();
}

/** A key that is to be set or deleted; without a fact it is deleted. */
interface Change {
  key: StoreKey;
  fact?: Fact;
}

/** A store in SQLite; made by {@linkcode openSqliteStore}. */
export class SqliteStore implements Store {
  #database: DatabaseSync;
  #read: StatementSync;
  #upsert: StatementSync;
  #remove: StatementSync;
  #path: string;
  #now: () => number;
  #onWarning: (message: string) => void;
  /** What the database does not hold yet: it goes before what the database says. */
  #unwritten = new Map<string, Change>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> | undefined;
  #cleanAt = -Infinity;
  #hasWarned = false;
  #isClosed = false;

  /** A store in an open database. */
  constructor(database: DatabaseSync, options: SqliteStoreOptions & { path: string }) {
    this.#database = database;
    this.#read = database.prepare("SELECT value, expires FROM facts WHERE key = ?");
    this.#upsert = database.prepare(UPSERT);
    this.#remove = database.prepare("DELETE FROM facts WHERE key = ?");
    this.#path = options.path;
    this.#now = options.now ?? Date.now;
    this.#onWarning = options.onWarning ?? (() => {});
  }

  /** The value at a key; what was just set here is seen before it is written. */
  get(key: StoreKey): Promise<StoreValue | undefined> {
    // What SQLite throws within is a rejection.
    return new Promise((resolve) => {
      const change = this.#unwritten.get(encodeKey(key));
      const fact = change === undefined ? this.#find(key) : currentFact(change.fact, this.#now());
      resolve(fact && valueOf(fact));
    });
  }

  /** Sets the value at a key; it is written in the background, and only where it differs. */
  set(key: StoreKey, value: StoreValue, options: StoreSetOptions = {}): Promise<void> {
    const fact = makeFact({ key, value }, this.#now(), options);
    this.#change({ key: fact.key, fact });
    return Promise.resolve();
  }

  /** Forgets the value at a key. */
  delete(key: StoreKey): Promise<void> {
    this.#change({ key: [...key] });
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
    const fact = value === undefined ? undefined : makeFact({ key, value }, this.#now(), options);
    const change: Change = { key, ...(fact === undefined ? {} : { fact }) };
    return await whenNotBusy(() =>
      this.#inTransaction(() => {
        if (!isExpected(this.#find(key), expected)) return false;
        this.#put(change);
        return true;
      })
    );
  }

  /** Every entry whose key starts with `prefix`. */
  async *list(prefix: StoreKey): AsyncGenerator<StoreEntry> {
    await this.flush();
    const unwritten = new Map(this.#unwritten);
    const now = this.#now();
    // Read as a whole: an open cursor would keep what it reads from being cleared away.
    for (const row of this.#rowsOf(prefix)) {
      const fact = currentFact(factOf(JSON.parse(String(row.key)), row), now);
      if (fact !== undefined && !unwritten.has(String(row.key))) yield entryOf(fact);
    }
    for (const change of unwritten.values()) {
      const fact = currentFact(change.fact, now);
      if (fact !== undefined && hasPrefix(fact.key, prefix)) yield entryOf(fact);
    }
  }

  /** Writes everything set so far. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
    if (this.#unwritten.size === 0 || this.#isClosed) return;
    this.#writing = this.#write().finally(() => this.#writing = undefined);
    await this.#writing;
  }

  /** Flushes and closes the database. */
  async close(): Promise<void> {
    await this.flush();
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#database.close();
  }

  #change(change: Change): void {
    this.#unwritten.set(encodeKey(change.key), change);
    if (!this.#isClosed) this.#timer ??= setTimeout(() => this.flush(), BATCH_TIME);
  }

  /** Writes what has gathered. What cannot be written stays for the next time. */
  async #write(): Promise<void> {
    const batch = new Map(this.#unwritten);
    try {
      await whenNotBusy(() => this.#inTransaction(() => this.#putAll(batch)));
      for (const [key, change] of batch) {
        if (this.#unwritten.get(key) === change) this.#unwritten.delete(key);
      }
    } catch (error) {
      if (this.#hasWarned) return;
      this.#hasWarned = true;
      const why = error instanceof Error ? error.message : String(error);
      this.#onWarning(`Cannot write store "sqlite:${this.#path}": ${why}; new facts last for this run only`);
    }
  }

  #putAll(batch: ReadonlyMap<string, Change>): void {
    for (const change of batch.values()) this.#put(change);
    const now = this.#now();
    if (now < this.#cleanAt) return;
    this.#database.prepare("DELETE FROM facts WHERE expires <= ?").run(now);
    this.#cleanAt = now + CLEANING_INTERVAL;
  }

  #put({ key, fact }: Change): void {
    if (fact === undefined) this.#remove.run(encodeKey(key));
    else this.#upsert.run(encodeKey(key), fact.text, fact.expiresAt ?? null);
  }

  #inTransaction<Value>(work: () => Value): Value {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const value = work();
      this.#database.exec("COMMIT");
      return value;
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  #find(key: StoreKey): Fact | undefined {
    if (this.#isClosed) return undefined;
    const row = this.#read.get(encodeKey(key));
    return currentFact(row && factOf(key, row), this.#now());
  }

  #rowsOf(prefix: StoreKey): Row[] {
    if (this.#isClosed) return [];
    if (prefix.length === 0) return this.#database.prepare("SELECT key, value, expires FROM facts").all();
    const key = encodeKey(prefix);
    const start = key.slice(0, -1);
    // What follows a whole part is a comma, and what follows a comma among characters is "-".
    const query = "SELECT key, value, expires FROM facts WHERE key = ? OR key > ? AND key < ?";
    return this.#database.prepare(query).all(key, `${start},`, `${start}-`);
  }
}

type Row = Record<string, unknown>;

function factOf(key: StoreKey, { value, expires }: Row): Fact {
  const fact: Fact = { key, text: String(value) };
  if (typeof expires === "number") fact.expiresAt = expires;
  return fact;
}
