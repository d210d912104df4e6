/** Step 2 of the walk, the wire: the verbs that bring a blob into one repository. */

import { algorithmOf, type Digest, DigestError, isDigest } from "../../oci/descriptor.ts";
import { RegistryError } from "../registry_error.ts";
import { RepositoryRequests } from "./repository_requests.ts";
import type { UploadBody } from "../stream/body.ts";
import {
  type OpenUploadOptions,
  parseUploadRange,
  resolveLocation,
  type UploadOpening,
  type UploadSession,
} from "./upload_session.ts";

/** Milliseconds that giving up an upload may take. */
const CANCEL_TIME = 3000;

/** The verbs of uploading (OCI distribution-spec 1.1, Pushing blobs). */
export class RepositoryUploads extends RepositoryRequests {
  /**
   * Opens an upload, mounts the blob from another repository of the registry, or sends a small blob at once
   * (OCI distribution-spec 1.1, Pushing a blob monolithically; Mounting a blob from another repository).
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async openUpload(digest: Digest, options: OpenUploadOptions = {}): Promise<UploadOpening> {
    const { mountFrom, bytes, attempts, signal } = options;
    const action = `push blob "${digest}" to "${this.registry.host}/${this.name}"`;
    const scopes = this.scopes();
    let query = bytes === undefined ? "" : `?digest=${encodeURIComponent(digest)}`;
    if (mountFrom !== undefined) {
      query = `?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(mountFrom)}`;
      if (mountFrom !== this.name) scopes.push(`repository:${mountFrom}:pull`);
    }
    const response = await this.send({
      action,
      scopes,
      method: "POST",
      path: `/v2/${this.name}/blobs/uploads/${query}`,
      headers: { "content-type": "application/octet-stream" },
      body: bytes ?? new Uint8Array(),
      expect: query === "" ? [202] : [201, 202],
      ...(attempts === undefined ? {} : { attempts }),
      signal,
    });
    await response.body?.cancel();
    if (response.status === 201) checkStored(digest, response);
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
    { body, signal }: { body: UploadBody | Uint8Array<ArrayBuffer>; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const action = `push blob "${digest}" to "${this.registry.host}/${this.name}"`;
    const response = await this.send({
      action,
      scopes: this.scopes(),
      method: "PUT",
      path: withDigest(session.location, digest),
      headers: { "content-type": "application/octet-stream" },
      // What was sent in parts is put together now, which takes as long as committing a whole one.
      ...(body instanceof Uint8Array
        ? { body, attempts: 1, ...(body.length === 0 ? { time: this.registry.context.limits.commit } : {}) }
        : { upload: body }),
      expect: [200, 201, 202, 204],
      signal,
    });
    await response.body?.cancel();
    checkStored(digest, response);
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
    const response = await this.send({
      action,
      scopes: this.scopes(),
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
    // One that names more than it was sent counts otherwise (container-registry: "0-6" for six bytes); the digest shows what it has.
    if (taken !== undefined && taken < end) throw this.wrong(action, `it took ${taken} of ${end} bytes`);
  }

  /**
   * How many bytes of an upload have arrived (OCI distribution-spec 1.1, Pushing a blob in chunks: upload status), or
   * `undefined` when the registry does not know or tell.
   */
  async uploadOffset(session: UploadSession, signal?: AbortSignal): Promise<number | undefined> {
    const action = `ask how far an upload to "${this.registry.host}/${this.name}" is`;
    try {
      const response = await this.send({
        action,
        scopes: this.scopes(),
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
      const response = await this.send({
        action: `cancel an upload to "${this.registry.host}/${this.name}"`,
        scopes: this.scopes(),
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

  #location(response: Response, action: string): string {
    const base = this.registry.url;
    const from = response.url || undefined;
    return this.understand(action, () => resolveLocation(response.headers.get("location"), base, from));
  }
}

/** The digest is appended to the text as it is: a service that signs or compares the query must get back what it gave. */
function withDigest(location: string, digest: Digest): string {
  return `${location}${location.includes("?") ? "&" : "?"}digest=${encodeURIComponent(digest)}`;
}

/** What a registry says it has stored; another algorithm's digest of it (distribution: sha256 of what came as sha512) says nothing. */
function checkStored(digest: Digest, response: Response): void {
  const stored = response.headers.get("docker-content-digest") ?? "";
  if (!isDigest(stored) || stored === digest || algorithmOf(stored) !== algorithmOf(digest)) return;
  throw new DigestError(`blob "${digest}" as stored`, digest, stored);
}
