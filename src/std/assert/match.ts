/** The assertion that a text matches a regular expression. */

import { AssertionError } from "./assertion_error.ts";
import { formatSuffix } from "./message.ts";

/**
 * Asserts that `actual` matches `expected`.
 *
 * @throws {AssertionError} when it does not
 */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (expected.test(actual)) return;
  throw new AssertionError(
    `Expected actual: "${actual}" to match: "${expected}"${formatSuffix(msg)}`,
  );
}
