/** Step 4 of the walk, the rules: names chosen by globs, or by patterns between slashes with the meaning of RE2. */

import { compilePattern } from "./pattern.ts";

/** Whether a name is chosen. */
export type NameMatcher = (name: string) => boolean;

/** Characters that a glob of tags or repositories may hold: anything else was meant for something else. */
const GLOB = /^[A-Za-z0-9._/*?[\]{},!^@+-]+$/;

/** A glob or pattern does not parse. */
export class NamePatternError extends Error {
  /** Names the text, and why. */
  constructor(text: string, why: string, options?: ErrorOptions) {
    super(`Cannot read the pattern "${text}": ${why}`, options);
    this.name = "NamePatternError";
  }
}

/**
 * Compiles globs of whole names (`*`, `?`, `[…]`, `{a,b}`; a `*` stops at a slash, `**` does not) and patterns between
 * slashes (`/^v[0-9]+$/`, RE2, searched for and not anchored). A name matches when one of them does.
 *
 * @throws {NamePatternError} when one does not parse.
 */
export async function compileNames(texts: readonly string[]): Promise<NameMatcher> {
  const matchers = await Promise.all(texts.map(compileName));
  return (name) => matchers.some((matches) => matches(name));
}

async function compileName(text: string): Promise<NameMatcher> {
  if (text.length > 1 && text.startsWith("/") && text.endsWith("/")) return await compileQuoted(text);
  if (!GLOB.test(text)) {
    throw new NamePatternError(text, 'a glob is a whole name with "*", "?", "[…]" or "{a,b}"');
  }
  if (!isBalanced(text)) throw new NamePatternError(text, "a bracket or brace is not closed");
  const { default: picomatch }: { default: Picomatch } = await import("picomatch");
  // Without these a name that begins with a dot or a glob that begins with "!" would mean something else than is written.
  return picomatch(text, { dot: true, nonegate: true, noextglob: true, strictSlashes: true });
}

async function compileQuoted(text: string): Promise<NameMatcher> {
  try {
    return await compilePattern(text.slice(1, -1));
  } catch (cause) {
    throw new NamePatternError(text, cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** What is used of picomatch. */
type Picomatch = (glob: string, options: Record<string, boolean>) => NameMatcher;

function isBalanced(text: string): boolean {
  const count = (character: string) => text.split(character).length;
  return count("[") === count("]") && count("{") === count("}");
}
