/** Step 2 of the walk, the wire: the first request to a registry, which one sends on behalf of all who wait for it. */

import type { Connection } from "./connection.ts";
import { TimeLimitError } from "./fetch.ts";
import type { Login } from "./login/login.ts";
import { isCertificateFailure, isMissingTls } from "./network_failure.ts";
import { Once } from "./once.ts";
import { isRetryableStatus, RegistryError } from "./registry_error.ts";
import type { RegistryRequest } from "./request.ts";
import { exchange, refusalOf } from "./send.ts";

/** What a request must name for its registry to be contacted. */
export type ContactRequest = Pick<RegistryRequest, "action" | "repository" | "signal">;

/**
 * Gets to know a registry before anything else is sent to it: its scheme and what it asks for. The others then know, instead
 * of each being refused on its own.
 */
export class FirstContact {
  #connection: Connection;
  #login: Login;
  #once = new Once<"contact", void>({ remembers: true });
  #isMade = false;

  /** Nothing is sent yet. */
  constructor(connection: Connection, login: Login) {
    this.#connection = connection;
    this.#login = login;
  }

  /**
   * Makes contact, unless that was done before; whoever gives up does not end it for the others.
   *
   * @throws {RegistryError} when the registry cannot be reached or says to come back; the next one who asks tries again.
   */
  async make({ action, repository, signal }: ContactRequest): Promise<void> {
    if (this.#isMade) return;
    const begin = () => this.#make({ action, repository });
    await this.#once.do("contact", begin, signal ?? this.#connection.context.signal);
    this.#isMade = true;
  }

  /** Asks for the API's root, which answers with the challenge, if there is one (OCI distribution-spec 1.1, Determining Support). */
  async #make(request: ContactRequest): Promise<void> {
    const ping: RegistryRequest = {
      ...request,
      method: "GET",
      path: "/v2/",
      expect: [200],
      scopes: [],
      time: this.#connection.context.limits.connect,
    };
    await this.#login.recall();
    const response = this.#connection.hasOrigin ? await this.#ping(ping) : await this.#findOrigin(ping);
    if (response === undefined) return;
    if (isRetryableStatus(response.status)) throw await refusalOf(this.#connection, ping, response);
    await response.body?.cancel();
    // Any other answer is good enough here: some registries have no root, and refuse nothing but what is really asked for.
    await this.#login.learnFrom(response);
  }

  /** Asks, unless what the registry asked for in an earlier run may be believed. */
  async #ping(ping: RegistryRequest): Promise<Response | undefined> {
    return this.#login.believeRecalled() ? undefined : await exchange(this.#connection, ping, undefined);
  }

  /**
   * An insecure registry is tried with TLS first, then without.
   *
   * @returns Its answer, or `undefined` when it was not asked: once it is clear that it has no TLS, it need not be where it is remembered.
   */
  async #findOrigin(ping: RegistryRequest): Promise<Response | undefined> {
    let failure: unknown;
    for (const scheme of ["https", "http"] as const) {
      this.#connection.setOrigin(scheme);
      const isPlain = failure instanceof RegistryError && isMissingTls(failure.cause);
      try {
        return await (isPlain ? this.#ping(ping) : exchange(this.#connection, ping, undefined));
      } catch (error) {
        this.#connection.setOrigin(undefined);
        if (!(error instanceof RegistryError) || error.cause instanceof TimeLimitError) throw error;
        // When neither answers, the reason that says more is the one without TLS, unless it was a certificate.
        if (failure === undefined || !isCertificateFailure((failure as RegistryError).cause)) failure = error;
      }
    }
    throw failure;
  }
}
