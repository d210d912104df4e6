/** Step 2 of the walk, the wire: what is tried again after which failure; the one table of it. */

import type { Clock } from "./clock.ts";

/**
 * When it makes sense to try again:
 *
 * - `soon`: the same request, after a short wait; another pass over all that failed, too;
 * - `later`: not the same request at once, but in another pass, after a pause;
 * - `once`: in one more pass and no further;
 * - `never`: not in this run.
 */
export type Retry = "soon" | "later" | "once" | "never";

/** Milliseconds before the next attempt, where nobody says how many: up to twice as long each time, with full jitter. */
export function backOffTime(attempt: number, clock: Clock): number {
  return Math.min(30_000, 200 * 2 ** attempt) * clock.random();
}

/** Statuses after which the same request may succeed (RFC 9110, and 52x as CDNs use them). */
export function isRetryableStatus(status: number): boolean {
  return [408, 425, 429, 500, 502, 503, 504].includes(status) || status >= 520 && status <= 530;
}

/** Codes of what a registry does not find for a moment only, when its parts have not told each other yet. */
const UNSETTLED = /^(?:MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN|MANIFEST_UNKNOWN|BLOB_UPLOAD_(?:UNKNOWN|INVALID))$/;

/**
 * What an answer that was not expected means for another try.
 *
 * @param status Status of the answer.
 * @param codes The registry's own error codes.
 */
export function retryAfterAnswer(status: number, codes: readonly string[]): Retry {
  if (isRetryableStatus(status)) return "soon";
  // What the plan saw and is not there now comes back, and a token that was refused is replaced.
  if (status === 401 || status === 404 || codes.some((code) => UNSETTLED.test(code))) return "later";
  // The registry's own words are believed when it says them twice.
  if (status >= 400) return "once";
  // An answer that makes no sense (200 for an upload, from a proxy that was just starting) may make sense in a while.
  return "later";
}
