/** A fetch for large bodies, over connections of its own: through Deno's fetch they take half as much CPU again. */

import type { Fetch, FetchInit, SourceResponse } from "../../registry/fetch.ts";
import { untilAborted } from "../../registry/deferred.ts";
import { ConnectionPool } from "./connection_pool.ts";
import { HttpConnection } from "./http_connection.ts";
import { formatRequestHead } from "./http_head.ts";
import type { ClosableFetch } from "./insecure_fetch.ts";
import { checkLength, type OutgoingBody, outgoingBody } from "./outgoing_body.ts";

/** Options of {@linkcode createSocketFetch}. */
export interface SocketFetchOptions {
  /** Authorities trusted besides the runtime's own, as PEM. */
  caCerts?: readonly string[] | undefined;
  /** The client's own certificate, as PEM; goes with `key`. */
  cert?: string | undefined;
  /** Key of the client's certificate, as PEM. */
  key?: string | undefined;
  /** Sends what cannot be connected to here: it may yet get there, and if not, its words are those users know. */
  otherwise: Fetch;
}

/**
 * Makes a fetch with connections of its own (HTTP/1.1; RFC 9112), which are used again while blobs follow one another.
 *
 * It is what this project needs of fetch for large blobs: `method`, `headers`, `signal`, and a `body` of a known length. Redirects
 * are never followed, bodies never decompressed, whatever `init` says; proxies are not known. It rejects with the signal's
 * reason, or with a `TypeError` whose cause is the failure.
 */
export function createSocketFetch(options: SocketFetchOptions): ClosableFetch {
  const pool = new ConnectionPool();
  const closing = new AbortController();
  const fetch: Fetch = async (text, init) => {
    init.signal?.throwIfAborted();
    closing.signal.throwIfAborted();
    const url = new URL(text);
    const waiting = pool.take(url.origin);
    if (waiting !== undefined) {
      try {
        return await exchange(pool, waiting, url, init);
      } catch (error) {
        // A server may close a connection just as it is used again. What has a stream is sent again by whoever has the stream.
        if (closing.signal.aborted || init.signal?.aborted || init.body) throw error;
      }
    }
    const signal = init.signal ? AbortSignal.any([init.signal, closing.signal]) : closing.signal;
    const connection = await connect(url, signal, options);
    if (connection === undefined) return await options.otherwise(text, init);
    pool.add(connection);
    if (closing.signal.aborted) pool.close();
    return await exchange(pool, connection, url, init);
  };
  const close = () => {
    closing.abort(new TypeError("Cannot fetch: the client is closed"));
    pool.close();
  };
  return { fetch, close };
}

/** A connection, or `undefined` when there is none to be had. */
async function connect(
  url: URL,
  signal: AbortSignal | undefined,
  options: SocketFetchOptions,
): Promise<HttpConnection | undefined> {
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  try {
    const connection = url.protocol === "https:"
      ? await connectTls({ hostname, port: Number(url.port || 443) }, signal, options)
      : await Deno.connect({ hostname, port: Number(url.port || 80), ...(signal && { signal }) });
    return new HttpConnection(connection);
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}

/** A TLS connection whose certificate has been checked: a first write would find it out too late to go another way. */
async function connectTls(
  address: { hostname: string; port: number },
  signal: AbortSignal | undefined,
  { caCerts = [], cert, key }: SocketFetchOptions,
): Promise<Deno.TlsConn> {
  const identity = cert !== undefined && key !== undefined ? { cert, key } : {};
  const opening = Deno.connectTls({
    ...address,
    ...identity,
    caCerts: [...caCerts],
    alpnProtocols: ["http/1.1"],
  });
  const close = () => void opening.then((connection) => connection.close(), () => {});
  const securing = opening.then(async (connection) => {
    await connection.handshake();
    return connection;
  });
  try {
    return await (signal === undefined ? securing : untilAborted(securing, signal));
  } catch (error) {
    close();
    securing.catch(() => {});
    throw error;
  }
}

/** Sends a request and waits for the head of its answer, unless it is given up. */
async function exchange(
  pool: ConnectionPool,
  connection: HttpConnection,
  url: URL,
  init: FetchInit,
): Promise<Response> {
  const signal = init.signal ?? undefined;
  const onAbort = () => pool.drop(connection);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    const release = (isReusable: boolean) =>
      isReusable ? pool.keep(url.origin, connection) : pool.drop(connection);
    return await answer(connection, url, init, release);
  } catch (error) {
    pool.drop(connection);
    signal?.throwIfAborted();
    throw new TypeError("fetch failed", { cause: error });
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

async function answer(
  connection: HttpConnection,
  url: URL,
  init: FetchInit,
  release: (isReusable: boolean) => void,
): Promise<SourceResponse> {
  const { method = "GET" } = init;
  const body = outgoingBody(init);
  const reader = body.content instanceof ReadableStream ? body.content.getReader() : undefined;
  if (reader !== undefined && body.length === undefined) {
    throw new TypeError("Cannot send a stream: its length is not known");
  }
  const { pathname, search, host } = url;
  await connection.write(
    formatRequestHead(method, { pathname, search: init.query ?? search, host }, body.headers),
  );
  const answering = connection.readHead();
  let isSent = false;
  try {
    const sending = send(connection, reader, body).then((isWhole) => isSent = isWhole);
    sending.catch(() => {});
    // A server may answer before it has everything; whatever it says then, nobody waits for the rest.
    await Promise.race([answering, sending]);
    const head = await answering;
    const { status, statusText, headers } = head;
    let isOver = false;
    const stream = connection.body(method, head, (isReusable) => {
      isOver = true;
      release(isReusable && isSent);
    });
    const response = new Response(stream, { status, statusText, headers });
    // When the body is over, the connection may be somebody else's.
    const interrupt = () => isOver || connection.close();
    return Object.defineProperties(response, { url: { value: url.href }, interrupt: { value: interrupt } });
  } finally {
    answering.catch(() => {});
    reader?.cancel(new TypeError("the request is over")).catch(() => {});
  }
}

/**
 * Sends a body; ends quietly when the connection takes no more of it, because the server may have said why.
 *
 * @returns Whether all of it was sent.
 * @throws {unknown} what the body failed with, or a `TypeError` when its length is not the announced one.
 */
async function send(
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
