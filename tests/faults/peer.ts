/** One end of a TCP connection in the hands of the fault proxy: read, write, half-close, reset. */

import net from "node:net";

/** Bytes as every stream here carries them. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** The other end is gone: nothing more can be read from it or written to it. */
export class GoneError extends Error {
  /** Keeps what the runtime said as its cause. */
  constructor(cause?: unknown) {
    super("The other end of the connection is gone", { cause });
    this.name = "GoneError";
  }
}

/** Bytes that every receiver on loopback has room for. */
const SMALL_WINDOW = 32 * 1024;

/** A connection. It is built on `node:net`, because a connection of `Deno.listen` cannot be reset (SO_LINGER 0). */
export class Peer {
  /** Resolves when the connection is over, whoever ended it. */
  readonly closed: Promise<void>;
  readonly #socket: net.Socket;
  readonly #pieces: AsyncIterator<unknown>;
  #rest: Bytes | undefined;
  /** Bytes written since something was last read, which shows that what was written before has arrived. */
  #written = 0;

  /** Takes over a socket. */
  constructor(socket: net.Socket) {
    this.#socket = socket;
    // Errors are told by reads and writes; without a listener they would end the process.
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    this.#pieces = socket[Symbol.asyncIterator]();
  }

  /** Connects to a server on loopback. */
  static async connect(port: number): Promise<Peer> {
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", () => resolve());
      socket.once("error", (error) => reject(new GoneError(error)));
    });
    return new Peer(socket);
  }

  /** The next bytes, or `undefined` at their end or when the connection broke. */
  async read(): Promise<Bytes | undefined> {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) return rest;
    try {
      const { done, value } = await this.#pieces.next();
      this.#written = 0;
      return done || !(value instanceof Uint8Array) ? undefined : Uint8Array.from(value);
    } catch {
      return undefined;
    }
  }

  /** Gives bytes back, to be read again. */
  unread(bytes: Bytes): void {
    if (bytes.length > 0) this.#rest = bytes;
  }

  /**
   * Writes bytes and waits until the system has taken them.
   *
   * @throws {GoneError} when the other end is gone.
   */
  async write(data: Uint8Array | string): Promise<void> {
    if (this.#socket.destroyed) throw new GoneError();
    this.#written += data.length;
    await new Promise<void>((resolve, reject) => {
      const onClose = () => reject(new GoneError());
      this.#socket.once("close", onClose);
      this.#socket.write(data, (error) => {
        this.#socket.off("close", onClose);
        if (error) reject(new GoneError(error));
        else resolve();
      });
    });
  }

  /** Says that nothing more is written (FIN), and goes on reading. */
  endWriting(): void {
    this.#socket.end();
  }

  /** Says that nothing more is written (FIN), then lets go. */
  close(): void {
    this.#socket.end(() => this.#socket.destroy());
  }

  /** Breaks the connection with an RST at once; what was written but has not arrived is lost. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /**
   * Breaks the connection with an RST after what was written has arrived, so that what a test counts as sent was sent.
   * Where the system does not tell (it does so on Linux), it breaks at once.
   */
  async resetAfterArrival(): Promise<void> {
    const { localPort = 0, remotePort = 0 } = this.#socket;
    // On loopback what fits into the other end's window has arrived when it is written.
    if (this.#written < SMALL_WINDOW) return this.reset();
    // Reading the file gives others their turn, so this does not spin without end for a client in the same process.
    while (!this.#socket.destroyed && await unsentBytes(localPort, remotePort) > 0);
    this.reset();
  }

  /** Lets go at once. */
  destroy(): void {
    this.#socket.destroy();
  }
}

/** Bytes that the system still holds for a connection on loopback, by the kernel's list of connections. */
async function unsentBytes(localPort: number, remotePort: number): Promise<number> {
  const ends = [localPort, remotePort].map((port) =>
    `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`
  );
  const text = await Deno.readTextFile("/proc/net/tcp").catch(() => "");
  const line = text.split("\n").find((one) => one.includes(`${ends[0]} ${ends[1]}`));
  return parseInt(line?.trim().split(/\s+/)[4] ?? "0", 16);
}
