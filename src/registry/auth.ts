/** Step 2 of the walk, the wire: from a registry's challenge to the header that satisfies it. */

import type { Challenge } from "./challenge.ts";
import type { Clock } from "./clock.ts";
import type { Credential, CredentialSource } from "./credential.ts";
import { printable } from "./registry_error.ts";

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
  scopes: readonly string[];
}

/** Tokens live at least this many seconds when the service does not say (distribution: token authentication specification). */
const DEFAULT_TOKEN_SECONDS = 60;

/** Challenges and tokens by registry and scope; one request is in flight for a token, however many wait for it. */
export class Authorizer {
  #options: AuthorizerOptions;
  #challenges = new Map<string, Challenge>();
  #tokens = new Map<string, Map<string, Token>>();
  #inFlight = new Map<string, Promise<Token>>();

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
    const tokens = this.#tokens.get(registry) ?? new Map<string, Token>();
    for (const [key, token] of tokens) if (`Bearer ${token.value}` === header) tokens.delete(key);
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
    const scopes = scopesFor(target, challenge);
    // Not the scope and error of a challenge: those of one refused request would cost all others their tokens.
    const { realm, service } = challenge.parameters;
    const key = JSON.stringify([realm, service, scopes, credential ?? null]);
    const known = this.#tokens.get(target.registry)?.get(key);
    if (known !== undefined && known.expiresAt > this.#options.clock.now()) return known;
    const flightKey = `${target.registry} ${key}`;
    let flight = this.#inFlight.get(flightKey);
    if (flight === undefined) {
      // It is kept before the flight is over, or who comes in between would ask once more.
      flight = this.#requestToken(target.registry, challenge, scopes, credential)
        .then((token) => this.#keep(target.registry, key, token))
        .finally(() => this.#inFlight.delete(flightKey));
      this.#inFlight.set(flightKey, flight);
    }
    return await flight;
  }

  #keep(registry: string, key: string, token: Token): Token {
    const tokens = this.#tokens.get(registry) ?? new Map<string, Token>();
    this.#tokens.set(registry, tokens.set(key, token));
    return token;
  }

  async #requestToken(
    registry: string,
    challenge: Challenge,
    scopes: readonly string[],
    credential: Credential | undefined,
  ): Promise<Token> {
    const realm = checkRealm(registry, challenge, this.#options.allowsPlainRealm(registry));
    const startedAt = this.#options.clock.now();
    const request = tokenRequest(registry, realm, challenge.parameters.service, scopes, credential);
    const answer = await this.#options.fetchToken(request);
    const { value, seconds } = readToken(registry, answer);
    // A tenth (at most 10 s) is kept back, so that a token does not run out between here and the registry.
    const lifetime = Math.max(1, seconds) * 1000;
    return { value, scopes, expiresAt: startedAt + lifetime - Math.min(10_000, lifetime / 10) };
  }
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
