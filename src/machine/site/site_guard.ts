/** What stands before the site: where a request may come from, how large it may be, and how often a token may be guessed. */

import type { Context, MiddlewareHandler } from "hono";
import type { Clock } from "../../registry/clock.ts";

/** Bytes that a form may have: a token, with room to spare. */
const BODY_LIMIT = 4 * 1024;
/** Milliseconds until a wrong token is answered, the first time and at most. */
const HOLD = { first: 250, most: 5000 };
/** Wrong tokens that may wait for their answer; more are refused unread. */
const HELD_AT_ONCE = 64;
/** Milliseconds without a wrong token after which the next one counts as the first. */
const FORGET_AFTER = 60_000;

/** Refuses a body that says it is larger than any form of the page. What does not say so is read by {@linkcode readForm} alone. */
export function limitBody(): MiddlewareHandler {
  return async (context, next) => {
    if (Number(context.req.header("content-length") ?? 0) > BODY_LIMIT) return tooLarge(context);
    await next();
  };
}

/** The answer to a body that is too large; its connection goes with it, for the rest of the body is for nobody. */
export function tooLarge(context: Context): Response {
  return context.json({ error: "Cannot read this: the body is too large" }, 413, { connection: "close" });
}

/**
 * Reads a form, as far as one goes.
 *
 * @returns Its fields; nothing when it is too large, and then it has not been read to its end.
 */
export async function readForm({ req }: Context): Promise<URLSearchParams | undefined> {
  // hono's body-limit makes a Request anew, which Node's adapter for it does not let it do.
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of req.raw.body ?? []) {
    size += piece.length;
    if (size > BODY_LIMIT) return undefined;
    pieces.push(piece);
  }
  return new URLSearchParams(await new Blob(pieces as BlobPart[]).text());
}

/**
 * Refuses what another page makes a browser send: `Sec-Fetch-Site` where the browser says it, else `Origin`. Another port of the
 * same host is another page, although cookies go there too. What says neither is no browser, and has no cookie to be misused.
 */
export function requireSameOrigin(): MiddlewareHandler {
  return async (context, next) => {
    if (isForeign(context)) {
      return context.json({ error: "Cannot do this: it was asked for by another site" }, 403);
    }
    await next();
  };
}

function isForeign({ req }: Context): boolean {
  const site = req.header("sec-fetch-site");
  if (site !== undefined) return site !== "same-origin";
  const origin = req.header("origin");
  if (origin === undefined) return req.header("cookie") !== undefined;
  // A proxy in front may have its own name for this site, and says the one the browser knows. No other page can set it.
  const hosts = [req.header("host"), req.header("x-forwarded-host"), new URL(req.url).host];
  return !URL.canParse(origin) || !hosts.includes(new URL(origin).host);
}

/** Whether the browser has come over https, here or to a proxy in front. */
export function isSecure({ req }: Context): boolean {
  const forwarded = req.header("x-forwarded-proto")?.split(",")[0]?.trim();
  return (forwarded ?? new URL(req.url).protocol.slice(0, -1)) === "https";
}

/** Slows down whoever guesses: each wrong token in a row is answered later than the one before. */
export class GuessBrake {
  #clock: Clock;
  #wrong = 0;
  #lastAt = -Infinity;
  #held = 0;

  /** @param clock What lets time pass. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether so many wrong tokens wait for their answer that no more are looked at. */
  get isFull(): boolean {
    return this.#held >= HELD_AT_ONCE;
  }

  /** Waits until a wrong token may be answered. */
  async hold(): Promise<void> {
    const now = this.#clock.now();
    if (Math.abs(now - this.#lastAt) > FORGET_AFTER) this.#wrong = 0;
    this.#lastAt = now;
    const time = Math.min(HOLD.most, HOLD.first * 2 ** this.#wrong++);
    this.#held++;
    try {
      await this.#clock.delay(time);
    } finally {
      this.#held--;
    }
  }
}
