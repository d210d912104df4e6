/** Step 2 of the walk, the wire: all registries of a run, one object each, and their repositories. */

import { digestOf } from "../oci/descriptor.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Catalog } from "./repository/catalog.ts";
import { Connection } from "./connection.ts";
import { Registry } from "./registry.ts";
import { AuthError, RegistryError } from "./registry_error.ts";
import { Repository } from "./repository/repository.ts";
import {
  DEFAULT_LIMITS,
  type Limits,
  type ListingPlace,
  type RegistriesOptions,
  type RequestContext,
} from "./request.ts";
import { askService } from "./service_request.ts";
import { BufferPool } from "./stream/buffer_pool.ts";

/** Bytes of one page of a vendor's listing: a hundred repositories with all that is said of them. */
const PAGE_BYTES = 16 * 1024 * 1024;

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
      const { credentials, challenges } = this.#options;
      registry = new Registry(this.#connect(host), { credentials, challenges });
      this.#registries.set(host, registry);
    }
    return registry;
  }

  #connect(host: string): Connection {
    const { fetchFor, isInsecure } = this.#options;
    return new Connection(host, this.#context, {
      fetch: fetchFor?.(host) ?? ((url, init) => fetch(url, init)),
      isInsecure: isInsecure?.(host) ?? false,
    });
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
      const pages = await this.#options.listOwned?.(this.#placeOf(registry, owner));
      if (pages === undefined) throw error;
      yield* pages;
    }
  }

  #placeOf({ host, url: { origin } }: Registry, owner: string): ListingPlace {
    const { emit } = this.#context;
    return {
      registry: host,
      owner,
      origin,
      ask: (url, request) => {
        const at = new URL(url);
        const connection = this.#connect(at.origin === origin ? host : at.host);
        const action = `list the repositories of "${host}/${owner}"`;
        return askService(connection, { method: "GET", ...request, url, action, limit: PAGE_BYTES });
      },
      warn: (message) => emit({ type: "warning", message }),
    };
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
