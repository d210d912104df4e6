/** What `assertThrows` and `assertRejects` ask of an error they caught. */

import { AssertionError } from "./assertion_error.ts";
import { formatSuffix } from "./message.ts";

/** A class of errors. */
export type ErrorConstructor<E extends Error> = new (...args: never[]) => E;

/** What an error has to be. */
export interface ErrorExpectation<E extends Error> {
  /** Its class. */
  readonly errorClass: ErrorConstructor<E> | undefined;
  /** A part of its message. */
  readonly includes: string | undefined;
  /** What happened to the error. */
  readonly verb: "thrown" | "rejected";
  /** The caller's own words for a failure. */
  readonly message: string | undefined;
}

/**
 * Checks a caught value against what was expected, and gives it back.
 *
 * @throws {AssertionError} when it is no `Error`, of another class, or says something else
 */
export function checkError<E extends Error>(caught: unknown, expectation: ErrorExpectation<E>): unknown {
  const { errorClass, includes, message, verb } = expectation;
  if (errorClass === undefined) return caught;
  const suffix = formatSuffix(message);
  if (!(caught instanceof Error)) {
    throw new AssertionError(`A non-Error object was ${verb}${suffix}`, { cause: caught });
  }
  checkClass(caught, errorClass, suffix);
  if (includes !== undefined && !caught.message.includes(includes)) {
    throw new AssertionError(
      `Expected error message to include "${includes}", but got "${caught.message}"${suffix}`,
      { cause: caught },
    );
  }
  return caught;
}

function checkClass<E extends Error>(caught: Error, errorClass: ErrorConstructor<E>, suffix: string): void {
  if (caught instanceof errorClass) return;
  throw new AssertionError(
    `Expected error to be instance of "${errorClass.name}", but was "${caught.constructor.name}"${suffix}`,
    { cause: caught },
  );
}
