/** Step 2 of the walk, the wire: asks a token service, once; what it says in an error is repeated, what it was told never is. */

import type { Connection } from "../connection.ts";
import { deadlineFetch, type Fetch, type FetchInit } from "../fetch.ts";
import { describeFailure, retryAfterFailure } from "../network_failure.ts";
import { AuthError, parseErrors, parseRetryAfter, RegistryError } from "../registry_error.ts";
import { USER_AGENT } from "../send.ts";
import { statusWords } from "../status_words.ts";
import { readText } from "../stream/read_body.ts";

/** Bytes of a token service's answer that are read. */
const ANSWER_LIMIT = 1024 * 1024;

/** One request to a token service. */
export interface TokenRequest {
  /** Where to ask. */
  url: string;
  /** `GET` for user names and anonymous, `POST` for identity tokens. */
  method: "GET" | "POST";
  /** Headers to send; they may hold a password. */
  headers: Record<string, string>;
  /** Form to send; it may hold a token. */
  body?: Uint8Array<ArrayBuffer>;
  /** Whose token it is, for messages. */
  account: string;
}

/** Sends a token request and returns the JSON of the answer; throws when there is none. */
export type TokenFetch = (
  connection: Connection,
  request: TokenRequest,
  attempts?: number,
) => Promise<unknown>;

/**
 * Asks for a token (distribution: token authentication specification; OAuth2 token authentication). The service is tried again
 * like a registry, which nobody need do again.
 *
 * @param attempts How often it is asked at the most; as often as a registry unless told.
 * @returns The JSON of the answer.
 * @throws {RegistryError} when the service refuses or cannot be reached.
 * @throws {AuthError} when its answer is not JSON.
 */
export async function fetchToken(
  connection: Connection,
  token: TokenRequest,
  attempts: number = connection.context.limits.attempts,
): Promise<unknown> {
  const { signal } = connection.context;
  for (let attempt = 1;; attempt++) {
    try {
      return await askOnce(connection, token);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RegistryError) || error.isPermanent) throw error;
      if (attempt >= attempts) throw error.exhaust();
      await connection.backOff({ action: "get a token" }, error, attempt);
    }
  }
}

async function askOnce(connection: Connection, token: TokenRequest): Promise<unknown> {
  const { response, text } = await exchangeToken(connection, token);
  if (response.status < 200 || response.status > 299) throw refusal(connection, token, { response, text });
  try {
    return JSON.parse(text);
  } catch {
    const isPage = /^text\/html\b/i.test(response.headers.get("content-type") ?? "");
    const what = isPage ? "a web page (text/html)" : "something that is not JSON";
    throw new AuthError(connection.host, `its token service answered with ${what}`);
  }
}

async function exchangeToken(
  connection: Connection,
  token: TokenRequest,
): Promise<{ response: Response; text: string }> {
  const { limits, signal } = connection.context;
  const common = { "accept-encoding": "identity", "user-agent": USER_AGENT, accept: "application/json" };
  const init: FetchInit = {
    method: token.method,
    headers: { ...common, ...token.headers },
    redirect: "manual",
  };
  if (token.body !== undefined) init.body = token.body;
  try {
    const send = deadlineFetch(connection.fetch, limits.headers, signal);
    const response = await followOwnRedirects(send, token.url, init);
    return { response, text: await readText(response, ANSWER_LIMIT, { ...limits, signal }) };
  } catch (cause) {
    throw new RegistryError({
      ...placeOf(connection, token),
      status: 0,
      why: describeFailure(cause, new URL(token.url)),
      retry: retryAfterFailure(cause),
      cause,
    });
  }
}

/** Redirects at a token service, at the most. */
const REDIRECT_LIMIT = 3;

/**
 * Follows redirects of a token service to itself, or to itself with TLS, with the same method: the password was meant for the
 * realm that was checked and goes nowhere else.
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
  connection: Connection,
  token: TokenRequest,
  { response, text }: { response: Response; text: string },
): RegistryError {
  const errors = parseErrors(text);
  return new RegistryError({
    ...placeOf(connection, token),
    status: response.status,
    errors,
    retryAfter: parseRetryAfter(response.headers.get("retry-after"), connection.context.clock.now()),
    why: errors.length === 0 ? statusWords(response.status) : "",
    // A password that was refused is refused again, and some services lock an account that is tried too often.
    ...(response.status === 401 ? { retry: "never" } : {}),
  });
}

function placeOf(
  { host }: Connection,
  { url, method, account }: TokenRequest,
): { action: string; method: string; url: string } {
  const { origin, pathname } = new URL(url);
  return { action: `log in to "${host}" as ${account}`, method, url: `${origin}${pathname}` };
}
