/** Which proxy leads to a URL: the one a config names, or the environment's. */

import { SetupError } from "../../mirror/config/config.ts";
import { BlockList, isIP } from "node:net";
import process from "node:process";
import type { Environment } from "../../mirror/config/environment_values.ts";

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
  return { username: decode(proxy.username), password: decode(proxy.password) };
}

/** A `%` that begins no escape is one, as in browsers and curl. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    const bytes = text.replace(/%(?![\da-f]{2})/gi, "%25");
    return new TextDecoder().decode(
      Uint8Array.from(unescaped(bytes), (character) => character.charCodeAt(0)),
    );
  }
}

/** Escapes turned to bytes, one a character, whether they are UTF-8 or not. */
function unescaped(text: string): string {
  return text.replace(/%([\da-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
}

/** A variable of this process; one that may not be read (Deno: a narrower `--allow-env`) is one that is not set. */
export function environmentOf(name: string): string | undefined {
  return isHidden(name) ? undefined : process.env[name];
}

/** Whether a variable may not be read. */
function isHidden(name: string): boolean {
  try {
    return process.env[name] === null;
  } catch (error) {
    if (error instanceof Error && /^(?:NotCapable|PermissionDenied)$/.test(error.name)) return true;
    throw error;
  }
}

/**
 * The proxy that the environment names for a URL: `HTTPS_PROXY` or `HTTP_PROXY` by its scheme, else `ALL_PROXY`, in capitals or not,
 * unless it leads to this machine (`localhost`, 127.0.0.0/8, `::1`) or `NO_PROXY` lists the host (`host`, `.suffix`, `host:port`, an IP
 * address, a CIDR range, or `*` for all).
 *
 * @throws {ProxyError} when the variable's value is not a proxy's URL.
 */
export function environmentProxy(url: URL, env: Environment): URL | undefined {
  const read = (name: string) => env(name) || env(name.toLowerCase()) || undefined;
  const proxy = read(url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") ?? read("ALL_PROXY");
  if (proxy === undefined || isLoopback(url) || isExcepted(url, read("NO_PROXY") ?? "")) return undefined;
  return parseProxy(proxy);
}

const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((
  name,
) => [name, name.toLowerCase()]);

/** Whether the environment names a proxy for any URL; a runtime's fetch may then go its own way. */
export function namesProxy(env: Environment): boolean {
  return PROXY_VARIABLES.some((name) => env(name));
}

/**
 * Whether the environment may name a proxy that this program may not know of. A runtime's fetch reads the environment whatever this
 * program may read of it (Deno).
 */
export function mayHideProxy(): boolean {
  return PROXY_VARIABLES.some(isHidden);
}

function isLoopback({ hostname }: URL): boolean {
  return /^(?:(?:.+\.)?localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
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
