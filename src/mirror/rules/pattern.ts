/** Step 4 of the walk, the rules: tag patterns with the meaning of RE2, as image-syncer reads them. */

import { InvalidReferenceError } from "../../oci/reference.ts";

/**
 * Compiles a pattern. It is searched for, not anchored: `1` selects `v1`.
 *
 * JavaScript's own expressions differ from RE2 (`(?i)`, `\z`, `(?P<name>…)`) and can be made to run for ever by whoever
 * names the tags; re2js is RE2 in plain JavaScript, linear in the tag, and loaded only when there is a pattern.
 *
 * @throws {InvalidReferenceError} when the pattern does not compile.
 */
export async function compilePattern(pattern: string): Promise<(tag: string) => boolean> {
  const { RE2JS } = await import("re2js");
  try {
    const compiled = RE2JS.compile(pattern);
    return (tag) => compiled.matcher(tag).find();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InvalidReferenceError(`/${pattern}/`, `the regex does not compile (${why})`);
  }
}
