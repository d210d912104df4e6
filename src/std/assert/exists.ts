/** The assertion that a value is there. */

import { AssertionError } from "./assertion_error.ts";
import { formatSuffix } from "./message.ts";

/**
 * Asserts that `actual` is neither `null` nor `undefined`, and narrows its type.
 *
 * @throws {AssertionError} when it is
 */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual !== undefined && actual !== null) return;
  throw new AssertionError(
    `Expected actual: "${actual}" to not be null or undefined${formatSuffix(msg)}`,
  );
}
