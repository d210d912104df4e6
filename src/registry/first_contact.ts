/** Step 2 of the walk, the wire: the first request to a registry, which one sends on behalf of all who wait for it. */

import type { Connection } from "./connection.ts";
import { TimeLimitError } from "./fetch.ts";
import type { Login } from "./login/login.ts";
import { describeFailure, isCertificateFailure, isMissingTls, isUnreachable } from "./network_failure.ts";
import { Once } from "./once.ts";
import { RegistryError } from "./registry_error.ts";
import type { RegistryRequest } from "./request.ts";
import { backOffTime } from "./retry.ts";
import { exchange, obeyRetryAfter } from "./send.ts";

/** Milliseconds before the second and the third try of a registry at which nobody listens, or whose name nobody knows. */
const UNREACHABLE_WAITS = [1000, 2000];
/** Tries of a registry that does not answer. */
const SILENT_TRIES = 2;
/** Milliseconds for which it is believed that a registry cannot be reached, unless it is {@linkcode FirstContact.reconsider}ed. */
const VERDICT_LIFETIME = 30_000;

/**
 * Gets to know a registry before anything else is sent to it: its scheme and what it asks for. The others then know, instead
 * of each being refused, or waiting in vain, on its own.
 */
export class FirstContact {
  #connection: Connection;
  #login: Login;
  #once = new Once<"contact", void>();
  #probes = new Once<"probe", boolean>();
  #isMade = false;
  /** Why the registry is not to be had, and since when that is so (milliseconds since 1970). */
  #verdict: { error: RegistryError; since: number } | undefined;

  /** Nothing is sent yet. */
  constructor(connection: Connection, login: Login) {
    this.#connection = connection;
    this.#login = login;
  }

  /**
   * Makes contact, unless that was done before; whoever gives up does not end it for the others.
   *
   * @throws {RegistryError} when the registry cannot be reached, the same for all who ask.
   */
  async make(signal?: AbortSignal): Promise<void> {
    const verdict = this.#standingVerdict();
    if (verdict !== undefined) throw verdict;
    if (this.#isMade) return;
    await this.#once.do("contact", () => this.#make(), signal ?? this.#connection.context.signal);
  }

  /** Asks the registry anew what it wants, because what an earlier run remembers of it does not work. */
  async renew(signal?: AbortSignal): Promise<void> {
    const begin = async () => {
      if (!this.#login.isRecalled) return;
      await this.#login.forgetRecalled();
      await this.#make();
    };
    await this.#once.do("contact", begin, signal ?? this.#connection.context.signal);
  }

  /** Whether the registry answers at all: asked, once for all who wonder, when one of its requests goes without an answer. */
  isAnswering(): Promise<boolean> {
    return this.#probes.do("probe", async () => {
      try {
        const response = await exchange(this.#connection, this.#rootRequest(), undefined);
        await response.body?.cancel();
        return true;
      } catch (error) {
        if (error instanceof RegistryError) return false;
        throw error;
      }
    });
  }

  /** Nothing more is sent to the registry in this run: it has not answered for too long. */
  giveUp(error: RegistryError): void {
    this.#verdict ??= { error, since: this.#connection.context.clock.now() };
  }

  /** Tries a registry once more that could not be reached, unless it was silent: for that nobody waits twice. */
  reconsider(): void {
    if (this.#verdict?.error.retry !== "never") this.#verdict = undefined;
  }

  #standingVerdict(): RegistryError | undefined {
    const verdict = this.#verdict;
    if (verdict === undefined) return undefined;
    const isOld = this.#connection.context.clock.now() >= verdict.since + VERDICT_LIFETIME;
    if (isOld) this.reconsider();
    return this.#verdict?.error;
  }

  async #make(): Promise<void> {
    const { clock } = this.#connection.context;
    try {
      await this.#try();
      this.#isMade = true;
    } catch (error) {
      if (error instanceof RegistryError) this.#verdict = { error, since: clock.now() };
      throw error;
    }
  }

  /** Tries as often as makes sense for the way it fails. */
  async #try(): Promise<void> {
    const { clock, emit, limits, signal } = this.#connection.context;
    const startedAt = clock.now();
    for (let attempt = 1;; attempt++) {
      const triedAt = clock.now();
      try {
        return await this.#ask();
      } catch (error) {
        if (!(error instanceof RegistryError) || error.retry !== "soon") throw error;
        const { attempts, wait } = this.#patience(error, attempt);
        const now = clock.now();
        const isLate = now - startedAt + wait + (now - triedAt) > limits.contact;
        if (attempt >= attempts || isLate) throw error.exhaust(lastingOf(error));
        const reason = reasonOf(error, this.#connection);
        emit({
          type: "waiting",
          registry: this.#connection.host,
          reason,
          wait,
          attempt: attempt + 1,
          attempts,
        });
        await clock.delay(wait, signal);
      }
    }
  }

  /** How often a registry is tried that fails like this, and how long it is waited for before the next time. */
  #patience({ cause }: RegistryError, attempt: number): { attempts: number; wait: number } {
    const { clock, limits } = this.#connection.context;
    if (isUnreachable(cause)) {
      const attempts = Math.min(limits.attempts, UNREACHABLE_WAITS.length + 1);
      return { attempts, wait: UNREACHABLE_WAITS[attempt - 1] ?? 0 };
    }
    const attempts = cause instanceof TimeLimitError
      ? Math.min(limits.attempts, SILENT_TRIES)
      : limits.attempts;
    return { attempts, wait: backOffTime(attempt, clock) };
  }

  /** Asks for the API's root, which answers with the challenge, if there is one (OCI distribution-spec 1.1, Determining Support). */
  async #ask(): Promise<void> {
    const connection = this.#connection;
    const ping = this.#rootRequest();
    await this.#login.recall();
    const response = connection.hasOrigin ? await this.#ping(ping) : await this.#findOrigin(ping);
    if (response === undefined) return;
    obeyRetryAfter(connection, response);
    await response.body?.cancel();
    // Any answer is good enough here: some registries have no root, or one that is always out of order, and refuse nothing
    // but what is really asked for.
    await this.#login.learnFrom(response);
  }

  #rootRequest(): RegistryRequest {
    return {
      action: `reach "${this.#connection.host}"`,
      repository: "",
      method: "GET",
      path: "/v2/",
      expect: [200],
      scopes: [],
      time: this.#connection.context.limits.connect,
    };
  }

  /** Asks, unless what the registry asked for in an earlier run may be believed. */
  async #ping(ping: RegistryRequest): Promise<Response | undefined> {
    return this.#login.believeRecalled() ? undefined : await exchange(this.#connection, ping, undefined);
  }

  /**
   * An insecure registry is tried with TLS first, then without; also when it says nothing to a TLS hello (workerd).
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
        if (!(error instanceof RegistryError)) throw error;
        // When neither answers, the reason that says more is the one without TLS, unless it was a certificate.
        if (failure === undefined || !isCertificateFailure((failure as RegistryError).cause)) failure = error;
      }
    }
    throw failure;
  }
}

function reasonOf({ cause, url }: RegistryError, { host }: Connection): string {
  const at = new URL(url);
  return describeFailure(cause, at).replace(` (${at.host})`, at.host === host ? "" : ` (${at.host})`);
}

/** A silent registry is given up for the run, or each pass would wait for it; one that refuses may be just starting. */
function lastingOf({ cause }: RegistryError): "never" | "once" | "later" {
  if (cause instanceof TimeLimitError) return "never";
  return isUnreachable(cause) ? "once" : "later";
}
