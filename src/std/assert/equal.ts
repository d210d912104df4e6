/** Deep equality, the judge behind the other assertions. */

import { isDeepStrictEqual } from "node:util";
import { isObject, isOutOfReach, isSealed } from "./content.ts";

/**
 * Says whether two values are deeply equal: the same class, the same own enumerable properties (symbols too), the
 * same answers of the class's getters, and the same members, for a `Set` or `Map` in any order. `NaN` equals itself
 * and `0` equals `-0`. What cannot be looked into, such as functions, promises and responses, equals only itself, and so does an error.
 */
export function equal(a: unknown, b: unknown): boolean {
  return compare(a, b, new Map());
}

/** The pairs being compared further up. */
type Pairs = Map<object, Set<object>>;

function compare(a: unknown, b: unknown, pairs: Pairs): boolean {
  if (isSame(a, b)) return true;
  if (!isObject(a) || !isObject(b)) return false;
  if (prototypeOf(a) !== prototypeOf(b) || isOutOfReach(a)) return false;
  // A pair within itself closes a cycle: the rest of the walk decides.
  if (pairs.get(a)?.has(b)) return true;
  addPair(pairs, a, b);
  const isEqual = compareContent(a, b, pairs);
  // Once compared it is forgotten, for a set also tries pairs that do not match.
  pairs.get(a)?.delete(b);
  return isEqual;
}

function compareContent(a: object, b: object, pairs: Pairs): boolean {
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) return isSameArray(elementsOf(a), elementsOf(b));
  if (a instanceof URL) return String(a) === String(b);
  if (isSealed(a)) return isDeepStrictEqual(a, b);
  if (a instanceof Set && b instanceof Set) return isSameSet(a, b, pairs);
  if (a instanceof Map && b instanceof Map) return isSameMap(a, b, pairs);
  if (Array.isArray(a) && Array.isArray(b) && a.length !== b.length) return false;
  return isSameRecord(a, b, pairs);
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || Object.is(a, b);
}

/** An object without a prototype is as good as a plain one. */
function prototypeOf(value: object): object {
  return Object.getPrototypeOf(value) ?? Object.prototype;
}

function addPair(pairs: Pairs, a: object, b: object): void {
  const known = pairs.get(a);
  if (known) known.add(b);
  else pairs.set(a, new Set([b]));
}

function elementsOf(view: ArrayBufferView): ArrayLike<unknown> {
  if (view instanceof DataView) return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return view as ArrayBufferView & ArrayLike<unknown>;
}

function isSameArray(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) {
    if (!isSame(a[index], b[index])) return false;
  }
  return true;
}

function isSameSet(a: Set<unknown>, b: Set<unknown>, pairs: Pairs): boolean {
  if (a.size !== b.size) return false;
  const left = new Set(b);
  return [...a].every((member) =>
    left.delete(member) || deleteFirst(left, (other) => compare(member, other, pairs))
  );
}

function isSameMap(a: Map<unknown, unknown>, b: Map<unknown, unknown>, pairs: Pairs): boolean {
  if (a.size !== b.size) return false;
  const left = new Set(b);
  return [...a].every((entry) => deleteFirst(left, (other) => compare(entry, other, pairs)));
}

function deleteFirst<T>(members: Set<T>, isMatch: (member: T) => boolean): boolean {
  for (const member of members) {
    if (isMatch(member)) return members.delete(member);
  }
  return false;
}

function isSameRecord(a: object, b: object, pairs: Pairs): boolean {
  const keys = enumerableKeys(a);
  if (keys.length !== enumerableKeys(b).length) return false;
  return keys.every((key) => isEnumerable(b, key)) &&
    [...keys, ...getterNames(a)].every((key) => compare(Reflect.get(a, key), Reflect.get(b, key), pairs));
}

function enumerableKeys(value: object): PropertyKey[] {
  return Reflect.ownKeys(value).filter((key) => isEnumerable(value, key));
}

function isEnumerable(value: object, key: PropertyKey): boolean {
  return Object.prototype.propertyIsEnumerable.call(value, key);
}

/** A class with private fields shows its content in its getters. */
function getterNames(value: object): PropertyKey[] {
  const names: PropertyKey[] = [];
  let prototype: object | null = Object.getPrototypeOf(value);
  while (prototype !== null && prototype !== Object.prototype && prototype !== Array.prototype) {
    const properties = Object.entries(Object.getOwnPropertyDescriptors(prototype));
    names.push(...properties.filter(([, property]) => property.get).map(([name]) => name));
    prototype = Object.getPrototypeOf(prototype);
  }
  return names;
}
