/** Step 2 of the walk, the wire: sends a request to a registry: gate, token, fetch, check, and maybe again. */

import { Authorizer, type TokenRequest } from "./login/auth.ts";
import type { UploadBody } from "./stream/body.ts";
import { BufferPool } from "./stream/buffer_pool.ts";
import { type Challenge, isOwnRealm, parseChallenges } from "./login/challenge.ts";
import { type Clock, systemClock } from "./clock.ts";
import { untilAborted } from "./deferred.ts";
import { Gate, type Outcome } from "./gate.ts";
import { readText } from "./stream/read_body.ts";
import {
  ERROR_BODY_LIMIT,
  isRetryableStatus,
  parseErrors,
  parseRetryAfter,
  printable,
  RegistryError,
} from "./registry_error.ts";
import { failureOf, isCertificateFailure, isMissingTls } from "./network_failure.ts";
import {
  DEFAULT_LIMITS,
  type Limits,
  type RegistryRequest,
  type TransportEvent,
  type TransportOptions,
} from "./request.ts";
import { statusWords } from "./status_words.ts";
import { fetchToken } from "./login/token_service.ts";
import { registryHost } from "../oci/reference.ts";
import {
  deadlineFetch,
  type Fetch,
  type FetchInit,
  followRedirects,
  type SourceResponse,
  TimeLimitError,
} from "./fetch.ts";

/** How a registry is reached. */
interface Connection {
  fetch: Fetch;
  gate: Gate;
  origin: string | undefined;
  meeting: Promise<unknown> | undefined;
}

/** What a request must name for its registry to be met. */
type Introduction = Pick<RegistryRequest, "action" | "registry" | "repository" | "signal" | "scopes">;

/** The name this project gives itself; Docker Hub asks clients to have one. */
const USER_AGENT = "image-syncer-deno";

/** Made once: it notes where it was made, which takes longer than all else about the end of a request. */
const OVER = new DOMException("the request is over", "AbortError");

/** One client for all registries of a run: connections, tokens, gates and what was learned are shared by everyone who uses it. */
export class Transport {
  /** The clock in use. */
  readonly clock: Clock;
  /** The limits in use. */
  readonly limits: Limits;
  /** Ends everything. */
  readonly signal: AbortSignal | undefined;
  /** Memory that blobs are read into. */
  readonly buffers: BufferPool = new BufferPool();
  #options: TransportOptions;
  #connections = new Map<string, Connection>();
  #authorizer: Authorizer;
  /** Failures of a token service, which was already asked as often as makes sense. */
  #spent = new WeakSet<Error>();

  /** Nothing is sent before {@linkcode send}. */
  constructor(options: TransportOptions = {}) {
    this.#options = options;
    this.clock = options.clock ?? systemClock;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.signal = options.signal;
    this.#authorizer = new Authorizer({
      credentials: options.credentials,
      fetchToken: (token) => this.#fetchToken(token),
      allowsPlainRealm: (registry) => this.#connection(registry).origin?.startsWith("http:") ?? false,
      clock: this.clock,
    });
  }

  /** The gate of a registry. */
  gateOf(registry: string): Gate {
    return this.#connection(registry).gate;
  }

  /** The root of a registry as it was reached last. */
  urlOf(registry: string): URL {
    return new URL(this.#connection(registry).origin ?? originOf("https", registry));
  }

  /** Tells whoever watches. */
  emit(event: TransportEvent): void {
    this.#options.onEvent?.(event);
  }

  /**
   * Sends a request until it is answered with an expected status.
   *
   * @returns The answer, its body not yet read.
   * @throws {RegistryError} when the registry refuses or cannot be reached, after every retry that made sense.
   * @throws {AuthError} when logging in is not possible.
   */
  async send(request: RegistryRequest): Promise<SourceResponse> {
    const attempts = request.upload !== undefined ? 1 : request.attempts ?? this.limits.attempts;
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#attempt(request);
      } catch (error) {
        const isFinal = !(error instanceof RegistryError) || error.isPermanent || this.#spent.has(error);
        if (isFinal || attempt >= attempts) throw error;
        await this.backOff(request, error, attempt);
      }
    }
  }

  /**
   * Waits before the next attempt: as long as the registry asked, else up to twice as long each time with full jitter.
   *
   * @throws {unknown} `error`, when the registry asks for a longer wait than the limit.
   */
  async backOff(
    { registry, action, signal }: Pick<RegistryRequest, "registry" | "action" | "signal">,
    error: Error,
    attempt: number,
  ): Promise<void> {
    const asked = error instanceof RegistryError ? error.retryAfter : undefined;
    if (asked !== undefined && asked > this.limits.retryAfter) throw error;
    const wait = asked ?? Math.min(30_000, 200 * 2 ** attempt) * this.clock.random();
    this.emit({ type: "request-retried", registry, action, reason: error.message, wait });
    await this.clock.delay(wait, signal ?? this.signal);
  }

  #connection(registry: string): Connection {
    let connection = this.#connections.get(registry);
    if (connection === undefined) {
      const isInsecure = this.#options.isInsecure?.(registry) ?? false;
      connection = {
        fetch: this.#options.fetchFor?.(registry) ?? ((url, init) => fetch(url, init)),
        gate: new Gate(this.clock),
        origin: isInsecure ? undefined : originOf("https", registry),
        meeting: undefined,
      };
      this.#connections.set(registry, connection);
    }
    return connection;
  }

  /** One attempt; a 401 is answered by logging in and asking once more, which does not count as another attempt. */
  async #attempt(request: RegistryRequest): Promise<SourceResponse> {
    const { gate } = this.#connection(request.registry);
    await this.#meet(request);
    const leave = request.upload === undefined ? await gate.enter(request.signal ?? this.signal) : undefined;
    let outcome: Outcome = "failed";
    try {
      const header = await this.#authorizer.header(request);
      let response = await this.#fetch(request, header);
      if (
        response.status === 401 && request.upload === undefined &&
        await this.#learn(request, response, header)
      ) {
        response = await this.#fetch(request, await this.#authorizer.header(request));
      }
      outcome = response.status === 429 || response.status === 503 ? "overloaded" : "ok";
      if (request.expect.includes(response.status)) return response;
      throw await this.#refusal(request, response);
    } finally {
      leave?.(outcome);
    }
  }

  /** Takes in a 401; returns whether asking again can be of use. */
  async #learn(request: RegistryRequest, response: Response, header: string | undefined): Promise<boolean> {
    if (header !== undefined) this.#authorizer.forget(request.registry, header);
    if (!await this.#learnChallenges(request.registry, response)) return false;
    try {
      const next = await this.#authorizer.header(request);
      if (next === undefined || next === header) return false;
    } catch (error) {
      await response.body?.cancel();
      throw error;
    }
    await response.body?.cancel();
    return true;
  }

  /**
   * Gets to know a registry ahead of the first real request: its scheme, what it asks for, and a token for one repository.
   * What fails here is left to that request to tell.
   */
  async warm(target: Pick<RegistryRequest, "registry" | "repository" | "scopes">): Promise<void> {
    try {
      await this.#meet({ ...target, action: `reach "${target.registry}"` });
      await this.#authorizer.header(target);
    } catch {
      // The request that needs it meets the same failure, and has someone to tell.
    }
  }

  /**
   * The first request to a registry goes alone: what it meets (a challenge, a registry without TLS) the others then know,
   * instead of each being refused on its own.
   */
  async #meet(request: Introduction): Promise<void> {
    const connection = this.#connection(request.registry);
    if (connection.meeting === undefined) {
      // Without body and signal: it is a request of its own, and whoever gives up does not end it for the others.
      const { action, registry, repository, scopes } = request;
      const introduction = { action, registry, repository, scopes };
      // Whoever fails to meet it leaves the next one to try.
      connection.meeting = this.#introduce(introduction, connection).catch((error) => {
        connection.meeting = undefined;
        throw error;
      });
    }
    const signal = request.signal ?? this.signal;
    await (signal === undefined ? connection.meeting : untilAborted(connection.meeting, signal));
  }

  /** Asks for the API's root, which answers with the challenge, if there is one (OCI distribution-spec 1.1, Determining Support). */
  async #introduce(request: Introduction, connection: Connection): Promise<void> {
    const known = await this.#options.challenges?.get(request.registry).catch(() => undefined);
    const time = this.limits.connect;
    const ping = { ...request, method: "GET", path: "/v2/", expect: [200], scopes: [], time } as const;
    const response = connection.origin === undefined
      ? await this.#findOrigin(ping, connection, known)
      : known !== undefined && isOwnRealm(known, connection.origin)
      ? undefined
      : await this.#fetch(ping, undefined);
    if (response === undefined) {
      if (known !== undefined) this.#authorizer.learn(request.registry, [known]);
      return;
    }
    if (isRetryableStatus(response.status)) throw await this.#refusal(ping, response);
    await response.body?.cancel();
    // Any other answer is good enough here: some registries have no root, and refuse nothing but what is really asked for.
    await this.#learnChallenges(request.registry, response);
  }

  async #learnChallenges(registry: string, response: Response): Promise<boolean> {
    // Where passwords go is said by the registry itself, not by a host that it redirects to.
    const isOwn = response.url === "" || new URL(response.url).origin === this.urlOf(registry).origin;
    const header = isOwn ? response.headers.get("www-authenticate") ?? "" : "";
    const isKnown = this.#authorizer.learn(registry, parseChallenges(header));
    const challenge = this.#authorizer.challengeOf(registry);
    if (isKnown && challenge !== undefined) {
      await this.#options.challenges?.set(registry, challenge).catch(() => {});
    }
    return isKnown;
  }

  /**
   * An insecure registry is tried with TLS first, then without.
   *
   * @param known What it asked for in an earlier run: once it is clear that it has no TLS, it need not be asked again.
   * @returns Its answer, or `undefined` when it was not asked.
   */
  async #findOrigin(
    ping: RegistryRequest,
    connection: Connection,
    known: Challenge | undefined,
  ): Promise<Response | undefined> {
    let failure: unknown;
    for (const origin of [originOf("https", ping.registry), originOf("http", ping.registry)]) {
      connection.origin = origin;
      const isPlain = failure instanceof RegistryError && isMissingTls(failure.cause);
      if (isPlain && known !== undefined && isOwnRealm(known, origin)) return undefined;
      try {
        return await this.#fetch(ping, undefined);
      } catch (error) {
        connection.origin = undefined;
        if (!(error instanceof RegistryError) || error.cause instanceof TimeLimitError) throw error;
        // When neither answers, the reason that says more is the one without TLS, unless it was a certificate.
        if (failure === undefined || !isCertificateFailure((failure as RegistryError).cause)) failure = error;
      }
    }
    throw failure;
  }

  /** One fetch, its redirects followed as the rules allow; a failure becomes a {@linkcode RegistryError}. */
  async #fetch(request: RegistryRequest, authorization: string | undefined): Promise<SourceResponse> {
    const connection = this.#connection(request.registry);
    const origin = connection.origin ?? originOf("https", request.registry);
    const url = new URL(request.path, origin);
    const headers: Record<string, string> = {
      "accept-encoding": "identity",
      "user-agent": USER_AGENT,
      ...request.headers,
    };
    // Credentials belong to the registry's own origin; an upload's Location may be elsewhere.
    if (authorization !== undefined && url.origin === origin) headers.authorization = authorization;
    const signal = request.signal ?? this.signal;
    signal?.throwIfAborted();
    let hop = url.href;
    try {
      if (request.upload !== undefined) {
        return await this.#stream(connection, url, headers, request.upload, request);
      }
      const init: FetchInit = { method: request.method, headers, redirect: "manual" };
      if (request.size !== undefined) init.size = request.size;
      if (request.body !== undefined) init.body = request.body;
      const send = deadlineFetch(connection.fetch, request.time ?? this.limits.headers, signal);
      return await followRedirects((next, rest) => send(hop = next, rest), url, init);
    } catch (error) {
      signal?.throwIfAborted();
      throw failureOf(request, new URL(hop), error);
    }
  }

  /** Sends a streamed body; the clock for the answer runs only while nothing moves. */
  async #stream(
    connection: Connection,
    url: URL,
    headers: Record<string, string>,
    upload: UploadBody,
    request: RegistryRequest,
  ): Promise<Response> {
    const signal = request.signal ?? this.signal;
    await connection.gate.waitUntilWanted(signal);
    const init = upload.init();
    const { stall, commit } = this.limits;
    try {
      const send = deadlineFetch(connection.fetch, () => {
        const limit = upload.isComplete ? commit : stall;
        // While the source is being read its own limit holds.
        return upload.isReading ? limit : upload.lastActivity + limit - performance.now();
      }, signal);
      return await send(url.href, {
        ...init,
        method: request.method,
        headers: { ...headers, ...init.headers },
      });
    } catch (error) {
      if (upload.sourceFailure !== undefined) throw upload.sourceFailure;
      throw error;
    } finally {
      upload.kill(OVER);
    }
  }

  /** Turns an unexpected answer into an error with the registry's own words. */
  async #refusal(request: RegistryRequest, response: Response): Promise<RegistryError> {
    const now = this.clock.now();
    const retryAfter = parseRetryAfter(response.headers.get("retry-after"), now);
    if (retryAfter !== undefined && [429, 503].includes(response.status)) {
      this.#pause(request.registry, now + retryAfter);
    }
    const text = await readText(response, ERROR_BODY_LIMIT, this.limits.stall).catch(() => "");
    const errors = parseErrors(text);
    const isPlain = response.headers.get("content-type")?.startsWith("text/plain") ?? false;
    const said = isPlain ? printable(text) : "";
    const words = errors.length === 0 ? said || statusWords(response.status) : "";
    const account = response.status === 401 || response.status === 403
      ? `(${await this.#authorizer.accountOf(request)})`
      : "";
    return new RegistryError({
      action: request.action,
      method: request.method,
      url: response.url === "" ? request.path.split("?")[0] ?? "" : response.url.split("?")[0] ?? "",
      status: response.status,
      errors,
      retryAfter,
      why: `${words} ${account}`.trim(),
    });
  }

  #pause(registry: string, until: number): void {
    const limited = Math.min(until, this.clock.now() + this.limits.retryAfter);
    this.gateOf(registry).pauseUntil(limited);
    this.emit({ type: "rate-limited", registry, until: limited });
  }

  /** Asks a token service; it is retried like the registry itself. */
  async #fetchToken(token: TokenRequest): Promise<unknown> {
    const send = deadlineFetch(this.#connection(token.registry).fetch, this.limits.headers, this.signal);
    const headers = { "accept-encoding": "identity", "user-agent": USER_AGENT };
    for (let attempt = 1;; attempt++) {
      try {
        return await fetchToken(token, { send, headers, time: this.limits.stall, now: this.clock.now() });
      } catch (error) {
        this.signal?.throwIfAborted();
        if (!(error instanceof RegistryError) || error.isPermanent) throw error;
        this.#spent.add(error);
        if (attempt >= this.limits.attempts) throw error;
        const { registry } = token;
        await this.backOff({ registry, action: "get a token", signal: undefined }, error, attempt);
      }
    }
  }
}

/** An origin in the one spelling that `URL` gives it, so that two can be compared. */
function originOf(scheme: "http" | "https", registry: string): string {
  return new URL(`${scheme}://${registryHost(registry)}`).origin;
}
