/** Step 2 of the walk, the wire: the verbs of the OCI distribution-spec for one repository, and nothing else. */

import {
  type Descriptor,
  type Digest,
  DigestError,
  isDigest,
  isIndexType,
  isManifestType,
  isSchema1Type,
  MANIFEST_MEDIA_TYPES,
} from "../oci/descriptor.ts";
import { type Content, MANIFEST_SIZE_LIMIT, parseContent } from "../oci/manifest.ts";
import type { UploadBody } from "./stream/body.ts";
import type { SourceResponse } from "./fetch.ts";
import { lengthOf } from "./stream/read_body.ts";
import type { Registry } from "./registry.ts";
import { RegistryError } from "./registry_error.ts";
import { nextTagPage, parseTagPage, TAG_PAGE_BYTES, TAG_PAGE_LIMIT, TAG_PAGE_SIZE } from "./tag_page.ts";
import type { RegistryRequest } from "./request.ts";
import {
  type OpenUploadOptions,
  parseUploadRange,
  resolveLocation,
  type UploadOpening,
  type UploadSession,
} from "./upload_session.ts";
import { fetchWhole, type WholeAnswer } from "./whole_answer.ts";

/** What is wanted of a blob. */
export interface GetBlobOptions {
  /** First byte wanted; 0 unless told. */
  offset?: number;
  /** Bytes of the whole blob, where that is known. */
  size?: number;
  /** Ends the request. */
  signal?: AbortSignal | undefined;
}

/** Milliseconds that giving up an upload may take. */
const CANCEL_TIME = 3000;
const ACCEPT_MANIFESTS = MANIFEST_MEDIA_TYPES.join(", ");

/** One repository of one registry. */
export class Repository {
  /** Its registry. */
  readonly registry: Registry;
  /** Name in the registry. */
  readonly name: string;
  #actions: string;

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
    return this.registry.warm({ repository: this.name, scopes: this.#scopes() });
  }

  /** How users write a thing in this repository. */
  describe(reference: string): string {
    return `${this.registry.host}/${this.name}${isDigest(reference) ? "@" : ":"}${reference}`;
  }

  /**
   * What a tag or digest stands for, by HEAD (OCI distribution-spec 1.1, Pulling manifests), or `undefined` when there is none.
   * Registries that leave out the digest are asked with GET.
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async resolve(reference: string, signal?: AbortSignal): Promise<Descriptor | undefined> {
    const action = `read manifest of "${this.describe(reference)}"`;
    const response = await this.#send({
      ...this.#manifestRequest("HEAD", reference, action),
      expect: [200, 404],
      signal,
    });
    await response.body?.cancel();
    if (response.status === 404) return undefined;
    const mediaType = response.headers.get("content-type")?.split(";")[0]?.trim() ?? "";
    const digest = response.headers.get("docker-content-digest") ?? "";
    const isKnown = isIndexType(mediaType) || isManifestType(mediaType) || isSchema1Type(mediaType);
    if (!isDigest(digest) || !isKnown) return (await this.getManifest(reference, signal)).descriptor;
    if (isDigest(reference) && digest !== reference) {
      throw new DigestError(`"${this.describe(reference)}"`, reference, digest);
    }
    return { mediaType, digest, size: lengthOf(response) ?? -1 };
  }

  /**
   * The manifest behind a tag or digest (OCI distribution-spec 1.1, Pulling manifests), its digest checked here.
   *
   * @throws {RegistryError} when there is none or the registry refuses.
   * @throws {DigestError} when the bytes are not what was asked for.
   * @throws {ManifestError} when they are no manifest.
   */
  async getManifest(reference: string, signal?: AbortSignal): Promise<Content> {
    const action = `read manifest of "${this.describe(reference)}"`;
    const { response, bytes } = await this.#fetch({
      ...this.#manifestRequest("GET", reference, action),
      expect: [200],
      signal,
    }, MANIFEST_SIZE_LIMIT);
    const contentType = response.headers.get("content-type") ?? undefined;
    const announced = response.headers.get("docker-content-digest") ?? "";
    const expected = isDigest(reference) ? reference : isDigest(announced) ? announced : undefined;
    return await parseContent(bytes, contentType, expected, this.describe(reference));
  }

  /**
   * Puts a manifest under a tag or its digest (OCI distribution-spec 1.1, Pushing manifests).
   *
   * @throws {RegistryError} when the registry refuses.
   * @throws {DigestError} when the registry says it stored something else.
   */
  async putManifest(reference: string, content: Content, signal?: AbortSignal): Promise<void> {
    const action = `push manifest "${content.descriptor.digest}" to "${this.describe(reference)}"`;
    const response = await this.#send({
      ...this.#manifestRequest("PUT", reference, action),
      headers: { "content-type": content.descriptor.mediaType },
      body: content.bytes,
      expect: [200, 201, 202],
      signal,
    });
    await response.body?.cancel();
    const told = response.headers.get("docker-content-digest") ?? "";
    // Whoever does not say what it stored is asked for it: a login page in between answers 200 to anything.
    const stored = isDigest(told) ? told : (await this.resolve(reference, signal))?.digest ?? "nothing";
    if (stored !== content.descriptor.digest) {
      const subject = `what "${this.describe(reference)}" was stored as`;
      throw new DigestError(subject, content.descriptor.digest, stored);
    }
  }

  /** Whether a blob is there (OCI distribution-spec 1.1, Checking if content exists in the registry). */
  async hasBlob(digest: Digest, signal?: AbortSignal): Promise<boolean> {
    const action = `check blob "${digest}" in "${this.registry.host}/${this.name}"`;
    const response = await this.#send({
      ...this.#blobRequest("HEAD", digest, action),
      expect: [200, 404],
      signal,
    });
    await response.body?.cancel();
    return response.status === 200;
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
    return this.#send({
      ...this.#blobRequest("GET", digest, action),
      ...(offset > 0 ? { headers: { range: `bytes=${offset}-` } } : {}),
      ...(size === undefined ? {} : { size: size - offset }),
      expect: offset > 0 ? [200, 206] : [200],
      signal,
    });
  }

  /**
   * Opens an upload, mounts the blob from another repository of the registry, or sends a small blob at once
   * (OCI distribution-spec 1.1, Pushing a blob monolithically; Mounting a blob from another repository).
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async openUpload(digest: Digest, options: OpenUploadOptions = {}): Promise<UploadOpening> {
    const { mountFrom, bytes, signal } = options;
    const action = `push blob "${digest}" to "${this.registry.host}/${this.name}"`;
    const scopes = this.#scopes();
    let query = bytes === undefined ? "" : `?digest=${encodeURIComponent(digest)}`;
    if (mountFrom !== undefined) {
      query = `?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(mountFrom)}`;
      if (mountFrom !== this.name) scopes.push(`repository:${mountFrom}:pull`);
    }
    const response = await this.#send({
      action,
      scopes,
      method: "POST",
      path: `/v2/${this.name}/blobs/uploads/${query}`,
      headers: { "content-type": "application/octet-stream" },
      body: bytes ?? new Uint8Array(),
      expect: query === "" ? [202] : [201, 202],
      signal,
    });
    await response.body?.cancel();
    if (response.status === 201) return { type: bytes === undefined ? "mounted" : "stored" };
    const minimum = Number(response.headers.get("oci-chunk-min-length") ?? "");
    const session: UploadSession = {
      location: this.#location(response, action),
      chunkMinimum: minimum > 0 ? minimum : undefined,
    };
    return { type: "opened", session };
  }

  /**
   * Sends a blob in one piece (OCI distribution-spec 1.1, Pushing a blob monolithically). The registry checks the digest.
   * A streamed body is sent once: the caller tries again with a new source and a new session.
   *
   * @throws {RegistryError} when the registry refuses.
   * @throws {unknown} The source's own failure, when that is what ended the upload.
   */
  async putBlob(
    session: UploadSession,
    digest: Digest,
    body: UploadBody | Uint8Array<ArrayBuffer>,
    signal?: AbortSignal,
  ): Promise<void> {
    const action = `push blob "${digest}" to "${this.registry.host}/${this.name}"`;
    const url = new URL(session.location);
    url.searchParams.set("digest", digest);
    const response = await this.#send({
      action,
      scopes: this.#scopes(),
      method: "PUT",
      path: url.href,
      headers: { "content-type": "application/octet-stream" },
      ...(body instanceof Uint8Array ? { body, attempts: 1 } : { upload: body }),
      expect: [200, 201, 202, 204],
      signal,
    });
    await response.body?.cancel();
    const stored = response.headers.get("docker-content-digest") ?? "";
    if (isDigest(stored) && stored !== digest) {
      throw new DigestError(`blob "${digest}" as stored`, digest, stored);
    }
  }

  /**
   * Sends part of a blob (OCI distribution-spec 1.1, Pushing a blob in chunks). Parts go in order, one at a time.
   *
   * @param offset Position of the part's first byte.
   * @throws {RegistryError} when the registry refuses, or says that it did not take all of the part.
   * @throws {unknown} The source's own failure, when that is what ended the upload.
   */
  async patchBlob(
    session: UploadSession,
    digest: Digest,
    part: { body: UploadBody; offset: number; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const action = `push blob "${digest}" to "${this.registry.host}/${this.name}"`;
    const end = part.offset + part.body.size;
    const response = await this.#send({
      action,
      scopes: this.#scopes(),
      method: "PATCH",
      path: session.location,
      headers: { "content-type": "application/octet-stream", "content-range": `${part.offset}-${end - 1}` },
      upload: part.body,
      expect: [200, 201, 202, 204],
      signal: part.signal,
    });
    await response.body?.cancel();
    session.location = this.#location(response, action);
    const taken = parseUploadRange(response.headers.get("range"));
    if (taken !== undefined && taken !== end) throw this.#wrong(action, `it took ${taken} of ${end} bytes`);
  }

  /**
   * How many bytes of an upload have arrived (OCI distribution-spec 1.1, Pushing a blob in chunks: upload status), or
   * `undefined` when the registry does not know or tell.
   */
  async uploadOffset(session: UploadSession, signal?: AbortSignal): Promise<number | undefined> {
    const action = `ask how far an upload to "${this.registry.host}/${this.name}" is`;
    try {
      const response = await this.#send({
        action,
        scopes: this.#scopes(),
        method: "GET",
        path: session.location,
        expect: [200, 202, 204],
        signal,
      });
      await response.body?.cancel();
      if (response.headers.has("location")) session.location = this.#location(response, action);
      return parseUploadRange(response.headers.get("range"));
    } catch (error) {
      if (error instanceof RegistryError) return undefined;
      throw error;
    }
  }

  /** Gives up an upload (OCI distribution-spec, Canceling an upload); a registry that does not know how is left alone. */
  async cancelUpload(session: UploadSession): Promise<void> {
    try {
      const response = await this.#send({
        action: `cancel an upload to "${this.registry.host}/${this.name}"`,
        scopes: this.#scopes(),
        method: "DELETE",
        path: session.location,
        expect: [200, 202, 204, 404],
        attempts: 1,
        // A run that is interrupted still tidies up, but does not wait long for it.
        signal: AbortSignal.timeout(CANCEL_TIME),
      });
      await response.body?.cancel();
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
    }
  }

  /**
   * Every tag, page by page (OCI distribution-spec 1.1, Listing tags; RFC 8288 `Link` headers, relative or absolute).
   *
   * @throws {RegistryError} when the repository is not there, the registry refuses, or the listing does not end.
   */
  async *listTags(signal?: AbortSignal): AsyncIterable<string[]> {
    const action = `list tags of "${this.registry.host}/${this.name}"`;
    let path: string | undefined = `/v2/${this.name}/tags/list?n=${TAG_PAGE_SIZE}`;
    const seen = new Set<string>();
    for (let page = 0; path !== undefined; page++) {
      const isEndless = seen.has(path) || page >= TAG_PAGE_LIMIT;
      if (isEndless) throw this.#wrong(action, "its list of tags does not end");
      seen.add(path);
      const { response, bytes }: WholeAnswer = await this.#fetch({
        action,
        scopes: this.#scopes(),
        method: "GET",
        path,
        headers: { accept: "application/json" },
        expect: [200],
        signal,
      }, TAG_PAGE_BYTES);
      const text = new TextDecoder().decode(bytes);
      yield this.#understand(action, () => parseTagPage(text));
      const from: string = path;
      path = this.#understand(action, () => nextTagPage(from, response.headers.get("link")));
    }
  }

  /** What an answer means, where reading it may show that it means nothing. */
  #understand<Value>(action: string, read: () => Value): Value {
    try {
      return read();
    } catch (cause) {
      if (cause instanceof SyntaxError) throw this.#wrong(action, cause.message, cause);
      throw cause;
    }
  }

  #location(response: Response, action: string): string {
    const base = this.registry.url;
    const from = response.url || undefined;
    return this.#understand(action, () => resolveLocation(response.headers.get("location"), base, from));
  }

  #wrong(action: string, why: string, cause?: unknown): RegistryError {
    const url = this.registry.url.href;
    return new RegistryError({ action, method: "GET", url, status: 0, why, isPermanent: true, cause });
  }

  #scopes(): string[] {
    return [`repository:${this.name}:${this.#actions}`];
  }

  #manifestRequest(method: "GET" | "HEAD" | "PUT", reference: string, action: string): BareRequest {
    const path = `/v2/${this.name}/manifests/${reference}`;
    return { action, scopes: this.#scopes(), method, path, headers: { accept: ACCEPT_MANIFESTS } };
  }

  #blobRequest(method: "GET" | "HEAD", digest: Digest, action: string): BareRequest {
    return { action, scopes: this.#scopes(), method, path: `/v2/${this.name}/blobs/${digest}` };
  }

  #send(request: Omit<RegistryRequest, "repository">): Promise<SourceResponse> {
    return this.registry.send({ ...request, repository: this.name });
  }

  #fetch(request: Omit<RegistryRequest, "repository">, limit: number): Promise<WholeAnswer> {
    return fetchWhole(this.registry, { ...request, repository: this.name }, limit);
  }
}

type BareRequest = Pick<RegistryRequest, "action" | "scopes" | "method" | "path" | "headers">;
