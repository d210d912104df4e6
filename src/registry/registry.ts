/** Step 2 of the walk, the wire: one registry and all that is known of it; sends requests to it until they are answered. */

import { Abilities } from "./abilities.ts";
import type { Connection } from "./connection.ts";
import type { SourceResponse } from "./fetch.ts";
import { FirstContact } from "./first_contact.ts";
import type { Gate, Outcome } from "./gate.ts";
import { Login, type LoginOptions } from "./login/login.ts";
import { RegistryError } from "./registry_error.ts";
import type { RegistryRequest, RequestContext } from "./request.ts";
import { exchange, obeyRetryAfter, refusalOf } from "./send.ts";

/** Manifests that were read, as Docker Hub counts them: HEADs are free. */
export interface Pulls {
  /** How many in this run. */
  made: number;
  /** How many the registry says are left, where it does (`RateLimit-Remaining`). */
  left: number | undefined;
}

/** Small bodies and blobs are often served by different hosts, which are slow for themselves. */
export type BodyKind = "small" | "blob";

/** What is sent to change something. */
const PUSHES: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

/** How often a 401 is answered by logging in anew. */
const LOGINS = 3;

/** One registry of a run: its connection, login, gate and abilities, shared by everyone who works with it. */
export class Registry {
  /** Canonical registry, for example `docker.io` or `localhost:5000`. */
  readonly host: string;
  /** What all requests of the run share: clock, limits, buffers, signal, watcher. */
  readonly context: RequestContext;
  /** How many requests it is given at once, and when it wants none. */
  readonly gate: Gate;
  /** What it has shown of how it takes uploads. */
  readonly abilities: Abilities = new Abilities();
  /** What was pulled of it in this run. */
  readonly pulls: Pulls = { made: 0, left: undefined };
  #connection: Connection;
  #login: Login;
  #contact: FirstContact;
  /** Milliseconds since 1970 when it last answered anything. */
  #answeredAt = -Infinity;
  /** Milliseconds since 1970 when it last answered a request of each method. */
  #takenAt = new Map<string, number>();
  /** Why nothing more is pushed in this run, by method. */
  #mute = new Map<string, RegistryError>();
  /** Milliseconds since 1970 when a body of each kind last came to its end. */
  #finishedAt: Record<BodyKind, number> = { small: -Infinity, blob: -Infinity };

  /** Nothing is sent before {@linkcode send}. */
  constructor(connection: Connection, options: LoginOptions = {}) {
    this.host = connection.host;
    this.context = connection.context;
    this.gate = connection.gate;
    this.#connection = connection;
    this.#login = new Login(connection, options);
    this.#contact = new FirstContact(connection, this.#login);
  }

  /** The root of the registry as it was reached last. */
  get url(): URL {
    return new URL(this.#connection.origin);
  }

  /**
   * Sends a request until it is answered with an expected status.
   *
   * @returns The answer, its body not yet read.
   * @throws {RegistryError} when the registry refuses or cannot be reached, after every retry that made sense.
   * @throws {AuthError} when logging in is not possible.
   */
  async send(request: RegistryRequest): Promise<SourceResponse> {
    const attempts = request.upload !== undefined ? 1 : request.attempts ?? this.context.limits.attempts;
    const startedAt = this.context.clock.now();
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#attempt(request);
      } catch (error) {
        if (!(error instanceof RegistryError) || error.isPermanent) throw error;
        await this.#noteSilence(error, startedAt, attempt);
        if (error.isPermanent) throw error;
        // A caller that counts for itself decides about another; so does who has made a body that cannot be sent twice.
        const isCounted = request.upload === undefined && request.attempts === undefined;
        if (attempt >= attempts && isCounted) throw this.exhaust(error, startedAt);
        if (attempt >= attempts) throw error;
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
    request: Pick<RegistryRequest, "action" | "signal">,
    error: Error,
    attempt: number,
  ): Promise<void> {
    await this.#connection.backOff(request, error, attempt);
  }

  /**
   * Gets to know the registry ahead of the first real request: its scheme, what it asks for, and a token for one repository.
   * What fails here is left to that request to tell.
   */
  async warm(target: Pick<RegistryRequest, "repository" | "scopes">): Promise<void> {
    try {
      await this.#contact.make();
      await this.#header(target);
    } catch {
      // The request that needs it meets the same failure, and has someone to tell.
    }
  }

  /** A body has come to its end. */
  noteFinished(kind: BodyKind): void {
    this.#finishedAt[kind] = this.context.clock.now();
  }

  /**
   * A body was given up because it hardly moved. Where no other of its kind has come to its end since it began, the registry is
   * given up for the run: all others would wait just as long.
   *
   * @param startedAt Milliseconds since 1970 when the body began.
   */
  noteSlow(kind: BodyKind, { method, url, cause }: RegistryError, startedAt: number): void {
    if (this.#finishedAt[kind] < startedAt) this.#giveUp(method, url, cause);
  }

  /**
   * Says of a failure that it was tried as often as makes sense. Where that was silence, and nothing else was answered that is
   * sent by the same method, nothing more is pushed so in this run: each of hundreds of blobs would wait just as long. Registries
   * answer reads although nothing can be pushed to them, so what is read is not given up.
   *
   * @param startedAt Milliseconds since 1970 when it was first tried.
   */
  exhaust(error: RegistryError, startedAt: number): RegistryError {
    const { method, url, cause, isSilence } = error;
    if (isSilence && PUSHES.has(method) && (this.#takenAt.get(method) ?? 0) < startedAt) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const action = `push to "${this.host}"`;
      this.#mute.set(
        method,
        new RegistryError({ action, method, url, status: 0, why, retry: "never", cause }),
      );
    }
    return error.exhaust();
  }

  /** Tries the registry once more that could not be reached, at the start of another pass; one that was silent stays given up. */
  reconsider(): void {
    this.#contact.reconsider();
  }

  /**
   * A registry that has answered nobody since a request was first sent, let that wait for too long twice, and does not answer
   * at its root either, is given up for the run: all others would wait just as long.
   */
  async #noteSilence(error: RegistryError, startedAt: number, attempt: number): Promise<void> {
    if (!error.isSilence || attempt < 2 || this.#answeredAt >= startedAt) return;
    if (await this.#contact.isAnswering()) return;
    this.#giveUp(error.method, error.url, error.cause);
    error.exhaust("never");
  }

  #giveUp(method: string, url: string, cause: unknown): void {
    const action = `reach "${this.host}"`;
    const why = cause instanceof Error ? cause.message : String(cause);
    this.#contact.giveUp(new RegistryError({ action, method, url, status: 0, why, retry: "never", cause }));
  }

  async #attempt(request: RegistryRequest): Promise<SourceResponse> {
    const signal = request.signal ?? this.context.signal;
    const mute = this.#mute.get(request.method);
    if (mute !== undefined) throw mute;
    await this.#contact.make(signal);
    const leave = request.upload === undefined ? await this.gate.enter(signal) : undefined;
    if (request.upload !== undefined) await this.gate.waitUntilWanted(signal);
    let outcome: Outcome = "failed";
    try {
      const { response, mayLogInAgain } = await this.#authorized(request);
      outcome = response.status === 429 || response.status === 503 ? "overloaded" : "ok";
      if (request.expect.includes(response.status)) return response;
      obeyRetryAfter(this.#connection, response);
      throw await this.#refusal(request, response, mayLogInAgain);
    } finally {
      leave?.(outcome);
    }
  }

  /** A 401 is answered by logging in and asking once more, a few times, which does not count as another attempt. */
  async #authorized(
    request: RegistryRequest,
  ): Promise<{ response: SourceResponse; mayLogInAgain: boolean }> {
    for (let login = 1;; login++) {
      const header = await this.#header(request);
      const response = await exchange(this.#connection, request, header);
      this.#answeredAt = this.context.clock.now();
      this.#takenAt.set(request.method, this.#answeredAt);
      if (response.status !== 401) {
        if (header !== undefined) this.#login.prove();
        return { response, mayLogInAgain: false };
      }
      const isDenied = login > 1 && response.headers.get("www-authenticate")?.includes("insufficient_scope");
      const mayLogInAgain = login <= LOGINS && isDenied !== true &&
        await this.#learn(request, response, header);
      if (!mayLogInAgain || request.upload !== undefined) return { response, mayLogInAgain };
      await response.body?.cancel();
    }
  }

  /** The header of a request; where what was remembered of the registry does not work, it is asked what it wants now. */
  async #header(
    target: Pick<RegistryRequest, "repository" | "scopes" | "signal">,
  ): Promise<string | undefined> {
    const { isRecalled } = this.#login;
    try {
      return await this.#login.header(target);
    } catch (error) {
      if (!isRecalled) throw error;
      await this.#contact.renew(target.signal);
      return await this.#login.header(target);
    }
  }

  /** Takes in a 401; returns whether asking again can be of use. */
  async #learn(request: RegistryRequest, response: Response, header: string | undefined): Promise<boolean> {
    if (header !== undefined) this.#login.forget(header);
    const { isRecalled } = this.#login;
    const isKnown = await this.#login.learnFrom(response, request);
    if (!isKnown && !isRecalled) return false;
    try {
      // It was let in with this once, and does not say what it wants instead.
      if (!isKnown) await this.#contact.renew(request.signal);
      const next = await this.#header(request);
      return next !== undefined && next !== header;
    } catch (error) {
      await response.body?.cancel();
      throw error;
    }
  }

  async #refusal(
    request: RegistryRequest,
    response: Response,
    mayLogInAgain: boolean,
  ): Promise<RegistryError> {
    const isAboutAccount = response.status === 401 || response.status === 403;
    const account = isAboutAccount ? await this.#login.accountOf(request.repository) : "";
    const isPassword = response.status === 401 && this.#login.challenge?.scheme === "basic";
    // A password that was refused is refused again, and some registries lock an account that is tried too often.
    const retry = mayLogInAgain ? "soon" : isPassword ? "never" : undefined;
    return await refusalOf(this.#connection, request, { response, account, retry });
  }
}
