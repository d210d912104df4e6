/** A whole stream as bytes. */

/** Reads a stream to its end and returns its bytes. */
export function toBytes(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  // The runtime collects natively what it is given as a body.
  return new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).bytes();
}
