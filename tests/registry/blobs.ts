/** The blob download endpoints of the test registry. */

import type { BlobContent } from "./blob_content.ts";
import { digestAlgorithm } from "./digest.ts";
import { checkHead, type Exchange, existingRepository, respond } from "./exchange.ts";
import { Refusal } from "./refusal.ts";

/** Answers a request for a blob (OCI distribution-spec 1.1, end-2, end-10). */
export function handleBlob(exchange: Exchange): Response {
  const { request, route } = exchange;
  if (digestAlgorithm(route.reference) === undefined) {
    throw new Refusal(400, "DIGEST_INVALID", "invalid digest");
  }
  switch (request.method) {
    case "GET":
    case "HEAD":
      return getBlob(exchange, findBlob(exchange));
    case "DELETE":
      return deleteBlob(exchange);
    default:
      throw new Refusal(405, "UNSUPPORTED", "method not allowed");
  }
}

/** Serves a blob or the part of it that a Range header asks for (RFC 9110 section 14). */
export function serveBlob(exchange: Exchange, blob: BlobContent): Response {
  const headers: Record<string, string> = {
    "content-type": "application/octet-stream",
    "docker-content-digest": blob.digest,
    etag: `"${blob.digest}"`,
  };
  const { blobEncoding, rangeStatus } = exchange.quirks;
  if (blobEncoding !== undefined) headers["content-encoding"] = blobEncoding;
  if (!exchange.quirks.noRangeRequests) headers["accept-ranges"] = "bytes";
  const range = requestedRange(exchange, blob);
  if (range === undefined) return respond(exchange, { status: 200, headers, content: whole(blob) });
  if (rangeStatus !== undefined && rangeStatus !== 206) {
    throw new Refusal(rangeStatus, "RANGE_INVALID", "range not satisfiable");
  }
  headers["content-range"] = rangeStatus === 206
    ? "nonsense"
    : `bytes ${range.start}-${range.end - 1}/${blob.size}`;
  return respond(exchange, { status: 206, headers, content: { blob, ...range } });
}

function getBlob(exchange: Exchange, blob: BlobContent): Response {
  const { request, options, quirks } = exchange;
  checkHead(exchange);
  if (request.method === "GET" && options.redirectBlobsTo !== undefined) {
    const target = `${options.redirectBlobsTo}/cdn/${blob.digest}?signature=0123456789abcdef`;
    return respond(exchange, { status: 307, headers: { location: target } });
  }
  const response = serveBlob(exchange, blob);
  if (request.method === "HEAD" && quirks.headWithoutDigest) response.headers.delete("docker-content-digest");
  if (request.method === "HEAD" && quirks.headWithoutLength) response.headers.delete("content-length");
  return response;
}

function findBlob(exchange: Exchange): BlobContent {
  const { route, quirks } = exchange;
  const blob = existingRepository(exchange).blobs.get(route.reference);
  if (blob !== undefined) return blob;
  throw new Refusal(quirks.missingStatus ?? 404, "BLOB_UNKNOWN", "blob unknown to registry", {
    detail: { digest: route.reference },
  });
}

function deleteBlob(exchange: Exchange): Response {
  if (exchange.quirks.refuseDelete) throw new Refusal(405, "UNSUPPORTED", "deletion is not supported");
  const blob = findBlob(exchange);
  existingRepository(exchange).blobs.delete(blob.digest);
  return respond(exchange, { status: 202 });
}

function whole(blob: BlobContent): { blob: BlobContent; start: number; end: number } {
  return { blob, start: 0, end: blob.size };
}

/** The bytes asked for, `end` left out; `undefined` when that is all of them. */
function requestedRange(
  { request, quirks }: Exchange,
  blob: BlobContent,
): { start: number; end: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(request.headers.get("range") ?? "");
  if (match === null || quirks.noRangeRequests) return undefined;
  const condition = request.headers.get("if-range");
  if (condition !== null && condition !== `"${blob.digest}"`) return undefined;
  return resolveRange(match[1] ?? "", match[2] ?? "", blob.size);
}

function resolveRange(first: string, last: string, size: number): { start: number; end: number } | undefined {
  if (first === "" && last === "") return undefined;
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  if (start < end) return { start, end };
  throw new Refusal(416, "RANGE_INVALID", "range not satisfiable", {
    headers: { "content-range": `bytes */${size}` },
  });
}
