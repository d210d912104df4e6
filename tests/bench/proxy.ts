/**
 * The benchmark's reverse proxy, in a process of its own: counts, delays, and asks for tokens. It gets its settings as
 * JSON in its first argument, prints the ports it listens on, and answers each line on standard input with its counts.
 */

import { delay } from "@std/async/delay";
import { TextLineStream } from "@std/streams/text-line-stream";
import { answerLength, type Head, requestLength, statusOf, WireReader, writeAll } from "./http_wire.ts";
import { type CountedRequest, Counter } from "./tally.ts";
import { challenge, TokenDesk } from "./token_desk.ts";

/** What the proxy is told. */
export interface ProxySettings {
  /** Registries behind it, `127.0.0.1:PORT`, by the name of their side. */
  targets: Record<string, string>;
  /** Milliseconds added to each request. */
  latency: number;
  /** Whether both sides ask for tokens. */
  hasTokens: boolean;
}

/** One registry behind the proxy. */
interface Side {
  target: string;
  counter: Counter;
}

class Proxy {
  readonly #settings: ProxySettings;
  readonly #desk = new TokenDesk();
  readonly #counters = new Map<string, Counter>();
  constructor(settings: ProxySettings) {
    this.#settings = settings;
  }

  /** Starts listening; the hosts by the name of their side. */
  listen(): Record<string, string> {
    const hosts: Record<string, string> = {};
    for (const [name, target] of Object.entries(this.#settings.targets)) {
      hosts[name] = this.#open(
        name,
        (connection, counter) => this.#serveSide(connection, { target, counter }),
      );
    }
    return hosts;
  }

  /** The counts of all sides since the last call. */
  take(): unknown {
    return Object.fromEntries([...this.#counters].map(([name, counter]) => [name, counter.take()]));
  }

  #open(name: string, serve: (connection: Deno.TcpConn, counter: Counter) => Promise<void>): string {
    const counter = new Counter();
    this.#counters.set(name, counter);
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accept = async () => {
      for await (const connection of listener) {
        counter.connect();
        connection.setNoDelay(true);
        // A broken connection is for the tool under test to deal with.
        serve(connection, counter).catch(() => {}).finally(() => connection.close());
      }
    };
    void accept();
    return `127.0.0.1:${listener.addr.port}`;
  }

  async #serveSide(connection: Deno.TcpConn, side: Side): Promise<void> {
    const reader = new WireReader(connection);
    const upstream = await connect(side.target);
    try {
      for (let head = await reader.head(); head !== undefined; head = await reader.head()) {
        const request = side.counter.begin(head.line);
        await this.#wait();
        const answer = await this.#answer(request, head, reader);
        if (answer === undefined) {
          const exchange: Exchange = { reader, connection, head, request, counter: side.counter };
          if (!await pass(exchange, upstream)) return;
        } else {
          request.end(answer.status);
          await writeAll(connection, await render(answer, head));
        }
      }
    } finally {
      upstream.connection.close();
    }
  }

  /** What the proxy answers by itself: tokens, at the registry's own origin as GHCR, Quay and Harbor do, and refusals. */
  async #answer(request: CountedRequest, head: Head, reader: WireReader): Promise<Response | undefined> {
    const authorization = head.fields.get("authorization");
    if (request.url.pathname === "/token") {
      const form = new URLSearchParams(await readText(reader, head));
      return this.#desk.answer(request.url, form, authorization);
    }
    const lack = this.#lackOf(request, head);
    if (lack === undefined) return undefined;
    await readText(reader, head);
    const headers = { "www-authenticate": challenge(`http://${head.fields.get("host")}/token`, lack) };
    return new Response(UNAUTHORIZED, { status: 401, headers });
  }

  #lackOf({ method, url }: CountedRequest, { fields }: Head): string[] | undefined {
    return this.#settings.hasTokens ? this.#desk.lackOf(method, url, fields.get("authorization")) : undefined;
  }

  async #wait(): Promise<void> {
    if (this.#settings.latency > 0) await delay(this.#settings.latency);
  }
}

const UNAUTHORIZED = JSON.stringify({
  errors: [{ code: "UNAUTHORIZED", message: "authentication required" }],
});

interface Upstream {
  connection: Deno.TcpConn;
  reader: WireReader;
}

/** A request in hand. */
interface Exchange {
  reader: WireReader;
  connection: Deno.TcpConn;
  head: Head;
  request: CountedRequest;
  counter: Counter;
}

async function connect(target: string): Promise<Upstream> {
  const [hostname = "", port] = target.split(":");
  const connection = await Deno.connect({ hostname, port: Number(port) });
  connection.setNoDelay(true);
  return { connection, reader: new WireReader(connection) };
}

/** Passes a request and its answer on; whether the connection can take another. */
async function pass(exchange: Exchange, upstream: Upstream): Promise<boolean> {
  const { reader, head, counter } = exchange;
  // A registry may answer before it has read all; both directions run at once.
  const [, isKept] = await Promise.all([
    reader.forward(head.raw, requestLength(head), upstream.connection, counter.addIn),
    passAnswer(exchange, upstream),
  ]);
  return isKept;
}

async function passAnswer(exchange: Exchange, upstream: Upstream): Promise<boolean> {
  const { connection, request, counter } = exchange;
  for (;;) {
    const head = await upstream.reader.head();
    if (head === undefined) throw new Error("Cannot pass an answer on: the registry ended the connection");
    const status = statusOf(head);
    const length = answerLength(head, request.method);
    if (status >= 200) request.end(status);
    await upstream.reader.forward(head.raw, length, connection, counter.addOut);
    const isLast = length === "rest" || head.fields.get("connection")?.toLowerCase() === "close";
    if (status >= 200) return !isLast;
  }
}

/** A body that the proxy itself reads. */
async function readText(reader: WireReader, head: Head): Promise<string> {
  const pieces: Uint8Array[] = [];
  const sink = { write: (bytes: Uint8Array) => Promise.resolve(pieces.push(bytes.slice()) && bytes.length) };
  await reader.forward(new Uint8Array(), requestLength(head), sink as Deno.Conn, () => {});
  return pieces.map((piece) => new TextDecoder().decode(piece)).join("");
}

async function render(response: Response, request: Head): Promise<Uint8Array<ArrayBuffer>> {
  const body = await response.text();
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`);
  const reason = response.status === 401 ? "Unauthorized" : "OK";
  const lines = [
    `HTTP/1.1 ${response.status} ${reason}`,
    ...headers,
    `content-length: ${body.length}`,
    "docker-distribution-api-version: registry/2.0",
  ];
  const isHead = request.line.startsWith("HEAD ");
  return new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n${isHead ? "" : body}`);
}

if (import.meta.main) {
  const proxy = new Proxy(JSON.parse(Deno.args[0] ?? ""));
  console.log(JSON.stringify(proxy.listen()));
  const texts = Deno.stdin.readable.pipeThrough(
    new TextDecoderStream() as TransformStream<Uint8Array, string>,
  );
  for await (const _line of texts.pipeThrough(new TextLineStream())) {
    console.log(JSON.stringify(proxy.take()));
  }
  Deno.exit(0);
}
