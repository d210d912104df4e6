/** Patience with a Deno KV database: on disk another process may be writing to it, and a remote one may never answer again. */

import { deadline } from "@std/async/deadline";
import { retry, RetryError } from "@std/async/retry";

/** Milliseconds to wait before the second attempt, and at most between two; about half a minute in all. */
const WAITS = { minTimeout: 10, maxTimeout: 1000, maxAttempts: 60 };

/** Milliseconds an operation may take; Deno tries a remote database that is gone for ever. */
const DEADLINE = 15_000;

/**
 * Does something with a database, again and again while another process has locked it: SQLite says so at once, and Deno KV
 * hands that on.
 *
 * @param limit Milliseconds each attempt may take; 15 seconds unless told.
 * @throws {unknown} what the database says, when it is something else or does not end, or that it does not answer.
 */
export async function whenFree<Value>(use: () => Promise<Value>, limit = DEADLINE): Promise<Value> {
  try {
    return await retry(() => deadline(use(), limit), { ...WAITS, isRetriable: isBusy });
  } catch (error) {
    if (error instanceof DOMException && error.name === "TimeoutError") {
      throw new Error(`the database has not answered for ${limit / 1000} s`, { cause: error });
    }
    throw error instanceof RetryError ? error.cause : error;
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && /database (?:table )?is locked|database is busy/i.test(error.message);
}
