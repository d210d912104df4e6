/** The assertion that an object has at least what another one says. */

import { AssertionError } from "./assertion_error.ts";
import { isObject, isOutOfReach, isSealed } from "./content.ts";
import { equal } from "./equal.ts";
import { formatDifference, formatSuffix } from "./message.ts";

/**
 * Asserts that `actual` has every own property of `expected` with a matching value. All the way down objects may have
 * more properties than expected, arrays more elements at their end, sets and maps more members. The classes of objects
 * may differ.
 *
 * @throws {AssertionError} with the compared part of `actual` and `expected` side by side
 */
export function assertObjectMatch(
  actual: object,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  if (matches(actual, expected, new Map())) return;
  const difference = formatDifference(pickLike(actual, expected, new Set()), expected);
  throw new AssertionError(`Values do not match${formatSuffix(msg)}\n\n${difference}`);
}

/** The pairs being compared further up. */
type Pairs = Map<object, Set<object>>;

function matches(actual: unknown, expected: unknown, pairs: Pairs): boolean {
  if (!isObject(actual) || !isOpen(expected)) return equal(actual, expected);
  const above = pairs.get(actual) ?? new Set();
  pairs.set(actual, above);
  // A pair within itself closes a cycle: the rest of the walk decides.
  if (above.has(expected)) return true;
  above.add(expected);
  const isMatch = matchesContent(actual, expected, pairs);
  above.delete(expected);
  return isMatch;
}

function matchesContent(actual: object, expected: object, pairs: Pairs): boolean {
  if (expected instanceof Set) return actual instanceof Set && matchesSet(actual, expected);
  if (expected instanceof Map) return actual instanceof Map && matchesMap(actual, expected, pairs);
  if (Array.isArray(expected) !== Array.isArray(actual)) return false;
  return Reflect.ownKeys(expected).every((key) => {
    if (key === "length" && Array.isArray(expected)) return true;
    return Object.hasOwn(actual, key) && matches(Reflect.get(actual, key), Reflect.get(expected, key), pairs);
  });
}

function matchesSet(actual: Set<unknown>, expected: Set<unknown>): boolean {
  return [...expected].every((wanted) => [...actual].some((member) => equal(member, wanted)));
}

function matchesMap(actual: Map<unknown, unknown>, expected: Map<unknown, unknown>, pairs: Pairs): boolean {
  return [...expected].every(([key, wanted]) => actual.has(key) && matches(actual.get(key), wanted, pairs));
}

/** Says whether a part of the value is enough to match it. */
function isOpen(value: unknown): value is object {
  return isObject(value) && !isSealed(value) && !isOutOfReach(value);
}

/** What of `actual` is worth showing beside `expected`: the properties that were compared. */
function pickLike(actual: unknown, expected: unknown, above: Set<unknown>): unknown {
  if (!isRecord(expected) || !isObject(actual) || above.has(expected)) return actual;
  const part: object = Array.isArray(actual) ? [] : Object.create(Object.getPrototypeOf(expected));
  const inside = new Set([...above, expected]);
  for (const key of Reflect.ownKeys(expected)) {
    if (!Object.hasOwn(actual, key) || key === "length") continue;
    const value = pickLike(Reflect.get(actual, key), Reflect.get(expected, key), inside);
    Object.defineProperty(part, key, { value, enumerable: true, writable: true, configurable: true });
  }
  return part;
}

function isRecord(value: unknown): value is object {
  return isOpen(value) && !(value instanceof Set) && !(value instanceof Map);
}
