/** The token that tells an operator from everybody else: compared in constant time, and never stored in a browser. */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** Seconds that a browser stays signed in. */
export const SESSION_SECONDS = 12 * 60 * 60;

/** The token of a site, which may have none: then nobody is an operator. */
export class OperatorToken {
  #token: string | undefined;

  /** An empty token is none. */
  constructor(token: string | undefined) {
    this.#token = token === undefined || token.trim() === "" ? undefined : token.trim();
  }

  /** Whether there is one. */
  get isSet(): boolean {
    return this.#token !== undefined;
  }

  /** Whether a text is the token. How long it takes says nothing of where they differ, nor of the token's length. */
  matches(text: string): boolean {
    return this.#token !== undefined && timingSafeEqual(hash(text), hash(this.#token));
  }

  /**
   * What a browser keeps instead of the token: good until a time, and of no use to find the token out.
   *
   * @param now Milliseconds since 1970.
   */
  openSession(now: number): string {
    const until = Math.floor(now / 1000) + SESSION_SECONDS;
    return `${until}.${this.#sign(String(until))}`;
  }

  /** Whether a browser shows what {@linkcode openSession} gave out, in time. */
  isSession(text: string, now: number): boolean {
    const [until = "", signature = ""] = text.split(".");
    if (this.#token === undefined || !/^\d{1,12}$/.test(until)) return false;
    return timingSafeEqual(hash(signature), hash(this.#sign(until))) && Number(until) * 1000 > now;
  }

  #sign(until: string): string {
    return createHmac("sha256", this.#token ?? "").update(`session until ${until}`).digest("base64url");
  }
}

function hash(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
