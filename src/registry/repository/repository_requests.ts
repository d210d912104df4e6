/** Step 2 of the walk, the wire: how requests about one repository are sent, and what their answers may mean. */

import { isDigest } from "../../oci/descriptor.ts";
import { printable } from "../../oci/printable.ts";
import { SlowBodyError, type SourceResponse } from "../fetch.ts";
import { describeFailure, retryAfterFailure } from "../network_failure.ts";
import { parseErrors, RegistryError } from "../registry_error.ts";
import type { RegistryRequest } from "../request.ts";
import type { Registry } from "../registry.ts";
import { readBytes } from "../stream/read_body.ts";

/** A request whose repository goes without saying. */
export type RepositoryRequest = Omit<RegistryRequest, "repository">;

/** An answer with all of its body. */
export interface WholeAnswer {
  /** Status and headers; the body is read. */
  response: Response;
  /** The body. */
  bytes: Uint8Array<ArrayBuffer>;
}

/** One repository of one registry, and the way to it. */
export class RepositoryRequests {
  /** Its registry. */
  readonly registry: Registry;
  /** Name in the registry. */
  readonly name: string;
  #actions: "pull" | "pull,push";

  /**
   * Nothing is sent yet.
   *
   * @param registry Shared by all repositories in it.
   * @param actions What tokens are asked for: `pull` for a source, `pull,push` for a destination.
   */
  constructor(registry: Registry, name: string, actions: "pull" | "pull,push") {
    this.registry = registry;
    this.name = name;
    this.#actions = actions;
  }

  /** Gets to know the registry, and a token for this repository, ahead of the first request. */
  warm(): Promise<void> {
    return this.registry.warm({ repository: this.name, scopes: this.scopes() });
  }

  /** Whether it is only ever read. */
  protected get isSource(): boolean {
    return this.#actions === "pull";
  }

  /** How users write a thing in this repository. */
  describe(reference: string): string {
    return `${this.registry.host}/${this.name}${isDigest(reference) ? "@" : ":"}${reference}`;
  }

  /** What an answer means, where reading it may show that it means nothing. */
  protected understand<Value>(action: string, read: () => Value, bytes?: Uint8Array): Value {
    try {
      return read();
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      if (bytes !== undefined) this.refuseErrors(action, bytes, cause);
      throw this.wrong(action, cause.message, cause);
    }
  }

  /** An index that is being rebuilt, or a proxy that loses the status: the registry's own words say more than that they make no sense. */
  protected refuseErrors(action: string, bytes: Uint8Array, cause: Error): void {
    const errors = parseErrors(new TextDecoder().decode(bytes));
    if (errors.length === 0) return;
    const url = this.registry.url.href;
    throw new RegistryError({ action, method: "GET", url, status: 200, errors, isPermanent: false, cause });
  }

  /** An answer that cannot be made sense of. */
  protected wrong(action: string, why: string, cause?: unknown): RegistryError {
    const url = this.registry.url.href;
    return new RegistryError({ action, method: "GET", url, status: 0, why, isPermanent: true, cause });
  }

  /** What a token must allow. */
  protected scopes(more?: "delete"): string[] {
    return [`repository:${this.name}:${this.#actions}${more === undefined ? "" : `,${more}`}`];
  }

  /** Sends a request; see {@linkcode Registry.send}. */
  protected send(request: RepositoryRequest): Promise<SourceResponse> {
    return this.registry.send({ ...request, repository: this.name });
  }

  /** Sends a request and reads the answer to its end. */
  protected fetch(request: RepositoryRequest, limit: number): Promise<WholeAnswer> {
    return fetchWhole(this.registry, { ...request, repository: this.name }, limit);
  }
}

/**
 * Sends a request and reads the answer to its end; one that breaks off is asked for again, as often as any request.
 *
 * @param limit Bytes the body may have.
 * @throws {RegistryError} when the registry refuses, breaks off every time, or answers with more bytes than that.
 */
async function fetchWhole(
  registry: Registry,
  request: RegistryRequest,
  limit: number,
): Promise<WholeAnswer> {
  for (let attempt = 1;; attempt++) {
    const response = await registry.send(request);
    try {
      const bytes = await read(registry, { request, response, limit });
      checkEncoding(registry, { request, response, bytes });
      return { response, bytes };
    } catch (error) {
      const isFinal = attempt >= (request.attempts ?? registry.context.limits.attempts);
      if (!(error instanceof RegistryError) || error.isPermanent) throw error;
      if (isFinal) throw request.attempts === undefined ? error.exhaust() : error;
      await registry.backOff(request, error, attempt);
    }
  }
}

async function read(
  registry: Registry,
  { request, response, limit }: { request: RegistryRequest; response: Response; limit: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const startedAt = registry.context.clock.now();
  const { limits, buffers } = registry.context;
  const { action, method, signal = registry.context.signal } = request;
  try {
    const bytes = await readBytes(response, limit, { ...limits, buffers, signal });
    registry.noteFinished("small");
    return bytes;
  } catch (cause) {
    signal?.throwIfAborted();
    const url = registry.url;
    const isPermanent = cause instanceof RangeError;
    const why = isPermanent ? `it is larger than ${limit} bytes` : describeFailure(cause, url);
    const retry = isPermanent ? "later" : retryAfterFailure(cause);
    const failure = new RegistryError({ action, method, url: url.href, status: 0, why, retry, cause });
    if (cause instanceof SlowBodyError) registry.noteSlow("small", failure, startedAt);
    throw failure;
  }
}

/** All answers that are read whole are JSON, or at least text: what does not begin like it is still encoded. */
function checkEncoding(
  registry: Registry,
  { request: { action, method }, response, bytes }: WholeAnswer & { request: RegistryRequest },
): void {
  const encoding = response.headers.get("content-encoding") ?? "identity";
  if (
    encoding === "identity" || bytes.length === 0 ||
    /^[\s\ufeff{["<]/.test(new TextDecoder().decode(bytes.subarray(0, 16)))
  ) return;
  const why = `the answer came with content-encoding "${printable(encoding)}", which was not asked for`;
  throw new RegistryError({ action, method, url: registry.url.href, status: 0, why, isPermanent: true });
}
