/** Step 2 of the walk, the wire: the verbs of the OCI distribution-spec for one repository, and nothing else. */

import {
  algorithmOf,
  type Descriptor,
  type Digest,
  DigestError,
  embeddedContent,
  isDigest,
  isIndexType,
  isManifestType,
  isSchema1Type,
  MANIFEST_MEDIA_TYPES,
} from "../../oci/descriptor.ts";
import {
  type Content,
  hasDigest,
  MANIFEST_SIZE_LIMIT,
  ManifestError,
  mayBeBlob,
  parseContent,
  type ParseOptions,
} from "../../oci/manifest.ts";
import { printable } from "../../oci/printable.ts";
import type { SourceResponse } from "../fetch.ts";
import { RegistryError } from "../registry_error.ts";
import { RepositoryLists } from "./repository_lists.ts";
import type { RepositoryRequest, WholeAnswer } from "./repository_requests.ts";
import { statusWords } from "../status_words.ts";
import { lengthOf } from "../stream/read_body.ts";

/** What is wanted of a blob. */
export interface GetBlobOptions {
  /** First byte wanted; 0 unless told. */
  offset?: number;
  /** Bytes of the whole blob, where that is known. */
  size?: number;
  /** Ends the request. */
  signal?: AbortSignal | undefined;
}

/** What is known of content that is asked for by its digest. */
export interface ContentOptions {
  /** Bytes that it must have: what has others is not there. */
  size?: number;
  /** Ends the request. */
  signal?: AbortSignal | undefined;
}

/** How a manifest is asked for. */
export interface GetManifestOptions {
  /** Bytes that it must have. */
  size?: number;
  /**
   * Tag to ask for where the registry does not know the digest: GitHub's old package registry and some caches serve manifests
   * by tag alone. What comes counts only if it has the digest.
   */
  tag?: string | undefined;
  /** Ends the request. */
  signal?: AbortSignal | undefined;
}

/** A manifest as it was served. */
export interface ServedContent extends Content {
  /** Its entity tag, where the registry gave one (RFC 9110, section 8.8.3). */
  etag?: string;
}

/** How a manifest is put. */
export interface PutManifestOptions {
  /** Entity tag that the reference must still have, where the registry minds it (RFC 9110, section 13.1.1); else it answers 412. */
  ifMatch?: string | undefined;
  /** Ends the request. */
  signal?: AbortSignal | undefined;
}

/** What a registry said of a manifest that was put. */
export interface PutManifestResult {
  /** The subject it has filed the manifest under (`OCI-Subject`): it has the referrers API, so no fallback tag is needed. */
  subject?: Digest;
}

/**
 * Statuses of registries, proxies and firewalls that know no HEAD. Any of them may also be a refusal of its own, which the
 * request that follows then meets.
 */
const HEAD_REFUSED: readonly number[] = [400, 405, 406, 500, 501];
const ACCEPT_MANIFESTS = MANIFEST_MEDIA_TYPES.join(", ");

/** One repository of one registry. */
export class Repository extends RepositoryLists {
  /**
   * What a tag or digest stands for, by HEAD (OCI distribution-spec 1.1, Pulling manifests), or `undefined` when there is none.
   * Registries that know no HEAD or leave out the digest are asked with GET.
   *
   * @throws {RegistryError} when the registry refuses.
   * @throws {DigestError} when it has something else under the digest.
   */
  async resolve(reference: string, signal?: AbortSignal): Promise<Descriptor | undefined> {
    const action = `read manifest of "${this.describe(reference)}"`;
    if (!this.registry.abilities.canHead) {
      return (await this.#findManifest(reference, { signal }))?.descriptor;
    }
    const response = await this.send({
      ...this.#manifestRequest("HEAD", reference, action),
      expect: [200, 404, ...HEAD_REFUSED],
      signal,
    });
    await response.body?.cancel();
    this.#learnHead(response.status);
    this.#countPull(response, 0);
    if (response.status === 404) return undefined;
    const mediaType = response.headers.get("content-type")?.split(";")[0]?.trim() ?? "";
    const digest = response.headers.get("docker-content-digest") ?? "";
    const isKnown = isIndexType(mediaType) || isManifestType(mediaType) || isSchema1Type(mediaType);
    if (response.status !== 200 || !isDigest(digest) || !isKnown) {
      return (await this.#findManifest(reference, { signal }))?.descriptor;
    }
    const size = lengthOf(response) ?? -1;
    if (!isDigest(reference)) return { mediaType, digest, size };
    // A registry may call what was asked for by its name under another algorithm.
    if (digest !== reference && algorithmOf(digest) === algorithmOf(reference)) {
      throw new DigestError(`"${this.describe(reference)}"`, reference, digest);
    }
    return { mediaType, digest: reference, size };
  }

  /**
   * The manifest behind a tag or digest (OCI distribution-spec 1.1, Pulling manifests), its digest checked here.
   *
   * @throws {RegistryError} when there is none or the registry refuses.
   * @throws {DigestError} when the bytes are not what was asked for.
   * @throws {ManifestError} when they are no manifest, or of another size.
   */
  async getManifest(reference: string, options: GetManifestOptions = {}): Promise<ServedContent> {
    const { tag, signal } = options;
    if (tag === undefined || !isDigest(reference)) return await this.#readManifest(reference, options);
    const found = await this.#findManifest(reference, options);
    if (found !== undefined) return found;
    const tagged = await this.#findManifest(tag, { signal });
    if (tagged !== undefined && await hasDigest(tagged, reference)) return checkSize(tagged, options.size);
    // The registry's own words for what it was asked for first.
    return await this.#readManifest(reference, options);
  }

  /**
   * The manifest that an entry of an index points at, or carries itself, its digest and size checked here.
   *
   * @returns `undefined` where there is none and the entry may point at a blob, because its media type says neither.
   * @throws {RegistryError} when there is none or the registry refuses.
   * @throws {DigestError} when the bytes are not what was asked for.
   * @throws {ManifestError} when they are no manifest, or of another size.
   */
  async getChild(descriptor: Descriptor, signal?: AbortSignal): Promise<Content | undefined> {
    const { digest, size, mediaType } = descriptor;
    const embedded = await embeddedContent(descriptor);
    if (embedded !== undefined && !mayBeBlob(descriptor)) {
      return await parseContent(embedded, mediaType, { expected: digest, ...this.#parsing(digest) });
    }
    if (!mayBeBlob(descriptor)) return await this.#readManifest(digest, { size, signal });
    return await this.#findManifest(digest, { size, signal });
  }

  async #readManifest(reference: string, options: GetManifestOptions): Promise<ServedContent> {
    const action = `read manifest of "${this.describe(reference)}"`;
    return await this.#parseManifest(reference, await this.#fetchManifest(reference, [200], options), {
      ...options,
      action,
    });
  }

  async #findManifest(reference: string, options: GetManifestOptions): Promise<ServedContent | undefined> {
    const action = `read manifest of "${this.describe(reference)}"`;
    const answer = await this.#fetchManifest(reference, [200, 404], options);
    if (answer.response.status === 404) return undefined;
    return await this.#parseManifest(reference, answer, { ...options, action });
  }

  async #fetchManifest(
    reference: string,
    expect: readonly number[],
    { signal }: GetManifestOptions,
  ): Promise<WholeAnswer> {
    const action = `read manifest of "${this.describe(reference)}"`;
    const request = { ...this.#manifestRequest("GET", reference, action), expect, signal };
    const answer = await this.fetch(request, MANIFEST_SIZE_LIMIT);
    this.#countPull(answer.response, answer.response.status === 200 ? 1 : 0);
    return answer;
  }

  /** Docker Hub says with each manifest how many are left: `RateLimit-Remaining: 98;w=21600`. */
  #countPull({ headers }: Pick<Response, "headers">, count: number): void {
    const { pulls } = this.registry;
    pulls.made += count;
    const left = /^\d+/.exec(headers.get("ratelimit-remaining") ?? "")?.[0];
    if (left !== undefined) pulls.left = Number(left);
  }

  #parsing(reference: string): ParseOptions {
    return { subject: this.describe(reference), hash: this.registry.context.digestOf };
  }

  async #parseManifest(
    reference: string,
    { response, bytes }: WholeAnswer,
    { action, size }: GetManifestOptions & { action: string },
  ): Promise<ServedContent> {
    const contentType = response.headers.get("content-type") ?? undefined;
    const announced = response.headers.get("docker-content-digest") ?? "";
    const expected = isDigest(reference) ? reference : isDigest(announced) ? announced : undefined;
    try {
      const content = await parseContent(bytes, contentType, { expected, ...this.#parsing(reference) });
      const etag = response.headers.get("etag");
      return checkSize(etag === null ? content : { ...content, etag }, size);
    } catch (error) {
      if (error instanceof ManifestError) this.refuseErrors(action, bytes, error);
      throw error;
    }
  }

  /**
   * Puts a manifest under a tag or its digest (OCI distribution-spec 1.1, Pushing manifests).
   *
   * @throws {RegistryError} when the registry refuses.
   * @throws {DigestError} when the registry says it stored something else.
   */
  async putManifest(
    reference: string,
    content: Content,
    { ifMatch, signal }: PutManifestOptions = {},
  ): Promise<PutManifestResult> {
    const action = `push manifest "${content.descriptor.digest}" to "${this.describe(reference)}"`;
    const response = await this.send({
      ...this.#manifestRequest("PUT", reference, action),
      headers: {
        "content-type": content.descriptor.mediaType,
        ...(ifMatch === undefined ? {} : { "if-match": ifMatch }),
      },
      body: content.bytes,
      expect: [200, 201, 202, 204],
      signal,
    }).catch((error) => {
      throw withType(error, action, content.descriptor.mediaType);
    });
    await response.body?.cancel();
    const told = response.headers.get("docker-content-digest") ?? "";
    // Whoever does not say what it stored is asked for it: a login page in between answers 200 to anything.
    const stored = isDigest(told) ? told : (await this.resolve(reference, signal))?.digest ?? "nothing";
    if (!await hasDigest(content, stored)) {
      const subject = `what "${this.describe(reference)}" was stored as`;
      throw new DigestError(subject, content.descriptor.digest, stored);
    }
    const subject = response.headers.get("oci-subject") ?? "";
    return isDigest(subject) ? { subject } : {};
  }

  /**
   * Whether a manifest is there, in the size it must have.
   *
   * @throws {RegistryError} when the registry refuses.
   * @throws {DigestError} when it has something else under the digest.
   */
  async hasManifest(digest: Digest, { size = -1, signal }: ContentOptions = {}): Promise<boolean> {
    const found = await this.resolve(digest, signal);
    return found !== undefined && (size < 0 || found.size < 0 || found.size === size);
  }

  /**
   * Whether a blob is there (OCI distribution-spec 1.1, Checking if content exists in the registry); one that was cut short on
   * the registry's disk has another {@linkcode blobLength}.
   *
   * A registry that knows no HEAD is asked with GET where this is a source; at a destination the blob counts as not there.
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async hasBlob(digest: Digest, signal?: AbortSignal): Promise<boolean> {
    return await this.blobLength(digest, signal) !== undefined;
  }

  /**
   * Bytes of a blob as the registry has it; -1 where it does not say, `undefined` where there is none.
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async blobLength(digest: Digest, signal?: AbortSignal): Promise<number | undefined> {
    const action = `check blob "${digest}" in "${this.registry.host}/${this.name}"`;
    const request = { ...this.#blobRequest("GET", digest, action), expect: [200, 404], signal };
    const found = await this.#headBlob(request);
    if (found === undefined && !this.isSource) return undefined;
    const response = found ?? await this.send(request);
    await response.body?.cancel();
    return response.status === 200 ? lengthOf(response) ?? -1 : undefined;
  }

  /** The answer to HEAD, or `undefined` where the registry has none to give. */
  async #headBlob(request: RepositoryRequest): Promise<SourceResponse | undefined> {
    if (!this.registry.abilities.canHead) return undefined;
    try {
      return await this.send({ ...request, method: "HEAD" });
    } catch (error) {
      if (!(error instanceof RegistryError) || !HEAD_REFUSED.includes(error.status)) throw error;
      this.#learnHead(error.status);
      return undefined;
    }
  }

  /** Who knows no such method knows it of nothing; other refusals may be of one thing alone. */
  #learnHead(status: number): void {
    if (status === 405 || status === 501) this.registry.abilities.canHead = false;
  }

  /**
   * A blob, or the rest of it from an offset (OCI distribution-spec 1.1, Pulling blobs). Redirects are followed without credentials.
   *
   * @returns The answer: 206 when the registry keeps to the offset, 200 when it sends everything.
   * @throws {RegistryError} when there is none or the registry refuses.
   */
  getBlob(digest: Digest, options: GetBlobOptions = {}): Promise<SourceResponse> {
    const action = `read blob "${digest}" from "${this.registry.host}/${this.name}"`;
    const { offset = 0, size, signal } = options;
    return this.send({
      ...this.#blobRequest("GET", digest, action),
      ...(offset > 0 ? { headers: { range: `bytes=${offset}-` } } : {}),
      ...(size === undefined ? {} : { size: size - offset }),
      expect: offset > 0 ? [200, 206] : [200],
      signal,
    });
  }

  /**
   * Deletes what is under a tag or digest (OCI distribution-spec 1.1, Deleting Manifests). A digest goes with all its tags, a tag
   * alone; not every registry lets go of a tag alone.
   *
   * @returns Whether there was anything.
   * @throws {RegistryError} when the registry refuses.
   */
  async deleteManifest(reference: string, signal?: AbortSignal): Promise<boolean> {
    const action = `delete "${this.describe(reference)}"`;
    const response = await this.send({
      ...this.#manifestRequest("DELETE", reference, action),
      scopes: this.scopes("delete"),
      expect: [200, 202, 204, 404],
      signal,
    });
    await response.body?.cancel();
    return response.status !== 404;
  }

  #manifestRequest(
    method: "GET" | "HEAD" | "PUT" | "DELETE",
    reference: string,
    action: string,
  ): BareRequest {
    const path = `/v2/${this.name}/manifests/${reference}`;
    return { action, scopes: this.scopes(), method, path, headers: { accept: ACCEPT_MANIFESTS } };
  }

  #blobRequest(method: "GET" | "HEAD", digest: Digest, action: string): BareRequest {
    return { action, scopes: this.scopes(), method, path: `/v2/${this.name}/blobs/${digest}` };
  }
}

type BareRequest = Pick<RepositoryRequest, "action" | "scopes" | "method" | "path" | "headers">;

/** A size that differs from the descriptor's is a lie, whatever the digest says. */
function checkSize<Served extends Content>(content: Served, size = -1): Served {
  const { digest, size: actual } = content.descriptor;
  if (size < 0 || size === actual) return content;
  throw new ManifestError(`"${digest}"`, `expected ${size} bytes, got ${actual}`);
}

/** A registry that takes no manifests of some type seldom says of which (zot: 415 and no more). */
function withType(error: unknown, action: string, mediaType: string): unknown {
  const isAboutType = error instanceof RegistryError &&
    (error.status === 415 || error.hasCode("MANIFEST_INVALID") || error.hasCode("UNSUPPORTED"));
  if (!isAboutType || error.message.includes(mediaType)) return error;
  const { method, url, status, errors, retry } = error;
  const words = errors.length === 0 ? `${statusWords(status)} ` : "";
  const why = `${words}(it was pushed as "${printable(mediaType)}")`;
  return new RegistryError({ action, method, url, status, errors, why, retry, cause: error });
}
