/** Connections made of `node:net` and `node:tls`, which Deno, Node and Bun all have. */

import { Buffer } from "node:buffer";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import process from "node:process";
import * as tls from "node:tls";
import { defer, type Deferred } from "../../registry/deferred.ts";
import type { Address, Duplex, Sockets, TlsOptions } from "./duplex.ts";
import { TlsDuplex } from "./tls_duplex.ts";

/** Bytes that one read from the network gives at most. */
const BUFFER_SIZE = 256 * 1024;

/** Opens connections with `node:net` and `node:tls`. */
export const nodeSockets: Sockets = {
  connect: async (address, signal, secure) => {
    const tcp = await TcpDuplex.open(address, signal);
    return secure === undefined ? tcp : await nodeSockets.secure(tcp, secure, signal);
  },
  secure: (duplex, options, signal) => TlsDuplex.open(duplex, connectOptions(options), signal),
};

/** What `node:tls` is told; a name is asked for, an address is not (RFC 6066, section 3). */
function connectOptions({ hostname, caCerts, identity, accepts }: TlsOptions) {
  // Deno trusts authorities besides its own, the others in place of them.
  const own = process.versions.deno === undefined ? ownAuthorities() : [];
  return {
    options: {
      host: hostname,
      ...(isIP(hostname) === 0 && { servername: hostname }),
      ...(caCerts.length > 0 && { ca: [...own, ...caCerts] }),
      ...identity,
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: accepts === undefined,
    },
    accepts: accepts ?? (() => true),
  };
}

/** The authorities that the runtime trusts, those of `NODE_EXTRA_CA_CERTS` among them where it says (Node from 22.15 on). */
function ownAuthorities(): readonly string[] {
  return tls.getCACertificates?.("default") ?? tls.rootCertificates;
}

/**
 * A TCP connection that reads into a buffer of its own: with events that bring buffers of their own the same takes two to three
 * times the CPU, and Deno goes on reading while nobody takes what came.
 */
class TcpDuplex implements Duplex {
  readonly #socket: Socket;
  /** What has come and was not read yet. */
  #received: Uint8Array = new Uint8Array();
  #isPaused = false;
  #waiting: Deferred<void> | undefined;
  /** How it is over: in order, or not. */
  #end: { error?: unknown } | undefined;

  private constructor(address: Address) {
    const buffer = Buffer.alloc(BUFFER_SIZE);
    const { hostname: host, port } = address;
    const callback = (count: number) => this.#take(buffer.subarray(0, count));
    this.#socket = connectTcp({ host, port, noDelay: true, onread: { buffer, callback } });
    this.#socket.on("error", (error) => this.#finish({ error }));
    this.#socket.on("end", () => this.#finish({}));
    this.#socket.on("close", () => this.#finish({}));
  }

  static async open(address: Address, signal: AbortSignal): Promise<TcpDuplex> {
    signal.throwIfAborted();
    const duplex = new TcpDuplex(address);
    const { promise, resolve, reject } = defer<void>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    duplex.#socket.once("connect", resolve).once("error", reject);
    try {
      await promise;
      return duplex;
    } catch (error) {
      duplex.close();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async read(into: Uint8Array): Promise<number | null> {
    if (this.#received.length === 0 && this.#end === undefined) {
      this.#waiting = defer();
      if (this.#isPaused) {
        this.#isPaused = false;
        this.#socket.resume();
      }
      await this.#waiting.promise;
    }
    const count = Math.min(into.length, this.#received.length);
    if (count > 0) {
      into.set(this.#received.subarray(0, count));
      this.#received = this.#received.subarray(count);
      return count;
    }
    if (this.#end !== undefined && "error" in this.#end) throw this.#end.error;
    return null;
  }

  write(bytes: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = defer<number>();
    this.#socket.write(bytes, (error) => error ? reject(error) : resolve(bytes.length));
    return promise;
  }

  close(): void {
    this.#finish({ error: new Error("the connection was closed here") });
    this.#socket.destroy();
  }

  /** Called with what came; `false` stops the reading. */
  #take(bytes: Uint8Array): boolean {
    this.#received = bytes;
    this.#isPaused = true;
    this.#wake();
    return false;
  }

  #finish(end: { error?: unknown }): void {
    this.#end ??= end;
    this.#wake();
  }

  #wake(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}
