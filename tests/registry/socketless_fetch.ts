/** A `fetch` that calls handlers instead of opening sockets, and treats bodies and redirects as Deno's own does. */

import type { Bytes } from "./blob_content.ts";

/** Answers a request, as `Deno.serve` calls it. */
export type Handler = (request: Request) => Response | Promise<Response>;

/** A function that can stand in for `fetch`. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

const MAX_REDIRECTS = 20;

/**
 * A `fetch` for several hosts, each answered by its handler.
 * Bodies of known size arrive with a Content-Length, streams as chunked; Authorization does not cross origins.
 *
 * @param hosts Handlers by origin, for example `https://cdn.test`.
 */
export function createNetwork(hosts: Readonly<Record<string, Handler>>): Fetch {
  return createFetch((origin) => hosts[origin]);
}

/** As {@linkcode createNetwork}, asking a function for the handler of an origin. */
export function createFetch(handlerFor: (origin: string) => Handler | undefined): Fetch {
  return async (input, init) => {
    let request = toRequest(input, init);
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const response = await send(request, handlerFor(new URL(request.url).origin));
      const target = redirectTarget(request, response);
      if (target === undefined) return response;
      await response.body?.cancel();
      request = redirected(request, target);
    }
    throw new TypeError("fetch failed", { cause: new Error("too many redirects") });
  };
}

async function send(request: Request, handler: Handler | undefined): Promise<Response> {
  if (handler === undefined) {
    throw new TypeError("fetch failed", { cause: new Error(`dns error: no such host in "${request.url}"`) });
  }
  const { signal } = request;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => {});
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    const response = await Promise.race([answer(handler, request), aborted.promise]);
    return abortable(response, signal);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function answer(handler: Handler, request: Request): Promise<Response> {
  try {
    return await handler(request);
  } catch (error) {
    throw new TypeError("fetch failed", { cause: error });
  } finally {
    // What the registry did not read is not sent.
    if (request.body !== null && !request.body.locked) await request.body.cancel().catch(() => {});
  }
}

/** Ends a response's body with an error when the signal aborts. */
function abortable(response: Response, signal: AbortSignal): Response {
  if (response.body === null) return response;
  const reader: ReadableStreamDefaultReader<Bytes> = response.body.getReader();
  let abort = () => {};
  const done = () => signal.removeEventListener("abort", abort);
  const body = new ReadableStream<Bytes>({
    start(controller) {
      abort = () => {
        controller.error(signal.reason);
        reader.cancel(signal.reason).catch(() => {});
      };
      signal.addEventListener("abort", abort, { once: true });
    },
    async pull(controller) {
      const { done: ended, value } = await reader.read();
      if (signal.aborted) return;
      if (!ended) return controller.enqueue(value);
      done();
      controller.close();
    },
    cancel(reason) {
      done();
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
  return withUrl(new Response(body, response), response);
}

function withUrl(copy: Response, original: Response): Response {
  return original.url === "" ? copy : Object.defineProperty(copy, "url", { value: original.url });
}

function toRequest(input: string | URL | Request, init: RequestInit = {}): Request {
  if (input instanceof Request && init.body === undefined) return new Request(input, init);
  const { body, ...rest } = init;
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  const method = (init.method ?? (input instanceof Request ? input.method : "GET")).toUpperCase();
  setLengthHeaders(headers, method, body);
  const signal = init.signal ?? (input instanceof Request ? input.signal : null);
  const sent = isStreamed(body) ? wireBody(body, signal) : body;
  return new Request(input, { ...rest, method, headers, ...(sent !== undefined && { body: sent }) });
}

function isStreamed(body: BodyInit | null | undefined): body is Blob | ReadableStream<Uint8Array> {
  return body instanceof Blob || body instanceof ReadableStream;
}

/** Deno sends a Content-Length for bodies of known size only, whatever the caller's header says (deno issue 20274). */
function setLengthHeaders(headers: Headers, method: string, body: BodyInit | null | undefined): void {
  headers.delete("content-length");
  const length = bodyLength(body);
  if (length === undefined) headers.set("transfer-encoding", "chunked");
  else if (length > 0 || ["POST", "PUT", "PATCH"].includes(method)) {
    headers.set("content-length", `${length}`);
  }
}

function bodyLength(body: BodyInit | null | undefined): number | undefined {
  if (body === null || body === undefined) return 0;
  if (typeof body === "string") return new TextEncoder().encode(body).length;
  if (body instanceof URLSearchParams) return body.toString().length;
  // Deno sends an empty Blob chunked.
  if (body instanceof Blob) return body.size > 0 ? body.size : undefined;
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return body.byteLength;
  return undefined;
}

/** A streamed body as a socket would take it: cut at its length, an error when too short, ended by the signal. */
function wireBody(
  body: Blob | ReadableStream<Uint8Array>,
  signal: AbortSignal | null,
): ReadableStream<Uint8Array> {
  let left = body instanceof Blob && body.size > 0 ? body.size : Infinity;
  const reader = (body instanceof Blob ? body.stream() : body).getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = await readUnlessAborted(reader, signal);
      if (chunk === undefined) return endOfBody(controller, left);
      controller.enqueue(chunk.subarray(0, left));
      left -= chunk.length;
      if (left > 0) return;
      controller.close();
      await reader.cancel();
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

function endOfBody(controller: ReadableStreamDefaultController<Uint8Array>, left: number): void {
  if (left === Infinity) return controller.close();
  controller.error(new TypeError(`early end, expected ${left} more bytes`));
}

async function readUnlessAborted(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  signal: AbortSignal | null,
): Promise<Uint8Array | undefined> {
  const abort = () => reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const { value } = await reader.read();
    signal?.throwIfAborted();
    return value;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Where `fetch` goes next; `undefined` when the response is for the caller. */
function redirectTarget(request: Request, response: Response): URL | undefined {
  const header = response.headers.get("location");
  const isRedirect = [301, 302, 303, 307, 308].includes(response.status);
  if (!isRedirect || header === null || request.redirect === "manual") return undefined;
  const why = request.redirect === "error"
    ? "redirect mode is error"
    : "Can not redeliver a streaming request body after a redirect";
  if (request.redirect === "error" || request.body !== null) {
    throw new TypeError("fetch failed", { cause: new Error(why) });
  }
  return new URL(header, request.url);
}

function redirected(request: Request, target: URL): Request {
  const headers = new Headers(request.headers);
  if (target.origin !== new URL(request.url).origin) {
    for (const name of ["authorization", "cookie"]) headers.delete(name);
  }
  const { method, signal, redirect } = request;
  return new Request(target, { method, headers, signal, redirect });
}
