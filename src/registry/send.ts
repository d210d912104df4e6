/** Step 2 of the walk, the wire: one request to a registry and its answer, within limits, with redirects as the rules allow. */

import { printable } from "../oci/printable.ts";
import type { Connection } from "./connection.ts";
import { deadlineFetch, type Fetch, type FetchInit, followRedirects, type SourceResponse } from "./fetch.ts";
import { failureOf } from "./network_failure.ts";
import { ERROR_BODY_LIMIT, parseErrors, parseRetryAfter, RegistryError } from "./registry_error.ts";
import type { RegistryRequest } from "./request.ts";
import type { Retry } from "./retry.ts";
import { statusWords } from "./status_words.ts";
import type { UploadBody } from "./stream/body.ts";
import { readText } from "./stream/read_body.ts";

/** The name this project gives itself; Docker Hub asks clients to have one. */
export const USER_AGENT = "image-syncer-deno";

/** Made once: it notes where it was made, which takes longer than all else about the end of a request. */
const OVER = new DOMException("the request is over", "AbortError");

/**
 * Sends a request once.
 *
 * @param authorization Goes to the registry's own origin and nowhere else.
 * @returns Any answer, its body not yet read.
 * @throws {RegistryError} when there is none.
 * @throws The signal's reason when it aborts.
 */
export async function exchange(
  connection: Connection,
  request: RegistryRequest,
  authorization: string | undefined,
): Promise<SourceResponse> {
  const { context, origin } = connection;
  const url = new URL(request.path, origin);
  const headers: Record<string, string> = {
    "accept-encoding": "identity",
    "user-agent": USER_AGENT,
    ...request.headers,
  };
  // Credentials belong to the registry's own origin; an upload's Location may be elsewhere.
  if (authorization !== undefined && url.origin === origin) headers.authorization = authorization;
  const signal = request.signal ?? context.signal;
  signal?.throwIfAborted();
  const init: FetchInit = { ...spellingOf(request.path, url), method: request.method, headers };
  const trail = { hop: url.href };
  try {
    return await (request.upload === undefined
      ? sendWhole(connection, { url, init, trail }, { ...request, signal })
      : stream(connection, { url, init, upload: request.upload }, signal));
  } catch (error) {
    signal?.throwIfAborted();
    throw failureOf(request, new URL(trail.hop), error);
  }
}

/** Sends a request with a body in memory or none; redirects are followed, each hop noted for whoever tells of a failure. */
async function sendWhole(
  { fetch, context }: Connection,
  { url, init: { query, ...rest }, trail }: { url: URL; init: FetchInit; trail: { hop: string } },
  { size, body, time, signal }: RegistryRequest,
): Promise<SourceResponse> {
  const init: FetchInit = { ...rest, redirect: "manual" };
  if (size !== undefined) init.size = size;
  if (body !== undefined) init.body = body;
  const send = deadlineFetch(fetch, time ?? context.limits.headers, signal);
  const spelling = query === undefined ? {} : { query };
  const sendHop: Fetch = (next, hop) => {
    trail.hop = next;
    return send(next, next === url.href ? { ...hop, ...spelling } : hop);
  };
  return await followRedirects(sendHop, url, init);
}

/** The query as it was given, where `URL` spells it otherwise. */
function spellingOf(path: string, { search }: URL): Pick<FetchInit, "query"> {
  const query = /\?[^#]*/.exec(path)?.[0] ?? "";
  return query === search || !/^[\x21-\x7e]*$/.test(query) ? {} : { query };
}

/** Sends a streamed body; the clock for the answer runs only while nothing moves. */
async function stream(
  { fetch, context }: Connection,
  { url, init: { headers, ...rest }, upload }: { url: URL; init: FetchInit; upload: UploadBody },
  signal: AbortSignal | undefined,
): Promise<Response> {
  const init = upload.init();
  const { stall, commit } = context.limits;
  try {
    const send = deadlineFetch(fetch, () => {
      const limit = upload.isComplete ? commit : stall;
      // While the source is being read its own limit holds.
      return upload.isReading ? limit : upload.lastActivity + limit - performance.now();
    }, signal);
    return await send(url.href, { ...rest, ...init, headers: { ...headers, ...init.headers } });
  } catch (error) {
    if (upload.sourceFailure !== undefined) throw upload.sourceFailure;
    throw error;
  } finally {
    upload.kill(OVER);
  }
}

/** Lets all wait as long as an answer asks (RFC 9110, section 10.2.3), unless that is longer than the limit. */
export function obeyRetryAfter(connection: Connection, response: Response): void {
  const { clock, limits } = connection.context;
  const asked = parseRetryAfter(response.headers.get("retry-after"), clock.now());
  const isMeant = response.status === 429 || response.status === 503;
  // Whoever asks for a day is not waited for, so the others are not kept waiting either.
  if (isMeant && asked !== undefined && asked <= limits.retryAfter) connection.pause(asked);
}

/**
 * Turns an unexpected answer into an error with the registry's own words; its body is read, or let go.
 *
 * @param refused The answer; who asked, for messages about what that account may not do; and when it makes sense to try again,
 *   where the answer does not say it.
 * @throws The signal's reason when it aborts.
 */
export async function refusalOf(
  { context }: Connection,
  { action, method, path, signal = context.signal }: RegistryRequest,
  { response, account, retry }: { response: Response; account: string; retry: Retry | undefined },
): Promise<RegistryError> {
  const { clock, limits } = context;
  const retryAfter = parseRetryAfter(response.headers.get("retry-after"), clock.now());
  const isTooLong = retryAfter !== undefined && retryAfter > limits.retryAfter;
  const text = await readText(response, ERROR_BODY_LIMIT, { ...limits, signal }).catch(() => "");
  signal?.throwIfAborted();
  const errors = parseErrors(text);
  const isPlain = response.headers.get("content-type")?.startsWith("text/plain") ?? false;
  const said = isPlain ? printable(text) : "";
  const words = errors.length === 0 ? said || statusWords(response.status) : "";
  const isAboutAccount = response.status === 401 || response.status === 403;
  return new RegistryError({
    action,
    method,
    url: (response.url === "" ? path : response.url).split("?")[0] ?? "",
    status: response.status,
    errors,
    retryAfter,
    why: [
      words,
      isAboutAccount && account !== "" ? `(${account})` : "",
      isTooLong ? untilWhen(clock.now() + retryAfter) : "",
    ]
      .filter((part) => part !== "").join(" "),
    ...(isTooLong ? { retry: "never" } : retry === undefined ? {} : { retry }),
  });
}

function untilWhen(time: number): string {
  return `(it asks to wait until ${new Date(time).toISOString()})`;
}
