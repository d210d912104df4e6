/** The assertion that a function throws. */

import { AssertionError } from "./assertion_error.ts";
import { checkError, type ErrorConstructor } from "./error_check.ts";
import { formatSuffix } from "./message.ts";

/**
 * Asserts that `fn` throws, and returns what it threw.
 *
 * @throws {AssertionError} when `fn` returns
 */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/**
 * Asserts that `fn` throws an error of a class, whose message may have to contain a text, and returns the error.
 *
 * @throws {AssertionError} when `fn` returns or throws something else
 */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: new (...args: never[]) => E,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  classOrMessage?: ErrorConstructor<E> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  const isMessage = typeof classOrMessage === "string";
  const expectation = isMessage
    ? { errorClass: undefined, includes: undefined, message: classOrMessage, verb: "thrown" as const }
    : { errorClass: classOrMessage, includes: msgIncludes, message: msg, verb: "thrown" as const };
  try {
    fn();
  } catch (error) {
    return checkError(error, expectation);
  }
  throw new AssertionError(`Expected function to throw${formatSuffix(expectation.message)}`);
}
