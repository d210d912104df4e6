/** Deno's own connections and its fetch, which take less CPU than what is made of `node:` builtins. */

import { untilAborted } from "../registry/deferred.ts";
import type { Fetch } from "../registry/fetch.ts";
import type { Address, Duplex, Sockets, TlsOptions } from "../machine/network/duplex.ts";
import type { NativeNetwork } from "../machine/network/tls.ts";

/** The network as Deno reaches it best. */
export const denoNetwork: NativeNetwork = {
  openSockets: async () => {
    const { nodeSockets } = await import("../machine/network/node_sockets.ts");
    return fastSockets(nodeSockets);
  },
  openFetch: () => {
    // No poolIdleTimeout: a number makes Deno's timer spin (denoland/deno#29444).
    const client = Deno.createHttpClient({ http2: false });
    const send: Fetch = (url, init) => fetch(url, { ...init, client });
    return { fetch: send, close: () => client.close() };
  },
};

const NOT_CONNECTED = ["ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL"];

/**
 * Opens connections with `Deno.connect`, `Deno.connectTls` and `Deno.startTls`.
 *
 * @param others Does what Deno does not: TLS with a certificate that no authority vouches for, or over anything but TCP.
 */
export function fastSockets(others: Sockets): Sockets {
  return {
    connect: async (address, signal, tls) => {
      try {
        if (tls !== undefined && tls.accepts === undefined) return await connectTls(address, tls, signal);
        const duplex = new TcpDuplex(await Deno.connect({ ...address, signal }));
        return tls === undefined ? duplex : await others.secure(duplex, tls, signal);
      } catch (error) {
        // A name may have several addresses, of which Deno tries the first.
        if (signal.aborted || !NOT_CONNECTED.includes((error as { code?: string }).code ?? "")) throw error;
        return await others.connect(address, signal, tls);
      }
    },
    secure: async (duplex, tls, signal) => {
      const isFast = duplex instanceof TcpDuplex && tls.accepts === undefined && tls.identity === undefined;
      return isFast ? await startTls(duplex, tls, signal) : await others.secure(duplex, tls, signal);
    },
  };
}

/** A TCP connection of Deno's; TLS may take it over. */
class TcpDuplex implements Duplex {
  readonly connection: Deno.TcpConn;

  constructor(connection: Deno.TcpConn) {
    connection.setNoDelay();
    this.connection = connection;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.connection.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.connection.write(bytes);
  }

  close(): void {
    this.connection.close();
  }
}

async function connectTls(address: Address, tls: TlsOptions, signal: AbortSignal): Promise<Duplex> {
  const { hostname, caCerts, identity } = tls;
  const options = { ...address, hostname, caCerts: [...caCerts], alpnProtocols: ["http/1.1"], ...identity };
  return await shakeHands(Deno.connectTls(options), signal);
}

async function startTls(tcp: TcpDuplex, tls: TlsOptions, signal: AbortSignal): Promise<Duplex> {
  const { hostname, caCerts } = tls;
  const options = { hostname, caCerts: [...caCerts], alpnProtocols: ["http/1.1"] };
  return await shakeHands(Deno.startTls(tcp.connection, options), signal);
}

/** Waits until the certificate has been checked: a first write would find it out too late to go another way. */
async function shakeHands(opening: Promise<Deno.TlsConn>, signal: AbortSignal): Promise<Duplex> {
  const close = () => void opening.then((connection) => connection.close(), () => {});
  const securing = opening.then(async (connection) => {
    await connection.handshake();
    return connection;
  });
  try {
    return await untilAborted(securing, signal);
  } catch (error) {
    close();
    securing.catch(() => {});
    throw error;
  }
}
