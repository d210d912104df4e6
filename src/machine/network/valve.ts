/** A connection whose incoming bytes can be held back, so that they wait in the network and not in memory. */

import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/**
 * A socket with a valve, for TLS to run over. Deno's `node:tls` goes on taking bytes from a socket of its own when nobody
 * reads what it decrypted (seen in 2.9.6: a paused download of 1 GiB was in memory soon), so the socket stops instead.
 */
export class Valve extends Duplex {
  #socket: Socket;
  #isOpen = true;

  /** Takes over a connected socket; it starts open. */
  constructor(socket: Socket) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    socket.on("data", (bytes) => this.#take(bytes));
    socket.on("end", () => this.push(null));
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
  }

  /** Lets bytes in. */
  open(): void {
    this.#isOpen = true;
    this.#socket.resume();
  }

  /** Holds bytes back. */
  shut(): void {
    this.#isOpen = false;
    this.#socket.pause();
  }

  /** Called by the stream when it has room. */
  override _read(): void {
    if (this.#isOpen) this.#socket.resume();
  }

  /** Called by the stream when it has something to send; done when the socket has sent it. */
  override _write(bytes: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.#socket.write(bytes, done);
  }

  /** Called by the stream when nothing more is sent. */
  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  /** Called by the stream when it is over. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #take(bytes: Uint8Array): void {
    if (!this.push(bytes)) this.#socket.pause();
  }
}
