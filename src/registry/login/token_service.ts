/** Step 2 of the walk, the wire: asks a token service, once; what it says in an error is repeated, what it was told never is. */

import type { Connection } from "../connection.ts";
import { deadlineFetch, type FetchInit } from "../fetch.ts";
import { describeFailure, isCertificateFailure } from "../network_failure.ts";
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

/**
 * Asks for a token (distribution: token authentication specification; OAuth2 token authentication). The service is tried again
 * like a registry, which nobody need do again.
 *
 * @returns The JSON of the answer.
 * @throws {RegistryError} when the service refuses or cannot be reached.
 * @throws {AuthError} when its answer is not JSON.
 */
export async function fetchToken(connection: Connection, token: TokenRequest): Promise<unknown> {
  const { limits, signal } = connection.context;
  for (let attempt = 1;; attempt++) {
    try {
      return await askOnce(connection, token);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RegistryError) || error.isPermanent || attempt >= limits.attempts) throw error;
      await connection.backOff({ action: "get a token" }, error, attempt);
    }
  }
}

async function askOnce(connection: Connection, token: TokenRequest): Promise<unknown> {
  const { response, text } = await exchangeToken(connection, token);
  if (response.status !== 200) throw refusal(connection, token, { response, text });
  try {
    return JSON.parse(text);
  } catch {
    throw new AuthError(connection.host, "its token service answered with something that is not JSON");
  }
}

async function exchangeToken(
  connection: Connection,
  token: TokenRequest,
): Promise<{ response: Response; text: string }> {
  const { limits, signal } = connection.context;
  const common = { "accept-encoding": "identity", "user-agent": USER_AGENT, accept: "application/json" };
  // A redirect is not followed: the password was meant for the realm that was checked.
  const init: FetchInit = {
    method: token.method,
    headers: { ...common, ...token.headers },
    redirect: "manual",
  };
  if (token.body !== undefined) init.body = token.body;
  try {
    const response = await deadlineFetch(connection.fetch, limits.headers, signal)(token.url, init);
    return { response, text: await readText(response, ANSWER_LIMIT, limits.stall) };
  } catch (cause) {
    throw new RegistryError({
      ...placeOf(connection, token),
      status: 0,
      why: describeFailure(cause, new URL(token.url)),
      isPermanent: isCertificateFailure(cause),
      isSpent: true,
      cause,
    });
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
    isSpent: true,
  });
}

function placeOf(
  { host }: Connection,
  { url, method, account }: TokenRequest,
): { action: string; method: string; url: string } {
  const { origin, pathname } = new URL(url);
  return { action: `log in to "${host}" as ${account}`, method, url: `${origin}${pathname}` };
}
