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
 */
export function listen(script: (line: Line, index: number) => Promise<void>, isTls = true): Listening {
  const where = { hostname: "127.0.0.1", port: 0 };
  const listener = isTls ? Deno.listenTls({ ...where, ...serverIdentity() }) : Deno.listen(where);
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

/** Serves CONNECT, only for whoever sends `authorization`, when that is given. */
export function serveProxy(authorization?: string): TestProxy {
  const heads: string[] = [];
  const listening = listen(async (line) => {
    const head = await line.readHead();
    if (head === undefined) return;
    heads.push(head);
    const [, hostname = "", port = ""] = /^CONNECT ([^:]+):(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
    const isAllowed = authorization === undefined ||
      head.toLowerCase().includes(`\r\nproxy-authorization: ${authorization}\r\n`.toLowerCase());
    if (hostname === "" || !isAllowed) {
      await line.write("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    const upstream = await Deno.connect({ hostname, port: Number(port) });
    await line.write("HTTP/1.1 200 Connection established\r\n\r\n");
    await join(line, lineOf(upstream));
  }, false);
  return { heads, host: listening.host, [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose]() };
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
