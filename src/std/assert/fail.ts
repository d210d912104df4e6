/** The assertion that a line is never reached. */

import { AssertionError } from "./assertion_error.ts";
import { formatSuffix } from "./message.ts";

/**
 * Fails at once.
 *
 * @throws {AssertionError} always
 */
export function fail(msg?: string): never {
  throw new AssertionError(`Failed assertion${formatSuffix(msg)}`);
}
