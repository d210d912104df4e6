/** The fetch that reaches one registry: with its certificates, through its proxy, or with any certificate if it is insecure. */

import type { Fetch, FetchInit } from "../../registry/fetch.ts";
import { CertificateError, certificatesIn } from "./certificates.ts";
import type { ConnectorOptions } from "./connector.ts";
import type { Sockets } from "./duplex.ts";
import type { ClosableFetch } from "./http_client.ts";
import { environmentOf, environmentProxy, mayHideProxy, namesProxy, parseProxy } from "./proxy.ts";

/** What a runtime does better than `node:` builtins; everything else takes those. */
export interface NativeNetwork {
  /** Opens connections with less work. */
  openSockets: () => Promise<Sockets>;
  /** Makes a fetch that speaks HTTP/1.1 only: a stalled body must not hold up others on its connection. */
  openFetch: () => ClosableFetch;
}

/** Options of {@linkcode createRegistryFetch}. */
export interface RegistryFetchOptions {
  /** Registry host with an optional port: the client's certificate is shown to it alone. */
  registry: string;
  /** Whether any certificate is accepted. */
  insecure?: boolean | undefined;
  /** Authorities trusted besides the runtime's own, and servers' own certificates, as PEM. */
  caCerts?: readonly string[] | undefined;
  /** The client's own certificate, as PEM; goes with `key`. */
  cert?: string | undefined;
  /** Key of the client's certificate, as PEM. */
  key?: string | undefined;
  /** URL of the proxy that leads to the registry, user name and password in it; the environment's unless told. */
  proxy?: string | undefined;
  /** Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; the process's environment unless told. */
  env?: ((name: string) => string | undefined) | undefined;
  /** What the runtime does better; `node:` builtins and the runtime's fetch unless told. */
  network?: NativeNetwork | undefined;
}

/**
 * Bytes of a body from which on it goes over a connection of its own. A GB in layers of 1 GiB takes 0.6 s of CPU that way and 0.9 s
 * through Deno's fetch, in layers of 16 MiB 1.0 s and 1.45 s (tests/bench/PROFILE.md); below a few MiB it is not worth a second set
 * of connections.
 */
const LARGE_BODY = 4 * 1024 * 1024;

/**
 * Makes the fetch for a registry and everything it leads to (its token service, the storage its blobs are redirected to).
 * It speaks HTTP/1.1: a stalled body must not hold up others on its connection. Close it when the run is over.
 *
 * The runtime's fetch sends small requests where nothing special is asked for; whatever needs a certificate, a proxy or a large body
 * goes over connections of our own. With `insecure` any certificate is accepted, by every host that requests for this registry lead
 * to: who can pretend to be the registry chooses those hosts anyway.
 *
 * @throws {CertificateError} when a certificate or key cannot be used.
 * @throws {ProxyError} when the proxy cannot be used.
 */
export function createRegistryFetch(options: RegistryFetchOptions): ClosableFetch {
  const { insecure = false, env = environmentOf, network } = options;
  const connecting = connectorOptions(options);
  const plain = network?.openFetch() ?? { fetch: (url, init) => fetch(url, init), close: () => {} };
  const isProxied = options.proxy !== undefined || namesProxy(env);
  const isHidden = options.proxy === undefined && options.env === undefined && mayHideProxy();
  const hasTrust = insecure || connecting.caCerts.length > 0 || connecting.identity !== undefined;
  let opening: Promise<ClosableFetch> | undefined;
  const open = async () => {
    const [{ createHttpClient }, sockets] = await Promise.all([
      import("./http_client.ts"),
      openSockets(network),
    ]);
    return createHttpClient({ ...connecting, sockets });
  };
  const own: Fetch = async (url, init) => await (await (opening ??= open())).fetch(url, init);
  return {
    fetch: (url, init) => {
      const isSpecial = isProxied || hasTrust && /^https:/i.test(url);
      // A runtime's fetch would spell the query its own way.
      const isLarge = !isHidden && (sizeOf(init) >= LARGE_BODY || init.query !== undefined);
      return (isSpecial || isLarge ? own : plain.fetch)(url, init);
    },
    close: () => {
      opening?.then((client) => client.close(), () => {});
      plain.close();
    },
  };
}

async function openSockets(network: NativeNetwork | undefined): Promise<Sockets> {
  return await network?.openSockets() ?? (await import("./node_sockets.ts")).nodeSockets;
}

/** Bytes of the larger body of an exchange, as far as that is known. */
function sizeOf({ size = 0, body }: FetchInit): number {
  return body instanceof Blob ? body.size : size;
}

type Connecting = Omit<ConnectorOptions, "sockets"> & { caCerts: readonly string[] };

function connectorOptions(options: RegistryFetchOptions): Connecting {
  const { registry, caCerts = [], cert, key, insecure, proxy, env = environmentOf } = options;
  const source = `of registry ${registry}`;
  if ((cert === undefined) !== (key === undefined)) {
    throw new CertificateError(source, "a client's certificate and its key go together");
  }
  const fixed = proxy === undefined ? undefined : parseProxy(proxy);
  return {
    caCerts: caCerts.map((text) => certificatesIn(text, source)),
    isInsecure: insecure,
    proxyFor: (url) => fixed ?? environmentProxy(url, env),
    ...(cert !== undefined && key !== undefined &&
      { identity: { cert, key, origin: new URL(`https://${registry}`).origin } }),
  };
}
