/** What a file of credentials says: Docker's `config.json`, or the `auth.json` of podman and skopeo, which is the same form. */

import { SetupError } from "../../mirror/config/config.ts";
import { canonicalRegistry } from "../../oci/reference.ts";
import type { Credential } from "../../registry/login/credential.ts";

/** Credentials that are there cannot be used. */
export class CredentialError extends SetupError {
  /** Says what could not be done and why; never repeats what a file or a helper holds. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CredentialError";
  }
}

/** One entry of `auths`. */
export interface AuthFileEntry {
  /** The key as it is written, for example `https://index.docker.io/v1/`. */
  key: string;
  /** What it holds; `undefined` for `{}`, which says that the `credsStore` has it. */
  credential: Credential | undefined;
  /** Why it cannot be used, where it cannot: that is the matter of its registry alone. */
  error?: CredentialError;
}

/** A file of credentials; keys are normal ones ({@linkcode normalKey}). */
export interface AuthFile {
  /** By registry, or by registry and the start of a repository. */
  auths: Map<string, AuthFileEntry>;
  /** Names of helpers by registry. */
  credHelpers: Map<string, string>;
  /** Name of the helper for every other registry. */
  credsStore: string | undefined;
}

/**
 * The one form of a key: no scheme, no `/v1/` or `/v2/` at its end, `docker.io` for Docker Hub under any of its names.
 *
 * @param key For example `https://index.docker.io/v1/` or `ghcr.io/acme`.
 */
export function normalKey(key: string): string {
  const plain = key.trim().replace(/^https?:\/\//i, "").replace(/\/+$/, "").replace(/^([^/]+)\/v[12]$/, "$1");
  const [registry = "", ...path] = plain.split("/");
  return [canonicalRegistry(registry), ...path].join("/");
}

/**
 * Parses a file of credentials.
 *
 * @param text Content of the file.
 * @param name Name of the file, for messages.
 * @throws {CredentialError} when it is not such a file; nothing of its content is in the message, except a key. An entry that
 * cannot be read holds its error.
 */
export function parseAuthFile(text: string, name: string): AuthFile {
  const file = fieldsOf(parseJson(text, name), name, "the file");
  const credsStore = file.credsStore;
  const auths: AuthFile["auths"] = new Map();
  for (const [key, value] of Object.entries(fieldsOf(file.auths ?? {}, name, `"auths"`))) {
    // Several spellings of one registry: the first that holds something counts.
    if (auths.get(normalKey(key))?.credential === undefined) {
      auths.set(normalKey(key), entryOf(value, name, key));
    }
  }
  const credHelpers: AuthFile["credHelpers"] = new Map();
  for (const [key, helper] of Object.entries(fieldsOf(file.credHelpers ?? {}, name, `"credHelpers"`))) {
    if (typeof helper === "string" && helper !== "") credHelpers.set(normalKey(key), helper);
  }
  const store = typeof credsStore === "string" && credsStore !== "" ? credsStore : undefined;
  return { auths, credHelpers, credsStore: store };
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch {
    // No cause: the parser's message quotes the text, which may be a password.
    throw new CredentialError(`Cannot read credentials "${name}": it is not JSON`);
  }
}

function fieldsOf(value: unknown, name: string, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new CredentialError(`Cannot read credentials "${name}": ${what} must be an object`);
}

/** One entry that cannot be read must not keep the others from being used. */
function entryOf(value: unknown, name: string, key: string): AuthFileEntry {
  try {
    return { key, credential: readEntry(fieldsOf(value ?? {}, name, `"auths" at "${key}"`), name, key) };
  } catch (error) {
    if (!(error instanceof CredentialError)) throw error;
    return { key, credential: undefined, error };
  }
}

/** Tokens go before a name and a password: where Docker writes both, the name is a filler. */
function readEntry(entry: Record<string, unknown>, name: string, key: string): Credential | undefined {
  const registryToken = textOf(entry.registrytoken);
  if (registryToken !== undefined) return { registryToken };
  const identityToken = textOf(entry.identitytoken);
  if (identityToken !== undefined) return { identityToken };
  const auth = textOf(entry.auth);
  if (auth !== undefined) return decodeAuth(auth, name, key);
  const username = textOf(entry.username);
  return username === undefined ? undefined : { username, password: textOf(entry.password) ?? "" };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** `auth` is user:password in base64; the password may have colons of its own. */
function decodeAuth(auth: string, name: string, key: string): Credential {
  let text: string;
  try {
    const bytes = Uint8Array.from(atob(auth), (character) => character.charCodeAt(0));
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CredentialError(`Cannot read credentials "${name}": "auth" of "${key}" is not base64`);
  }
  const colon = text.indexOf(":");
  if (colon <= 0) {
    throw new CredentialError(`Cannot read credentials "${name}": "auth" of "${key}" is not user:password`);
  }
  // Old versions of Docker padded the password with NUL bytes.
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, "") };
}
