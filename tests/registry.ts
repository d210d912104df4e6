/** The registry the tests run on: a whole OCI registry in memory that *is* a `fetch` (OCI distribution-spec 1.1). */

import { AccessControl } from "./registry/access.ts";
import type { BlobContent } from "./registry/blob_content.ts";
import { handleBlob } from "./registry/blobs.ts";
import { handleReferrers, handleTags } from "./registry/discovery.ts";
import { type Exchange, respond } from "./registry/exchange.ts";
import { handleManifest } from "./registry/manifests.ts";
import type { InterceptContext, Quirks, RegistryOptions } from "./registry/options.ts";
import { Refusal } from "./registry/refusal.ts";
import { createEntry, matchesFilter, type RequestEntry, type RequestFilter } from "./registry/request_log.ts";
import { checkName, parseRoute } from "./registry/route.ts";
import { createFetch, type Fetch } from "./registry/socketless_fetch.ts";
import { RegistryState, type RepositoryState } from "./registry/state.ts";
import { handleUpload } from "./registry/uploads.ts";

export { type BlobContent, bytesContent, generatedBytes, generatedContent } from "./registry/blob_content.ts";
export { type BlobHost, createBlobHost } from "./registry/blob_host.ts";
export { digestBytes } from "./registry/digest.ts";
export type {
  AuthOptions,
  Intercept,
  InterceptContext,
  Quirks,
  RegistryOptions,
} from "./registry/options.ts";
export { Refusal } from "./registry/refusal.ts";
export type { RequestEntry, RequestFilter, RequestKind } from "./registry/request_log.ts";
export { serve, type ServeOptions, type Server } from "./registry/serve.ts";
export { createNetwork, type Fetch, type Handler } from "./registry/socketless_fetch.ts";
export { RegistryState, RepositoryState, type StoredManifest } from "./registry/state.ts";

/** A registry in memory. Its state, quirks and log lie open to the test. */
export class TestRegistry {
  /** What it holds. */
  readonly state: RegistryState = new RegistryState();
  /** How it deviates; may be changed between requests. */
  readonly quirks: Quirks;
  /** Every request since the last {@linkcode resetLog}, in the order of arrival. */
  readonly requests: RequestEntry[] = [];
  /** Most requests that were under way at once since the last {@linkcode resetLog}, until their bodies were read. */
  peak = 0;
  /** Credentials and tokens. */
  readonly access: AccessControl;
  /** A `fetch` whose every host is this registry; needs no socket. */
  readonly fetch: Fetch = createFetch(() => (request) => this.handler(request));
  readonly #options: RegistryOptions;
  readonly #counts: Map<string, number> = new Map();
  #active = 0;

  /** See {@linkcode createRegistry}. */
  constructor(options: RegistryOptions = {}) {
    this.#options = options;
    this.quirks = options.quirks ?? {};
    this.access = new AccessControl(options);
  }

  /** Repositories by name. */
  get repositories(): Map<string, RepositoryState> {
    return this.state.repositories;
  }

  /** Blob contents by digest, shared by the repositories. */
  get blobs(): Map<string, BlobContent> {
    return this.state.blobs;
  }

  /** Answers one request; for `Deno.serve` and `serve`. */
  readonly handler = async (request: Request): Promise<Response> => {
    const exchange = this.#open(request);
    const release = exchange.hold();
    try {
      const response = await this.#answer(exchange);
      exchange.entry.status = response.status;
      if (!response.headers.has("docker-distribution-api-version")) {
        response.headers.set("docker-distribution-api-version", "registry/2.0");
      }
      return response;
    } finally {
      release();
    }
  };

  /** How many logged requests match; all of them without a filter. */
  count(filter: RequestFilter = {}): number {
    return this.requests.reduce((sum, entry) => sum + (matchesFilter(entry, filter) ? 1 : 0), 0);
  }

  /** Forgets the log; requests under way are not seen again. */
  resetLog(): void {
    this.requests.length = 0;
    this.peak = this.#active;
    this.#counts.clear();
  }

  #open(request: Request): Exchange {
    const url = new URL(request.url);
    const route = parseRoute(url.pathname);
    const entry = createEntry(request, route);
    this.requests.push(entry);
    const { state, quirks, access } = this;
    const canPull = (repository: string) => access.canPull(request, repository);
    const hold = this.#holder();
    return { request, url, route, entry, state, quirks, options: this.#options, hold, canPull };
  }

  /** Counts one request as under way from the first hold to the last release. */
  #holder(): () => () => void {
    let holds = 0;
    return () => {
      if (holds++ === 0) this.peak = Math.max(this.peak, ++this.#active);
      let isHeld = true;
      return () => {
        if (isHeld && --holds === 0) this.#active -= 1;
        isHeld = false;
      };
    };
  }

  async #answer(exchange: Exchange): Promise<Response> {
    const { request } = exchange;
    const next = () => this.#handle(exchange);
    try {
      return await this.#options.intercept?.(request, this.#context(exchange, next)) ?? await next();
    } catch (error) {
      if (error instanceof Refusal) return error.toResponse(request.method);
      throw error;
    }
  }

  #context(exchange: Exchange, next: () => Promise<Response>): InterceptContext {
    const { request, route, entry, state } = exchange;
    const key = `${request.method} ${route.kind}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    return { ...route, count, entry, state, next };
  }

  async #handle(exchange: Exchange): Promise<Response> {
    try {
      const { route } = exchange;
      if (route.kind === "token") return await this.access.issueToken(exchange);
      this.access.check(exchange);
      checkName(route);
      return await dispatch(exchange);
    } catch (error) {
      if (error instanceof Refusal) return error.toResponse(exchange.request.method);
      throw error;
    }
  }
}

/** A new, empty registry. */
export function createRegistry(options: RegistryOptions = {}): TestRegistry {
  return new TestRegistry(options);
}

function dispatch(exchange: Exchange): Response | Promise<Response> {
  switch (exchange.route.kind) {
    case "ping":
      return respond(exchange, { status: 200 });
    case "manifest":
      return handleManifest(exchange);
    case "blob":
      return handleBlob(exchange);
    case "upload":
      return handleUpload(exchange);
    case "tags":
      return handleTags(exchange);
    case "referrers":
      return handleReferrers(exchange);
    default:
      throw new Refusal(404, "NOT_FOUND", "page not found");
  }
}
