/** Step 2 of the walk, the wire: from a registry's challenge to the header that satisfies it. */

import type { Connection } from "../connection.ts";
import { defer } from "../deferred.ts";
import { printable } from "../../oci/printable.ts";
import { AuthError, RegistryError } from "../registry_error.ts";
import type { ChallengeMemory } from "../request.ts";
import { type Challenge, isOwnRealm, parseChallenges } from "./challenge.ts";
import { accountOf, type Credential, type CredentialSource } from "./credential.ts";
import { coversScopes, mergeScopes } from "./scopes.ts";
import { fetchToken, type TokenFetch, type TokenRequest } from "./token_service.ts";

/** Who asks for what. */
export interface AuthorizationTarget {
  /** Repository whose credential is used. */
  repository: string;
  /** Scopes in the token service's words, for example `repository:library/nginx:pull`. */
  scopes: readonly string[];
}

/** Options of a {@linkcode Login}. */
export interface LoginOptions {
  /** Where credentials come from; without it everything is anonymous. */
  credentials?: CredentialSource | undefined;
  /** What registries asked for in earlier runs. */
  challenges?: ChallengeMemory | undefined;
  /** Asks a token service; over the registry's own connection unless told. */
  fetchToken?: TokenFetch;
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
 * The challenge and the tokens of one registry. One request is in flight for a token, however many wait for it, and those who want
 * tokens of one account at the same moment get one for all of their repositories, unless the registry will not have that.
 */
export class Login {
  #connection: Connection;
  #options: LoginOptions;
  #challenge: Challenge | undefined;
  /** Where a repository is asked for something else than the others (a token service for each). */
  #challenges = new Map<string, Challenge>();
  /** The scopes a registry wants where they are not those of the request (a proxy that rewrites paths). */
  #scopes = new Map<string, readonly string[]>();
  /** What the registry asked for in an earlier run. */
  #recalled: Challenge | undefined;
  /** Whether a request has been let in, so that what is known of the registry is right. */
  #isProven = false;
  /** The token service knows only POST. */
  #usesForm = false;
  #tokens: Token[] = [];
  #batches = new Map<string, Set<Batch>>();
  /** The registry has refused a token for several repositories. */
  #isOnlyAlone = false;

  /** Starts knowing nothing. */
  constructor(connection: Connection, options: LoginOptions = {}) {
    this.#connection = connection;
    this.#options = options;
  }

  /** What the registry asked for last, if it asked for anything. */
  get challenge(): Challenge | undefined {
    return this.#challenge;
  }

  /** Reads from memory what the registry asked for in an earlier run; a memory that fails knows nothing. */
  async recall(): Promise<void> {
    this.#recalled = await this.#options.challenges?.get(this.#connection.host).catch(() => undefined);
  }

  /** Whether what is asked for is known from an earlier run alone, and may be wrong by now. */
  get isRecalled(): boolean {
    return this.#recalled !== undefined && this.#challenge === this.#recalled && !this.#isProven;
  }

  /** Takes what was recalled for true, where that is safe; returns whether it was. */
  believeRecalled(): boolean {
    const known = this.#recalled;
    if (known === undefined || !isOwnRealm(known, this.#connection.origin)) return false;
    this.#challenge = known;
    return true;
  }

  /** What was remembered does not work: it is forgotten, here and in the memory. */
  async forgetRecalled(): Promise<void> {
    this.#recalled = undefined;
    this.#challenge = undefined;
    await this.#options.challenges?.delete?.(this.#connection.host).catch(() => {});
  }

  /** A request was let in, so what is known is right. */
  prove(): void {
    this.#isProven = true;
  }

  /**
   * Takes in what an answer of the registry asks for; returns whether it is something this project can do.
   *
   * @param target The request it is the answer to; none for the registry's root.
   */
  async learnFrom(response: Response, target?: AuthorizationTarget): Promise<boolean> {
    const { host, origin } = this.#connection;
    // Where passwords go is said by the registry itself, not by a host that it redirects to.
    const isOwn = response.url === "" || new URL(response.url).origin === origin;
    const header = isOwn ? response.headers.get("www-authenticate") ?? "" : "";
    const before = this.#challenge;
    const isKnown = this.learn(parseChallenges(header), target);
    if (this.#challenge !== undefined && this.#challenge !== before) {
      await this.#options.challenges?.set(host, this.#challenge).catch(() => {});
    }
    return isKnown;
  }

  /** Takes in what the registry asks for; returns whether it is something this project can do. */
  learn(challenges: readonly Challenge[], target?: AuthorizationTarget): boolean {
    const bearer = challenges.find((one) => one.scheme === "bearer" && one.parameters.realm !== undefined);
    const challenge = bearer ?? challenges.find((one) => one.scheme === "basic");
    if (challenge === undefined) return false;
    if (target !== undefined) this.#learnScopes(target, challenge);
    if (target === undefined || this.#challenge === undefined || this.isRecalled) this.#challenge = challenge;
    else if (isSameService(challenge, this.#challenge)) this.#challenges.delete(target.repository);
    else this.#challenges.set(target.repository, challenge);
    return true;
  }

  /** A registry that names scopes other than those it was asked with is believed: it knows its own names. */
  #learnScopes(target: AuthorizationTarget, challenge: Challenge): void {
    const wanted = scopesOf(challenge);
    if (coversScopes(this.#scopesFor(target, challenge), wanted)) return;
    this.#scopes.set(target.scopes.join(" "), wanted);
  }

  /** A scope in the challenge counts where the request names none (the ping of a registry), and where it was refused. */
  #scopesFor(target: AuthorizationTarget, challenge: Challenge): readonly string[] {
    if (target.scopes.length === 0) return scopesOf(challenge);
    return this.#scopes.get(target.scopes.join(" ")) ?? [...target.scopes].sort();
  }

  /**
   * The `Authorization` header for a request, or `undefined` to send none.
   *
   * @throws {AuthError} when the challenge cannot be trusted or the token service gives no token.
   */
  async header(target: AuthorizationTarget): Promise<string | undefined> {
    const challenge = this.#challenges.get(target.repository) ?? this.#challenge;
    if (challenge === undefined) return undefined;
    const credential = await this.#credentialOf(target.repository);
    if (credential?.registryToken !== undefined) return `Bearer ${credential.registryToken}`;
    if (challenge.scheme === "basic") return basicHeader(credential);
    const token = await this.#token(target, challenge, credential);
    return `Bearer ${token.value}`;
  }

  /** Forgets the token a header was made of, because the registry refused it. */
  forget(header: string): void {
    const refused = this.#tokens.filter(({ value }) => `Bearer ${value}` === header);
    this.#tokens = this.#tokens.filter((token) => !refused.includes(token));
    // A service may grant a part of what it was asked for without a word, so the others ask for themselves.
    if (refused.some(({ isShared }) => isShared)) this.#isOnlyAlone = true;
  }

  /** Who is asked as for a repository, for messages: a user name in quotes, or `anonymous`. */
  async accountOf(repository: string): Promise<string> {
    return accountOf(await this.#credentialOf(repository));
  }

  async #credentialOf(repository: string): Promise<Credential | undefined> {
    return await this.#options.credentials?.(this.#connection.host, repository);
  }

  async #token(
    target: AuthorizationTarget,
    challenge: Challenge,
    credential: Credential | undefined,
  ): Promise<Token> {
    const scopes = this.#scopesFor(target, challenge);
    const account = accountKey(challenge, credential);
    const now = this.#connection.context.clock.now();
    const known = this.#tokens.find((token) =>
      token.account === account && token.expiresAt > now && coversScopes(token.scopes, scopes)
    );
    if (known !== undefined) return known;
    const batch = this.#join(account, scopes) ??
      this.#open(account, scopes, { challenge, credential });
    try {
      return await batch.token;
    } catch (error) {
      const isRefused = error instanceof AuthError || error instanceof RegistryError && error.isPermanent;
      if (!batch.isShared || !isRefused) throw error;
      // One repository that this account may not see is enough for some services to refuse all of them (GHCR).
      this.#isOnlyAlone = true;
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
    const isOpen = !this.#isOnlyAlone;
    const batch: Batch = { scopes, isOpen, isShared: false, token: promise };
    this.#batches.set(account, batches.add(batch));
    void this.#fetch(account, batch, from).then(resolve, reject).finally(() => batches.delete(batch));
    return batch;
  }

  async #fetch(
    account: string,
    batch: Batch,
    { challenge, credential }: TokenOrigin,
  ): Promise<Token> {
    // Requests that waited for first contact go on in this turn; the next one finds what they want gathered.
    if (batch.isOpen) await new Promise((resolve) => setTimeout(resolve, 0));
    batch.isOpen = false;
    const { value, expiresAt } = await this.#requestToken(challenge, batch.scopes, credential);
    const token: Token = { value, expiresAt, account, scopes: batch.scopes, isShared: batch.isShared };
    const now = this.#connection.context.clock.now();
    // It is kept before the request is over, or who comes in between would ask once more.
    this.#tokens = [...this.#tokens.filter((other) => other.expiresAt > now), token];
    return token;
  }

  async #requestToken(
    challenge: Challenge,
    scopes: readonly string[],
    credential: Credential | undefined,
  ): Promise<Pick<Token, "value" | "expiresAt">> {
    const { host, origin, context: { clock } } = this.#connection;
    // Only a registry that is itself reached without TLS may have a token service without.
    const realm = checkRealm(host, challenge, origin.startsWith("http:"));
    const startedAt = clock.now();
    const answer = await this.#askService({
      realm,
      service: challenge.parameters.service,
      scopes,
      credential,
    });
    const { value, seconds, age } = readToken(host, answer, startedAt);
    // A tenth (at most 10 s) is kept back, so that a token does not run out between here and the registry.
    const lifetime = Math.max(1, seconds) * 1000;
    return { value, expiresAt: startedAt - age + lifetime - Math.min(10_000, lifetime / 10) };
  }

  /** Asks by GET, and by POST where the service knows nothing else (OAuth2 token authentication). */
  async #askService(wish: TokenWish): Promise<unknown> {
    const { fetchToken: ask = fetchToken } = this.#options;
    // What may be wrong by now is not worth many tries.
    const attempts = this.isRecalled ? 1 : undefined;
    const hasPassword = wish.credential?.username !== undefined;
    try {
      return await ask(this.#connection, tokenRequest(wish, this.#usesForm), attempts);
    } catch (error) {
      const isOnlyPost = error instanceof RegistryError && [404, 405, 501].includes(error.status);
      if (!isOnlyPost || this.#usesForm || !hasPassword) throw error;
      const answer = await ask(this.#connection, tokenRequest(wish, true), attempts);
      this.#usesForm = true;
      return answer;
    }
  }
}

/** Where a token comes from. */
interface TokenOrigin {
  challenge: Challenge;
  credential: Credential | undefined;
}

/** Not the scope and error of a challenge: those of one refused request would cost all others their tokens. */
function accountKey(
  { parameters: { realm, service } }: Challenge,
  credential: Credential | undefined,
): string {
  return JSON.stringify([realm, service, credential ?? null]);
}

function basicHeader(credential: Credential | undefined): string | undefined {
  if (credential?.username === undefined) return undefined;
  const bytes = new TextEncoder().encode(`${credential.username}:${credential.password ?? ""}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

function scopesOf({ parameters: { scope = "" } }: Challenge): string[] {
  return scope.split(" ").filter((one) => one !== "").sort();
}

/** Not by scope: that is another one for each request. */
function isSameService(one: Challenge, other: Challenge): boolean {
  return one.scheme === other.scheme && one.parameters.realm === other.parameters.realm &&
    one.parameters.service === other.parameters.service;
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

/** What is asked of a token service. */
interface TokenWish {
  realm: URL;
  service: string | undefined;
  scopes: readonly string[];
  credential: Credential | undefined;
}

function tokenRequest({ realm, service, scopes, credential }: TokenWish, usesForm: boolean): TokenRequest {
  const account = accountOf(credential);
  if (credential?.identityToken === undefined && !(usesForm && credential?.username !== undefined)) {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set("service", service);
    for (const scope of scopes) url.searchParams.append("scope", scope);
    const authorization = basicHeader(credential);
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    return { url: url.href, method: "GET", headers, account };
  }
  const { identityToken, username = "", password = "" } = credential;
  const form = new URLSearchParams({
    ...(identityToken === undefined
      ? { grant_type: "password", username, password }
      : { grant_type: "refresh_token", refresh_token: identityToken }),
    client_id: "image-syncer",
    service: service ?? "",
    scope: scopes.join(" "),
  });
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const body = new TextEncoder().encode(form.toString());
  return { url: realm.href, method: "POST", headers, body, account };
}

/** A token as a service gives it: how long it lives (seconds), and how long it does so already (milliseconds). */
interface GivenToken {
  value: string;
  seconds: number;
  age: number;
}

function readToken(registry: string, answer: unknown, now: number): GivenToken {
  const fields = typeof answer === "object" && answer !== null ? answer as Record<string, unknown> : {};
  const value = fields.token || fields.access_token;
  if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
    throw new AuthError(registry, "its token service answered without a token");
  }
  const told = Number(fields.expires_in);
  const seconds = Number.isFinite(told) && told > 0 ? told : DEFAULT_TOKEN_SECONDS;
  const issued = typeof fields.issued_at === "string" ? Date.parse(fields.issued_at) : NaN;
  const age = now - issued;
  // A service may give a token it gave before; one that would have run out already comes from a clock that is wrong.
  return { value, seconds, age: age > 0 && age < seconds * 1000 ? age : 0 };
}
