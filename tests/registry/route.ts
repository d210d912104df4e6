/** Paths of the distribution-spec to routes of the test registry. */

import type { Route } from "./exchange.ts";
import { Refusal } from "./refusal.ts";

const PATTERNS: readonly (readonly [Route["kind"], RegExp])[] = [
  ["ping", /^\/v2\/?$/],
  ["token", /^\/token$/],
  ["tags", /^\/v2\/(.+)\/tags\/list$/],
  ["upload", /^\/v2\/(.+)\/blobs\/uploads\/?([^/]*)$/],
  ["manifest", /^\/v2\/(.+)\/manifests\/([^/]+)$/],
  ["blob", /^\/v2\/(.+)\/blobs\/([^/]+)$/],
  ["referrers", /^\/v2\/(.+)\/referrers\/([^/]+)$/],
];

const NAME = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;

/** What a path asks for (OCI distribution-spec 1.1, Endpoints); kind `unknown` when nothing. */
export function parseRoute(pathname: string): Route {
  for (const [kind, pattern] of PATTERNS) {
    const match = pattern.exec(pathname);
    if (match === null) continue;
    return { kind, repository: match[1] ?? "", reference: decodeURIComponent(match[2] ?? "") };
  }
  return { kind: "unknown", repository: "", reference: "" };
}

/**
 * Checks the repository's name.
 *
 * @throws {Refusal} NAME_INVALID when it is not one (OCI distribution-spec 1.1, Pulling manifests).
 */
export function checkName({ repository }: Route): void {
  if (repository === "" || NAME.test(repository)) return;
  throw new Refusal(400, "NAME_INVALID", "invalid repository name");
}
