/** Step 2 of the walk, the wire: HTTP statuses in words, for answers that bring none of their own. */

const WORDS: Record<number, string> = {
  400: "bad request",
  401: "authentication required",
  403: "access denied",
  404: "not found",
  405: "method not allowed",
  406: "not acceptable",
  409: "conflict",
  410: "gone",
  411: "length required",
  413: "too large",
  415: "media type not supported",
  416: "range not satisfiable",
  422: "not understood",
  429: "too many requests",
  500: "internal server error",
  501: "not implemented",
  502: "bad gateway",
  503: "service unavailable",
  504: "gateway timeout",
};

/** What a status means, in words. */
export function statusWords(status: number): string {
  return WORDS[status] ?? "unexpected answer";
}
