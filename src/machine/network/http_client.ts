/** A fetch over connections of our own: for large bodies, and for whatever the runtime's fetch cannot do. */

import { untilAborted } from "../../registry/deferred.ts";
import type { Fetch, FetchInit, SourceResponse } from "../../registry/fetch.ts";
import { ConnectionPool } from "./connection_pool.ts";
import { Connector, type ConnectorOptions, type Way } from "./connector.ts";
import { formatRequestHead } from "./http_head.ts";
import { outgoingBody, sendBody } from "./outgoing_body.ts";

/** A fetch with connections of its own. */
export interface ClosableFetch {
  /** Sends a request. */
  fetch: Fetch;
  /** Closes every connection; requests under way fail. */
  close(): void;
}

/**
 * Makes a fetch with connections of its own (HTTP/1.1; RFC 9112), which are used again while requests follow one another.
 *
 * It is what this project needs of fetch: `method`, `headers`, `signal`, and a `body` of bytes, text, or a stream of a known length.
 * Redirects are never followed, bodies never decompressed, whatever `init` says. It rejects with the signal's reason, or with a
 * `TypeError` whose cause is the failure.
 */
export function createHttpClient(options: ConnectorOptions): ClosableFetch {
  const pool = new ConnectionPool();
  const connector = new Connector(options);
  const closing = new AbortController();
  const fetch: Fetch = async (text, init) => {
    init.signal?.throwIfAborted();
    closing.signal.throwIfAborted();
    const url = new URL(text);
    const waiting = pool.take(url.origin);
    if (waiting !== undefined) {
      try {
        return await exchange(pool, waiting, { url, init });
      } catch (error) {
        // A server may close a connection just as it is used again. What has a stream is sent again by whoever has the stream.
        const isOnce = init.body instanceof ReadableStream || init.body instanceof Blob;
        if (closing.signal.aborted || init.signal?.aborted || isOnce) throw error;
      }
    }
    const way = await connect(
      connector,
      url,
      AbortSignal.any([...(init.signal ? [init.signal] : []), closing.signal]),
    );
    pool.add(way);
    if (closing.signal.aborted) pool.close();
    return await exchange(pool, way, { url, init });
  };
  const close = () => {
    closing.abort(new TypeError("Cannot fetch: the client is closed"));
    pool.close();
  };
  return { fetch, close };
}

async function connect(connector: Connector, url: URL, signal: AbortSignal): Promise<Way> {
  const opening = connector.open(url, signal);
  try {
    return await untilAborted(opening, signal);
  } catch (error) {
    // What comes too late is of no use.
    opening.then(({ connection }) => connection.close(), () => {});
    signal.throwIfAborted();
    throw new TypeError("fetch failed", { cause: error });
  }
}

/** What is asked, and where. */
interface Outgoing {
  url: URL;
  init: FetchInit;
}

/** Sends a request and waits for the head of its answer, unless it is given up. */
async function exchange(pool: ConnectionPool, way: Way, request: Outgoing): Promise<Response> {
  const { url, init } = request;
  const signal = init.signal ?? undefined;
  const onAbort = () => pool.drop(way);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    const release = (isReusable: boolean) => isReusable ? pool.keep(url.origin, way) : pool.drop(way);
    return await answer(way, request, release);
  } catch (error) {
    pool.drop(way);
    signal?.throwIfAborted();
    throw new TypeError("fetch failed", { cause: error });
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

async function answer(
  { connection, fields, isAbsolute }: Way,
  { url, init }: Outgoing,
  release: (isReusable: boolean) => void,
): Promise<SourceResponse> {
  const { method = "GET" } = init;
  const body = outgoingBody(init);
  const reader = body.content instanceof ReadableStream ? body.content.getReader() : undefined;
  if (reader !== undefined && body.length === undefined) {
    throw new TypeError("Cannot send a stream: its length is not known");
  }
  const { pathname, search, host, origin } = url;
  const target = `${isAbsolute ? origin : ""}${pathname}${init.query ?? search}`;
  for (const [name, value] of Object.entries(fields)) body.headers.set(name, value);
  await connection.write(formatRequestHead(method, { target, host }, body.headers));
  const answering = connection.readHead();
  let isSent = false;
  try {
    const sending = sendBody(connection, reader, body).then((isWhole) => isSent = isWhole);
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
