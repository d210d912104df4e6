/** Step 2 of the walk, the wire: asks a token service, once; what it says in an error is repeated, what it was told never is. */

import type { Connection } from "../connection.ts";
import { AuthError } from "../registry_error.ts";
import { askService } from "../service_request.ts";

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
 * Asks for a token (distribution: token authentication specification; OAuth2 token authentication).
 *
 * @param attempts How often it is asked at the most; as often as a registry unless told.
 * @returns The JSON of the answer.
 * @throws {RegistryError} when the service refuses or cannot be reached.
 * @throws {AuthError} when its answer is not JSON.
 */
export async function fetchToken(
  connection: Connection,
  { account, ...request }: TokenRequest,
  attempts?: number,
): Promise<unknown> {
  const action = `log in to "${connection.host}" as ${account}`;
  const { headers, text } = await askService(connection, {
    ...request,
    action,
    purpose: "get a token",
    limit: ANSWER_LIMIT,
    attempts,
  });
  try {
    return JSON.parse(text);
  } catch {
    const isPage = /^text\/html\b/i.test(headers.get("content-type") ?? "");
    const what = isPage ? "a web page (text/html)" : "something that is not JSON";
    throw new AuthError(connection.host, `its token service answered with ${what}`);
  }
}
