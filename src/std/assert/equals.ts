/** The assertion that two values are deeply equal. */

import { AssertionError } from "./assertion_error.ts";
import { equal } from "./equal.ts";
import { formatDifference, formatSuffix } from "./message.ts";

/**
 * Asserts that two values are deeply equal, as {@linkcode equal} sees it.
 *
 * @throws {AssertionError} with the two values side by side when they differ
 */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  const difference = formatDifference(actual, expected);
  throw new AssertionError(`Values are not equal${formatSuffix(msg)}\n\n${difference}`);
}
