/** The assertion that a promise is rejected. */

import { AssertionError } from "./assertion_error.ts";
import { checkError, type ErrorConstructor } from "./error_check.ts";
import { formatSuffix } from "./message.ts";

/**
 * Asserts that the promise `fn` returns is rejected, and resolves to the reason.
 *
 * @throws {AssertionError} when the promise is fulfilled, or `fn` throws before it returns one
 */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/**
 * Asserts that the promise `fn` returns is rejected with an error of a class, whose message may have to contain
 * a text, and resolves to the error.
 *
 * @throws {AssertionError} when the promise is fulfilled or rejected with something else, or `fn` throws before
 * it returns one
 */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: new (...args: never[]) => E,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  classOrMessage?: ErrorConstructor<E> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  const isMessage = typeof classOrMessage === "string";
  const expectation = isMessage
    ? { errorClass: undefined, includes: undefined, message: classOrMessage, verb: "rejected" as const }
    : { errorClass: classOrMessage, includes: msgIncludes, message: msg, verb: "rejected" as const };
  const suffix = formatSuffix(expectation.message);
  const promise = callForPromise(fn, suffix);
  try {
    await promise;
  } catch (error) {
    return checkError(error, expectation);
  }
  throw new AssertionError(`Expected function to reject${suffix}`);
}

function callForPromise(fn: () => PromiseLike<unknown>, suffix: string): PromiseLike<unknown> {
  let result: PromiseLike<unknown>;
  try {
    result = fn();
  } catch (error) {
    throw new AssertionError(`Function throws when expected to reject${suffix}`, { cause: error });
  }
  if (typeof result?.then === "function") return result;
  throw new AssertionError(`Function throws when expected to reject${suffix}`);
}
