/** The fetch that reaches one registry: with its certificates, through its proxy, or with any certificate if it is insecure. */

import { CertificateError, certificatesIn } from "./certificates.ts";
import type { Fetch, FetchInit } from "../../registry/fetch.ts";
import { type ClosableFetch, createInsecureFetch } from "./insecure_fetch.ts";
import { environmentProxy, isWithoutProxy, parseProxy, proxyUser } from "./proxy.ts";

/** Options of {@linkcode createRegistryFetch}. */
export interface RegistryFetchOptions {
  /** Registry host with an optional port, for messages. */
  registry: string;
  /** Whether any certificate is accepted. */
  insecure?: boolean | undefined;
  /** Authorities trusted besides the runtime's own, as PEM. */
  caCerts?: readonly string[] | undefined;
  /** The client's own certificate, as PEM; goes with `key`. */
  cert?: string | undefined;
  /** Key of the client's certificate, as PEM. */
  key?: string | undefined;
  /** URL of the proxy that leads to the registry, user name and password in it; the environment's unless told. */
  proxy?: string | undefined;
  /** Reads `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` for an insecure registry; `Deno.env` unless told. Deno itself reads them for others. */
  env?: ((name: string) => string | undefined) | undefined;
}

/**
 * Makes the fetch for a registry and everything it leads to (its token service, the storage its blobs are redirected to).
 * It speaks HTTP/1.1: a stalled body must not hold up others on its connection. Close it when the run is over.
 *
 * With `insecure` any certificate is accepted, by every host that requests for this registry lead to: who can pretend to be
 * the registry chooses those hosts anyway. URLs without TLS take the same way as ever.
 *
 * @throws {CertificateError} when a certificate or key cannot be used.
 * @throws {ProxyError} when the proxy cannot be used.
 */
export function createRegistryFetch(options: RegistryFetchOptions): ClosableFetch {
  const plain = createPlainFetch(options);
  if (options.insecure !== true) return plain;
  const any = createInsecureFetch({ cert: options.cert, key: options.key, proxyFor: proxyChoice(options) });
  return {
    fetch: (url, init) => (/^https:/i.test(url) ? any : plain).fetch(url, init),
    close: () => {
      any.close();
      plain.close();
    },
  };
}

/**
 * Bytes of a body from which on it goes over a connection of its own, where no proxy is in between. A GB in layers of 1 GiB takes
 * 0.6 s of CPU that way and 0.9 s through Deno's fetch, in layers of 16 MiB 1.0 s and 1.45 s (tests/bench/PROFILE.md); below a few
 * MiB it is not worth a second set of connections.
 */
const LARGE_BODY = 4 * 1024 * 1024;

function createPlainFetch(options: RegistryFetchOptions): ClosableFetch {
  const client = openClient(options);
  const small: Fetch = (url, init) => fetch(url, { ...init, client });
  const hasSockets = options.proxy === undefined && isWithoutProxy();
  let opening: Promise<ClosableFetch> | undefined;
  const open = async () => {
    const { createSocketFetch } = await import("./socket_fetch.ts");
    return createSocketFetch({ ...options, otherwise: small });
  };
  return {
    fetch: async (url, init) => {
      // Deno's fetch would spell the query its own way.
      const isSmall = sizeOf(init) < LARGE_BODY && init.query === undefined;
      if (!hasSockets || isSmall) return await small(url, init);
      return await (await (opening ??= open())).fetch(url, init);
    },
    close: () => {
      opening?.then((sockets) => sockets.close(), () => {});
      client.close();
    },
  };
}

/** Bytes of the larger body of an exchange, as far as that is known. */
function sizeOf({ size = 0, body }: FetchInit): number {
  return body instanceof Blob ? body.size : size;
}

function proxyChoice({ proxy, env = environment }: RegistryFetchOptions): (url: URL) => URL | undefined {
  const fixed = proxy === undefined ? undefined : parseProxy(proxy);
  return (url) => fixed ?? environmentProxy(url, env);
}

/** A variable that may not be read (a narrower `--allow-env`) is a variable that is not set. */
function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

function openClient(options: RegistryFetchOptions): Deno.HttpClient {
  const { registry, caCerts = [], cert } = options;
  const source = `of registry ${registry}`;
  const proxy = options.proxy === undefined ? {} : { proxy: clientProxy(options.proxy) };
  const identity = identityOf(options, source);
  const authorities = caCerts.map((text) => certificatesIn(text, source));
  try {
    // No poolIdleTimeout: a number makes Deno's timer spin (denoland/deno#29444).
    return Deno.createHttpClient({ http2: false, caCerts: authorities, ...identity, ...proxy });
  } catch (cause) {
    if (cert === undefined && caCerts.length === 0) throw cause;
    throw new CertificateError(source, `it is refused (${reasonOf(cause)})`, { cause });
  }
}

function identityOf(
  { cert, key }: RegistryFetchOptions,
  source: string,
): { cert: string; key: string } | object {
  if (cert === undefined && key === undefined) return {};
  if (cert === undefined || key === undefined) {
    throw new CertificateError(source, "a client's certificate and its key go together");
  }
  return { cert, key };
}

/** Deno takes the user name and the password apart from the URL. */
function clientProxy(proxy: string): Deno.Proxy {
  const url = parseProxy(proxy);
  const basicAuth = proxyUser(url);
  const address = `${url.protocol}//${url.host}`;
  return basicAuth === undefined ? { url: address } : { url: address, basicAuth };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
