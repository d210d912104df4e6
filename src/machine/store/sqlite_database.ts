/** A SQLite database as a store opens it: checked before it is used, and patient while another process writes. */

import { SetupError } from "../../mirror/config/config.ts";
import { open } from "node:fs/promises";
import type { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";

/** A SQLite database cannot be used. */
export class SqliteStoreError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "SqliteStoreError";
}

/** What SQLite's files begin with (SQLite database file format, 1.3). */
const HEADER = "SQLite format 3\0";
/** Milliseconds between two tries to get at a database that another process writes to, and of all tries. */
const BUSY = { interval: 20, limit: 10_000 };
const DELETABLE = "it may be deleted, for it holds nothing but what saves requests";

/**
 * Opens SQLite, where the runtime has it.
 *
 * @throws {SqliteStoreError} on a runtime without `node:sqlite`, such as Node before 22.5.
 */
async function loadSqlite(): Promise<typeof import("node:sqlite")> {
  try {
    return await import("node:sqlite");
  } catch (cause) {
    const why = "this runtime has no node:sqlite; it takes Deno 2.2, Node 22.13 or Bun 1.4, or use file:PATH";
    throw new SqliteStoreError(`Cannot open SQLite: ${why}`, { cause });
  }
}

/**
 * Checks that a file is a whole SQLite database, or not there, or empty. It is read as a whole: what is damaged somewhere in the
 * middle ends Deno KV with a panic when it comes to it.
 *
 * @param name The store as messages call it.
 * @throws {SqliteStoreError} saying that the file may be deleted.
 */
export async function checkDatabase(path: string, name: string): Promise<void> {
  const header = await readHeader(path);
  if (header === "") return;
  if (header !== HEADER) {
    throw new SqliteStoreError(`Cannot open ${name}: the file is no database; if it was one, ${DELETABLE}`);
  }
  const { DatabaseSync } = await loadSqlite();
  let found: unknown;
  try {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      found = await whenNotBusy(() => database.prepare("PRAGMA quick_check(1)").get()?.quick_check);
    } finally {
      database.close();
    }
  } catch (error) {
    if (!isDamage(error)) return;
    found = messageOf(error);
  }
  if (found !== "ok") {
    const why = String(found).replaceAll("\n", " ");
    throw new SqliteStoreError(`Cannot open ${name}: the file is damaged (${why}); ${DELETABLE}`);
  }
}

/** The first bytes of a file; empty when there are none, or no right to read them, which opening it will tell. */
async function readHeader(path: string): Promise<string> {
  try {
    const file = await open(path);
    try {
      const { bytesRead, buffer } = await file.read(new Uint8Array(HEADER.length), 0, HEADER.length, 0);
      return new TextDecoder("latin1").decode(buffer.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  } catch {
    return "";
  }
}

/** Does something with a database, again and again while another process has locked it. */
export async function whenNotBusy<Value>(use: () => Value): Promise<Value> {
  const startedAt = performance.now();
  for (;;) {
    try {
      return use();
    } catch (error) {
      const isOver = performance.now() - startedAt > BUSY.limit;
      if (isOver || !/database (?:table )?is locked|database is busy/i.test(messageOf(error))) throw error;
    }
    await delay(BUSY.interval);
  }
}

/**
 * Opens a database and makes its table.
 *
 * @throws {SqliteStoreError} when it cannot be opened.
 */
export async function openDatabase(path: string, name: string): Promise<DatabaseSync> {
  const { DatabaseSync } = await loadSqlite();
  try {
    const database = new DatabaseSync(path);
    await whenNotBusy(() => {
      // Who waits here holds up everything else of this process.
      database.exec("PRAGMA busy_timeout = 50; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
      database.exec(
        "CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires REAL) WITHOUT ROWID",
      );
    });
    return database;
  } catch (cause) {
    throw new SqliteStoreError(`Cannot open ${name}: ${messageOf(cause)}`, { cause });
  }
}

function isDamage(error: unknown): boolean {
  return /malformed|not a database|corrupt/i.test(messageOf(error));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
