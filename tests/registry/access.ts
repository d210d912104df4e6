/** Who may do what at the test registry, and its token service. */

import { type Exchange, readBody, respondJson, type Route } from "./exchange.ts";
import type {
  AuthOptions,
  BasicAuthOptions,
  BearerAuthOptions,
  RegistryOptions,
  TokenUser,
} from "./options.ts";
import { concatenate } from "./blob_content.ts";
import { Refusal } from "./refusal.ts";

/** Actions on one repository. */
interface Access {
  repository: string;
  actions: readonly string[];
}

/** What a token was issued for. */
interface Grant {
  access: readonly Access[];
  expiresAt: number;
}

/** Checks requests against the registry's options and issues tokens. */
export class AccessControl {
  /** How many requests for tokens came, refused ones included. */
  tokenRequests = 0;
  readonly #auth: AuthOptions | undefined;
  readonly #now: () => number;
  readonly #tokens: Map<string, Grant> = new Map();
  readonly #refreshTokens: Map<string, string> = new Map();

  /** Takes `auth` and `now` from the registry's options. */
  constructor(options: RegistryOptions) {
    this.#auth = options.auth;
    this.#now = options.now ?? Date.now;
  }

  /** Makes all tokens issued so far worthless, as when a registry changes its keys. */
  revokeTokens(): void {
    this.#tokens.clear();
  }

  /**
   * Lets a request through or not.
   *
   * @throws {Refusal} 401 with a challenge when it lacks credentials or rights.
   */
  check(exchange: Exchange): void {
    if (this.#auth === undefined) return;
    const header = exchange.request.headers.get("authorization");
    if (this.#auth.type === "basic") return checkBasic(this.#auth, header);
    this.#checkBearer(this.#auth, exchange, header);
  }

  /** Whether the client of a request that was let through may also pull from a repository. */
  canPull(request: Request, repository: string): boolean {
    if (this.#auth?.type !== "bearer") return true;
    const token = bearerToken(request.headers.get("authorization"));
    const grant = this.#tokens.get(token ?? "");
    return grant !== undefined && isGranted(grant, { repository, actions: ["pull"] });
  }

  /**
   * Answers a request for a token (distribution's "Token Authentication Specification"; POST is its OAuth2 form).
   *
   * @throws {Refusal} 401 when the credentials are wrong or missing.
   */
  async issueToken(exchange: Exchange): Promise<Response> {
    const auth = this.#auth;
    if (auth?.type !== "bearer") throw new Refusal(404, "NOT_FOUND", "page not found");
    this.tokenRequests += 1;
    if (exchange.request.method === "POST") {
      return this.#issueFromForm(auth, exchange, await readForm(exchange));
    }
    const parameters = exchange.url.searchParams;
    const username = this.#login(auth, exchange.request.headers.get("authorization"));
    const scopes = parameters.getAll("scope").flatMap((scope) => scope.split(" "));
    const isOffline = parameters.get("offline_token") === "true" && username !== undefined;
    return this.#answer(auth, exchange, { username, scopes, isOffline });
  }

  #checkBearer(auth: BearerAuthOptions, exchange: Exchange, header: string | null): void {
    const needed = neededAccess(exchange);
    const token = bearerToken(header);
    if (token === undefined) throw challenge(auth, exchange, needed);
    const grant = this.#tokens.get(token);
    if (grant === undefined || grant.expiresAt <= this.#now()) {
      throw challenge(auth, exchange, needed, "invalid_token");
    }
    if (needed.every((access) => isGranted(grant, access))) return;
    throw challenge(auth, exchange, needed, "insufficient_scope");
  }

  #issueFromForm(auth: BearerAuthOptions, exchange: Exchange, form: URLSearchParams): Response {
    const username = form.get("grant_type") === "refresh_token"
      ? this.#refreshTokens.get(form.get("refresh_token") ?? "")
      : verifiedUser(auth, form.get("username") ?? "", form.get("password") ?? "");
    if (username === undefined) throw new Refusal(401, "UNAUTHORIZED", "invalid credentials");
    const scopes = (form.get("scope") ?? "").split(" ");
    return this.#answer(auth, exchange, {
      username,
      scopes,
      isOffline: form.get("access_type") === "offline",
    });
  }

  #login(auth: BearerAuthOptions, header: string | null): string | undefined {
    if (header === null) {
      if (auth.anonymousPull) return undefined;
      throw new Refusal(401, "UNAUTHORIZED", "authentication required");
    }
    const [username, password] = decodeBasic(header);
    const user = verifiedUser(auth, username, password);
    if (user === undefined) throw new Refusal(401, "UNAUTHORIZED", "incorrect username or password");
    return user;
  }

  #answer(
    auth: BearerAuthOptions,
    exchange: Exchange,
    request: { username: string | undefined; scopes: readonly string[]; isOffline: boolean },
  ): Response {
    const isMany = auth.manyScopes !== undefined && request.scopes.length > 2;
    if (isMany && auth.manyScopes === "refused") throw new Refusal(403, "DENIED", "too many scopes");
    const lifetime = auth.tokenLifetimeSeconds ?? 300;
    const token = crypto.randomUUID();
    const scopes = isMany ? request.scopes.slice(0, 1) : request.scopes;
    const access = scopes.flatMap(parseScope).map((wanted) => allowed(auth, request.username, wanted));
    this.#tokens.set(token, { access, expiresAt: this.#now() + lifetime * 1000 });
    const expiry = auth.omitExpiry
      ? {}
      : { expires_in: lifetime, issued_at: new Date(this.#now()).toISOString() };
    const refresh = request.isOffline ? { refresh_token: this.#refreshTokenFor(request.username ?? "") } : {};
    return respondJson(exchange, { token, access_token: token, ...expiry, ...refresh });
  }

  #refreshTokenFor(username: string): string {
    const token = crypto.randomUUID();
    this.#refreshTokens.set(token, username);
    return token;
  }
}

function bearerToken(header: string | null): string | undefined {
  return /^Bearer (.+)$/i.exec(header ?? "")?.[1];
}

function checkBasic(auth: BasicAuthOptions, header: string | null): void {
  const [username, password] = decodeBasic(header ?? "");
  if (username === auth.username && password === auth.password) return;
  throw new Refusal(401, "UNAUTHORIZED", "authentication required", {
    headers: { "www-authenticate": 'Basic realm="registry.test"' },
  });
}

function decodeBasic(header: string): [string, string] {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(header)?.[1];
  if (encoded === undefined) return ["", ""];
  const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
  const text = new TextDecoder().decode(bytes);
  const colon = text.indexOf(":");
  return [text.slice(0, colon), text.slice(colon + 1)];
}

function verifiedUser(auth: BearerAuthOptions, username: string, password: string): string | undefined {
  return auth.users[username]?.password === password ? username : undefined;
}

async function readForm(exchange: Exchange): Promise<URLSearchParams> {
  const chunks: Uint8Array[] = [];
  await readBody(exchange, (chunk) => chunks.push(chunk), { limit: 65536 });
  return new URLSearchParams(new TextDecoder().decode(concatenate(chunks)));
}

/** The scopes of a request as `Access`, empty for what is not `repository:NAME:ACTIONS`. */
function parseScope(scope: string): Access[] {
  const match = /^repository(?:\([a-z]+\))?:(.+):([a-z,*]*)$/.exec(scope);
  if (match === null) return [];
  return [{ repository: match[1] ?? "", actions: (match[2] ?? "").split(",") }];
}

/** What of the wanted access a user gets; `undefined` is the anonymous user. */
function allowed(auth: BearerAuthOptions, username: string | undefined, wanted: Access): Access {
  const rights = username === undefined
    ? anonymousRights(auth, wanted.repository)
    : userRights(auth.users[username], wanted.repository);
  const actions = wanted.actions.includes("*") ? ["pull", "push", "delete"] : wanted.actions;
  return { repository: wanted.repository, actions: actions.filter((action) => rights.includes(action)) };
}

function anonymousRights({ anonymousPull }: BearerAuthOptions, repository: string): readonly string[] {
  const mayPull = Array.isArray(anonymousPull) ? anonymousPull.includes(repository) : anonymousPull === true;
  return mayPull ? ["pull"] : [];
}

function userRights(user: TokenUser | undefined, repository: string): readonly string[] {
  if (user?.rights === undefined) return ["pull", "push", "delete"];
  const matching = Object.entries(user.rights).filter(([pattern]) =>
    pattern.endsWith("*") ? repository.startsWith(pattern.slice(0, -1)) : repository === pattern
  );
  return matching.flatMap(([, actions]) => actions);
}

function isGranted(grant: Grant, needed: Access): boolean {
  return needed.actions.every((action) =>
    grant.access.some(({ repository, actions }) =>
      repository === needed.repository && actions.includes(action)
    )
  );
}

/** What a request needs: the action on its repository, and pull where a mount takes the blob from. */
function neededAccess({ request, route, url, quirks }: Exchange): Access[] {
  if (route.repository === "") return [];
  const needed: Access[] = [{
    repository: route.repository,
    actions: [neededAction(request, route, quirks)],
  }];
  const from = url.searchParams.get("from");
  const isMount = route.kind === "upload" && request.method === "POST" && url.searchParams.has("mount");
  if (isMount && from !== null && !quirks.mountDeniedUploads) {
    needed.push({ repository: from, actions: ["pull"] });
  }
  return needed;
}

function neededAction(request: Request, route: Route, quirks: Exchange["quirks"]): string {
  if (route.kind === "upload") {
    return request.method === "DELETE" && quirks.uploadDeleteNeedsDelete ? "delete" : "push";
  }
  if (request.method === "PUT") return "push";
  return request.method === "DELETE" ? "delete" : "pull";
}

function challenge(auth: BearerAuthOptions, exchange: Exchange, needed: Access[], error?: string): Refusal {
  const realm = auth.realm ?? `${exchange.url.origin}/token`;
  const scope = needed.map(({ repository, actions }) =>
    `repository:${repository}:${actions.includes("push") ? "pull,push" : actions.join(",")}`
  ).join(" ");
  const parameters = [
    `realm="${realm}"`,
    `service="${auth.service ?? "registry.test"}"`,
    ...(scope === "" ? [] : [`scope="${scope}"`]),
    ...(error === undefined ? [] : [`error="${error}"`]),
  ];
  const code = error === "insufficient_scope" ? "DENIED" : "UNAUTHORIZED";
  return new Refusal(401, code, "authentication required", {
    headers: { "www-authenticate": `Bearer ${parameters.join(",")}` },
  });
}
