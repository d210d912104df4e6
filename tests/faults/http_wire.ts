/** Just enough HTTP/1.1 for a proxy: heads, and bodies by Content-Length, in chunks, or up to the end of the connection (RFC 9112). */

import { concatenate } from "../registry/blob_content.ts";
import { type Bytes, GoneError, type Peer } from "./peer.ts";

/** The head of a request or of an answer. */
export interface Head {
  /** Request line or status line. */
  startLine: string;
  /** Header lines in their order, names as they were spelled. */
  headers: [name: string, value: string][];
}

/** How a body ends: after so many bytes, with a chunk of none, or with the connection. */
export type Framing = { type: "length"; length: number } | { type: "chunked" } | { type: "until-close" };

const END_OF_HEAD = [13, 10, 13, 10];

/** The first byte of a connection that begins with TLS. */
const TLS_HANDSHAKE = 0x16;

/** Reads a head, or gives `undefined` when the connection ends before there is one or wants TLS. */
export async function readHead(peer: Peer): Promise<Head | undefined> {
  let bytes: Bytes = new Uint8Array();
  for (;;) {
    const piece = await peer.read();
    if (piece === undefined || piece[0] === TLS_HANDSHAKE && bytes.length === 0) return undefined;
    bytes = concatenate([bytes, piece]);
    const end = findEnd(bytes);
    if (end < 0) continue;
    peer.unread(bytes.slice(end));
    return parseHead(new TextDecoder("latin1").decode(bytes.subarray(0, end - 4)));
  }
}

/** Offset of the first byte after the empty line, or -1. */
function findEnd(bytes: Bytes): number {
  for (let index = bytes.indexOf(13); index >= 0; index = bytes.indexOf(13, index + 1)) {
    if (END_OF_HEAD.every((byte, offset) => bytes[index + offset] === byte)) return index + 4;
  }
  return -1;
}

function parseHead(text: string): Head {
  const [startLine = "", ...lines] = text.split("\r\n");
  return {
    startLine,
    headers: lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }),
  };
}

/** A head as it goes on the wire. */
export function formatHead({ startLine, headers }: Head): string {
  return `${startLine}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

/** The value of a header, whatever the case of its name. */
export function headerOf(head: Head, name: string): string | undefined {
  return head.headers.find(([one]) => one.toLowerCase() === name)?.[1];
}

/** A head with one header set anew. */
export function withHeader(head: Head, name: string, value: string): Head {
  const others = head.headers.filter(([one]) => one.toLowerCase() !== name);
  return { ...head, headers: [...others, [name, value]] };
}

/** The status of an answer. */
export function statusOf(head: Head): number {
  return Number(head.startLine.split(" ")[1]);
}

/** How the body of a request ends. */
export function requestFraming(head: Head): Framing {
  return framingOf(head) ?? { type: "length", length: 0 };
}

/** How the body of an answer ends; some answers have none, whatever their headers say. */
export function answerFraming(head: Head, method: string): Framing {
  const status = statusOf(head);
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) {
    return { type: "length", length: 0 };
  }
  return framingOf(head) ?? { type: "until-close" };
}

function framingOf(head: Head): Framing | undefined {
  if (headerOf(head, "transfer-encoding")?.toLowerCase().includes("chunked")) return { type: "chunked" };
  const length = headerOf(head, "content-length");
  return length === undefined ? undefined : { type: "length", length: Number(length) };
}

/**
 * The bytes of a body without their framing.
 *
 * @throws {GoneError} when the connection ends before the body does.
 */
export async function* readBody(peer: Peer, framing: Framing): AsyncGenerator<Bytes> {
  if (framing.type === "length") yield* readExactly(peer, framing.length);
  else if (framing.type === "chunked") yield* readChunks(peer);
  else for (let piece = await peer.read(); piece !== undefined; piece = await peer.read()) yield piece;
}

async function* readExactly(peer: Peer, length: number): AsyncGenerator<Bytes> {
  for (let left = length; left > 0;) {
    const piece = await peer.read();
    if (piece === undefined) throw new GoneError();
    if (piece.length > left) peer.unread(piece.slice(left));
    const part = piece.subarray(0, left);
    left -= part.length;
    yield part;
  }
}

async function* readChunks(peer: Peer): AsyncGenerator<Bytes> {
  for (;;) {
    const size = parseInt(await readLine(peer), 16);
    if (size > 0) yield* readExactly(peer, size);
    // After a chunk comes an empty line; after the last one there may be trailers, of which registries send none.
    await readLine(peer);
    if (!(size > 0)) return;
  }
}

async function readLine(peer: Peer): Promise<string> {
  let text = "";
  for (;;) {
    const piece = await peer.read();
    if (piece === undefined) throw new GoneError();
    const end = piece.indexOf(10);
    text += new TextDecoder("latin1").decode(end < 0 ? piece : piece.subarray(0, end));
    if (end < 0) continue;
    peer.unread(piece.slice(end + 1));
    return text.trimEnd();
  }
}

/** Puts bytes of a body into its framing. */
export function frame(bytes: Bytes, framing: Framing): Uint8Array {
  if (framing.type !== "chunked") return bytes;
  const encoder = new TextEncoder();
  return concatenate([encoder.encode(`${bytes.length.toString(16)}\r\n`), bytes, encoder.encode("\r\n")]);
}

/** What ends a body in its framing. */
export function frameEnd(framing: Framing): string {
  return framing.type === "chunked" ? "0\r\n\r\n" : "";
}
