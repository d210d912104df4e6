/** Step 2 of the walk, the wire: `Link` headers, which lead from one page of a listing to the next (RFC 8288). */

/** One link of a header. */
export interface Link {
  /** Where it leads, as written. */
  target: string;
  /** Its parameters by name in lower case; of several with one name the first counts, as the RFC says for `rel`. */
  parameters: ReadonlyMap<string, string>;
}

/** Some header is not a list of links. */
export class LinkError extends SyntaxError {
  /** Says so. */
  constructor() {
    super("its Link header cannot be read");
    this.name = "LinkError";
  }
}

/** Nobody means a header that is longer. */
const LENGTH_LIMIT = 16 * 1024;
const TARGET = /[\s,]*(?:<([^<>]*)>|([^\s<>;,"]+))\s*/y;
const PARAMETER = /;\s*(?:([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*)?)?/y;

/**
 * The links of a `Link` header (RFC 8288, section 3 and appendix B.2), several headers joined by commas included. A target
 * without its angle brackets is taken too, as other clients do.
 *
 * @throws {LinkError} when the header is something else.
 */
export function parseLinks(header: string): Link[] {
  if (header.length > LENGTH_LIMIT) throw new LinkError();
  const links: Link[] = [];
  for (let position = 0; /[^\s,]/.test(header.slice(position));) {
    TARGET.lastIndex = position;
    const match = TARGET.exec(header);
    if (match === null) throw new LinkError();
    const parameters = new Map<string, string>();
    position = readParameters(header, TARGET.lastIndex, parameters);
    if (position < header.length && header[position] !== ",") throw new LinkError();
    links.push({ target: match[1] ?? match[2] ?? "", parameters });
  }
  return links;
}

function readParameters(header: string, start: number, parameters: Map<string, string>): number {
  for (let position = start;;) {
    PARAMETER.lastIndex = position;
    const match = PARAMETER.exec(header);
    if (match === null) return position;
    position = PARAMETER.lastIndex;
    const [, name = "", quoted, token = ""] = match;
    const value = quoted?.replace(/\\(.)/g, "$1") ?? token;
    if (name !== "" && !parameters.has(name.toLowerCase())) parameters.set(name.toLowerCase(), value);
  }
}

/**
 * The path of the next page, or `undefined` after the last. A link may be absolute, but only its path counts: credentials go to
 * the registry itself and nowhere else.
 *
 * @param from Path of the page that the header came with.
 * @throws {SyntaxError} when the header cannot be read, or leads out of the API.
 */
export function nextPath(header: string | null, from: string): string | undefined {
  const target = header === null ? undefined : nextTarget(header);
  if (target === undefined) return undefined;
  const base = new URL(from, "https://registry.invalid");
  if (!URL.canParse(target, base.href)) throw new SyntaxError("the link to its next page is not a URL");
  const next = new URL(target, base);
  // A registry behind a proxy may name the path that it is reached by there.
  if (next.pathname.endsWith(base.pathname)) next.pathname = base.pathname;
  if (!next.pathname.startsWith("/v2/")) throw new SyntaxError("the link to its next page leads elsewhere");
  return `${next.pathname}${next.search}`;
}

/**
 * Where the next page is: the link whose relation types include `next`. A link without any relation counts too, for that is
 * how some registries write it.
 */
export function nextTarget(header: string): string | undefined {
  return parseLinks(header).find(isNext)?.target;
}

function isNext({ parameters }: Link): boolean {
  // Somebody else's next page (RFC 8288, section 3.2).
  if (parameters.has("anchor")) return false;
  // Single quotes are no quotes to the RFC, yet some write them.
  const relation = parameters.get("rel")?.replace(/^'(.*)'$/, "$1");
  return relation === undefined || relation.toLowerCase().trim().split(/\s+/).includes("next");
}
