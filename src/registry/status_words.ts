/** Step 2 of the walk, the wire: HTTP statuses in words, for answers that bring none of their own. */

const WORDS: Record<number, string> = {
  400: "bad request",
  401: "authentication required",
  403: "access denied",
  404: "not found",
  405: "method not allowed",
  411: "length required",
  413: "too large",
  429: "too many requests",
  500: "internal server error",
  502: "bad gateway",
  503: "service unavailable",
  504: "gateway timeout",
};

/** What a status means, in words. */
export function statusWords(status: number): string {
  return WORDS[status] ?? "unexpected answer";
}
