/** Where the content of an object is to be found: in its properties, in itself, or out of reach. */

/** Says whether a value is an object; functions are not meant. */
export function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Says whether an object equals only itself: its content cannot be read, or tells when and where it was made. */
export function isOutOfReach(value: object): boolean {
  return OUT_OF_REACH.some((type) => value instanceof type);
}

/** Says whether an object keeps its content in itself: dates, buffers and the like. */
export function isSealed(value: object): boolean {
  return ArrayBuffer.isView(value) || SEALED.some((type) => value instanceof type);
}

const OUT_OF_REACH = [
  Error,
  Promise,
  WeakMap,
  WeakSet,
  WeakRef,
  Blob,
  Request,
  Response,
  ReadableStream,
  WritableStream,
];
const SEALED = [Date, RegExp, ArrayBuffer, SharedArrayBuffer, Boolean, Number, String, URL];
