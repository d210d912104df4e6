/** What goes to and fro between this program and the registries: a fetch that counts, and changes nothing. */

import type { Fetch } from "../../registry/fetch.ts";

/** Counts requests of one run. */
export class Traffic {
  /** Requests by registry and status; status 0 is one that was not answered. */
  readonly requests: Record<string, Record<string, number>> = {};
  /** Pulls that a registry said were left. */
  readonly rateLimits: Record<string, number> = {};
  /** Manifests pulled, by registry and repository: what Docker Hub counts. */
  readonly pulls = new Map<string, number>();

  /** A fetch for a registry that is counted. The answer is handed on as it is, for its body to take the fast way. */
  watch(registry: string, fetch: Fetch): Fetch {
    return async (url, init) => {
      try {
        const response = await fetch(url, init);
        this.#add(registry, response.status);
        this.#read(registry, response.headers);
        if (init.method === "GET" && response.ok) this.#addPull(registry, url);
        return response;
      } catch (error) {
        this.#add(registry, 0);
        throw error;
      }
    };
  }

  #add(registry: string, status: number): void {
    const counts = this.requests[registry] ??= {};
    counts[status] = (counts[status] ?? 0) + 1;
  }

  /** Docker Hub says `76;w=21600`: 76 pulls within six hours. */
  #read(registry: string, headers: Headers): void {
    const remaining = Number.parseInt(headers.get("ratelimit-remaining") ?? "", 10);
    if (remaining >= 0) this.rateLimits[registry] = remaining;
  }

  #addPull(registry: string, url: string): void {
    const [, repository] = /^https?:\/\/[^/]+\/v2\/(.+)\/manifests\/[^/]+$/.exec(url) ?? [];
    if (repository === undefined) return;
    const key = `${registry}/${repository}`;
    this.pulls.set(key, (this.pulls.get(key) ?? 0) + 1);
  }
}
