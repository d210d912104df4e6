/** A fetch that accepts any certificate, made of `node:https`: Deno's own has that only as a flag for the whole process. */

import { request as openRequest } from "node:https";
import type { ClientRequest, IncomingMessage } from "node:http";
import type { Fetch, FetchInit } from "../../registry/fetch.ts";
import { type OutgoingBody, outgoingBody, sendBody } from "./outgoing_body.ts";
import { bodyOf, type BodyOrigin, isWithoutBody } from "./incoming_body.ts";
import { InsecureAgent } from "./insecure_agent.ts";

/** Options of {@linkcode createInsecureFetch}. */
export interface InsecureFetchOptions {
  /** The client's own certificate, as PEM; goes with `key`. */
  cert?: string | undefined;
  /** Key of the client's certificate, as PEM. */
  key?: string | undefined;
  /** The proxy that leads to a URL; none unless told. */
  proxyFor?: ((url: URL) => URL | undefined) | undefined;
}

/** A fetch with connections of its own. */
export interface ClosableFetch {
  /** Sends a request. */
  fetch: Fetch;
  /** Closes every connection; requests under way fail. */
  close(): void;
}

/**
 * Makes a fetch for https URLs that accepts any certificate, over HTTP/1.1.
 *
 * It is what this project needs of fetch: `method`, `headers`, `signal`, and a `body` of bytes, text, a `Blob` or a
 * `ReadableStream`, streamed with the length that a `Blob` or a `Content-Length` header gives. Redirects are never followed,
 * bodies never decompressed, whatever `init` says. It rejects with the signal's reason, or with a `TypeError` whose
 * cause is the failure.
 */
export function createInsecureFetch(options: InsecureFetchOptions = {}): ClosableFetch {
  const agents = new Map<string, InsecureAgent>();
  let isClosed = false;
  const agentFor = (url: URL) => {
    const proxy = options.proxyFor?.(url);
    const key = proxy?.href ?? "";
    const agent = agents.get(key) ?? new InsecureAgent({ cert: options.cert, key: options.key, proxy });
    agents.set(key, agent);
    return agent;
  };
  return {
    fetch: async (text, init) => {
      init.signal?.throwIfAborted();
      if (isClosed) throw new TypeError("Cannot fetch: the client is closed");
      const url = new URL(text);
      const body = outgoingBody(init);
      try {
        return await sendTwice(() => new Exchange(url, init, { agent: agentFor(url), body }));
      } catch (error) {
        init.signal?.throwIfAborted();
        throw new TypeError("fetch failed", { cause: error });
      }
    },
    close: () => {
      isClosed = true;
      for (const agent of agents.values()) agent.close();
    },
  };
}

/** A server may close a kept connection just as it is used again; then, as Deno's fetch does, it is asked once more. */
async function sendTwice(open: () => Exchange): Promise<Response> {
  const first = open();
  try {
    return await first.response;
  } catch (error) {
    if (!first.mayRepeat) throw error;
    return await open().response;
  }
}

/** One request and its answer. */
class Exchange {
  /** The answer, as soon as its headers are there. */
  readonly response: Promise<Response>;
  #request: ClientRequest;
  #body: OutgoingBody;
  #signal: AbortSignal | undefined;
  #agent: InsecureAgent;

  constructor(url: URL, init: FetchInit, { agent, body }: { agent: InsecureAgent; body: OutgoingBody }) {
    this.#agent = agent;
    this.#body = body;
    this.#signal = init.signal ?? undefined;
    const headers = Object.fromEntries(body.headers);
    const path = `${url.pathname}${init.query ?? url.search}`;
    this.#request = openRequest(url, { method: init.method ?? "GET", path, headers, agent: agent.agent });
    this.response = this.#start();
  }

  /** Whether the request failed on a connection that had served others, and its body can be sent again. */
  get mayRepeat(): boolean {
    if (this.#signal?.aborted || this.#agent.isClosed) return false;
    return this.#agent.isReuser(this.#request) && !(this.#body.content instanceof ReadableStream);
  }

  #start(): Promise<Response> {
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const [request, agent, signal] = [this.#request, this.#agent, this.#signal];
    let answer: IncomingMessage | undefined;
    const fail = (reason: unknown) => {
      reject(reason);
      destroy(answer ?? request, reason);
    };
    const onAbort = () => fail(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    request.once("close", () => signal?.removeEventListener("abort", onAbort));
    request.on("error", reject);
    request.once("socket", (socket) => agent.valveOf(socket)?.open());
    request.once("response", (message) => {
      answer = message;
      try {
        resolve(toResponse(message, request.method, { valve: agent.valveOf(message.socket), signal }));
      } catch (error) {
        fail(error);
      }
    });
    sendBody(request, this.#body).catch((error) => {
      // An answer that is there is still read to its end; the connection cannot be used again.
      if (answer === undefined) fail(error);
      else if (answer.readableEnded) request.destroy();
      else answer.once("end", () => request.destroy());
    });
    return promise;
  }
}

function destroy(stream: IncomingMessage | ClientRequest, reason: unknown): void {
  stream.destroy(reason instanceof Error ? reason : new Error(String(reason)));
}

function toResponse(message: IncomingMessage, method: string, origin: BodyOrigin): Response {
  const headers = new Headers();
  const { rawHeaders, statusCode = 0, statusMessage = "" } = message;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    headers.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
  }
  const body = isWithoutBody(method, statusCode) ? null : bodyOf(message, origin);
  if (body === null) message.resume();
  return new Response(body, { status: statusCode, statusText: statusMessage, headers });
}
