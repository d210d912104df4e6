/** What the tests of TLS share: certificates, servers that do exactly what they are told, and a proxy. */

import { createServer } from "node:https";

/** A file in `testdata/tls`; its README says what is there. */
export function pem(name: string): string {
  return Deno.readTextFileSync(new URL(`./testdata/tls/${name}`, import.meta.url));
}

/** The server's certificate and key. */
export function serverIdentity(name = "server"): { cert: string; key: string } {
  return { cert: pem(`${name}.pem`), key: pem(`${name}.key`) };
}

/** Something that listens. */
export interface Listening extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
}

/** A connection a script talks over. */
export interface Line {
  /** Reads to the end of the next request's head; `undefined` when the other side has closed. */
  readHead(): Promise<string | undefined>;
  /** The next bytes; `undefined` when the other side has closed, however. */
  read(): Promise<Uint8Array | undefined>;
  /** Writes text or bytes; `false` when the other side has closed. */
  write(data: string | Uint8Array): Promise<boolean>;
  /** Closes the connection. */
  close(): void;
}

/**
 * Listens and runs a script for each connection, which is closed when the script ends.
 *
 * @param script Gets the connection and its number, from 0.
 * @param identity Name of the certificate.
 */
export function listen(
  script: (line: Line, index: number) => Promise<void>,
  isTls = true,
  identity = "server",
): Listening {
  const where = { hostname: "127.0.0.1", port: 0 };
  const listener = isTls ? Deno.listenTls({ ...where, ...serverIdentity(identity) }) : Deno.listen(where);
  const connections: Deno.Conn[] = [];
  const scripts: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) {
      const line = lineOf(connection);
      scripts.push(script(line, connections.length).finally(line.close));
      connections.push(connection);
    }
  })();
  return {
    host: `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await accepting;
      for (const connection of connections) lineOf(connection).close();
      await Promise.all(scripts);
    },
  };
}

function lineOf(connection: Deno.Conn): Line {
  const buffer = new Uint8Array(64 * 1024);
  const read = async () => {
    const count = await connection.read(buffer).catch(() => null);
    return count === null ? undefined : buffer.slice(0, count);
  };
  const readHead = async () => {
    let head = "";
    while (!head.includes("\r\n\r\n")) {
      const bytes = await read();
      if (bytes === undefined) return undefined;
      head += new TextDecoder().decode(bytes);
    }
    return head;
  };
  const close = () => {
    try {
      connection.close();
    } catch {
      // It is closed already.
    }
  };
  return { read, readHead, write: (data) => writeAll(connection, data), close };
}

async function writeAll(connection: Deno.Conn, data: string | Uint8Array): Promise<boolean> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  try {
    for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
    return true;
  } catch {
    return false;
  }
}

/** A proxy that opens tunnels. */
export interface TestProxy extends Listening {
  /** The heads of the requests it got. */
  readonly heads: string[];
}

/** Options of {@linkcode serveProxy}. */
export interface ProxyOptions {
  /** What a request must have as `Proxy-Authorization`. */
  authorization?: string;
  /** Where hosts with their ports are, instead of where their names lead. */
  hosts?: Record<string, string>;
  /** Whether the proxy itself is reached over TLS. */
  isTls?: boolean;
}

/** Serves CONNECT, and passes on requests for http: URLs. */
export function serveProxy({ authorization, hosts = {}, isTls = false }: ProxyOptions = {}): TestProxy {
  const heads: string[] = [];
  const listening = listen(async (line) => {
    const head = await line.readHead();
    if (head === undefined) return;
    heads.push(head);
    const [, method, target = ""] = /^(\w+) (?:http:\/\/)?([^ /]+)/.exec(head) ?? [];
    const isAllowed = authorization === undefined ||
      head.toLowerCase().includes(`\r\nproxy-authorization: ${authorization}\r\n`.toLowerCase());
    if (!isAllowed) {
      await line.write("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    const upstream = await dial(hosts[target] ?? target);
    if (method === "CONNECT") await line.write("HTTP/1.1 200 Connection established\r\n\r\n");
    else await upstream.write(forwarded(head));
    await join(line, upstream);
  }, isTls);
  return { heads, host: listening.host, [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose]() };
}

/** Serves SOCKS 5; `heads` are who asked, and for what. */
export function serveSocks(hosts: Record<string, string> = {}, user = ""): TestProxy {
  const heads: string[] = [];
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const listening = listen(async (line) => {
    const read = async () => await line.read() ?? new Uint8Array();
    const [, , method] = await read();
    await line.write(Uint8Array.of(5, user === "" ? 0 : 2));
    let said = "";
    if (method === 2) {
      const bytes = await read();
      const length = bytes[1] ?? 0;
      said = `${text(bytes.subarray(2, 2 + length))}:${text(bytes.subarray(3 + length))}`;
      await line.write(Uint8Array.of(1, said === user ? 0 : 1));
    }
    const asked = await read();
    if (asked.length === 0) return;
    const end = 5 + (asked[4] ?? 0);
    const target = `${text(asked.subarray(5, end))}:${((asked[end] ?? 0) << 8) + (asked[end + 1] ?? 0)}`;
    heads.push(`${said} ${target}`);
    const upstream = await dial(hosts[target] ?? target);
    await line.write(Uint8Array.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 9));
    await join(line, upstream);
  }, false);
  return { heads, host: listening.host, [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose]() };
}

/** A request as a proxy passes it on: one a connection, without what is for the proxy. */
function forwarded(head: string): string {
  return head.replace(/ http:\/\/[^/ ]+/, " ").replace(/proxy-authorization: .*\r\n/i, "")
    .replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
}

async function dial(host: string): Promise<Line> {
  const [hostname = "", port] = host.split(":");
  return lineOf(await Deno.connect({ hostname, port: Number(port ?? 80) }));
}

async function join(one: Line, other: Line): Promise<void> {
  const carry = async (from: Line, to: Line) => {
    for (let bytes = await from.read(); bytes !== undefined; bytes = await from.read()) await to.write(bytes);
    to.close();
    from.close();
  };
  await Promise.all([carry(one, other), carry(other, one)]);
}

/** A server that talks only to clients with a certificate of our authority, and answers with the client's name. */
export async function serveMutual(): Promise<Listening> {
  const options = { ...serverIdentity(), ca: pem("ca.pem"), requestCert: true, rejectUnauthorized: true };
  const server = createServer(options, (request, response) => {
    const { getPeerCertificate } = request.socket as {
      getPeerCertificate?: () => { subject: { CN: string } };
    };
    response.end(getPeerCertificate?.call(request.socket).subject.CN);
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()));
  return { host: `127.0.0.1:${port}`, [Symbol.asyncDispose]: close };
}
