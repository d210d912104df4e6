/** The manifest endpoints of the test registry. */

import { isIndexType } from "../../src/oci/descriptor.ts";
import { type Bytes, concatenate } from "./blob_content.ts";
import { digestAlgorithm } from "./digest.ts";
import {
  checkHead,
  type Exchange,
  existingRepository,
  location,
  readBody,
  respond,
  respondJson,
  respondWhole,
} from "./exchange.ts";
import { manifestDigest, type ManifestFacts, ownMediaType, readManifest } from "./manifest_facts.ts";
import { Refusal } from "./refusal.ts";
import type { RepositoryState, StoredManifest } from "./state.ts";

const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const DEFAULT_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json";
const DEFAULT_MAX_BYTES = 4 * 1024 * 1024;

/** Answers a request for a manifest (OCI distribution-spec 1.1, end-2, end-3, end-7, end-9). */
export function handleManifest(exchange: Exchange): Response | Promise<Response> {
  switch (exchange.request.method) {
    case "GET":
    case "HEAD":
      return getManifest(exchange);
    case "PUT":
      return putManifest(exchange);
    case "DELETE":
      return deleteManifest(exchange);
    default:
      throw new Refusal(405, "UNSUPPORTED", "method not allowed");
  }
}

function getManifest(exchange: Exchange): Response {
  const { request, quirks, route } = exchange;
  checkHead(exchange);
  const isHidden = quirks.noManifestByDigest && !TAG.test(route.reference);
  const manifest = isHidden ? undefined : existingRepository(exchange).findManifest(route.reference);
  if (manifest === undefined || (quirks.strictAccept && !isAccepted(request, manifest))) {
    throw new Refusal(quirks.missingStatus ?? 404, "MANIFEST_UNKNOWN", "manifest unknown", {
      detail: { reference: route.reference },
    });
  }
  const headers: Record<string, string> = {
    "content-type": manifest.mediaType,
    etag: `"${manifest.digest}"`,
  };
  const isHead = request.method === "HEAD";
  if (!isHead || !quirks.headWithoutDigest) headers["docker-content-digest"] = manifest.digest;
  if (!isHead && quirks.errorWithOk !== undefined) return respondJson(exchange, {}, headers);
  const response = isHead
    ? respond(exchange, { status: 200, headers, bytes: manifest.bytes })
    : respondWhole(exchange, headers, manifest.bytes);
  if (isHead && quirks.headWithoutLength) response.headers.delete("content-length");
  return response;
}

function isAccepted(request: Request, manifest: StoredManifest): boolean {
  const types = (request.headers.get("accept") ?? "*/*").split(",").map((type) => type.split(";")[0]?.trim());
  return types.includes(manifest.mediaType) || types.includes("*/*");
}

async function putManifest(exchange: Exchange): Promise<Response> {
  const { route, quirks, state } = exchange;
  const isTag = checkReference(route.reference);
  const bytes = await readManifestBytes(exchange);
  const mediaType = pushedMediaType(exchange.request, bytes);
  checkMediaType(exchange, mediaType);
  const digest = manifestDigest(bytes, mediaType, isTag ? "sha256" : digestAlgorithm(route.reference));
  if (!isTag && digest !== route.reference) {
    throw new Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
  }
  const facts = readManifest(bytes, mediaType);
  const repository = state.repository(route.repository);
  checkCondition(exchange, repository);
  const tags = isTag ? [route.reference] : tagParameters(exchange);
  for (const tag of tags) checkTagIsFree(exchange, repository, tag);
  checkNamed(exchange, repository, facts);
  repository.addManifest({ ...facts, bytes, digest, mediaType });
  for (const tag of tags) repository.tags.set(tag, digest);
  const headers: Record<string, string> = {
    location: location(exchange, `/v2/${route.repository}/manifests/${digest}`),
    "docker-content-digest": digest,
  };
  if (facts.subject !== undefined && !quirks.noReferrers) headers["oci-subject"] = facts.subject;
  if (!isTag && tags.length > 0) headers["oci-tag"] = tags.join(", ");
  if (quirks.canonicalSha256) headers["docker-content-digest"] = manifestDigest(bytes, mediaType);
  return respond(exchange, { status: quirks.manifestStatus ?? 201, headers });
}

/** Refuses to overwrite what somebody else has changed (RFC 9110, section 13.1.1). */
function checkCondition({ request, route }: Exchange, repository: RepositoryState): void {
  const condition = request.headers.get("if-match");
  const current = repository.findManifest(route.reference);
  if (condition === null || condition === `"${current?.digest}"`) return;
  throw new Refusal(412, "DENIED", "the manifest has been changed meanwhile");
}

/** Tags that are to point at a manifest pushed by digest (OCI distribution-spec 1.1-dev, Pushing Manifests). */
function tagParameters({ url, quirks }: Exchange): string[] {
  return quirks.noTagParameters ? [] : url.searchParams.getAll("tag").filter((tag) => TAG.test(tag));
}

/** Whether the reference is a tag and no digest. */
function checkReference(reference: string): boolean {
  if (TAG.test(reference)) return true;
  if (digestAlgorithm(reference) !== undefined) return false;
  const code = reference.includes(":") ? "DIGEST_INVALID" : "TAG_INVALID";
  throw new Refusal(400, code, "invalid tag or digest");
}

async function readManifestBytes(exchange: Exchange): Promise<Bytes> {
  const chunks: Uint8Array[] = [];
  const limit = exchange.quirks.maxManifestBytes ?? DEFAULT_MAX_BYTES;
  await readBody(exchange, (chunk) => chunks.push(chunk), { limit });
  return concatenate(chunks);
}

function pushedMediaType(request: Request, bytes: Bytes): string {
  const header = request.headers.get("content-type")?.split(";")[0]?.trim();
  // fetch gives text bodies a Content-Type of its own, which says nothing.
  const pushed = header === "" || header === "text/plain" ? undefined : header;
  return pushed ?? ownMediaType(bytes) ?? DEFAULT_MEDIA_TYPE;
}

function checkMediaType({ quirks }: Exchange, mediaType: string): void {
  if (quirks.acceptedMediaTypes?.includes(mediaType) ?? true) return;
  throw new Refusal(400, "MANIFEST_INVALID", `manifests of type "${mediaType}" are not supported`);
}

function checkTagIsFree({ route, quirks }: Exchange, repository: RepositoryState, tag: string): void {
  if (!quirks.immutableTags || !repository.tags.has(tag)) return;
  const why = `The image tag '${tag}' already exists in the '${route.repository}' repository ` +
    "and cannot be overwritten because the tag is immutable.";
  throw new Refusal(400, "TAG_INVALID", `ImageTagAlreadyExistsException: ${why}`);
}

function checkNamed({ quirks, options }: Exchange, repository: RepositoryState, facts: ManifestFacts): void {
  const status = quirks.missingReferenceStatus ?? 404;
  const blob = facts.blobs.find(({ digest }) => !repository.blobs.has(digest));
  if (blob !== undefined && !options.allowMissingBlobs) {
    throw new Refusal(status, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", {
      detail: { digest: blob.digest },
    });
  }
  const child = facts.children.find((child) => !isChildThere(repository, child));
  if (child !== undefined && !options.allowSparse) {
    throw new Refusal(status, "MANIFEST_BLOB_UNKNOWN", "manifest unknown to registry", {
      detail: { digest: child.digest },
    });
  }
}

/** Children are manifests; entries of other types may be plain blobs, as OCI image-spec 1.1 allows. */
function isChildThere(repository: RepositoryState, child: { digest: string; mediaType: string }): boolean {
  if (repository.manifests.has(child.digest)) return true;
  const isManifest = isIndexType(child.mediaType) || /manifest/.test(child.mediaType);
  return !isManifest && repository.blobs.has(child.digest);
}

function deleteManifest(exchange: Exchange): Response {
  const { route, quirks } = exchange;
  const isTag = checkReference(route.reference);
  if (quirks.refuseDelete || (isTag && quirks.refuseTagDelete)) {
    throw new Refusal(405, "UNSUPPORTED", "deletion is not supported");
  }
  const repository = existingRepository(exchange);
  const wasThere = isTag
    ? repository.tags.delete(route.reference)
    : repository.deleteManifest(route.reference);
  if (!wasThere) throw new Refusal(quirks.missingStatus ?? 404, "MANIFEST_UNKNOWN", "manifest unknown");
  return respond(exchange, { status: 202 });
}
