/** Step 2 of the walk, the wire: all registries of a run, one object each, and their repositories. */

import { digestOf } from "../oci/descriptor.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Catalog } from "./catalog.ts";
import { Connection } from "./connection.ts";
import { Registry } from "./registry.ts";
import { AuthError, RegistryError } from "./registry_error.ts";
import { Repository } from "./repository.ts";
import { DEFAULT_LIMITS, type Limits, type RegistriesOptions, type RequestContext } from "./request.ts";
import { BufferPool } from "./stream/buffer_pool.ts";

/**
 * The registries of a run: connections, tokens, gates and what was learned are shared by everyone who uses them.
 *
 * @example Give up sooner, and say what is waited for
 * ```ts
 * import { Registries } from "@image-syncer/image-syncer";
 *
 * const registries = new Registries({
 *   limits: { attempts: 3, stall: 10_000 },
 *   onEvent: (event) => {
 *     if (event.type === "waiting") console.log(`${event.registry}: ${event.reason}`);
 *   },
 * });
 * console.log(registries.limits.attempts);
 * ```
 */
export class Registries {
  /** The clock in use. */
  readonly clock: Clock;
  /** The limits in use. */
  readonly limits: Limits;
  /** Ends everything. */
  readonly signal: AbortSignal | undefined;
  #options: RegistriesOptions;
  #context: RequestContext;
  #registries = new Map<string, Registry>();
  #repositories = new Map<string, Repository>();

  /** Nothing is sent before a repository is asked for something. */
  constructor(options: RegistriesOptions = {}) {
    const { clock = systemClock, signal } = options;
    this.clock = clock;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.signal = signal;
    this.#options = options;
    this.#context = {
      clock,
      limits: this.limits,
      buffers: new BufferPool(),
      digestOf: options.digestOf ?? digestOf,
      signal,
      emit: (event) => options.onEvent?.(event),
    };
  }

  /**
   * The one object of a registry.
   *
   * @internal
   */
  get(host: string): Registry {
    let registry = this.#registries.get(host);
    if (registry === undefined) {
      const { fetchFor, isInsecure, credentials, challenges } = this.#options;
      const connection = new Connection(host, this.#context, {
        fetch: fetchFor?.(host) ?? ((url, init) => fetch(url, init)),
        isInsecure: isInsecure?.(host) ?? false,
      });
      registry = new Registry(connection, { credentials, challenges });
      this.#registries.set(host, registry);
    }
    return registry;
  }

  /** Says that another pass begins: registries that could not be reached are tried once more, but silent ones are not. */
  reconsider(): void {
    for (const registry of this.#registries.values()) registry.reconsider();
  }

  /**
   * The repositories of a registry, page by page; where it lists none itself, those of an owner as its vendor lists them.
   *
   * @param owner First part of the names that are wanted; empty where any may be.
   * @throws {RegistryError} when the registry does not list them, or not to their end.
   * @internal
   */
  async *listRepositories(host: string, owner = ""): AsyncIterable<string[]> {
    const registry = this.get(host);
    let hasBegun = false;
    try {
      for await (const page of new Catalog(registry).list(this.signal)) {
        hasBegun = true;
        yield page;
      }
    } catch (error) {
      if (hasBegun || owner === "" || !(error instanceof RegistryError || error instanceof AuthError)) {
        throw error;
      }
      const place = { registry: host, owner, origin: registry.url.origin, signal: this.signal };
      const pages = await this.#options.listOwned?.(place);
      if (pages === undefined) throw error;
      yield* pages;
    }
  }

  /**
   * The one handle of a repository in a role.
   *
   * @param place Where it is; a `Reference` is one.
   * @param actions What tokens are asked for: `pull` for a source, `pull,push` for a destination.
   * @internal
   */
  open(place: { registry: string; repository: string }, actions: "pull" | "pull,push"): Repository {
    const key = `${actions} ${place.registry}/${place.repository}`;
    let repository = this.#repositories.get(key);
    if (repository === undefined) {
      repository = new Repository(this.get(place.registry), place.repository, actions);
      this.#repositories.set(key, repository);
    }
    return repository;
  }
}
