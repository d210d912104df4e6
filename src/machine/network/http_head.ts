/** The heads of HTTP/1.1 messages (RFC 9112): what is written before a body, and what is read. */

/** The head of an answer. */
export interface ResponseHead {
  /** Status code; never one of the 1xx, which are passed over. */
  status: number;
  /** What the server calls it; may be empty. */
  statusText: string;
  /** Header fields. */
  headers: Headers;
  /** Whether the server keeps the connection open for another request (RFC 9112, section 9.3). */
  isKept: boolean;
}

/** How the end of a body is known (RFC 9112, section 6.3); `size` in bytes. */
export type Framing = { type: "none" } | { type: "sized"; size: number } | { type: "chunked" } | {
  type: "until-close";
};

/** The other side does not speak HTTP/1.1. */
export class HttpSyntaxError extends Error {
  /** Says what is wrong. */
  constructor(what: string) {
    super(`the answer is not HTTP/1.1: ${what}`);
    this.name = "HttpSyntaxError";
  }
}

/** Fields that say where a request goes and how; whoever makes one has no say in them. */
const CONNECTION_FIELDS = ["connection", "host", "transfer-encoding"];

/**
 * The head of a request (RFC 9112, section 3).
 *
 * @param target What is asked for, as the next hop needs it: a path with its query, a whole URL, or a host with its port.
 * @param headers Its fields; a `Content-Length` must be the body's.
 */
export function formatRequestHead(
  method: string,
  { target, host }: { target: string; host: string },
  headers: Headers,
): Uint8Array<ArrayBuffer> {
  const fields = [...headers].filter(([name]) => !CONNECTION_FIELDS.includes(name));
  const lines = [
    `${method} ${target} HTTP/1.1`,
    `host: ${host}`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
  ];
  return latin1(`${lines.join("\r\n")}\r\n\r\n`);
}

/** Field values are bytes, one a character, as `Headers` holds them. */
function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/**
 * Understands the head of an answer.
 *
 * @param lines Its lines without their ends and without the empty one after them, one character a byte.
 * @throws {HttpSyntaxError} when it is none.
 */
export function parseResponseHead([first = "", ...lines]: readonly string[]): ResponseHead {
  const match = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/.exec(first);
  if (match === null) throw new HttpSyntaxError("it has no status line");
  const headers = new Headers();
  for (const line of lines) appendField(headers, line);
  // After 205 some servers send a body, although there is none (RFC 9110, section 15.3.6).
  const isKept = match[1] === "1" && match[2] !== "205" &&
    !/\bclose\b/i.test(headers.get("connection") ?? "");
  return { status: Number(match[2]), statusText: match[3] ?? "", headers, isKept };
}

function appendField(headers: Headers, line: string): void {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon));
  // A folded line or a space before the colon is how requests are smuggled (RFC 9112, section 5).
  if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) throw new HttpSyntaxError("a header field has no name");
  const value = line.slice(colon + 1);
  // Deno's Headers makes nothing of a value with these and spaces around it, and trim() takes bytes of UTF-8 for spaces.
  if (/[\0\r\n]/.test(value)) throw new HttpSyntaxError(`its header field "${name}" has no proper value`);
  headers.append(name, value);
}

/**
 * How the body of an answer ends.
 *
 * @param method Method of the request.
 * @throws {HttpSyntaxError} when the head contradicts itself, or names an encoding that this project does not ask for.
 */
export function framingOf(method: string, { status, headers }: ResponseHead): Framing {
  if (method === "HEAD" || [204, 205, 304].includes(status)) return { type: "none" };
  const encoding = headers.get("transfer-encoding");
  const length = headers.get("content-length");
  if (encoding !== null) {
    if (length !== null) throw new HttpSyntaxError("it has both a length and a transfer encoding");
    if (encoding.toLowerCase() === "chunked") return { type: "chunked" };
    throw new HttpSyntaxError("its transfer encoding is not known");
  }
  if (length === null) return { type: "until-close" };
  // The same length twice is one (RFC 9110, section 8.6); Headers joins fields by a comma.
  const [first = "", ...others] = length.split(",").map((value) => value.trim());
  const isOne = /^\d{1,15}$/.test(first) && others.every((value) => value === first);
  if (!isOne) throw new HttpSyntaxError("its length is not a number");
  return { type: "sized", size: Number(first) };
}

/**
 * The size of a chunk, in bytes, from the line before it (RFC 9112, section 7.1); extensions are passed over.
 *
 * @throws {HttpSyntaxError} when there is none.
 */
export function parseChunkSize(line: string): number {
  const match = /^([\da-f]{1,12})[ \t]*(?:;.*)?$/i.exec(line);
  if (match === null) throw new HttpSyntaxError("a chunk has no size");
  return parseInt(match[1] ?? "", 16);
}
