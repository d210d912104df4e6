/** Step 2 of the walk, the wire: asks a service beside a registry (for a token, for a vendor's listing) until it answers. */

import type { Connection } from "./connection.ts";
import { deadlineFetch, type Fetch, type FetchInit } from "./fetch.ts";
import { describeFailure, retryAfterFailure } from "./network_failure.ts";
import { parseErrors, parseRetryAfter, RegistryError } from "./registry_error.ts";
import { USER_AGENT } from "./send.ts";
import { statusWords } from "./status_words.ts";
import { readText } from "./stream/read_body.ts";

/** One request to a service, which is sent as it is: nobody logs in for it. */
export interface ServiceRequest {
  /** What is being done, for messages: `log in to "ghcr.io" as anonymous`. */
  action: string;
  /** The same in short, for whoever watches it being tried again. */
  purpose?: string;
  /** Where to ask. */
  url: string;
  /** Method. */
  method: "GET" | "POST";
  /** Headers to send; they may hold a password. */
  headers: Record<string, string>;
  /** What to send; it may hold a token. */
  body?: Uint8Array<ArrayBuffer> | undefined;
  /** Bytes of the answer that are read. */
  limit: number;
  /** Attempts, where they differ from those a registry gets. */
  attempts?: number | undefined;
}

/** What a service answered. */
export interface ServiceAnswer {
  /** Headers of the answer. */
  headers: Headers;
  /** All of the answer. */
  text: string;
}

/**
 * Asks a service. It is tried again like a registry, which nobody need do again; redirects are followed to itself alone, for
 * what it is told is meant for nobody else.
 *
 * @param connection The way to it.
 * @throws {RegistryError} when the service refuses or cannot be reached, or its answer is too large.
 */
export async function askService(connection: Connection, request: ServiceRequest): Promise<ServiceAnswer> {
  const { limits, signal } = connection.context;
  const { action, purpose = action, attempts = limits.attempts } = request;
  for (let attempt = 1;; attempt++) {
    try {
      return await askOnce(connection, request);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RegistryError) || error.isPermanent) throw error;
      if (attempt >= attempts) throw error.exhaust();
      await connection.backOff({ action: purpose }, error, attempt);
    }
  }
}

async function askOnce(connection: Connection, request: ServiceRequest): Promise<ServiceAnswer> {
  const { limits, signal } = connection.context;
  const { action, method, headers, body, limit } = request;
  const common = { "accept-encoding": "identity", "user-agent": USER_AGENT, accept: "application/json" };
  const init: FetchInit = { method, headers: { ...common, ...headers }, redirect: "manual" };
  if (body !== undefined) init.body = body;
  let answer: { response: Response; text: string };
  try {
    const send = deadlineFetch(connection.fetch, limits.headers, signal);
    const response = await followOwnRedirects(send, request.url, init);
    answer = { response, text: await readText(response, limit, { ...limits, signal }) };
  } catch (cause) {
    const isTooLarge = cause instanceof RangeError;
    throw new RegistryError({
      action,
      method,
      url: placeOf(request),
      status: 0,
      why: isTooLarge
        ? `its answer is larger than ${limit} bytes`
        : describeFailure(cause, new URL(request.url)),
      retry: isTooLarge ? "later" : retryAfterFailure(cause),
      cause,
    });
  }
  const { response, text } = answer;
  if (response.status < 200 || response.status > 299) throw refusal(connection, request, answer);
  return { headers: response.headers, text };
}

/** Redirects at a service, at the most. */
const REDIRECT_LIMIT = 3;

/**
 * Follows redirects of a service to itself, or to itself with TLS, with the same method: the password was meant for the place
 * that was checked and goes nowhere else.
 */
async function followOwnRedirects(send: Fetch, start: string, init: FetchInit): Promise<Response> {
  let url = new URL(start);
  for (let hop = 0;; hop++) {
    const response = await send(url.href, init);
    const location = response.headers.get("location");
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response;
    if (hop >= REDIRECT_LIMIT || !URL.canParse(location, url.href)) return response;
    const next = new URL(location, url);
    const isSecured = next.protocol === "https:" && next.hostname === url.hostname;
    if (next.origin !== url.origin && !isSecured) return response;
    await response.body?.cancel();
    url = next;
  }
}

function refusal(
  { context: { clock } }: Connection,
  request: ServiceRequest,
  { response: { status, headers }, text }: { response: Response; text: string },
): RegistryError {
  const { action, method } = request;
  const errors = parseErrors(text);
  return new RegistryError({
    action,
    method,
    url: placeOf(request),
    status,
    errors,
    retryAfter: parseRetryAfter(headers.get("retry-after"), clock.now()),
    why: errors.length === 0 ? statusWords(status) : "",
    // A password that was refused is refused again, and some services lock an account that is tried too often.
    ...(status === 401 ? { retry: "never" } : {}),
  });
}

/** Where a request goes, without its query, which may hold a secret. */
function placeOf({ url }: ServiceRequest): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
