/** Step 2 of the walk, the wire: one page of a tag listing, and where the next one is. */

/** Tags on one page of a listing, at most; registries give fewer as they like (ECR: 1000). */
export const TAG_PAGE_SIZE = 1000;
/** Pages of a listing that are read: ten million tags are a listing that never ends. */
export const TAG_PAGE_LIMIT = 10_000;
/** Bytes of one page of a listing. */
export const TAG_PAGE_BYTES = 8 * 1024 * 1024;

/**
 * The tags of a page (OCI distribution-spec 1.1, Listing tags). `null`, which some registries send for an empty
 * repository, is no tags.
 *
 * @throws {SyntaxError} when the page has no list of tags.
 */
export function parseTagPage(text: string): string[] {
  let page: unknown;
  try {
    page = JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError("the answer is not JSON", { cause });
  }
  const tags = (page as { tags?: unknown } | null)?.tags ?? [];
  if (!Array.isArray(tags)) throw new SyntaxError("the answer has no list of tags");
  return tags.filter((tag) => typeof tag === "string");
}

/**
 * The path of the next page (RFC 8288 `Link` header, `rel="next"`), or `undefined` after the last. A link may be absolute,
 * but only its path counts: credentials go to the registry itself and nowhere else.
 *
 * @param path Path of this page.
 * @throws {SyntaxError} when the link leads out of the API.
 */
export function nextTagPage(path: string, link: string | null): string | undefined {
  const target = link === null
    ? undefined
    : /<([^<>]{0,4096})>\s*;[^,]*\brel\s*=\s*"?next\b/i.exec(link)?.[1];
  if (target === undefined) return undefined;
  const base = new URL(path, "https://registry.invalid");
  if (!URL.canParse(target, base.href)) throw new SyntaxError("the link to its next page is not a URL");
  const next = new URL(target, base);
  if (!next.pathname.startsWith("/v2/")) throw new SyntaxError("the link to its next page leads elsewhere");
  return `${next.pathname}${next.search}`;
}
