/** Tunnels through proxies: CONNECT (RFC 9110, section 9.3.6) and SOCKS 5 (RFC 1928, RFC 1929). */

import { type Address, type Duplex, readFully, writeFully } from "./duplex.ts";
import { HttpConnection } from "./http_connection.ts";
import { formatRequestHead } from "./http_head.ts";
import { ProxyError, proxyUser } from "./proxy.ts";

/**
 * Asks a proxy for a tunnel, over a connection to it; what is said over the connection afterwards reaches the server.
 *
 * @param proxy URL of the proxy: http:, https:, socks5: or socks5h:.
 * @throws {ProxyError} when it opens none.
 */
export async function openTunnel(duplex: Duplex, proxy: URL, server: Address): Promise<void> {
  if (proxy.protocol.startsWith("socks")) await openSocksTunnel(duplex, proxy, server);
  else await openHttpTunnel(duplex, proxy, server);
}

/** The field that says who asks a proxy: for the proxy alone, and never sent through a tunnel. */
export function proxyAuthorization(proxy: URL): Record<string, string> {
  const user = proxyUser(proxy);
  if (user === undefined) return {};
  const bytes = new TextEncoder().encode(`${user.username}:${user.password}`);
  return { "proxy-authorization": `Basic ${btoa(String.fromCharCode(...bytes))}` };
}

async function openHttpTunnel(duplex: Duplex, proxy: URL, { hostname, port }: Address): Promise<void> {
  const host = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
  const connection = new HttpConnection(duplex);
  const headers = new Headers(proxyAuthorization(proxy));
  await connection.write(formatRequestHead("CONNECT", { target: host, host }, headers));
  const { status } = await connection.readHead();
  if (status < 200 || status > 299) {
    throw new ProxyError(proxy.href, `it answered ${status} to CONNECT ${host}`);
  }
  // TLS begins with words of the client: nobody has anything to say yet.
  if (connection.hasWords) {
    throw new ProxyError(proxy.href, `it said more than its answer to CONNECT ${host}`);
  }
}

const SOCKS = 5;
const [WITHOUT_PASSWORD, WITH_PASSWORD] = [0, 2];
const REFUSALS: Record<number, string> = {
  1: "general failure",
  2: "its rules do not allow it",
  3: "the network cannot be reached",
  4: "the host cannot be reached",
  5: "connection refused",
};

async function openSocksTunnel(duplex: Duplex, proxy: URL, server: Address): Promise<void> {
  await greetSocks(duplex, proxy);
  await askSocks(duplex, proxy, server);
}

async function greetSocks(duplex: Duplex, proxy: URL): Promise<void> {
  const user = proxyUser(proxy);
  const method = user === undefined ? WITHOUT_PASSWORD : WITH_PASSWORD;
  await writeFully(duplex, Uint8Array.of(SOCKS, 1, method));
  const [, chosen] = await readBytes(duplex, 2);
  if (chosen !== method) {
    throw new ProxyError(proxy.href, `it wants ${user ? "no" : "a"} user name and password, or another way`);
  }
  if (user === undefined) return;
  const words = [user.username, user.password].flatMap((text) => lengthAndBytes(text));
  await writeFully(duplex, Uint8Array.of(1, ...words));
  const [, refusal] = await readBytes(duplex, 2);
  if (refusal !== 0) throw new ProxyError(proxy.href, "it refuses the user name or the password");
}

/** The proxy resolves the name, with `socks5:` too: it is the one that will connect. */
async function askSocks(duplex: Duplex, proxy: URL, { hostname, port }: Address): Promise<void> {
  const name = lengthAndBytes(hostname);
  await writeFully(duplex, Uint8Array.of(SOCKS, 1, 0, 3, ...name, port >> 8, port & 0xff));
  const [, status = 0, , kind] = await readBytes(duplex, 4);
  if (status !== 0) {
    const why = REFUSALS[status] ?? `code ${status}`;
    throw new ProxyError(proxy.href, `it does not connect to ${hostname}:${port} (${why})`);
  }
  // Where the proxy connects from is of no use here, but it has to be read.
  const length = kind === 1 ? 4 : kind === 4 ? 16 : (await readBytes(duplex, 1))[0] ?? 0;
  await readBytes(duplex, length + 2);
}

function lengthAndBytes(text: string): number[] {
  const bytes = new TextEncoder().encode(text).subarray(0, 255);
  return [bytes.length, ...bytes];
}

async function readBytes(duplex: Duplex, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  await readFully(duplex, bytes);
  return bytes;
}
