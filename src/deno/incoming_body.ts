/** The body of an answer that `node:https` receives, as a WHATWG stream. */

import type { IncomingMessage } from "node:http";

/** Whether an answer has no body whatever its headers say (RFC 9110, section 6.4.1). */
export function isWithoutBody(method: string, status: number): boolean {
  return method === "HEAD" || [204, 205, 304].includes(status);
}

/**
 * The body of an answer, read from the connection only as fast as it is read here. Cancelling it closes the connection, if
 * bytes are still to come; a connection that breaks fails the read, and so does an abort, with the signal's reason.
 */
export function bodyOf(
  message: IncomingMessage,
  signal: AbortSignal | undefined,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  // Somebody has to listen, also after the last read.
  message.on("error", () => {});
  const pieces = message[Symbol.asyncIterator]();
  return new ReadableStream({
    type: "bytes",
    pull: async (controller) => {
      const next = await nextPiece(message, pieces, signal);
      // A copy: the stream takes the buffer away, and Node's may be shared.
      if (next !== undefined) return controller.enqueue(new Uint8Array(next));
      controller.close();
      // A reader that brought its own buffer waits for it to come back.
      controller.byobRequest?.respond(0);
    },
    cancel: () => {
      // Read to its end the connection serves others.
      if (message.complete) message.resume();
      else message.destroy();
    },
  });
}

async function nextPiece(
  message: IncomingMessage,
  pieces: AsyncIterator<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | undefined> {
  try {
    const { done, value } = await pieces.next();
    if (!done) return value;
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
  if (!message.complete) throw new TypeError("the connection was closed before the body's end");
}
