/** Text that leaves the program for people: one line of it is one line, and a terminal finds nothing in it to obey. */

/** Control characters, line and paragraph separators, and the marks that are seen only by what they do to others. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * A text of one line without anything that a terminal obeys or that turns the order of letters: such characters are shown as
 * `\u{…}`, because a name that holds one is to be seen as what it is.
 *
 * @param text A message, a reference, an answer of a registry: whatever others have written.
 */
export function printableLine(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
