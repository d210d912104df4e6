/** Connections as this program needs them: bytes both ways, opened by whatever the runtime is best at. */

/** Bytes both ways; what a `Deno.Conn` is, and what {@linkcode nodeSockets} makes of `node:net`. */
export interface Duplex {
  /**
   * Reads some bytes into a buffer, one call at a time; `null` at the end. Nothing is taken from the network before it is called,
   * but for one buffer.
   *
   * @throws {Error} when the connection broke, or was closed here.
   */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some bytes, and says how many of them; settled when there is room for more. */
  write(bytes: Uint8Array): Promise<number>;
  /** Closes the connection: a read or a write that waits is settled. */
  close(): void;
}

/** Where a connection leads to. */
export interface Address {
  /** Name or IP address, without brackets. */
  hostname: string;
  /** Port. */
  port: number;
}

/** What a TLS connection needs. */
export interface TlsOptions {
  /** Whom the certificate must vouch for. */
  hostname: string;
  /** Authorities trusted besides the runtime's own, as PEM. */
  caCerts: readonly string[];
  /** The client's own certificate and its key, as PEM. */
  identity?: { cert: string; key: string } | undefined;
  /** Decides over the server's certificate (DER) in place of all authorities. */
  accepts?: ((certificate: Uint8Array) => boolean) | undefined;
}

/** Opens connections. */
export interface Sockets {
  /**
   * Opens a TCP connection, with TLS over it where that is told; the certificate has been checked then.
   *
   * @throws {unknown} the signal's reason when it is aborted.
   */
  connect(address: Address, signal: AbortSignal, tls?: TlsOptions): Promise<Duplex>;
  /** Puts TLS over a connection, which is closed when that fails. */
  secure(duplex: Duplex, tls: TlsOptions, signal: AbortSignal): Promise<Duplex>;
}

/** A host without the brackets that an IPv6 address has in a URL, and the port, which a scheme implies. */
export function addressOf({ hostname, port, protocol }: URL): Address {
  const implied: Record<string, number> = { "https:": 443, "http:": 80 };
  return { hostname: hostname.replace(/^\[|\]$/g, ""), port: Number(port || (implied[protocol] ?? 1080)) };
}

/** Reads until a buffer is full. */
export async function readFully(duplex: Duplex, into: Uint8Array): Promise<void> {
  for (let filled = 0; filled < into.length;) {
    const count = await duplex.read(into.subarray(filled));
    if (count === null) throw new Error("unexpected EOF: the connection was closed");
    filled += count;
  }
}

/** Writes all of some bytes. */
export async function writeFully(duplex: Duplex, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length;) {
    offset += await duplex.write(offset === 0 ? bytes : bytes.subarray(offset));
  }
}
