/** The body of an answer that `node:https` receives, as a WHATWG stream. */

import type { IncomingMessage } from "node:http";
import type { Valve } from "./valve.ts";

/** Whether an answer has no body whatever its headers say (RFC 9110, section 6.4.1). */
export function isWithoutBody(method: string, status: number): boolean {
  return method === "HEAD" || [204, 205, 304].includes(status);
}

/** Where a body comes from. */
export interface BodyOrigin {
  /** The connection's valve: bytes are let in only while somebody waits for them. */
  valve: Valve | undefined;
  /** Ends the reading. */
  signal: AbortSignal | undefined;
}

/**
 * The body of an answer, read from the connection only as fast as it is read here. Cancelling it closes the connection, if
 * bytes are still to come; a connection that breaks fails the read, and so does an abort, with the signal's reason.
 */
export function bodyOf(
  message: IncomingMessage,
  origin: BodyOrigin,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  // Somebody has to listen, also after the last read.
  message.on("error", () => {});
  const pieces: AsyncIterator<Uint8Array> = message[Symbol.asyncIterator]();
  let rest: Uint8Array | undefined;
  if (!message.complete) origin.valve?.shut();
  return new ReadableStream({
    type: "bytes",
    pull: async (controller) => {
      rest ??= await nextPiece(message, pieces, origin);
      if (rest !== undefined) {
        rest = hand(rest, controller);
        return;
      }
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

/** Copies a piece to whoever waits for it, because Node may share its buffers; returns what did not fit. */
function hand(piece: Uint8Array, controller: ReadableByteStreamController): Uint8Array | undefined {
  const request = controller.byobRequest;
  const view = request?.view;
  if (!request || !view) {
    controller.enqueue(new Uint8Array(piece));
    return undefined;
  }
  const count = Math.min(piece.length, view.byteLength);
  new Uint8Array(view.buffer, view.byteOffset, count).set(piece.subarray(0, count));
  request.respond(count);
  return count < piece.length ? piece.subarray(count) : undefined;
}

async function nextPiece(
  message: IncomingMessage,
  pieces: AsyncIterator<Uint8Array>,
  { valve, signal }: BodyOrigin,
): Promise<Uint8Array | undefined> {
  valve?.open();
  try {
    const { done, value } = await pieces.next();
    if (!done) return value;
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  } finally {
    if (!message.complete) valve?.shut();
  }
  if (!message.complete) throw new TypeError("the connection was closed before the body's end");
}
