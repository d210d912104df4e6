/** The body of a request for `node:https`, made of what a fetch takes. */

import type { ClientRequest } from "node:http";

/** What is sent. */
export interface OutgoingBody {
  /** The request's headers, with the length or the type that the body adds. */
  headers: Headers;
  /** The bytes, or `undefined` for none. */
  content: Uint8Array | ReadableStream<Uint8Array> | undefined;
  /** Bytes that `content` must have; `undefined` for any number. */
  length: number | undefined;
}

/**
 * Reads the body out of a fetch's init.
 *
 * @throws {TypeError} when it is a kind of body this project does not send.
 */
export function outgoingBody({ method = "GET", headers: init, body }: RequestInit): OutgoingBody {
  const headers = new Headers(init);
  const content = contentOf(body);
  // A streaming body has its length from the Blob that carries it, or from the header.
  const known = body instanceof Blob ? body.size : content instanceof Uint8Array ? content.length : undefined;
  if (known !== undefined) headers.set("content-length", String(known));
  else if (content === undefined && /^(?:POST|PUT|PATCH)$/.test(method)) headers.set("content-length", "0");
  if (typeof body === "string" && !headers.has("content-type")) {
    headers.set("content-type", "text/plain;charset=UTF-8");
  }
  const length = headers.get("content-length");
  return { headers, content, length: length === null ? undefined : Number(length) };
}

function contentOf(body: RequestInit["body"]): OutgoingBody["content"] {
  if (body === undefined || body === null) return undefined;
  if (typeof body === "string") return new TextEncoder().encode(body);
  if (body instanceof ReadableStream) return body;
  if (body instanceof Blob) return body.stream();
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  throw new TypeError("Cannot send the body: it is neither bytes, text, a Blob nor a ReadableStream");
}

/**
 * Writes a body, reading on only when the connection takes more. Ends quietly when the request is over before the body is.
 *
 * @throws {unknown} what the body failed with, or a `TypeError` when its length is not the announced one.
 */
export async function sendBody(request: ClientRequest, { content, length }: OutgoingBody): Promise<void> {
  if (!(content instanceof ReadableStream)) {
    request.end(content);
    return;
  }
  const reader = content.getReader();
  let isOver = false;
  request.once("close", () => {
    isOver = true;
    reader.cancel(new TypeError("the request is over")).catch(() => {});
  });
  try {
    let sent = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (isOver) return;
      sent += value?.length ?? 0;
      checkLength(sent, length, done);
      if (done) break;
      // A body that fails is given up also while the server takes nothing.
      if (!request.write(value)) await Promise.race([roomIn(request), reader.closed]);
    }
    request.end();
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

/**
 * Checks a body while it is sent.
 *
 * @param sent Bytes so far.
 * @param length Bytes announced, if any were.
 * @throws {TypeError} when there are more, or fewer at the end.
 */
export function checkLength(sent: number, length: number | undefined, isEnd: boolean): void {
  if (length === undefined || sent === length || sent < length && !isEnd) return;
  throw new TypeError(`the body has ${sent > length ? "more than" : `${sent} instead of`} ${length} bytes`);
}

/** Resolves when the request takes more, or is over. */
function roomIn(request: ClientRequest): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onRoom = () => {
    request.off("drain", onRoom).off("close", onRoom);
    resolve();
  };
  request.on("drain", onRoom).on("close", onRoom);
  return promise;
}
