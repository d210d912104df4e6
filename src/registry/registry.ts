/** Step 2 of the walk, the wire: one registry and all that is known of it; sends requests to it until they are answered. */

import { Abilities } from "./abilities.ts";
import type { Connection } from "./connection.ts";
import type { SourceResponse } from "./fetch.ts";
import { FirstContact } from "./first_contact.ts";
import { Gate, type Outcome } from "./gate.ts";
import { Login, type LoginOptions } from "./login/login.ts";
import { RegistryError } from "./registry_error.ts";
import type { RegistryRequest, RequestContext } from "./request.ts";
import { exchange, refusalOf } from "./send.ts";

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
  #connection: Connection;
  #login: Login;
  #contact: FirstContact;

  /** Nothing is sent before {@linkcode send}. */
  constructor(connection: Connection, options: LoginOptions = {}) {
    this.host = connection.host;
    this.context = connection.context;
    this.gate = new Gate(connection.context.clock);
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
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#attempt(request);
      } catch (error) {
        const isFinal = !(error instanceof RegistryError) || error.isPermanent || error.isSpent;
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
      await this.#contact.make({ ...target, action: `reach "${this.host}"` });
      await this.#login.header(target);
    } catch {
      // The request that needs it meets the same failure, and has someone to tell.
    }
  }

  /** One attempt; a 401 is answered by logging in and asking once more, which does not count as another attempt. */
  async #attempt(request: RegistryRequest): Promise<SourceResponse> {
    await this.#contact.make(request);
    const signal = request.signal ?? this.context.signal;
    const leave = request.upload === undefined ? await this.gate.enter(signal) : undefined;
    if (request.upload !== undefined) await this.gate.waitUntilWanted(signal);
    let outcome: Outcome = "failed";
    try {
      const response = await this.#authorized(request);
      outcome = response.status === 429 || response.status === 503 ? "overloaded" : "ok";
      if (request.expect.includes(response.status)) return response;
      throw await this.#refusal(request, response);
    } finally {
      leave?.(outcome);
    }
  }

  async #authorized(request: RegistryRequest): Promise<SourceResponse> {
    const header = await this.#login.header(request);
    const response = await exchange(this.#connection, request, header);
    if (response.status !== 401 || request.upload !== undefined) return response;
    if (!await this.#learn(request, response, header)) return response;
    return await exchange(this.#connection, request, await this.#login.header(request));
  }

  /** Takes in a 401; returns whether asking again can be of use. */
  async #learn(request: RegistryRequest, response: Response, header: string | undefined): Promise<boolean> {
    if (header !== undefined) this.#login.forget(header);
    if (!await this.#login.learnFrom(response)) return false;
    try {
      const next = await this.#login.header(request);
      if (next === undefined || next === header) return false;
    } catch (error) {
      await response.body?.cancel();
      throw error;
    }
    await response.body?.cancel();
    return true;
  }

  async #refusal(request: RegistryRequest, response: Response): Promise<RegistryError> {
    const isAboutAccount = response.status === 401 || response.status === 403;
    const account = isAboutAccount ? await this.#login.accountOf(request.repository) : "";
    const refusal = await refusalOf(this.#connection, request, response, account);
    if (refusal.retryAfter !== undefined && [429, 503].includes(response.status)) {
      this.#pause(refusal.retryAfter);
    }
    return refusal;
  }

  /** What one request is told is obeyed by all. */
  #pause(milliseconds: number): void {
    const { clock, limits, emit } = this.context;
    const until = clock.now() + Math.min(milliseconds, limits.retryAfter);
    this.gate.pauseUntil(until);
    emit({ type: "rate-limited", registry: this.host, until });
  }
}
