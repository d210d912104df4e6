/** Step 2 of the walk, the wire: from a registry's challenge to the header that satisfies it. */

import type { Challenge } from "./challenge.ts";
import type { Clock } from "../clock.ts";
import type { Credential, CredentialSource } from "./credential.ts";
import { defer } from "../deferred.ts";
import { printable, RegistryError } from "../registry_error.ts";
import { coversScopes, mergeScopes } from "./scopes.ts";

/** Logging in was not possible; the message holds no secret. */
export class AuthError extends Error {
  /** Says at which registry, and why. */
  constructor(registry: string, why: string, options?: ErrorOptions) {
    super(`Cannot log in to "${registry}": ${why}`, options);
    this.name = "AuthError";
  }
}

/** One request to a token service. */
export interface TokenRequest {
  /** The registry the token is for. */
  registry: string;
  /** Where to ask. */
  url: string;
  /** `GET` for user names and anonymous, `POST` for identity tokens. */
  method: "GET" | "POST";
  /** Headers to send; they may hold a password. */
  headers: Record<string, string>;
  /** Form to send; it may hold a token. */
  body?: Uint8Array<ArrayBuffer>;
  /** Whose token it is, for messages. */
  account: string;
}

/** Sends a token request and returns the JSON of the answer; throws when there is none. */
export type TokenFetch = (request: TokenRequest) => Promise<unknown>;

/** Who asks for what. */
export interface AuthorizationTarget {
  /** Canonical registry. */
  registry: string;
  /** Repository whose credential is used. */
  repository: string;
  /** Scopes in the token service's words, for example `repository:library/nginx:pull`. */
  scopes: readonly string[];
}

/** What an {@linkcode Authorizer} needs. */
export interface AuthorizerOptions {
  /** Where credentials come from; without it everything is anonymous. */
  credentials: CredentialSource | undefined;
  /** How a token service is reached. */
  fetchToken: TokenFetch;
  /** Whether a registry may have a token service without TLS: only one that is itself reached without TLS. */
  allowsPlainRealm: (registry: string) => boolean;
  /** The clock by which tokens expire. */
  clock: Clock;
}

interface Token {
  value: string;
  expiresAt: number;
  /** Who it was given to, where: `accountKey`. */
  account: string;
  /** What it was asked for. */
  scopes: readonly string[];
  /** Whether it was asked for by several at once. */
  isShared: boolean;
}

/** A request for a token that others may join while it has not been sent, and wait for when it has. */
interface Batch {
  scopes: readonly string[];
  isOpen: boolean;
  isShared: boolean;
  token: Promise<Token>;
}

/** Scopes of one token at the most: each is some 80 characters of a URL. */
const SCOPES_AT_ONCE = 20;

/** Tokens live at least this many seconds when the service does not say (distribution: token authentication specification). */
const DEFAULT_TOKEN_SECONDS = 60;

/**
 * Challenges and tokens by registry and scope. One request is in flight for a token, however many wait for it, and those who want
 * tokens of one account at the same moment get one for all of their repositories, unless the registry will not have that.
 */
export class Authorizer {
  #options: AuthorizerOptions;
  #challenges = new Map<string, Challenge>();
  #tokens = new Map<string, Token[]>();
  #batches = new Map<string, Set<Batch>>();
  /** Registries that have refused a token for several repositories. */
  #onlyAlone = new Set<string>();

  /** Starts knowing nothing. */
  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** What a registry asked for last, if it asked for anything. */
  challengeOf(registry: string): Challenge | undefined {
    return this.#challenges.get(registry);
  }

  /** Takes in what a registry asks for; returns whether it is something this project can do. */
  learn(registry: string, challenges: readonly Challenge[]): boolean {
    const bearer = challenges.find((one) => one.scheme === "bearer" && one.parameters.realm !== undefined);
    const challenge = bearer ?? challenges.find((one) => one.scheme === "basic");
    if (challenge !== undefined) this.#challenges.set(registry, challenge);
    return challenge !== undefined;
  }

  /**
   * The `Authorization` header for a request, or `undefined` to send none.
   *
   * @throws {AuthError} when the challenge cannot be trusted or the token service gives no token.
   */
  async header(target: AuthorizationTarget): Promise<string | undefined> {
    const challenge = this.#challenges.get(target.registry);
    if (challenge === undefined) return undefined;
    const credential = await this.#options.credentials?.(target.registry, target.repository);
    if (credential?.registryToken !== undefined) return `Bearer ${credential.registryToken}`;
    if (challenge.scheme === "basic") return basicHeader(credential);
    const token = await this.#token(target, challenge, credential);
    return `Bearer ${token.value}`;
  }

  /** Forgets the token a header was made of, because the registry refused it. */
  forget(registry: string, header: string): void {
    const tokens = this.#tokens.get(registry) ?? [];
    const refused = tokens.filter(({ value }) => `Bearer ${value}` === header);
    this.#tokens.set(registry, tokens.filter((token) => !refused.includes(token)));
    // A service may grant a part of what it was asked for without a word, so the others ask for themselves.
    if (refused.some(({ isShared }) => isShared)) this.#onlyAlone.add(registry);
  }

  /** Who a target is asked as, for messages: a user name in quotes, or `anonymous`. */
  async accountOf(target: AuthorizationTarget): Promise<string> {
    return accountOf(await this.#options.credentials?.(target.registry, target.repository));
  }

  async #token(
    target: AuthorizationTarget,
    challenge: Challenge,
    credential: Credential | undefined,
  ): Promise<Token> {
    const { registry } = target;
    const scopes = scopesFor(target, challenge);
    const account = accountKey(registry, challenge, credential);
    const now = this.#options.clock.now();
    const known = this.#tokens.get(registry)?.find((token) =>
      token.account === account && token.expiresAt > now && coversScopes(token.scopes, scopes)
    );
    if (known !== undefined) return known;
    const batch = this.#join(account, scopes) ??
      this.#open(account, scopes, { registry, challenge, credential });
    try {
      return await batch.token;
    } catch (error) {
      const isRefused = error instanceof AuthError || error instanceof RegistryError && error.isPermanent;
      if (!batch.isShared || !isRefused) throw error;
      // One repository that this account may not see is enough for some services to refuse all of them (GHCR).
      this.#onlyAlone.add(registry);
      return await this.#token(target, challenge, credential);
    }
  }

  /** A request under way that will do, or one that has room and has not been sent. */
  #join(account: string, scopes: readonly string[]): Batch | undefined {
    const batches = [...this.#batches.get(account) ?? []];
    const enough = batches.find((batch) => coversScopes(batch.scopes, scopes));
    if (enough !== undefined) return enough;
    for (const batch of batches) {
      const merged = mergeScopes([...batch.scopes, ...scopes]);
      if (!batch.isOpen || merged.length > SCOPES_AT_ONCE) continue;
      batch.scopes = merged;
      batch.isShared = true;
      return batch;
    }
    return undefined;
  }

  #open(account: string, scopes: readonly string[], from: TokenOrigin): Batch {
    const batches = this.#batches.get(account) ?? new Set();
    const { promise, resolve, reject } = defer<Token>();
    const isOpen = !this.#onlyAlone.has(from.registry);
    const batch: Batch = { scopes, isOpen, isShared: false, token: promise };
    this.#batches.set(account, batches.add(batch));
    void this.#fetch(account, batch, from).then(resolve, reject).finally(() => batches.delete(batch));
    return batch;
  }

  async #fetch(
    account: string,
    batch: Batch,
    { registry, challenge, credential }: TokenOrigin,
  ): Promise<Token> {
    // Requests that waited for the registry to be met go on in this turn; the next one finds what they want gathered.
    if (batch.isOpen) await new Promise((resolve) => setTimeout(resolve, 0));
    batch.isOpen = false;
    const { value, expiresAt } = await this.#requestToken(registry, challenge, batch.scopes, credential);
    const token: Token = { value, expiresAt, account, scopes: batch.scopes, isShared: batch.isShared };
    const now = this.#options.clock.now();
    const others = this.#tokens.get(registry)?.filter((other) => other.expiresAt > now) ?? [];
    // It is kept before the request is over, or who comes in between would ask once more.
    this.#tokens.set(registry, [...others, token]);
    return token;
  }

  async #requestToken(
    registry: string,
    challenge: Challenge,
    scopes: readonly string[],
    credential: Credential | undefined,
  ): Promise<Pick<Token, "value" | "expiresAt">> {
    const realm = checkRealm(registry, challenge, this.#options.allowsPlainRealm(registry));
    const startedAt = this.#options.clock.now();
    const request = tokenRequest(registry, realm, challenge.parameters.service, scopes, credential);
    const answer = await this.#options.fetchToken(request);
    const { value, seconds } = readToken(registry, answer);
    // A tenth (at most 10 s) is kept back, so that a token does not run out between here and the registry.
    const lifetime = Math.max(1, seconds) * 1000;
    return { value, expiresAt: startedAt + lifetime - Math.min(10_000, lifetime / 10) };
  }
}

/** Where a token comes from. */
interface TokenOrigin {
  registry: string;
  challenge: Challenge;
  credential: Credential | undefined;
}

/** Not the scope and error of a challenge: those of one refused request would cost all others their tokens. */
function accountKey(
  registry: string,
  { parameters: { realm, service } }: Challenge,
  credential: Credential | undefined,
): string {
  return JSON.stringify([registry, realm, service, credential ?? null]);
}

function accountOf(credential: Credential | undefined): string {
  if (credential?.username !== undefined) return `user "${credential.username}"`;
  if (credential?.identityToken !== undefined) return "the holder of an identity token";
  return credential?.registryToken === undefined ? "anonymous" : "the holder of a registry token";
}

function basicHeader(credential: Credential | undefined): string | undefined {
  if (credential?.username === undefined) return undefined;
  const bytes = new TextEncoder().encode(`${credential.username}:${credential.password ?? ""}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** A scope in the challenge counts only where the request names none (for example the ping of a registry). */
function scopesFor(target: AuthorizationTarget, challenge: Challenge): readonly string[] {
  if (target.scopes.length > 0) return [...target.scopes].sort();
  const scope = challenge.parameters.scope;
  return scope === undefined ? [] : scope.split(" ").filter((one) => one !== "").sort();
}

function checkRealm(registry: string, challenge: Challenge, allowsPlain: boolean): URL {
  const realm = challenge.parameters.realm ?? "";
  if (!URL.canParse(realm)) {
    throw new AuthError(registry, `its token service "${printable(realm)}" is not a URL`);
  }
  const url = new URL(realm);
  if (url.username !== "" || url.password !== "") {
    throw new AuthError(registry, "the URL of its token service has a user name in it");
  }
  if (url.protocol === "https:" || url.protocol === "http:" && allowsPlain) return url;
  throw new AuthError(registry, `its token service "${url.origin}" is not reached by https`);
}

function tokenRequest(
  registry: string,
  realm: URL,
  service: string | undefined,
  scopes: readonly string[],
  credential: Credential | undefined,
): TokenRequest {
  const account = accountOf(credential);
  if (credential?.identityToken === undefined) {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set("service", service);
    for (const scope of scopes) url.searchParams.append("scope", scope);
    const authorization = basicHeader(credential);
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    return { registry, url: url.href, method: "GET", headers, account };
  }
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: credential.identityToken,
    client_id: "image-syncer",
    service: service ?? "",
    scope: scopes.join(" "),
  });
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const body = new TextEncoder().encode(form.toString());
  return { registry, url: realm.href, method: "POST", headers, body, account };
}

function readToken(registry: string, answer: unknown): { value: string; seconds: number } {
  const fields = typeof answer === "object" && answer !== null ? answer as Record<string, unknown> : {};
  const value = fields.token || fields.access_token;
  if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
    throw new AuthError(registry, "its token service answered without a token");
  }
  const seconds = Number(fields.expires_in);
  return { value, seconds: Number.isFinite(seconds) && seconds > 0 ? seconds : DEFAULT_TOKEN_SECONDS };
}
