/** The assertion that one value is greater than another. */

import { AssertionError } from "./assertion_error.ts";
import { formatSuffix, formatValue } from "./message.ts";

/**
 * Asserts that `actual` is greater than `expected`.
 *
 * @throws {AssertionError} when it is not
 */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (actual > expected) return;
  const suffix = formatSuffix(msg);
  throw new AssertionError(`Expect ${formatValue(actual)} > ${formatValue(expected)}${suffix}`);
}
