/** The assertion that a text holds another. */

import { AssertionError } from "./assertion_error.ts";
import { formatSuffix } from "./message.ts";

/**
 * Asserts that `actual` contains `expected`.
 *
 * @throws {AssertionError} when it does not
 */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (actual.includes(expected)) return;
  throw new AssertionError(
    `Expected actual: "${actual}" to contain: "${expected}"${formatSuffix(msg)}`,
  );
}
