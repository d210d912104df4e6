/** Step 2 of the walk, the wire: the repositories of a registry, page by page, where it lists them. */

import { isRepository } from "../../oci/reference.ts";
import { nextPath } from "./link_header.ts";
import type { Registry } from "../registry.ts";
import { parseErrors } from "../registry_error.ts";
import { RepositoryRequests } from "./repository_requests.ts";

/** Names that are asked for at once. */
const PAGE_SIZE = 1000;
/** Bytes of one page: some registries give all names at once. */
const PAGE_BYTES = 64 * 1024 * 1024;
/** Pages and names that are read: what has more never ends. */
const PAGE_LIMIT = 10_000;
const NAME_LIMIT = 1_000_000;
const CATALOG = "/v2/_catalog";

/** The verb of listing repositories (distribution, HTTP API V2, Catalog; the OCI specification leaves it to registries). */
export class Catalog extends RepositoryRequests {
  /** Nothing is asked yet. */
  constructor(registry: Registry) {
    super(registry, "", "pull");
  }

  /**
   * Every repository, page by page.
   *
   * @throws {RegistryError} when the registry has no such list or refuses, or the list does not end or names what cannot be one.
   */
  async *list(signal?: AbortSignal): AsyncIterable<string[]> {
    const action = `list the repositories of "${this.registry.host}"`;
    const seen = new Set<string>();
    let path: string | undefined = `${CATALOG}?n=${PAGE_SIZE}`;
    for (let pages = 0, count = 0; path !== undefined;) {
      const from: string = path;
      if (seen.has(from) || ++pages > PAGE_LIMIT || count > NAME_LIMIT) {
        throw this.wrong(action, "its list does not end");
      }
      seen.add(from);
      const scopes = ["registry:catalog:*"];
      const headers = { accept: "application/json" };
      const request = { action, scopes, method: "GET", path: from, headers, expect: [200], signal } as const;
      const { response, bytes } = await this.fetch(request, PAGE_BYTES);
      const names = this.understand(action, () => parsePage(bytes), bytes);
      count += names.length;
      yield names;
      path = this.understand(action, () => nextPath(response.headers.get("link"), from)) ??
        after(names, response.headers.has("link"));
    }
  }
}

/** A registry may leave out the link, so a page that is exactly full is followed by a question for what comes after. */
function after(names: readonly string[], hasLink: boolean): string | undefined {
  const last = names.at(-1);
  if (hasLink || names.length !== PAGE_SIZE || last === undefined) return undefined;
  return `${CATALOG}?n=${PAGE_SIZE}&last=${encodeURIComponent(last)}`;
}

/** A list that names what no repository can be called is not to be trusted with the rest. */
function parsePage(bytes: Uint8Array): string[] {
  const text = new TextDecoder().decode(bytes);
  const { repositories } = JSON.parse(text) ?? {};
  if (repositories === null && parseErrors(text).length === 0) return [];
  if (!Array.isArray(repositories)) throw new SyntaxError("the answer has no list of repositories");
  const odd = repositories.find((name) => typeof name !== "string" || !isRepository(name));
  if (odd !== undefined) throw new SyntaxError("its list has names that no repository can have");
  return repositories;
}
