/** The assertion that a value was made by a class. */

import { AssertionError } from "./assertion_error.ts";
import { formatSuffix } from "./message.ts";

/** A class, abstract or not, whatever its constructor takes. */
export type AnyConstructor = abstract new (...args: never[]) => unknown;

/** What a class makes. */
export type GetConstructorType<T extends AnyConstructor> = T extends
  abstract new (...args: never[]) => infer I ? I
  : never;

/**
 * Asserts that `actual` is an instance of `expectedType`, and narrows its type.
 *
 * @throws {AssertionError} when it is not
 */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  expectedType: T,
  msg?: string,
): asserts actual is GetConstructorType<T> {
  if (actual instanceof expectedType) return;
  throw new AssertionError(
    `Expected object to be an instance of "${expectedType.name}" but was ${nameOf(actual)}${
      formatSuffix(msg)
    }`,
  );
}

function nameOf(value: unknown): string {
  if (value === null) return `"null"`;
  if (typeof value !== "object") return `"${typeof value}"`;
  return `"${value.constructor?.name ?? "Object"}"`;
}
