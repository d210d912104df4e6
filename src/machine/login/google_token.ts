/** Access tokens for Google's registries from a service account's key, as image-syncer's `_oauth2_` user asks for. */

import { createSign } from "node:crypto";
import type { Fetch } from "../../registry/fetch.ts";
import { AuthError } from "../../registry/registry_error.ts";

/** What a service account's key file holds that is needed here. */
interface ServiceAccount {
  email: string;
  privateKey: string;
  tokenUri: string;
}

/** For whom a token is made, and how its maker is reached. */
export interface GoogleTokenOptions {
  /** The registry, for messages. */
  registry: string;
  /** Reaches the token's maker, with the registry's proxy and authorities. */
  fetch: Fetch;
  /** Milliseconds since 1970; the machine's clock unless told. */
  now?: () => number;
}

/** Seconds a token is asked for (Google gives no more). */
const LIFETIME = 3600;
/** Milliseconds before its end from which on a token is made anew. */
const MARGIN = 120_000;
/** Milliseconds that making a token may take. */
const TIME_LIMIT = 30_000;

const tokens = new Map<string, { value: Promise<string>; expiresAt: number }>();

/**
 * An access token for a service account (RFC 7523, JWT bearer grant), made anew shortly before the last one ends.
 *
 * @param key The key file, as JSON or as base64 of it.
 * @throws {AuthError} when the key cannot be used or no token is given for it; the key is never repeated.
 */
export function googleToken(key: string, options: GoogleTokenOptions): Promise<string> {
  const now = options.now?.() ?? Date.now();
  const known = tokens.get(key);
  if (known !== undefined && known.expiresAt - MARGIN > now) return known.value;
  const value = requestToken(key, now, options);
  tokens.set(key, { value, expiresAt: now + LIFETIME * 1000 });
  // A failure is not kept: the next request may find the service in better shape.
  value.catch(() => tokens.delete(key));
  return value;
}

async function requestToken(
  key: string,
  now: number,
  { registry, fetch }: GoogleTokenOptions,
): Promise<string> {
  const account = readKey(key, registry);
  try {
    const body = new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      assertion: assertionOf(account, now, registry),
    });
    const response = await fetch(account.tokenUri, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded;charset=UTF-8" },
      body: body.toString(),
      redirect: "manual",
      signal: AbortSignal.timeout(TIME_LIMIT),
    });
    const answer: unknown = await response.json();
    const token = (answer as { access_token?: unknown } | null)?.access_token;
    if (response.ok && typeof token === "string") return token;
    throw new AuthError(registry, `Google gives no token for "${account.email}" (${response.status})`);
  } catch (cause) {
    if (cause instanceof AuthError) throw cause;
    throw new AuthError(registry, `Google's token service cannot be used for "${account.email}"`, { cause });
  }
}

function readKey(key: string, registry: string): ServiceAccount {
  try {
    const text = key.trimStart().startsWith("{") ? key : atob(key.replace(/\s/g, ""));
    const fields = JSON.parse(text) as Record<string, unknown>;
    const {
      client_email: email,
      private_key: privateKey,
      token_uri: tokenUri = "https://oauth2.googleapis.com/token",
    } = fields;
    if (typeof email === "string" && typeof privateKey === "string" && typeof tokenUri === "string") {
      return { email, privateKey, tokenUri };
    }
  } catch {
    // What it says instead may be a secret, so it is not passed on.
  }
  throw new AuthError(registry, "the password is not a service account's key (JSON, or base64 of it)");
}

function assertionOf({ email, privateKey, tokenUri }: ServiceAccount, now: number, registry: string): string {
  const issuedAt = Math.floor(now / 1000);
  const scope = "https://www.googleapis.com/auth/cloud-platform";
  const claims = { iss: email, scope, aud: tokenUri, iat: issuedAt, exp: issuedAt + LIFETIME };
  const encode = (value: unknown) =>
    btoa(JSON.stringify(value)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const unsigned = `${encode({ alg: "RS256", typ: "JWT" })}.${encode(claims)}`;
  try {
    return `${unsigned}.${createSign("RSA-SHA256").update(unsigned).sign(privateKey, "base64url")}`;
  } catch {
    throw new AuthError(registry, `the private key of "${email}" cannot be used`);
  }
}
