/** Step 2 of the walk, the wire: how one registry is reached, before anybody has logged in. */

import { registryHost } from "../oci/reference.ts";
import type { Fetch } from "./fetch.ts";
import { Gate } from "./gate.ts";
import { RegistryError } from "./registry_error.ts";
import type { RegistryRequest, RequestContext } from "./request.ts";
import { backOffTime } from "./retry.ts";

/** The way to one registry: its host, its origin, and the fetch that reaches it. */
export class Connection {
  /** Canonical registry, for example `docker.io` or `localhost:5000`. */
  readonly host: string;
  /** What all requests of a run share. */
  readonly context: RequestContext;
  /** Sends one HTTP request. */
  readonly fetch: Fetch;
  /** How many requests it is given at once, and when it wants none. */
  readonly gate: Gate;
  #origin: string | undefined;

  /** Nothing is sent yet; where a registry may be without TLS its origin is found at first contact. */
  constructor(host: string, context: RequestContext, options: { fetch: Fetch; isInsecure: boolean }) {
    this.host = host;
    this.context = context;
    this.fetch = options.fetch;
    this.gate = new Gate(context.clock);
    this.#origin = options.isInsecure ? undefined : this.originWith("https");
  }

  /** The root of the registry: scheme, host and port, as `URL` spells them. */
  get origin(): string {
    return this.#origin ?? this.originWith("https");
  }

  /** Whether it is known with which scheme the registry is reached. */
  get hasOrigin(): boolean {
    return this.#origin !== undefined;
  }

  /** Says with which scheme the registry is reached; `undefined` when that is open again. */
  setOrigin(scheme: "https" | "http" | undefined): void {
    this.#origin = scheme && this.originWith(scheme);
  }

  /** The origin that a scheme would give, in the one spelling that `URL` gives it, so that two can be compared. */
  originWith(scheme: "https" | "http"): string {
    return new URL(`${scheme}://${registryHost(this.host)}`).origin;
  }

  /** Lets all wait who ask this registry: what one of them is told (`Retry-After`) is obeyed by all. */
  pause(milliseconds: number): void {
    const { clock, emit } = this.context;
    const until = clock.now() + milliseconds;
    this.gate.pauseUntil(until);
    emit({ type: "rate-limited", registry: this.host, until });
  }

  /**
   * Waits before the next attempt: as long as the registry asked, else up to twice as long each time with full jitter.
   *
   * @throws {unknown} `error`, when the registry asks for a longer wait than the limit.
   */
  async backOff(
    { action, signal }: Pick<RegistryRequest, "action" | "signal">,
    error: Error,
    attempt: number,
  ): Promise<void> {
    const { clock, limits, emit } = this.context;
    const asked = error instanceof RegistryError ? error.retryAfter : undefined;
    if (asked !== undefined && asked > limits.retryAfter) throw error;
    const wait = asked ?? backOffTime(attempt, clock);
    emit({ type: "request-retried", registry: this.host, action, reason: error.message, wait });
    await clock.delay(wait, signal ?? this.context.signal);
  }
}
