/** The body of a request, made of what a fetch takes, and its way onto a connection. */

import type { HttpConnection } from "./http_connection.ts";

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
 * Sends a body; ends quietly when the connection takes no more of it, because the server may have said why.
 *
 * @returns Whether all of it was sent.
 * @throws {unknown} what the body failed with, or a `TypeError` when its length is not the announced one.
 */
export async function sendBody(
  connection: HttpConnection,
  reader: ReadableStreamDefaultReader<Uint8Array> | undefined,
  { content, length }: OutgoingBody,
): Promise<boolean> {
  if (content instanceof Uint8Array) return await isWritten(connection, content);
  if (reader === undefined) return true;
  let sent = 0;
  for (let reading = reader.read();;) {
    const { done, value } = await reading;
    sent += value?.length ?? 0;
    checkLength(sent, length, done);
    if (done) return true;
    // The next piece is read while this one is written.
    reading = reader.read();
    reading.catch(() => {});
    const writing = isWritten(connection, value);
    // A source that fails is not hidden by a server that takes nothing.
    if (!await Promise.race([writing, reading.then(() => writing)])) return false;
  }
}

async function isWritten(connection: HttpConnection, bytes: Uint8Array): Promise<boolean> {
  try {
    await connection.write(bytes);
    return true;
  } catch {
    return false;
  }
}

/**
 * Checks a body while it is sent.
 *
 * @param sent Bytes so far.
 * @param length Bytes announced, if any were.
 * @throws {TypeError} when there are more, or fewer at the end.
 */
function checkLength(sent: number, length: number | undefined, isEnd: boolean): void {
  if (length === undefined || sent === length || sent < length && !isEnd) return;
  throw new TypeError(`the body has ${sent > length ? "more than" : `${sent} instead of`} ${length} bytes`);
}
