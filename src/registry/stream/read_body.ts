/** Step 2 of the walk, the wire: reads small answers whole, within limits on size, on bytes not moving and on their rate. */

import { LimitedBytesTransformStream } from "@std/streams/limited-bytes-transform-stream";
import { toBytes } from "@std/streams/to-bytes";
import { joinPieces } from "./body.ts";
import { BufferPool } from "./buffer_pool.ts";
import { openPieceReader } from "./piece_reader.ts";
import { WatchedReader, type WatchOptions } from "./watched_reader.ts";

/** Options of {@linkcode readBytes}; the run's limits are ones. */
export type ReadOptions = Omit<WatchOptions, "signal"> & {
  /** Ends the reading. */
  signal?: AbortSignal | undefined;
  /** Memory to read into, which comes back: a runtime takes 64 KiB for the smallest answer. */
  buffers?: BufferPool;
};

/**
 * Reads a body that must be small; it may take as long as it takes, as long as it moves.
 *
 * @param response Its body is used up, or cancelled on failure; one that comes compressed with gzip is decompressed.
 * @param limit Bytes the body may have, compressed or not.
 * @param options What ends the reading before.
 * @throws {RangeError} when the body is longer than the limit.
 * @throws {TimeLimitError} when nothing comes for too long.
 * @throws {SlowBodyError} when hardly anything comes for too long.
 */
export async function readBytes(
  response: Response,
  limit: number,
  options: ReadOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const { buffers = new BufferPool() } = options;
  const body = openPieceReader(response, { size: -1, isSlow: true, buffers });
  if (body === undefined) return new Uint8Array();
  const reader = new WatchedReader(body, { signal: undefined, ...options });
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  try {
    for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) {
      length += piece.length;
      if (length > limit) throw new RangeError(`the body has more than ${limit} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  }
  // A piece of a few bytes lies in memory of 64 KiB, all of which would be kept with it.
  const whole = joinPieces(pieces, length);
  for (const { buffer } of pieces) buffers.give(buffer);
  return await unpacked(response, whole, limit);
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
export async function readText(response: Response, limit: number, options: ReadOptions): Promise<string> {
  return new TextDecoder().decode(await readBytes(response, limit, options));
}

/** The length an answer announces, in bytes. */
export function lengthOf(response: Response): number | undefined {
  const text = response.headers.get("content-length") ?? "";
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
