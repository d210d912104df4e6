/** TLS by `node:tls` over any connection. */

import { Buffer } from "node:buffer";
import { Duplex as DuplexStream } from "node:stream";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { defer } from "../../registry/deferred.ts";
import type { Duplex } from "./duplex.ts";

/** Bytes taken at once from the connection below. */
const BUFFER_SIZE = 64 * 1024;

/**
 * The connection below, as `node:tls` takes it. It gives bytes only while somebody waits for what comes of them: Deno's `node:tls`
 * goes on taking them when nobody reads (seen in 2.9.6: a paused download of 1 GiB was in memory soon).
 */
class LowerStream extends DuplexStream {
  readonly #duplex: Duplex;
  #isOpen = true;
  #isWanted = false;
  #isReading = false;

  constructor(duplex: Duplex) {
    super({ allowHalfOpen: false });
    this.#duplex = duplex;
  }

  /** Lets bytes in, or no more than those that are on their way. */
  set isOpen(isOpen: boolean) {
    this.#isOpen = isOpen;
    if (isOpen) this.#pump();
  }

  override _read(): void {
    this.#isWanted = true;
    this.#pump();
  }

  override _write(bytes: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    const write = async () => {
      for (let offset = 0; offset < bytes.length;) offset += await this.#duplex.write(bytes.subarray(offset));
    };
    write().then(() => done(), done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#duplex.close();
    done(error);
  }

  async #pump(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#isWanted && this.#isOpen && !this.destroyed) {
        const buffer = Buffer.allocUnsafe(BUFFER_SIZE);
        const count = await this.#duplex.read(buffer);
        this.#isWanted = false;
        this.push(count === null ? null : buffer.subarray(0, count));
        if (count === null) return;
      }
    } catch (error) {
      this.destroy(error as Error);
    } finally {
      this.#isReading = false;
    }
  }
}

/** How a TLS connection is made. */
export interface TlsDuplexOptions {
  /** For `node:tls`. */
  options: ConnectionOptions;
  /** Decides over the server's certificate (DER), besides what `options` say. */
  accepts: (certificate: Uint8Array) => boolean;
}

/** A TLS connection. */
export class TlsDuplex implements Duplex {
  readonly #lower: LowerStream;
  readonly #secured: TLSSocket;
  #rest: Uint8Array = new Uint8Array();
  #isEnded = false;
  #failure: { error: unknown } | undefined;
  #wake: () => void = () => {};

  private constructor(duplex: Duplex, options: ConnectionOptions) {
    this.#lower = new LowerStream(duplex);
    this.#secured = connect({ ...options, socket: this.#lower });
    const fail = (error: unknown) => {
      this.#failure ??= { error };
      this.#wake();
    };
    this.#secured.on("error", fail);
    this.#lower.on("error", fail);
    const end = () => {
      this.#isEnded = true;
      this.#wake();
    };
    this.#secured.on("end", end).on("close", end).on("readable", () => this.#wake());
    this.#lower.on("close", end);
  }

  /**
   * Shakes hands over a connection, which is closed when that fails.
   *
   * @throws {Error} when the certificate is not accepted.
   */
  static async open(
    duplex: Duplex,
    { options, accepts }: TlsDuplexOptions,
    signal: AbortSignal,
  ): Promise<TlsDuplex> {
    const tls = new TlsDuplex(duplex, options);
    try {
      await tls.#shakeHands(signal);
      const certificate = tls.#secured.getPeerCertificate(true)?.raw;
      if (!accepts(certificate ?? new Uint8Array())) {
        throw new Error("the certificate is none of those that are trusted");
      }
      tls.#lower.isOpen = false;
      return tls;
    } catch (error) {
      tls.close();
      throw error;
    }
  }

  async read(into: Uint8Array): Promise<number | null> {
    for (;;) {
      if (this.#rest.length === 0) this.#rest = this.#secured.read() ?? this.#rest;
      const count = Math.min(into.length, this.#rest.length);
      if (count > 0) {
        into.set(this.#rest.subarray(0, count));
        this.#rest = this.#rest.subarray(count);
        return count;
      }
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#isEnded) return null;
      const { promise, resolve } = defer<void>();
      this.#wake = resolve;
      this.#lower.isOpen = true;
      await promise;
      this.#lower.isOpen = false;
    }
  }

  write(bytes: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = defer<number>();
    this.#secured.write(bytes, (error) => error ? reject(error) : resolve(bytes.length));
    return promise;
  }

  close(): void {
    this.#failure ??= { error: new Error("the connection was closed here") };
    this.#secured.destroy();
    this.#lower.destroy();
    this.#wake();
  }

  async #shakeHands(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = defer<void>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    this.#wake = () => {
      if (this.#failure !== undefined) reject(this.#failure.error);
      else if (this.#isEnded) reject(new Error("handshake eof: the connection was closed"));
    };
    this.#secured.once("secureConnect", resolve);
    try {
      await promise;
    } finally {
      this.#wake = () => {};
      signal.removeEventListener("abort", onAbort);
    }
  }
}
