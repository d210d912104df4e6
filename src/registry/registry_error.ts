/** Step 2 of the walk, the wire: what a registry answered when it did not do what it was asked. */

import { printable } from "../oci/printable.ts";
import { TimeLimitError } from "./fetch.ts";
import { type Retry, retryAfterAnswer } from "./retry.ts";

/** One entry of a registry's error list (OCI distribution-spec 1.1, Error codes). */
export interface RegistryErrorDetail {
  /** For example `DENIED` or `MANIFEST_UNKNOWN`. */
  code: string;
  /** The registry's own words. */
  message: string;
  /** Anything more the registry said. */
  detail?: unknown;
}

/** What a {@linkcode RegistryError} is made of. */
export interface RegistryErrorOptions {
  /** What could not be done, to what: `push manifest "sha256:…" to "ghcr.io/acme/nginx:1.27"`. */
  action: string;
  /** Method of the request. */
  method: string;
  /** URL of the request without its query, which may hold a secret. */
  url: string;
  /** Status of the answer; 0 when there was none. */
  status: number;
  /** The registry's own errors. */
  errors?: readonly RegistryErrorDetail[];
  /** Milliseconds the registry asked to wait. */
  retryAfter?: number | undefined;
  /** What was wrong in plain words, when it is not the registry's own list that says it. */
  why?: string;
  /** When it makes sense to try again; what the status and the errors say unless told. */
  retry?: Retry;
  /** Whether the same request is of no use, so that only another pass may help; the short form of `retry: "later"`. */
  isPermanent?: boolean;
  /** The underlying failure. */
  cause?: unknown;
}

/** A registry refused, or could not be reached, after every retry that made sense. */
export class RegistryError extends Error {
  /** Method of the request. */
  readonly method: string;
  /** URL of the request, without query. */
  readonly url: string;
  /** Status of the answer; 0 when there was none. */
  readonly status: number;
  /** The registry's own errors; empty when it gave none. */
  readonly errors: readonly RegistryErrorDetail[];
  /** Milliseconds the registry asked to wait. */
  readonly retryAfter: number | undefined;
  #retry: Retry;

  /** Puts the sentence together: what could not be done, to what, why. */
  constructor(options: RegistryErrorOptions) {
    super(`Cannot ${options.action}: ${whyOf(options)}`, { cause: options.cause });
    this.name = "RegistryError";
    this.method = options.method;
    this.url = options.url;
    this.status = options.status;
    this.errors = options.errors ?? [];
    this.retryAfter = options.retryAfter;
    this.#retry = options.retry ?? retryOf(options);
  }

  /** When it makes sense to try again. */
  get retry(): Retry {
    return this.#retry;
  }

  /** Whether the same request, sent again at once, is of no use; another pass may be. */
  get isPermanent(): boolean {
    return this.#retry !== "soon";
  }

  /**
   * Says that it was tried as often as makes sense for now, so that nobody around multiplies the attempts.
   *
   * @param retry When it makes sense to try again; unless told in another pass, and after silence never: each of its tries lasts
   *   minutes, so passes over them would hold up the run's end for an hour.
   */
  exhaust(retry: Exclude<Retry, "soon"> = this.isSilence ? "never" : "later"): this {
    if (this.#retry === "soon") this.#retry = retry;
    return this;
  }

  /** Whether the registry has just not answered in time. */
  get isSilence(): boolean {
    return this.cause instanceof TimeLimitError;
  }

  /** Whether the registry gave this code (for example `MANIFEST_BLOB_UNKNOWN`). */
  hasCode(code: string): boolean {
    return this.errors.some((error) => error.code === code);
  }
}

function retryOf({ status, errors = [], isPermanent }: RegistryErrorOptions): Retry {
  if (isPermanent !== undefined) return isPermanent ? "later" : "soon";
  return status === 0 ? "soon" : retryAfterAnswer(status, errors.map(({ code }) => code));
}

function whyOf({ action, status, errors = [], why }: RegistryErrorOptions): string {
  const said = errors.map((error) => wordsOf(error, action)).join("; ");
  return [status === 0 ? "" : String(status), said, why ?? ""].filter((part) => part !== "").join(" ");
}

/** Characters of a detail that are repeated. */
const DETAIL_LIMIT = 200;

function wordsOf({ code, message, detail }: RegistryErrorDetail, action: string): string {
  const words = message === "" ? code : `${code}: ${message}`;
  // What was asked for stands in the sentence already, and who may not is told its account.
  const news = code === "UNAUTHORIZED"
    ? []
    : partsOf(detail).filter(({ text }) => !words.includes(text) && !action.includes(text));
  if (news.length === 0) return words;
  const more = printable(news.map(({ name, text }) => name === "" ? text : `${name}: ${text}`).join(", "));
  return `${words} (${more.length > DETAIL_LIMIT ? `${more.slice(0, DETAIL_LIMIT)}…` : more})`;
}

interface DetailPart {
  name: string;
  text: string;
}

/** The texts and numbers of a detail, which may have any form (OCI distribution-spec 1.1, Error codes). */
function partsOf(detail: unknown, name = "", depth = 0): DetailPart[] {
  if (typeof detail === "string" || typeof detail === "number") {
    return detail === "" ? [] : [{ name, text: String(detail) }];
  }
  if (typeof detail !== "object" || detail === null || depth > 3) return [];
  const entries = Object.entries(detail).slice(0, 8);
  return entries.flatMap(([key, value]) => partsOf(value, Array.isArray(detail) ? name : key, depth + 1));
}

/** How much of an error answer is read, in bytes. */
export const ERROR_BODY_LIMIT = 64 * 1024;

/** Reads the error list of an answer (OCI distribution-spec 1.1, Error codes); anything else gives an empty list. */
export function parseErrors(text: string): RegistryErrorDetail[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  const errors: unknown = (value as { errors?: unknown } | null)?.errors;
  if (!Array.isArray(errors)) return [];
  return errors.slice(0, 10).filter((error) => typeof error === "object" && error !== null).map(toDetail);
}

function toDetail(error: Record<string, unknown>): RegistryErrorDetail {
  const code = typeof error.code === "string" ? printable(error.code) : "UNKNOWN";
  const message = typeof error.message === "string" ? printable(error.message) : "";
  return error.detail === undefined ? { code, message } : { code, message, detail: error.detail };
}

/**
 * Milliseconds a `Retry-After` header asks to wait (RFC 9110, section 10.2.3: seconds or a date), or `undefined`.
 *
 * @param header Value of the header.
 * @param now Milliseconds since 1970.
 */
export function parseRetryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const text = header.trim();
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  // Date.parse takes far more than a date: "-5" is a year to it. An HTTP date starts with a day's name.
  if (!/^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text)) return undefined;
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : Math.max(0, time - now);
}

/** Logging in was not possible; the message holds no secret. */
export class AuthError extends Error {
  /** Says at which registry, and why. */
  constructor(registry: string, why: string, options?: ErrorOptions) {
    super(`Cannot log in to "${registry}": ${why}`, options);
    this.name = "AuthError";
  }
}
