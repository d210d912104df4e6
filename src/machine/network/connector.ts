/** The way to a URL: straight or through a proxy, with TLS or without, and whose certificates are accepted. */

import { describeFailure, isCertificateFailure } from "../../registry/network_failure.ts";
import { addressOf, type Duplex, type Sockets, type TlsOptions } from "./duplex.ts";
import { HttpConnection } from "./http_connection.ts";
import { ProxyError } from "./proxy.ts";
import { openTunnel, proxyAuthorization } from "./tunnel.ts";

/** Options of a {@linkcode Connector}. */
export interface ConnectorOptions {
  /** Opens connections. */
  sockets: Sockets;
  /**
   * Authorities trusted besides the runtime's own, as PEM. A server whose own certificate is among them is trusted too, whatever
   * name it is reached by: that is what `openssl req -x509` makes, and no authority may vouch for it.
   */
  caCerts?: readonly string[] | undefined;
  /** The client's own certificate and its key, as PEM, for one origin alone. */
  identity?: { cert: string; key: string; origin: string } | undefined;
  /** Whether any certificate is accepted. */
  isInsecure?: boolean | undefined;
  /** The proxy that leads to a URL; none unless told. */
  proxyFor?: ((url: URL) => URL | undefined) | undefined;
}

/** A connection, and how a request is put on it. */
export interface Way {
  /** The connection. */
  connection: HttpConnection;
  /** Fields that go to the next hop alone: a proxy that passes requests on. */
  fields: Record<string, string>;
  /** Whether a request names its whole URL (RFC 9112, section 3.2.2), as such a proxy needs it. */
  isAbsolute: boolean;
}

/** Opens connections to where URLs lead. */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #known: ReadonlySet<string>;
  /** Origins whose own certificate is a known one. */
  readonly #pinned = new Set<string>();

  /** Connects when it is asked to. */
  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#known = new Set((options.caCerts ?? []).flatMap((text) => certificatesOf(text)));
  }

  /**
   * Opens a connection; no byte of a request is sent before the certificate has been accepted.
   *
   * @throws {ProxyError} when the proxy is not reached, or opens no tunnel.
   */
  async open(url: URL, signal: AbortSignal): Promise<Way> {
    const proxy = this.#options.proxyFor?.(url);
    if (url.protocol === "https:") {
      return { connection: await this.#openSecure(url, proxy, signal), fields: {}, isAbsolute: false };
    }
    const isForwarded = proxy !== undefined && /^https?:$/.test(proxy.protocol);
    const duplex = isForwarded
      ? await this.#reachProxy(proxy, signal)
      : await this.#reach(url, { proxy, signal });
    const fields = isForwarded ? proxyAuthorization(proxy) : {};
    return { connection: new HttpConnection(duplex), fields, isAbsolute: isForwarded };
  }

  async #openSecure(url: URL, proxy: URL | undefined, signal: AbortSignal): Promise<HttpConnection> {
    const open = async (accepts: TlsOptions["accepts"]) =>
      new HttpConnection(await this.#reach(url, { proxy, signal, tls: this.#tlsFor(url, accepts) }));
    const isKnown = (certificate: Uint8Array) => this.#known.has(base64(certificate));
    if (this.#options.isInsecure) return await open(() => true);
    if (this.#pinned.has(url.origin)) return await open(isKnown);
    try {
      return await open(undefined);
    } catch (error) {
      if (this.#known.size === 0 || signal.aborted || !isCertificateFailure(error)) throw error;
      // What is wrong with the certificate is said in the words of the first try.
      const connection = await open(isKnown).catch(() => Promise.reject(error));
      this.#pinned.add(url.origin);
      return connection;
    }
  }

  #tlsFor(url: URL, accepts: TlsOptions["accepts"]): TlsOptions {
    const { caCerts = [], identity } = this.#options;
    const isOwn = identity?.origin === url.origin;
    return {
      hostname: addressOf(url).hostname,
      caCerts,
      accepts,
      ...(isOwn && identity !== undefined && { identity: { cert: identity.cert, key: identity.key } }),
    };
  }

  async #reach(
    url: URL,
    { proxy, tls, signal }: { proxy: URL | undefined; tls?: TlsOptions; signal: AbortSignal },
  ): Promise<Duplex> {
    const { sockets } = this.#options;
    if (proxy === undefined) return await sockets.connect(addressOf(url), signal, tls);
    const duplex = await this.#reachProxy(proxy, signal);
    const onAbort = () => duplex.close();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await openTunnel(duplex, proxy, addressOf(url));
    } catch (cause) {
      duplex.close();
      signal.throwIfAborted();
      throw cause instanceof ProxyError ? cause : proxyFailure(proxy, cause);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    return tls === undefined ? duplex : await sockets.secure(duplex, tls, signal);
  }

  async #reachProxy(proxy: URL, signal: AbortSignal): Promise<Duplex> {
    const { sockets, caCerts = [] } = this.#options;
    const address = addressOf(proxy);
    const tls = proxy.protocol === "https:" ? { hostname: address.hostname, caCerts } : undefined;
    try {
      return await sockets.connect(address, signal, tls);
    } catch (cause) {
      signal.throwIfAborted();
      throw proxyFailure(proxy, cause);
    }
  }
}

function proxyFailure(proxy: URL, cause: unknown): ProxyError {
  const why = describeFailure(cause, proxy).replace(` (${proxy.host})`, "");
  return new ProxyError(proxy.href, why, { cause });
}

/** The certificates in a PEM text, each as base64 of its DER. */
function certificatesOf(text: string): string[] {
  const blocks = text.matchAll(/-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----/g);
  return Array.from(blocks, ([, body = ""]) => body.replace(/\s+/g, ""));
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
