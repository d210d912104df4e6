/** Step 2 of the walk, the wire: what a `WWW-Authenticate` header asks for (RFC 9110, section 11.6.1). */

/** One way a registry says it can be satisfied. */
export interface Challenge {
  /** Scheme in lower case, for example `bearer`. */
  scheme: string;
  /** Parameters by lower-case name, for example `realm`, `service` and `scope`. */
  parameters: Record<string, string>;
}

/** A header that is longer than this (in characters) is cut: no registry needs more, and a hostile one gets no time. */
const HEADER_LIMIT = 8192;

// One token of the header: a comma, `name=value`, `name="quoted"`, or a bare word, which is a scheme.
const TOKEN =
  /\s*(?:(,)|([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([A-Za-z0-9!#$%&'*+.^_`|~/=-]+))/y;

/** Reads every challenge of a `WWW-Authenticate` header; what is malformed ends the reading and what came before it stands. */
export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, HEADER_LIMIT);
  const challenges: Challenge[] = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const [, comma, name, quoted, plain, word] = match;
    if (comma !== undefined) continue;
    const current = challenges.at(-1);
    if (name !== undefined) {
      if (current !== undefined) current.parameters[name.toLowerCase()] ??= unquote(quoted) ?? plain ?? "";
    } else if (word !== undefined) {
      challenges.push({ scheme: word.toLowerCase(), parameters: Object.create(null) });
    }
  }
  return challenges;
}

function unquote(text: string | undefined): string | undefined {
  return text?.replace(/\\(.)/g, "$1");
}

/**
 * Whether a challenge from memory may be believed: only when its token service is the registry itself, so that whoever
 * changes the memory cannot have passwords sent elsewhere.
 */
export function isOwnRealm({ scheme, parameters: { realm = "" } }: Challenge, origin: string): boolean {
  return scheme === "basic" || URL.canParse(realm) && new URL(realm).origin === origin;
}
