/** A whole stream as text. */

/** Reads a stream of texts or of UTF-8 bytes to its end and returns the text. */
export async function toText(stream: ReadableStream<string> | ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  const parts: string[] = [];
  for await (const chunk of stream as ReadableStream<string | Uint8Array>) {
    parts.push(typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true }));
  }
  return parts.join("") + decoder.decode();
}
