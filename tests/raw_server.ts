/** A server on loopback that shows a test the bytes on the wire, and lets it answer with any. */

/** One request, its body not yet read. */
export interface RawRequest {
  /** Method. */
  method: string;
  /** Path with query. */
  path: string;
  /** Headers as they came. */
  headers: Headers;
}

/** A request and the connection it came on. */
export interface RawExchange extends RawRequest {
  /** Reads bytes of the body, up to a count or to the end of the connection; `undefined` at its end. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Settled when the server is over: what a handler that is to answer nothing waits for. */
  over: Promise<void>;
  /** Writes bytes as they are. */
  write(data: string | Uint8Array): Promise<void>;
  /** Writes a whole answer with its Content-Length. */
  reply(status: number, headers?: Record<string, string>, body?: string | Uint8Array): Promise<void>;
}

/** Answers one request; the connection is closed when it returns. */
export type RawHandler = (exchange: RawExchange) => Promise<void> | void;

const TLS_HANDSHAKE = 0x16;

/** Options of a {@linkcode RawServer}. */
export interface RawServerOptions {
  /** Whether a TLS hello is left without an answer; it is met with a closed connection otherwise. */
  ignoresTls?: boolean;
}

/** A server that answers `/v2/` with 200 and leaves everything else to a handler. TLS is met with a closed connection. */
export class RawServer implements AsyncDisposable {
  /** `127.0.0.1:PORT`, as the registry part of a reference. */
  readonly host: string;
  /** Every request but pings, in the order of arrival. */
  readonly requests: RawRequest[] = [];
  /** How many connections began with a TLS handshake. */
  handshakes = 0;
  readonly #listener: Deno.TcpListener;
  readonly #handler: RawHandler;
  readonly #ignoresTls: boolean;
  readonly #connections = new Set<Deno.Conn>();
  readonly #work: Promise<unknown>[] = [];
  readonly #over = Promise.withResolvers<void>();
  #isOver = false;

  /** Listens at once on a free port. */
  constructor(handler: RawHandler, options: RawServerOptions = {}) {
    this.#handler = handler;
    this.#ignoresTls = options.ignoresTls ?? false;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.host = `127.0.0.1:${this.#listener.addr.port}`;
    this.#work.push(this.#accept());
  }

  /** Stops; connections under way are cut. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#over.resolve();
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
    await Promise.all(this.#work);
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      if (this.#isOver) {
        close(connection);
        continue;
      }
      this.#connections.add(connection);
      this.#work.push(this.#serve(connection).finally(() => this.#connections.delete(connection)));
    }
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    try {
      const exchange = await this.#open(connection);
      if (exchange === undefined) return;
      if (exchange.path === "/v2/") return await exchange.reply(200);
      this.requests.push(exchange);
      await this.#handler(exchange);
    } catch (error) {
      // The client broke off, or the test is over.
      if (!isGone(error)) throw error;
    } finally {
      close(connection);
    }
  }

  async #open(connection: Deno.Conn): Promise<RawExchange | undefined> {
    let text = "";
    let rest: Uint8Array<ArrayBuffer> | undefined;
    while (rest === undefined) {
      const piece = await readPiece(connection);
      if (piece === undefined) return undefined;
      if (text === "" && piece[0] === TLS_HANDSHAKE) {
        this.handshakes++;
        // Until the client gives up.
        while (this.#ignoresTls && await readPiece(connection) !== undefined);
        return undefined;
      }
      text += Array.from(piece, (byte) => String.fromCharCode(byte)).join("");
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) rest = Uint8Array.from(text.slice(end + 4), (character) => character.charCodeAt(0));
    }
    return { ...toExchange(connection, text, rest), over: this.#over.promise };
  }
}

function toExchange(
  connection: Deno.Conn,
  text: string,
  first: Uint8Array<ArrayBuffer>,
): Omit<RawExchange, "over"> {
  const [requestLine = "", ...lines] = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n");
  const [method = "", path = ""] = requestLine.split(" ");
  const headers = new Headers(lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  }));
  let rest: Uint8Array<ArrayBuffer> | undefined = first.length === 0 ? undefined : first;
  const read = () => {
    const piece = rest;
    rest = undefined;
    return piece === undefined ? readPiece(connection) : Promise.resolve(piece);
  };
  const write = (data: string | Uint8Array) => writeAll(connection, data);
  const reply: RawExchange["reply"] = (status, extra = {}, body = "") => write(answer(status, extra, body));
  return { method, path, headers, read, write, reply };
}

function answer(status: number, headers: Record<string, string>, body: string | Uint8Array): Uint8Array {
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const all = { "content-length": `${bytes.length}`, connection: "close", ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = new TextEncoder().encode(`HTTP/1.1 ${status} Status\r\n${lines}\r\n`);
  const whole = new Uint8Array(head.length + bytes.length);
  whole.set(head);
  whole.set(bytes, head.length);
  return whole;
}

/** A connection that was reset has ended like any other: how it ends is the client's affair. */
async function readPiece(connection: Deno.Conn): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const buffer = new Uint8Array(65536);
  try {
    const count = await connection.read(buffer);
    return count === null ? undefined : buffer.subarray(0, count);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

async function writeAll(connection: Deno.Conn, data: string | Uint8Array): Promise<void> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  for (let offset = 0; offset < bytes.length;) offset += await connection.write(bytes.subarray(offset));
}

function isGone(error: unknown): boolean {
  return [
    Deno.errors.ConnectionReset,
    Deno.errors.BrokenPipe,
    Deno.errors.BadResource,
    Deno.errors.Interrupted,
  ]
    .some((type) => error instanceof type);
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It is closed already.
  }
}
