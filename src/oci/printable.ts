/** Step 1 of the walk, the words: text from outside as it may be shown to a person. */

/** How much of such a text is repeated, in characters: a hostile registry gets no more of the log. */
const LIMIT = 500;

/**
 * Everything that a terminal or a log would obey instead of showing it: control characters, separators of lines, and the
 * invisible ones that turn the direction of what follows (`\p{Cf}`, for example U+202E).
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu;

/**
 * Text from outside as it may be printed: one line, no control characters (a terminal obeys them), no queries and user
 * names of URLs (they hold secrets: signatures, tokens, passwords), not endless.
 */
export function printable(text: string): string {
  const plain = text.slice(0, 4 * LIMIT).replace(UNPRINTABLE, " ").trim()
    .replace(/(https?:\/\/)[^\s"'<>/?#]*@/gi, "$1…@")
    .replace(/(https?:\/\/[^\s"'<>?]*\?)[^\s"'<>)]*/gi, "$1…");
  return plain.length > LIMIT ? `${plain.slice(0, LIMIT)}…` : plain;
}
