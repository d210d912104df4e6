/** Patience with a Deno KV database on disk that another process is writing to. */

import { retry, RetryError } from "@std/async/retry";

/** Milliseconds to wait before the second attempt, and at most between two; about half a minute in all. */
const WAITS = { minTimeout: 10, maxTimeout: 1000, maxAttempts: 60 };

/**
 * Does something with a database, again and again while another process has locked it: SQLite says so at once, and Deno KV
 * hands that on.
 *
 * @throws {unknown} what the database says, when it is something else or does not end.
 */
export async function whenFree<Value>(use: () => Promise<Value>): Promise<Value> {
  try {
    return await retry(use, { ...WAITS, isRetriable: isBusy });
  } catch (error) {
    throw error instanceof RetryError ? error.cause : error;
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && /database (?:table )?is locked|database is busy/i.test(error.message);
}
