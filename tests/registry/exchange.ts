/** One request at the test registry on its way to an answer. */

import { gzipSync } from "node:zlib";
import type { BlobContent, Bytes } from "./blob_content.ts";
import type { Quirks, RegistryOptions } from "./options.ts";
import { Refusal } from "./refusal.ts";
import type { RequestEntry, RequestKind } from "./request_log.ts";
import type { RegistryState, RepositoryState } from "./state.ts";

/** What a path asks for. */
export interface Route {
  /** The endpoint. */
  readonly kind: RequestKind;
  /** The repository, or empty. */
  readonly repository: string;
  /** Tag, digest or upload id, or empty. */
  readonly reference: string;
}

/** A request with everything its handler needs. */
export interface Exchange {
  /** The request. */
  readonly request: Request;
  /** Its parsed URL. */
  readonly url: URL;
  /** What it asks for. */
  readonly route: Route;
  /** Its log entry. */
  readonly entry: RequestEntry;
  /** What the registry holds. */
  readonly state: RegistryState;
  /** The registry's options. */
  readonly options: RegistryOptions;
  /** The registry's quirks. */
  readonly quirks: Quirks;
  /** Keeps the request counted as under way until the function that comes back is called. */
  hold(): () => void;
  /** Whether the client may pull from another repository, which a mount needs. */
  canPull(repository: string): boolean;
}

/** An answer before it is a Response. */
export interface Answer {
  /** HTTP status. */
  status: number;
  /** Headers besides Content-Length. */
  headers?: Record<string, string>;
  /** The whole body. */
  bytes?: Bytes;
  /** The body as part of a blob, `end` left out. */
  content?: { blob: BlobContent; start: number; end: number };
}

/** Turns an answer into a Response with a Content-Length, counting the bytes that the client takes. */
export function respond(exchange: Exchange, answer: Answer): Response {
  const { content, bytes } = answer;
  const length = content === undefined ? bytes?.length ?? 0 : content.end - content.start;
  const headers = new Headers(answer.headers);
  if (answer.status !== 204) headers.set("content-length", `${length}`);
  const { status } = answer;
  if (exchange.request.method === "HEAD" || length === 0) return new Response(null, { status, headers });
  if (content === undefined) {
    exchange.entry.bytesOut += length;
    return new Response(bytes ?? null, { status, headers });
  }
  const stream = content.blob.stream(content.start, content.end);
  return new Response(countStream(stream, length, exchange), { status, headers });
}

/** A JSON answer. */
export function respondJson(
  exchange: Exchange,
  value: unknown,
  headers: Record<string, string> = {},
): Response {
  const { errorWithOk } = exchange.quirks;
  const answer = errorWithOk === undefined
    ? value
    : { errors: [{ code: "UNAVAILABLE", message: errorWithOk }] };
  const bytes = new TextEncoder().encode(JSON.stringify(answer));
  return respondWhole(exchange, { "content-type": "application/json", ...headers }, bytes);
}

/** An answer of JSON that is there already, compressed where the registry does that. */
export function respondWhole(exchange: Exchange, headers: Record<string, string>, bytes: Bytes): Response {
  if (!exchange.quirks.compressJson) return respond(exchange, { status: 200, headers, bytes });
  const packed = new Uint8Array(gzipSync(bytes));
  return respond(exchange, {
    status: 200,
    headers: { ...headers, "content-encoding": "gzip" },
    bytes: packed,
  });
}

/** Options of {@linkcode readBody}. */
export interface ReadBodyOptions {
  /** Most bytes to accept. */
  limit?: number;
}

/**
 * Reads the request's body chunk by chunk into the log and a sink.
 *
 * @throws {Refusal} 411 without a Content-Length where the registry needs one, 413 when there are too many bytes.
 */
export async function readBody(
  exchange: Exchange,
  write: (chunk: Uint8Array) => void,
  options: ReadBodyOptions = {},
): Promise<void> {
  const limit = Math.min(options.limit ?? Infinity, exchange.quirks.maxRequestBytes ?? Infinity);
  checkLengthHeader(exchange, limit);
  let received = 0;
  for await (const chunk of exchange.request.body ?? []) {
    exchange.entry.bytesIn += chunk.length;
    received += chunk.length;
    if (received > limit) throw tooLarge(limit);
    write(chunk);
  }
}

function checkLengthHeader({ request, quirks, entry }: Exchange, limit: number): void {
  if (quirks.requireContentLength && request.body !== null && entry.contentLength === undefined) {
    throw new Refusal(411, "SIZE_INVALID", "a Content-Length header is required");
  }
  if ((entry.contentLength ?? 0) > limit) throw tooLarge(limit);
}

function tooLarge(limit: number): Refusal {
  return new Refusal(413, "SIZE_INVALID", `the body is larger than ${limit} bytes`);
}

/**
 * The repository a request is about.
 *
 * @throws {Refusal} NAME_UNKNOWN when there is none of that name.
 */
export function existingRepository({ state, route, quirks }: Exchange): RepositoryState {
  const repository = state.repositories.get(route.repository);
  if (repository === undefined || repository.isEmpty()) {
    throw new Refusal(quirks.missingStatus ?? 404, "NAME_UNKNOWN", "repository name not known to registry");
  }
  return repository;
}

/** Refuses HEAD, where the registry knows none. */
export function checkHead({ request, quirks }: Exchange): void {
  if (request.method !== "HEAD" || quirks.headStatus === undefined) return;
  throw new Refusal(quirks.headStatus, "UNSUPPORTED", "method not allowed");
}

/** A path on this registry as its `Location` and `Link` headers spell it. */
export function location({ url, quirks }: Exchange, path: string): string {
  if (quirks.locationOrigin !== undefined) return quirks.locationOrigin + path;
  return quirks.locationAbsolute ? url.origin + path : path;
}

/** Passes a stream of known length on, counting what is taken; lets go with the last byte. */
function countStream(
  stream: ReadableStream<Bytes>,
  length: number,
  exchange: Exchange,
): ReadableStream<Bytes> {
  const reader = stream.getReader();
  const release = exchange.hold();
  let left = length;
  return new ReadableStream<Bytes>({
    async pull(controller) {
      const { value } = await readOr(reader, release);
      if (value !== undefined) controller.enqueue(value);
      left -= value?.length ?? left;
      exchange.entry.bytesOut += value?.length ?? 0;
      if (left > 0) return;
      release();
      controller.close();
    },
    cancel(reason) {
      release();
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

async function readOr(
  reader: ReadableStreamDefaultReader<Bytes>,
  onError: () => void,
): Promise<ReadableStreamReadResult<Bytes>> {
  try {
    return await reader.read();
  } catch (error) {
    onError();
    throw error;
  }
}
