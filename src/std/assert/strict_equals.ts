/** The assertion that two values are the same one. */

import { AssertionError } from "./assertion_error.ts";
import { formatDifference, formatSuffix } from "./message.ts";

/**
 * Asserts that two values are the same by `Object.is`, and narrows the type of the first.
 *
 * @throws {AssertionError} with the two values side by side when they differ
 */
export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T {
  if (Object.is(actual, expected)) return;
  const difference = formatDifference(actual, expected);
  throw new AssertionError(`Values are not strictly equal${formatSuffix(msg)}\n\n${difference}`);
}
