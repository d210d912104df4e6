/** Step 2 of the walk, the wire: reads small answers whole, within limits on size and time. */

import { LimitedBytesTransformStream } from "@std/streams/limited-bytes-transform-stream";
import { toBytes } from "@std/streams/to-bytes";
import { TimeLimitError } from "../fetch.ts";

/**
 * Reads a body that must be small.
 *
 * @param response Its body is used up, or cancelled on failure; one that comes compressed with gzip is decompressed.
 * @param limit Bytes the body may have, compressed or not.
 * @param time Milliseconds reading may take.
 * @param signal Ends the reading.
 * @throws {RangeError} when the body is longer than the limit.
 * @throws {TimeLimitError} when it takes too long.
 */
export async function readBytes(
  response: Response,
  limit: number,
  time: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  if (response.body === null) return new Uint8Array();
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => controller.abort(new TimeLimitError(time)), time);
  try {
    const limited = new LimitedBytesTransformStream(limit, { error: true });
    const bytes = await toBytes(response.body.pipeThrough(limited, { signal: controller.signal }));
    return await unpacked(response, new Uint8Array(bytes), limit);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Static hosting and some proxies send stored gzip bodies whatever was asked for; some runtimes have unpacked them by then. */
async function unpacked(
  { headers }: Response,
  bytes: Uint8Array<ArrayBuffer>,
  limit: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const isPacked = /^(?:x-)?gzip$/i.test(headers.get("content-encoding")?.trim() ?? "") &&
    bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (!isPacked) return bytes;
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(
    await toBytes(plain.pipeThrough(new LimitedBytesTransformStream(limit, { error: true }))),
  );
}

/** Like {@linkcode readBytes}, for text in UTF-8. */
export async function readText(response: Response, limit: number, time: number): Promise<string> {
  return new TextDecoder().decode(await readBytes(response, limit, time));
}

/** The length an answer announces, in bytes. */
export function lengthOf(response: Response): number | undefined {
  const text = response.headers.get("content-length") ?? "";
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
