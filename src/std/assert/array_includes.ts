/** The assertion that a list holds certain elements. */

import { AssertionError } from "./assertion_error.ts";
import { equal } from "./equal.ts";
import { formatSuffix, formatValue } from "./message.ts";

/** A list that is an object: an array or a typed array, not a text. */
export type ArrayLikeArg<T> = ArrayLike<T> & object;

/**
 * Asserts that each element of `expected` has a deeply equal one in `actual`, in any order.
 *
 * @throws {AssertionError} with the missing elements
 */
export function assertArrayIncludes<T>(
  actual: ArrayLikeArg<T>,
  expected: ArrayLikeArg<T>,
  msg?: string,
): void {
  const present = Array.from(actual);
  const missing = Array.from(expected).filter((wanted) => !present.some((value) => equal(value, wanted)));
  if (missing.length === 0) return;
  throw new AssertionError(
    `Expected actual: "${formatValue(actual)}" to include: "${formatValue(expected)}"${formatSuffix(msg)}\n` +
      `missing: ${formatValue(missing)}`,
  );
}
