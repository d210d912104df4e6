/** The assertion that something is truthy. */

import { AssertionError } from "./assertion_error.ts";

/**
 * Asserts that `expr` is truthy, and narrows its type.
 *
 * @throws {AssertionError} when `expr` is falsy
 */
export function assert(expr: unknown, msg: string = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}
