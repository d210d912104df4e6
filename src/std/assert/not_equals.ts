/** The assertion that two values are not deeply equal. */

import { AssertionError } from "./assertion_error.ts";
import { equal } from "./equal.ts";
import { formatSuffix, formatValue } from "./message.ts";

/**
 * Asserts that two values are not deeply equal, as {@linkcode equal} sees it.
 *
 * @throws {AssertionError} when they are
 */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) return;
  const suffix = formatSuffix(msg);
  throw new AssertionError(
    `Expected actual: ${formatValue(actual)} not to be: ${formatValue(expected)}${suffix}`,
  );
}
