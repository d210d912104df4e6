/** HTTP/1.1 as the benchmark's proxy needs it: heads are read, bodies are passed on as they are (RFC 9112). */

/** Bytes as sockets carry them. */
type Bytes = Uint8Array<ArrayBuffer>;

/** The part of a message before its body. */
export interface Head {
  /** The request line or status line. */
  readonly line: string;
  /** Fields by lower-case name. */
  readonly fields: ReadonlyMap<string, string>;
  /** The bytes as they came, with the empty line at their end. */
  readonly raw: Bytes;
}

/** How long a body is: so many bytes, in chunks, or until the connection ends. */
export type BodyLength = number | "chunked" | "rest";

/** Called with every number of body bytes that passed. */
export type OnBytes = (bytes: number) => void;

const BUFFER_SIZE = 256 * 1024;
/** First byte of a connection that speaks TLS (RFC 8446, 5.1). */
const TLS_HANDSHAKE = 22;
const NO_TLS =
  "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n400 Bad Request";
const decoder = new TextDecoder("latin1");

/** Reads messages from one connection, one after the other. */
export class WireReader {
  #connection: Deno.Conn;
  #buffer: Bytes = new Uint8Array(BUFFER_SIZE);
  #start = 0;
  #end = 0;

  /** Reads nothing yet. */
  constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  /**
   * The next head, or `undefined` where the connection ends instead.
   *
   * @throws {Error} when the connection ends within it, or it is larger than the buffer.
   */
  async head(): Promise<Head | undefined> {
    for (let seen = 0;;) {
      const end = this.#findHeadEnd(seen);
      if (end >= 0) return parseHead(this.#take(end - this.#start).slice());
      seen = Math.max(0, this.#end - this.#start - 3);
      if (await this.#fill()) {
        if (this.#buffer[this.#start] === TLS_HANDSHAKE) return await this.#refuseTls();
        continue;
      }
      if (this.#start === this.#end) return undefined;
      throw new Error("Cannot read an HTTP head: the connection ended in it");
    }
  }

  /** Passes a message on: its head, and its body as it comes. */
  async forward(head: Bytes, length: BodyLength, to: Deno.Conn, onBytes: OnBytes): Promise<void> {
    if (length === "chunked") return await this.#forwardChunks(head, to, onBytes);
    let left = length === "rest" ? Infinity : length;
    // Head and body in one write where both are there: two small packets would wait for each other.
    const first = this.#take(Math.min(left, this.#end - this.#start));
    await writeAll(to, first.length === 0 ? head : join([head, first]));
    if (first.length > 0) onBytes(first.length);
    left -= first.length;
    while (left > 0 && await this.#fill()) {
      const piece = this.#take(Math.min(left, this.#end - this.#start));
      await writeAll(to, piece);
      onBytes(piece.length);
      left -= piece.length;
    }
    if (left > 0 && length !== "rest") {
      throw new Error("Cannot pass a body on: the connection ended in it");
    }
  }

  /** Tools that try TLS first are told in plain HTTP that there is none, as Go's server does; silence is taken for a fault. */
  async #refuseTls(): Promise<undefined> {
    await writeAll(this.#connection, new TextEncoder().encode(NO_TLS));
  }

  async #forwardChunks(head: Bytes, to: Deno.Conn, onBytes: OnBytes): Promise<void> {
    let before = head;
    for (;;) {
      const line = await this.#line();
      before = join([before, line]);
      const size = parseInt(decoder.decode(line), 16);
      if (size === 0) break;
      for (let left = size + 2; left > 0;) {
        if (this.#start === this.#end && !await this.#fill()) {
          throw new Error("Cannot pass a chunk on: the connection ended in it");
        }
        const piece = this.#take(Math.min(left, this.#end - this.#start));
        await writeAll(to, join([before, piece]));
        before = new Uint8Array();
        // The line end after the data is not of the body.
        onBytes(Math.min(piece.length, Math.max(0, left - 2)));
        left -= piece.length;
      }
    }
    for (let line = await this.#line();; line = await this.#line()) {
      before = join([before, line]);
      if (line.length === 2) break;
    }
    await writeAll(to, before);
  }

  /** One line with its end. */
  async #line(): Promise<Bytes> {
    for (;;) {
      const end = this.#buffer.subarray(0, this.#end).indexOf(10, this.#start);
      if (end >= 0) return this.#take(end + 1 - this.#start).slice();
      if (!await this.#fill()) throw new Error("Cannot read a line: the connection ended in it");
    }
  }

  #findHeadEnd(from: number): number {
    const bytes = this.#buffer.subarray(0, this.#end);
    for (let index = this.#start + from;; index++) {
      index = bytes.indexOf(13, index);
      if (index < 0 || index + 3 >= this.#end) return -1;
      if (bytes[index + 1] === 10 && bytes[index + 2] === 13 && bytes[index + 3] === 10) return index + 4;
    }
  }

  #take(length: number): Bytes {
    const bytes = this.#buffer.subarray(this.#start, this.#start + length);
    this.#start += length;
    return bytes;
  }

  /** Reads what is there; `false` at the end of the connection. */
  async #fill(): Promise<boolean> {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    else if (this.#end === this.#buffer.length) this.#makeRoom();
    const count = await this.#connection.read(this.#buffer.subarray(this.#end));
    if (count !== null) this.#end += count;
    return count !== null;
  }

  #makeRoom(): void {
    if (this.#start === 0) throw new Error("Cannot read an HTTP head: it is larger than the buffer");
    this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }
}

function parseHead(raw: Bytes): Head {
  const [line = "", ...rest] = decoder.decode(raw).split("\r\n");
  const fields = new Map<string, string>();
  for (const text of rest) {
    const colon = text.indexOf(":");
    if (colon > 0) fields.set(text.slice(0, colon).toLowerCase(), text.slice(colon + 1).trim());
  }
  return { line, fields, raw };
}

/** Status of an answer's head. */
export function statusOf(head: Head): number {
  return Number(head.line.split(" ")[1]);
}

/** How long a request's body is. */
export function requestLength({ fields }: Head): BodyLength {
  if (fields.get("transfer-encoding")?.toLowerCase() === "chunked") return "chunked";
  return Number(fields.get("content-length") ?? 0);
}

/** How long an answer's body is; it depends on the request's method. */
export function answerLength(head: Head, method: string): BodyLength {
  const status = statusOf(head);
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) return 0;
  if (head.fields.get("transfer-encoding")?.toLowerCase() === "chunked") return "chunked";
  const length = head.fields.get("content-length");
  return length === undefined ? "rest" : Number(length);
}

/** Writes everything, however many writes that takes. */
export async function writeAll(to: Deno.Conn, bytes: Bytes): Promise<void> {
  for (let offset = 0; offset < bytes.length;) offset += await to.write(bytes.subarray(offset));
}

function join(parts: readonly Bytes[]): Bytes {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
