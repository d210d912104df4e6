/** The blob upload endpoints of the test registry: whole, in chunks, and mounted. */

import type { BlobContent } from "./blob_content.ts";
import { digestAlgorithm } from "./digest.ts";
import { type Exchange, location, readBody, respond } from "./exchange.ts";
import { Refusal } from "./refusal.ts";
import { Upload } from "./upload.ts";

/** Answers a request for an upload (OCI distribution-spec 1.1, end-4a, end-4b, end-5, end-6, end-11, end-13). */
export function handleUpload(exchange: Exchange): Response | Promise<Response> {
  const { method } = exchange.request;
  if (method === "POST" && exchange.route.reference === "") return startUpload(exchange);
  const upload = findUpload(exchange);
  switch (method) {
    case "PATCH":
      return patchUpload(exchange, upload);
    case "PUT":
      return putUpload(exchange, upload);
    case "GET":
      return getUpload(exchange, upload);
    case "DELETE":
      return cancelUpload(exchange, upload);
    default:
      throw new Refusal(405, "UNSUPPORTED", "method not allowed");
  }
}

function startUpload(exchange: Exchange): Response | Promise<Response> {
  const { url, quirks, options } = exchange;
  const mount = url.searchParams.get("mount");
  const mounted = mount === null ? undefined : mountBlob(exchange, mount);
  if (mounted !== undefined) return created(exchange, mounted);
  const digest = url.searchParams.get("digest");
  const algorithm = uploadAlgorithm(url, digest);
  const upload = new Upload({ discard: options.discardBlobs ?? false, algorithm });
  if (digest !== null && !quirks.noSinglePost && quirks.patchOnly === undefined) {
    return closeUpload(exchange, upload, digest);
  }
  exchange.state.repository(exchange.route.repository).uploads.set(upload.id, upload);
  const headers: Record<string, string> = {};
  if (quirks.chunkMinLength !== undefined) headers["oci-chunk-min-length"] = `${quirks.chunkMinLength}`;
  return respond(exchange, { status: 202, headers: { ...uploadHeaders(exchange, upload), ...headers } });
}

function uploadAlgorithm(url: URL, digest: string | null): string {
  const fromDigest = digest === null ? undefined : digestAlgorithm(digest);
  return fromDigest ?? (url.searchParams.get("digest-algorithm") === "sha512" ? "sha512" : "sha256");
}

/** The mounted blob, or `undefined` when the registry wants an upload instead. */
function mountBlob(exchange: Exchange, digest: string): BlobContent | undefined {
  const { url, quirks, state, route } = exchange;
  if (quirks.refuseForeignOrigin && url.searchParams.has("origin")) {
    throw new Refusal(400, "UNSUPPORTED", "mounting from another origin is not supported");
  }
  const from = url.searchParams.get("from");
  const blob = from === null ? mountAnonymous(exchange, digest) : mountableBlob(exchange, from, digest);
  if (blob === undefined || quirks.refuseMount) return undefined;
  if (!quirks.falseMounts) state.addBlob(route.repository, blob);
  return blob;
}

function mountableBlob(exchange: Exchange, from: string, digest: string): BlobContent | undefined {
  const { quirks, state } = exchange;
  if (!exchange.canPull(from)) return undefined;
  const repository = state.repositories.get(from);
  if (quirks.mountNeedsManifest && !repository?.namedBlobs.has(digest)) return undefined;
  return repository?.blobs.get(digest);
}

function mountAnonymous({ quirks, state }: Exchange, digest: string): BlobContent | undefined {
  const status = quirks.mountWithoutFromStatus ?? 202;
  if (status >= 400) throw new Refusal(status, "NAME_INVALID", "cannot mount without a source repository");
  return status === 201 ? state.blobs.get(digest) : undefined;
}

function findUpload({ request, state, route, url, quirks }: Exchange): Upload {
  const upload = state.repositories.get(route.repository)?.uploads.get(route.reference);
  if (upload === undefined) throw new Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
  const sent = url.searchParams.get("_state");
  const isCurrent = sent === `${upload.state}` || (request.method === "GET" && sent !== null);
  if (quirks.uploadState && !isCurrent) {
    throw new Refusal(400, "BLOB_UPLOAD_INVALID", "blob upload invalid: stale or missing _state");
  }
  return upload;
}

async function patchUpload(exchange: Exchange, upload: Upload): Promise<Response> {
  const { quirks } = exchange;
  if (quirks.noChunkedUpload) throw new Refusal(405, "UNSUPPORTED", "chunked uploads are not supported");
  checkChunk(exchange, upload);
  if (quirks.lastPatchWins) upload.reset();
  const before = upload.offset;
  await receive(exchange, upload, uploadLimit(exchange, upload));
  upload.lastChunkLength = upload.offset - before;
  upload.state += 1;
  return respond(exchange, { status: quirks.patchStatus ?? 202, headers: uploadHeaders(exchange, upload) });
}

/** Chunks must come in order, and only the last may be small (OCI distribution-spec 1.1, Pushing a blob in chunks). */
function checkChunk(exchange: Exchange, upload: Upload): void {
  checkContentRange(exchange, upload);
  const { chunkMinLength } = exchange.quirks;
  if (chunkMinLength === undefined || (upload.lastChunkLength ?? Infinity) >= chunkMinLength) return;
  throw new Refusal(400, "SIZE_INVALID", `chunks but the last must have at least ${chunkMinLength} bytes`);
}

function checkContentRange(exchange: Exchange, upload: Upload): void {
  const header = exchange.request.headers.get("content-range");
  // GHCR keeps no offset between chunks, so it does not check one either.
  if (header === null || exchange.quirks.lastPatchWins) return;
  const match = /^(\d+)-(\d+)$/.exec(header);
  const { contentLength } = exchange.entry;
  const isInOrder = match !== null && Number(match[1]) === upload.offset;
  const span = Number(match?.[2]) - Number(match?.[1]) + 1;
  if (isInOrder && (contentLength === undefined || contentLength === span)) return;
  throw new Refusal(416, "BLOB_UPLOAD_INVALID", "chunk is out of order", {
    headers: uploadHeaders(exchange, upload),
  });
}

function putUpload(exchange: Exchange, upload: Upload): Promise<Response> {
  const digest = exchange.url.searchParams.get("digest");
  if (digest === null) throw new Refusal(400, "DIGEST_INVALID", "digest missing");
  loseUpload(exchange, upload, digest);
  if (exchange.request.body !== null) checkContentRange(exchange, upload);
  return closeUpload(exchange, upload, digest);
}

/** Forgets an upload as it is closed, once for each blob, as when a load balancer leads to a server that never heard of it. */
function loseUpload({ state, route, quirks }: Exchange, upload: Upload, digest: string): void {
  const repository = state.repository(route.repository);
  if (quirks.loseUploadsWith === undefined || repository.lost.has(digest)) return;
  repository.lost.add(digest);
  repository.uploads.delete(upload.id);
  throw new Refusal(quirks.loseUploadsWith, "NOT_FOUND", "page not found");
}

async function closeUpload(exchange: Exchange, upload: Upload, digest: string): Promise<Response> {
  const algorithm = digestAlgorithm(digest);
  if (algorithm === undefined) throw new Refusal(400, "DIGEST_INVALID", "invalid or unsupported digest");
  upload.useAlgorithm(algorithm);
  const isPut = exchange.request.method === "PUT";
  const limit = Math.min(
    uploadLimit(exchange, upload),
    isPut ? exchange.quirks.maxPutBytes ?? Infinity : Infinity,
  );
  if (exchange.quirks.patchOnly === undefined) await receive(exchange, upload, limit);
  else await refuseBytes(exchange);
  const content = upload.finish(digest);
  const repository = exchange.state.repository(exchange.route.repository);
  repository.uploads.delete(upload.id);
  const isFalse = !isPut && exchange.quirks.falsePosts;
  if (!isFalse) exchange.state.addBlob(exchange.route.repository, content);
  return created(exchange, content);
}

/** Takes no bytes with the request that closes an upload. */
async function refuseBytes(exchange: Exchange): Promise<void> {
  let length = 0;
  await readBody(exchange, (chunk) => length += chunk.length);
  if (length === 0 || exchange.quirks.patchOnly === "ignored") return;
  if (exchange.quirks.patchOnly === "unsupported") {
    throw new Refusal(500, "UNKNOWN", "feature not supported: missing content length not implemented");
  }
  throw new Refusal(405, "UNSUPPORTED", "bytes are taken in PATCH alone");
}

function uploadLimit({ quirks }: Exchange, upload: Upload): number {
  return (quirks.maxUploadBytes ?? Infinity) - upload.offset;
}

async function receive(exchange: Exchange, upload: Upload, limit: number): Promise<void> {
  const rollback = upload.checkpoint();
  try {
    await readBody(exchange, (chunk) => upload.write(chunk), { limit });
  } catch (error) {
    if (error instanceof Refusal || exchange.quirks.dropPartialChunk) rollback();
    throw error;
  }
}

function getUpload(exchange: Exchange, upload: Upload): Response {
  if (exchange.quirks.noUploadStatus) throw new Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown");
  return respond(exchange, { status: 204, headers: uploadHeaders(exchange, upload) });
}

function cancelUpload(exchange: Exchange, upload: Upload): Response {
  exchange.state.repository(exchange.route.repository).uploads.delete(upload.id);
  return respond(exchange, { status: 204 });
}

function created(exchange: Exchange, content: BlobContent): Response {
  const path = `/v2/${exchange.route.repository}/blobs/${content.digest}`;
  const told = exchange.quirks.canonicalSha256 ? `sha256:${"0".repeat(64)}` : content.digest;
  const headers = {
    location: location(exchange, path),
    "docker-content-digest": content.digest.startsWith("sha256:") ? content.digest : told,
  };
  return respond(exchange, { status: 201, headers });
}

function uploadHeaders(exchange: Exchange, upload: Upload): Record<string, string> {
  const query = exchange.quirks.uploadState ? `?_state=${upload.state}` : "";
  const path = `/v2/${exchange.route.repository}/blobs/uploads/${upload.id}${query}`;
  return {
    location: location(exchange, path),
    "docker-upload-uuid": upload.id,
    // distribution says 0-0 for no bytes as well as for one; container-registry says how many there are.
    range: `0-${Math.max(0, upload.offset - (exchange.quirks.patchOnly === "unsupported" ? 0 : 1))}`,
  };
}
