/** Step 2 of the walk, the wire: a fetch that keeps to time limits and follows redirects by rules. */

/** A request as a runtime's `fetch` takes it. */
export interface FetchInit extends RequestInit {
  /** Header fields, names in lower case: an object of them costs a tenth of a `Headers`. */
  headers?: Record<string, string>;
  /** Bytes that the body of the answer will have, where that is known: a fetch may go another way for large ones. */
  size?: number;
  /**
   * The query with its `?` as it is to be sent, where `URL` writes it otherwise (`'` as `%27`): a service that signs a query wants
   * back what it gave. A fetch that cannot do that sends what `URL` makes of it.
   */
  query?: string;
}

/** An answer as the core reads it; every runtime's `Response` is one. */
export interface SourceResponse extends Response {
  /**
   * There where the body fills a reader's buffer as far as bytes come without a pause; others give what they have (Deno: 64 KiB).
   * It ends the body: a read that waits for more gives what is in the buffer, and fails when there is nothing.
   */
  readonly interrupt?: () => void;
}

/** What the core needs of a runtime's `fetch`. */
export type Fetch = (url: string, init: FetchInit) => Promise<SourceResponse>;

/** A limit on time was reached. */
export class TimeLimitError extends Error {
  /** Says after how many milliseconds. */
  constructor(milliseconds: number) {
    super(`no answer within ${Math.round(milliseconds / 100) / 10} s`);
    this.name = "TimeLimitError";
  }
}

/** A body moves, but hardly: who waits for it waits for ever. */
export class SlowBodyError extends Error {
  /** Says how many bytes came within how many milliseconds. */
  constructor(bytes: number, milliseconds: number) {
    super(`it gave only ${bytes} bytes within ${Math.round(milliseconds / 1000)} s`);
    this.name = "SlowBodyError";
  }
}

/** A redirect that is not followed. */
export class RedirectError extends Error {
  /** Says why. */
  constructor(why: string) {
    super(`its redirect is not followed: ${why}`);
    this.name = "RedirectError";
  }
}

/**
 * A fetch that rejects with {@linkcode TimeLimitError} when there are no headers in time, and with the signal's reason when it aborts.
 * Both end with the headers: the body is watched by whoever reads it.
 *
 * @param limit Milliseconds, or a function that gives those that remain; it is asked again when they have passed.
 */
export function deadlineFetch(
  fetch: Fetch,
  limit: number | (() => number),
  signal: AbortSignal | undefined,
): Fetch {
  return async (url, init) => {
    signal?.throwIfAborted();
    const controller = new AbortController();
    const startedAt = performance.now();
    const remaining = typeof limit === "number" ? () => startedAt + limit - performance.now() : limit;
    const onAbort = () => controller.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const watch = (wait: number) => {
      timer = setTimeout(() => {
        const left = remaining();
        if (left > 1) watch(left);
        else controller.abort(new TimeLimitError(performance.now() - startedAt));
      }, wait);
    };
    watch(Math.max(1, remaining()));
    try {
      return await fetch(url, { ...init, signal: controller.signal });
    } catch (error) {
      // Some runtimes wrap the reason of an abort; what counts is why it was aborted.
      throw controller.signal.aborted ? controller.signal.reason : error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  };
}

/** More hops than this are a loop. */
const REDIRECT_LIMIT = 5;

/**
 * Sends a request and follows its redirects: for GET and HEAD all of them, for other methods those that keep the method
 * (RFC 9110, section 15.4). Credentials stay with the origin they were meant for; from https it never goes to http.
 *
 * @throws {RedirectError} when a redirect breaks a rule.
 */
export async function followRedirects(send: Fetch, start: URL, init: FetchInit): Promise<SourceResponse> {
  const headers = { ...init.headers };
  let url = start;
  for (let hop = 0; hop <= REDIRECT_LIMIT; hop++) {
    const response = await send(url.href, { ...init, headers });
    // Not every fetch says where its answer came from; whether to trust what it asks for hangs on it.
    if (response.url === "") Object.defineProperty(response, "url", { value: url.href });
    if (!isRedirect(response.status, init.method ?? "GET")) return response;
    const location = response.headers.get("location");
    if (location === null) return response;
    await response.body?.cancel();
    const next = checkRedirect(url, location);
    if (next.origin !== url.origin) delete headers.authorization;
    url = next;
  }
  throw new RedirectError(`more than ${REDIRECT_LIMIT} in a row`);
}

function isRedirect(status: number, method: string): boolean {
  if (status === 307 || status === 308) return true;
  return (method === "GET" || method === "HEAD") && [301, 302, 303].includes(status);
}

function checkRedirect(from: URL, location: string): URL {
  if (!URL.canParse(location, from.href)) throw new RedirectError("its Location is not a URL");
  const next = new URL(location, from);
  if (next.protocol !== "https:" && next.protocol !== "http:") {
    throw new RedirectError(`it leads to ${next.protocol} instead of https:`);
  }
  if (from.protocol === "https:" && next.protocol === "http:") {
    throw new RedirectError("it leads from https to http");
  }
  return next;
}
