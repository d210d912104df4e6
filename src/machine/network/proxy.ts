/** Which proxy leads to a URL, for connections that Deno's own client does not make. */

import { SetupError } from "../../mirror/config/config.ts";
import { BlockList, isIP } from "node:net";

/** A proxy cannot be used. */
export class ProxyError extends SetupError {
  /** Says why; a user name or a password in the proxy's URL is not in the message. */
  constructor(proxy: string, why: string, options?: ErrorOptions) {
    super(`Cannot use proxy "${withoutUser(proxy)}": ${why}`, options);
    this.name = "ProxyError";
  }
}

/** What is after the last `@`: the user name and the password are before it. */
function withoutUser(proxy: string): string {
  const scheme = /^[a-z][a-z\d+.-]*:\/\//i.exec(proxy)?.[0] ?? "";
  return scheme + proxy.slice(proxy.includes("@") ? proxy.lastIndexOf("@") + 1 : scheme.length);
}

/**
 * Parses a proxy's URL; `http://` may be left out, as curl allows.
 *
 * @throws {ProxyError} when it is not one.
 */
export function parseProxy(proxy: string): URL {
  const text = proxy.includes("://") ? proxy : `http://${proxy}`;
  if (!URL.canParse(text)) throw new ProxyError(proxy, "it is not a URL");
  const url = new URL(text);
  if (!/^(?:https?|socks5h?):$/.test(url.protocol)) {
    throw new ProxyError(proxy, `${url.protocol} is none of http:, https:, socks5:`);
  }
  if (url.hostname === "") throw new ProxyError(proxy, "it has no host");
  return url;
}

/** The user name and the password in a proxy's URL; `undefined` without a user name. */
export function proxyUser(proxy: URL): { username: string; password: string } | undefined {
  if (proxy.username === "") return undefined;
  return { username: decodeURIComponent(proxy.username), password: decodeURIComponent(proxy.password) };
}

/**
 * The proxy that the environment names for an https URL: `HTTPS_PROXY`, else `ALL_PROXY`, in capitals or not, unless
 * `NO_PROXY` lists the host (`host`, `.suffix`, `host:port`, an IP address, a CIDR range, or `*` for all).
 *
 * @throws {ProxyError} when the variable's value is not a proxy's URL.
 */
export function environmentProxy(url: URL, env: (name: string) => string | undefined): URL | undefined {
  const read = (name: string) => env(name) || env(name.toLowerCase()) || undefined;
  const proxy = read("HTTPS_PROXY") ?? read("ALL_PROXY");
  if (proxy === undefined || isExcepted(url, read("NO_PROXY") ?? "")) return undefined;
  return parseProxy(proxy);
}

/**
 * Whether Deno's own fetch is sure to use no proxy. It reads the environment whatever this program may read of it, so a variable
 * that may not be read counts as one that names a proxy.
 */
export function isWithoutProxy(): boolean {
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((name) => [name, name.toLowerCase()]);
  return names.every((variable) =>
    Deno.permissions.querySync({ name: "env", variable }).state === "granted" && !Deno.env.get(variable)
  );
}

function isExcepted(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const patterns = list.toLowerCase().split(/[\s,]+/).filter((pattern) => pattern !== "");
  return patterns.some((pattern) => matchesException(host, port, pattern));
}

function matchesException(host: string, port: string, pattern: string): boolean {
  if (pattern === "*") return true;
  if (pattern.includes("/")) return isInRange(host, pattern);
  const { 1: name = pattern, 2: wantedPort = port } = /^([^:]*|\[.*\]):(\d+)$/.exec(pattern) ?? [];
  if (wantedPort !== port) return false;
  const plain = name.replace(/^\[|\]$/g, "").replace(/^\*?\./, "");
  return host === plain || isIP(host) === 0 && host.endsWith(`.${plain}`);
}

function isInRange(host: string, range: string): boolean {
  const [network = "", bits = ""] = range.split("/");
  const [version, prefix] = [isIP(host), Number(bits)];
  if (version === 0 || version !== isIP(network) || !/^\d+$/.test(bits)) return false;
  if (prefix > (version === 4 ? 32 : 128)) return false;
  const family = version === 4 ? "ipv4" : "ipv6";
  const ranges = new BlockList();
  ranges.addSubnet(network, prefix, family);
  return ranges.check(host, family);
}
