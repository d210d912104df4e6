/** A whole stream as a JSON value. */

import { toText } from "./to_text.ts";

/**
 * Reads a stream of texts or of UTF-8 bytes to its end and parses it as JSON.
 *
 * @throws {SyntaxError} when the text is no JSON
 */
export async function toJson(stream: ReadableStream<string> | ReadableStream<Uint8Array>): Promise<unknown> {
  return JSON.parse(await toText(stream));
}
