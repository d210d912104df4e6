/** Step 2 of the walk, the wire: a listing of tags as its pages come in, and where the next one is. */

import { isTag } from "../../oci/reference.ts";
import { nextPath } from "./link_header.ts";
import { parseErrors } from "../registry_error.ts";

/** Tags on one page of a listing, at most; registries give fewer as they like (ECR: 1000). */
const TAG_PAGE_SIZE = 1000;
/** Bytes of one page: Google's registries give all tags at once, with details of every manifest beside them. */
export const TAG_PAGE_BYTES = 64 * 1024 * 1024;
/** Pages of a listing that are read. */
const PAGE_LIMIT = 10_000;
/** Names of a listing that are read: what has more never ends. */
const NAME_LIMIT = 2_000_000;

const ENDLESS = "its list of tags does not end";

/** A listing of the tags of one repository (OCI distribution-spec 1.1, Listing tags). It holds no more than a page. */
export class TagList {
  /** Path of the next page below the registry's origin; `undefined` after the last. */
  path: string | undefined;
  /** A name among those of the last page that is no tag and was left out. */
  dropped: string | undefined;
  #base: string;
  #size: number | undefined = TAG_PAGE_SIZE;
  #pages = 0;
  #names = 0;
  /** Whether the registry leads from page to page by itself. */
  #hasLinks = false;
  /** Names of the last page, where the next one was asked for without being led to it. */
  #previous: ReadonlySet<string> | undefined;
  /** A page that was led to some time ago: who comes by it again goes round (R. P. Brent's way to find a cycle). */
  #milestone: string | undefined;

  /**
   * Nothing is read yet.
   *
   * @param isSized Whether pages of a size are asked for.
   */
  constructor(repository: string, isSized = true) {
    this.#base = `/v2/${repository}/tags/list`;
    this.path = `${this.#base}?n=${TAG_PAGE_SIZE}`;
    if (!isSized) this.dropSize();
  }

  /** Statuses that may mean no more than that the pages asked for are too large (Quay: 413, ECR: 400). */
  get sizeRefused(): readonly number[] {
    return this.#size !== undefined && this.#pages === 0 ? [400, 413, 422] : [];
  }

  /** Leaves the size of the pages to the registry. */
  dropSize(): void {
    this.#size = undefined;
    this.path = this.#base;
  }

  /**
   * The tags of a page; names that are no tags are left out (distribution-spec 1.1, Pulling manifests), so that none becomes
   * part of a URL.
   *
   * @param bytes The page at {@linkcode path}, which then is that of the next one.
   * @throws {SyntaxError} when the page has no list of tags, its link cannot be followed, or the listing does not end.
   */
  take(bytes: Uint8Array, headers: Headers): string[] {
    const names = parseTagPage(new TextDecoder().decode(bytes), headers);
    this.#names += names.length;
    if (++this.#pages > PAGE_LIMIT || this.#names > NAME_LIMIT) throw new SyntaxError(ENDLESS);
    const tags = names.filter(isTag);
    this.dropped = tags.length === names.length ? undefined : names.find((name) => !isTag(name)) ?? "";
    if (this.#previous !== undefined && tags.every((tag) => this.#previous?.has(tag))) {
      // It does not know `last` either, and has given everything before.
      this.path = undefined;
      return [];
    }
    const next = this.#next(headers.get("link"));
    this.path = next ?? this.#after(names.length, tags);
    return tags;
  }

  #next(header: string | null): string | undefined {
    const path = nextPath(header, this.path ?? this.#base);
    if (path === undefined) return undefined;
    this.#hasLinks = true;
    this.#previous = undefined;
    if (path === this.path || path === this.#milestone) throw new SyntaxError(ENDLESS);
    if (Number.isInteger(Math.log2(this.#pages))) this.#milestone = path;
    return path;
  }

  /** A registry may leave out the link, so a page that is exactly full is followed by a question for what comes after. */
  #after(count: number, tags: readonly string[]): string | undefined {
    const last = tags.at(-1);
    if (this.#hasLinks || count !== this.#size || last === undefined) return undefined;
    this.#previous = new Set(tags);
    return `${this.#base}?n=${this.#size}&last=${encodeURIComponent(last)}`;
  }
}

/** `null`, or a repository without any list, is how some registries say that it is empty; what is not even that is no answer. */
function parseTagPage(text: string, headers: Headers): string[] {
  let page: unknown;
  try {
    page = JSON.parse(text);
  } catch (cause) {
    const isPage = /^text\/html\b/i.test(headers.get("content-type") ?? "");
    throw new SyntaxError(`the answer is not JSON${isPage ? " but a web page (text/html)" : ""}`, { cause });
  }
  const { tags, name } = (page ?? {}) as { tags?: unknown; name?: unknown };
  const isEmpty = tags === null || tags === undefined && typeof name === "string";
  if (isEmpty && parseErrors(text).length === 0) return [];
  if (!Array.isArray(tags)) throw new SyntaxError("the answer has no list of tags");
  return tags.filter((tag) => typeof tag === "string");
}
