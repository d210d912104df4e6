/** The content discovery endpoints of the test registry: tags and referrers, page by page. */

import { type Descriptor, MEDIA_TYPE_OCI_INDEX } from "../../src/oci/descriptor.ts";
import { digestAlgorithm } from "./digest.ts";
import { type Exchange, existingRepository, location, respondJson } from "./exchange.ts";
import { Refusal } from "./refusal.ts";

/** Answers a request for a list of tags (OCI distribution-spec 1.1, end-8a, end-8b). */
export function handleTags(exchange: Exchange): Response {
  const { url, route, quirks } = exchange;
  requireGet(exchange);
  const keys = existingRepository(exchange).tags.sortedKeys();
  const last = quirks.ignoreLast ? null : url.searchParams.get("last");
  const start = last === null ? 0 : firstAfter(keys, last);
  const wanted = pageParameter(exchange);
  const size = Math.min(wanted ?? Infinity, quirks.pageSize ?? Infinity);
  const tags = keys.slice(start, start + size);
  const headers: Record<string, string> = {};
  const isLast = start + size >= keys.length;
  if (size > 0 && !isLast && !quirks.noTagLinks) {
    const query = new URLSearchParams({ n: `${size}`, last: tags.at(-1) ?? "" });
    const target = location(exchange, `/v2/${route.repository}/tags/list?${query}`);
    headers.link = quirks.writeLink?.(target) ?? `<${target}>; rel="next"`;
  }
  if (isLast) tags.push(...quirks.listedBesides ?? []);
  const padding = quirks.tagPagePadding === undefined ? {} : { manifest: "x".repeat(quirks.tagPagePadding) };
  return respondJson(exchange, { name: route.repository, tags, ...padding }, headers);
}

function requireGet({ request }: Exchange): void {
  if (request.method === "GET") return;
  throw new Refusal(405, "UNSUPPORTED", "method not allowed");
}

function pageParameter({ url, quirks }: Exchange): number | undefined {
  const text = url.searchParams.get("n");
  if (text === null) return undefined;
  const number = Number(text);
  if (Number.isInteger(number) && number >= 0 && number <= (quirks.maxPageParameter ?? Infinity)) {
    return number;
  }
  throw new Refusal(
    quirks.pageParameterStatus ?? 400,
    "PAGINATION_NUMBER_INVALID",
    "invalid number of results requested",
  );
}

/** Index of the first key that sorts after `last`, by halving. */
function firstAfter(keys: readonly string[], last: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? "") <= last) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Answers a request for the referrers of a manifest (OCI distribution-spec 1.1, end-12a, end-12b). */
export function handleReferrers(exchange: Exchange): Response {
  const { url, route, quirks } = exchange;
  requireGet(exchange);
  if (quirks.noReferrers) throw new Refusal(404, "NOT_FOUND", "page not found");
  if (digestAlgorithm(route.reference) === undefined) {
    throw new Refusal(400, "DIGEST_INVALID", "invalid digest");
  }
  const headers: Record<string, string> = { "content-type": MEDIA_TYPE_OCI_INDEX };
  const type = quirks.noReferrersFilter ? null : url.searchParams.get("artifactType");
  if (type !== null) headers["oci-filters-applied"] = "artifactType";
  const manifests = referrersPage(exchange, type, headers);
  return respondJson(exchange, { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests }, headers);
}

function referrersPage(
  exchange: Exchange,
  type: string | null,
  headers: Record<string, string>,
): Descriptor[] {
  const { url, route, state, quirks } = exchange;
  const all = state.repositories.get(route.repository)?.referrers.get(route.reference)?.values() ?? [];
  const matching = [...all].filter((referrer) => type === null || referrer.artifactType === type);
  const start = Number(url.searchParams.get("offset") ?? 0);
  const end = start + (quirks.referrersPageSize ?? Infinity);
  if (end < matching.length) {
    const query = new URLSearchParams({ ...(type !== null && { artifactType: type }), offset: `${end}` });
    const path = `/v2/${route.repository}/referrers/${route.reference}?${query}`;
    headers.link = `<${location(exchange, path)}>; rel="next"`;
  }
  return matching.slice(start, end);
}
