/** The test registry behind a socket on loopback. */

import type { Handler } from "./socketless_fetch.ts";

/** Options of {@linkcode serve}. */
export interface ServeOptions {
  /** Port to listen on; a free one unless told. */
  port?: number;
  /** Certificate chain for TLS, as PEM. */
  cert?: string;
  /** Private key for TLS, as PEM. */
  key?: string;
}

/** A registry that listens. */
export interface Server extends AsyncDisposable {
  /** `127.0.0.1:PORT`, as the registry part of a reference. */
  readonly host: string;
  /** Origin, for example `http://127.0.0.1:40123`. */
  readonly url: string;
  /** Stops listening; requests under way are cut off. */
  close(): Promise<void>;
}

/** Serves a registry, or any handler, on 127.0.0.1 until it is closed. */
export function serve(target: Handler | { handler: Handler }, options: ServeOptions = {}): Server {
  const handler = typeof target === "function" ? target : target.handler;
  const { cert, key, port = 0 } = options;
  const tls = cert !== undefined && key !== undefined ? { cert, key } : {};
  const stop = new AbortController();
  const server = Deno.serve({
    ...tls,
    port,
    hostname: "127.0.0.1",
    signal: stop.signal,
    onListen: () => {},
    // A handler fails when the client broke off or a test wants a broken connection: nobody reads an answer.
    onError: () => new Response(null, { status: 500 }),
  }, (request) => handler(request));
  const host = `127.0.0.1:${server.addr.port}`;
  const close = async () => {
    stop.abort();
    await server.finished;
  };
  return { host, url: `http${"cert" in tls ? "s" : ""}://${host}`, close, [Symbol.asyncDispose]: close };
}
