/** Step 2 of the walk, the wire: asks a token service, once; what it says in an error is repeated, what it was told never is. */

import { AuthError, type TokenRequest } from "./auth.ts";
import type { Fetch, FetchInit } from "../fetch.ts";
import { describeFailure, isCertificateFailure } from "../network_failure.ts";
import { readText } from "../stream/read_body.ts";
import { parseErrors, parseRetryAfter, RegistryError } from "../registry_error.ts";
import { statusWords } from "../status_words.ts";

/** Bytes of a token service's answer that are read. */
const ANSWER_LIMIT = 1024 * 1024;

/** How a token service is asked. */
export interface TokenFetchOptions {
  /** Reaches the service, within a time limit. */
  send: Fetch;
  /** Headers that every request has. */
  headers: Record<string, string>;
  /** Milliseconds that reading the answer may take. */
  time: number;
  /** Milliseconds since 1970. */
  now: number;
}

/**
 * Asks for a token (distribution: token authentication specification; OAuth2 token authentication).
 *
 * @returns The JSON of the answer.
 * @throws {RegistryError} when the service refuses or cannot be reached.
 * @throws {AuthError} when its answer is not JSON.
 */
export async function fetchToken(token: TokenRequest, options: TokenFetchOptions): Promise<unknown> {
  const headers = { ...options.headers, ...token.headers, accept: "application/json" };
  // A redirect is not followed: the password was meant for the realm that was checked.
  const init: FetchInit = { method: token.method, headers, redirect: "manual" };
  if (token.body !== undefined) init.body = token.body;
  const { response, text } = await exchange(token, init, options);
  if (response.status !== 200) throw refusal(token, response, { text, now: options.now });
  try {
    return JSON.parse(text);
  } catch {
    throw new AuthError(token.registry, "its token service answered with something that is not JSON");
  }
}

async function exchange(
  token: TokenRequest,
  init: FetchInit,
  { send, time }: TokenFetchOptions,
): Promise<{ response: Response; text: string }> {
  try {
    const response = await send(token.url, init);
    return { response, text: await readText(response, ANSWER_LIMIT, time) };
  } catch (cause) {
    throw new RegistryError({
      ...placeOf(token),
      status: 0,
      why: describeFailure(cause, new URL(token.url)),
      isPermanent: isCertificateFailure(cause),
      cause,
    });
  }
}

function refusal(
  token: TokenRequest,
  response: Response,
  { text, now }: { text: string; now: number },
): RegistryError {
  const errors = parseErrors(text);
  return new RegistryError({
    ...placeOf(token),
    status: response.status,
    errors,
    retryAfter: parseRetryAfter(response.headers.get("retry-after"), now),
    why: errors.length === 0 ? statusWords(response.status) : "",
  });
}

function placeOf(token: TokenRequest): { action: string; method: string; url: string } {
  const url = new URL(token.url);
  const action = `log in to "${token.registry}" as ${token.account}`;
  return { action, method: token.method, url: `${url.origin}${url.pathname}` };
}
