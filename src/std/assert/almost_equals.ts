/** The assertion that two numbers are close. */

import { AssertionError } from "./assertion_error.ts";
import { formatSuffix } from "./message.ts";

/**
 * Asserts that two numbers differ by no more than `tolerance`, which without a value is a ten-millionth of
 * `expected`.
 *
 * @throws {AssertionError} when they differ by more
 */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance: number = Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const difference = Math.abs(expected - actual);
  if (difference <= tolerance) return;
  throw new AssertionError(
    `Expected actual: "${actual}" to be close to "${expected}": ` +
      `delta "${difference}" is greater than "${tolerance}"${formatSuffix(msg)}`,
  );
}
