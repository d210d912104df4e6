/** The token service before the registries of the benchmark, as Docker Hub has one (distribution: token authentication). */

import { parseRoute } from "../registry/route.ts";

/** The one user. */
export const USER = { username: "bench", password: "bench-password" } as const;

/** Seconds a token lives, as at Docker Hub. */
const LIFETIME = 300;

/** Hands out tokens and checks them. */
export class TokenDesk {
  #rights = new Map<string, ReadonlySet<string>>();

  /**
   * A new token.
   *
   * @param scopes Scopes in the spelling of the challenge, for example `repository:a/b:pull,push`.
   */
  issue(scopes: readonly string[]): string {
    const token = crypto.randomUUID();
    const rights = scopes.flatMap((scope) => {
      const [type, name, actions = ""] = scope.split(":");
      return type === "repository" ? actions.split(",").map((action) => `${name}:${action}`) : [];
    });
    this.#rights.set(token, new Set(rights));
    return token;
  }

  /** The answer of the token service. */
  answer(url: URL, form: URLSearchParams, authorization: string | undefined): Response {
    const isUser = authorization === `Basic ${btoa(`${USER.username}:${USER.password}`)}` ||
      form.get("username") === USER.username && form.get("password") === USER.password;
    if (!isUser) return new Response("{}", { status: 401 });
    const scopes = [...url.searchParams.getAll("scope"), ...form.getAll("scope")].flatMap((one) =>
      one.split(" ")
    );
    const token = this.issue(scopes);
    const issuedAt = new Date().toISOString();
    return Response.json({ token, access_token: token, expires_in: LIFETIME, issued_at: issuedAt });
  }

  /** The scopes a request lacks; `undefined` where it may pass. */
  lackOf(method: string, url: URL, authorization: string | undefined): string[] | undefined {
    const rights = this.#rights.get(authorization?.replace(/^Bearer /i, "") ?? "");
    const needed = neededRights(method, url);
    if (rights !== undefined && needed.every(({ name, action }) => rights.has(`${name}:${action}`))) {
      return undefined;
    }
    const names = [...new Set(needed.map(({ name }) => name))];
    return names.map((name) => {
      const actions = needed.filter((one) => one.name === name).map(({ action }) => action);
      return `repository:${name}:${actions.join(",")}`;
    });
  }
}

/** The challenge of an answer with status 401. */
export function challenge(realm: string, scopes: readonly string[]): string {
  const scope = scopes.length === 0 ? "" : `,scope="${scopes.join(" ")}"`;
  return `Bearer realm="${realm}",service="bench"${scope}`;
}

function neededRights(method: string, url: URL): { name: string; action: string }[] {
  const { repository: name } = parseRoute(url.pathname);
  if (name === "") return [];
  if (["GET", "HEAD"].includes(method) && !url.pathname.includes("/blobs/uploads/")) {
    return [{ name, action: "pull" }];
  }
  const from = url.searchParams.get("from");
  const own = [{ name, action: "pull" }, { name, action: "push" }];
  return from === null ? own : [...own, { name: from, action: "pull" }];
}
