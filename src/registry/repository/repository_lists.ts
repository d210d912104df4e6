/** Step 2 of the walk, the wire: the verbs that list what one repository has, page by page. */

import { type Descriptor, type Digest, MEDIA_TYPE_OCI_INDEX } from "../../oci/descriptor.ts";
import { ManifestError, parseIndexEntries } from "../../oci/manifest.ts";
import { printable } from "../../oci/printable.ts";
import { nextPath } from "./link_header.ts";
import type { WholeAnswer } from "./repository_requests.ts";
import { parseErrors } from "../registry_error.ts";
import { RepositoryUploads } from "./repository_uploads.ts";
import { TAG_PAGE_BYTES, TagList } from "./tag_list.ts";

/** Which referrers are wanted. */
export interface ListReferrersOptions {
  /** Only those of this artifact type. */
  artifactType?: string;
  /** Ends the request. */
  signal?: AbortSignal | undefined;
}

/** Bytes of one page of referrers, the most that registries take for an index. */
const REFERRERS_PAGE_BYTES = 4 * 1024 * 1024;
/** Pages of referrers that are read: nobody signs an image that often. */
const REFERRERS_PAGE_LIMIT = 1000;
/** Statuses of registries that have no such endpoint. */
const NO_ENDPOINT: readonly number[] = [404, 405, 406, 501];

/** The verbs of listing (OCI distribution-spec 1.1, Content Discovery). */
export class RepositoryLists extends RepositoryUploads {
  #hasWarned = false;

  /**
   * Every tag, page by page (OCI distribution-spec 1.1, Listing tags). What is listed and is no tag is left out, with one warning.
   *
   * @throws {RegistryError} when the repository is not there, the registry refuses, or the listing does not end.
   */
  async *listTags(signal?: AbortSignal): AsyncIterable<string[]> {
    const action = `list tags of "${this.registry.host}/${this.name}"`;
    const { abilities } = this.registry;
    const list = new TagList(this.name, abilities.canSizeLists);
    let isRefused = false;
    while (list.path !== undefined) {
      const { response, bytes } = await this.fetch({
        action,
        scopes: this.scopes(),
        method: "GET",
        path: list.path,
        headers: { accept: "application/json" },
        expect: [200, ...list.sizeRefused],
        signal,
      }, TAG_PAGE_BYTES);
      if (response.status !== 200) {
        list.dropSize();
        isRefused = true;
        continue;
      }
      const page = this.understand(action, () => list.take(bytes, response.headers), bytes);
      if (isRefused) abilities.canSizeLists = false;
      if (list.dropped !== undefined) this.#warnOfNames(list.dropped);
      yield page;
    }
  }

  #warnOfNames(name: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    const message =
      `"${this.registry.host}/${this.name}" lists names that are no tags, which are left out: ` +
      `"${printable(name)}" for example`;
    this.registry.context.emit({ type: "warning", message });
  }

  /**
   * The manifests that say that they belong to a digest, each once (OCI distribution-spec 1.1, Listing Referrers).
   *
   * @returns `undefined` where the registry has no such list: then they are under the fallback tag.
   * @throws {RegistryError} when the registry refuses, or the list does not end.
   * @throws {ManifestError} when the answer is no index.
   */
  async listReferrers(digest: Digest, options: ListReferrersOptions = {}): Promise<Descriptor[] | undefined> {
    const { artifactType, signal } = options;
    const action = `list what belongs to "${this.describe(digest)}"`;
    const { abilities } = this.registry;
    if (abilities.hasReferrers === false) return undefined;
    const query = artifactType === undefined ? "" : `?artifactType=${encodeURIComponent(artifactType)}`;
    let path: string | undefined = `/v2/${this.name}/referrers/${digest}${query}`;
    const found = new Map<Digest, Descriptor>();
    const seen = new Set<string>();
    for (let page = 0; path !== undefined; page++) {
      const isEndless = page >= REFERRERS_PAGE_LIMIT || seen.has(path);
      if (isEndless) throw this.wrong(action, "its list does not end");
      seen.add(path);
      const answer: WholeAnswer = await this.fetch({
        action,
        scopes: this.scopes(),
        method: "GET",
        path,
        headers: { accept: MEDIA_TYPE_OCI_INDEX },
        // Some that know no such path call it a bad request; who has answered such a request means this one.
        expect: [200, ...NO_ENDPOINT, ...abilities.hasReferrers === true ? [] : [400]],
        signal,
      }, REFERRERS_PAGE_BYTES);
      if (isNoEndpoint(answer.response)) return this.#withoutReferrers(answer);
      abilities.hasReferrers = true;
      for (const entry of this.#readReferrers(action, answer, artifactType)) found.set(entry.digest, entry);
      const from: string = path;
      path = this.understand(action, () => nextPath(answer.response.headers.get("link"), from));
    }
    return [...found.values()];
  }

  /** A registry that has the API says of a repository that it does not know that; there nothing belongs to anything. */
  #withoutReferrers({ response, bytes }: WholeAnswer): [] | undefined {
    const { abilities } = this.registry;
    if (abilities.hasReferrers && response.status === 404) return [];
    const isAboutRepository = parseErrors(new TextDecoder().decode(bytes)).some(({ code }) =>
      code === "NAME_UNKNOWN"
    );
    if (!isAboutRepository) abilities.hasReferrers = false;
    return undefined;
  }

  #readReferrers(action: string, { response, bytes }: WholeAnswer, artifactType?: string): Descriptor[] {
    let entries: Descriptor[];
    try {
      entries = parseIndexEntries(bytes, action);
    } catch (error) {
      if (error instanceof ManifestError) this.refuseErrors(action, bytes, error);
      throw error;
    }
    // A registry need not know the filter, and says so when it has heeded it.
    const isFiltered = /\bartifactType\b/.test(response.headers.get("oci-filters-applied") ?? "");
    if (artifactType === undefined || isFiltered) return entries;
    return entries.filter((entry) => entry.artifactType === artifactType);
  }
}

/** A page of a web site stands for an endpoint that is not there, too. */
function isNoEndpoint({ status, headers }: Response): boolean {
  return status !== 200 || /^text\/html\b/i.test(headers.get("content-type") ?? "");
}
