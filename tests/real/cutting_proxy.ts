/** A TCP proxy that counts what a registry sends and says when it has come to a certain byte. */

/** The proxy under way. */
export interface CuttingProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT`, as the registry part of a reference. */
  readonly host: string;
  /** Bytes the registry has sent through all connections so far. */
  readonly bytes: number;
  /** Resolves when the registry has sent so many bytes more; until {@linkcode resume} nothing goes on after that. */
  stopAfter(bytes: number): Promise<void>;
  /** Lets bytes through again. */
  resume(): void;
}

/** Starts a proxy before a server on loopback. */
export function startCuttingProxy(target: { host: string }): CuttingProxy {
  return new TcpProxy(Number(target.host.split(":")[1]));
}

/** Where the bytes stop. */
interface Mark {
  at: number;
  reached: PromiseWithResolvers<void>;
  resumed: PromiseWithResolvers<void>;
}

class TcpProxy implements CuttingProxy {
  readonly host: string;
  bytes = 0;
  #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  #port: number;
  #connections = new Set<Deno.Conn>();
  #mark: Mark | undefined;
  #serving: Promise<void>;

  constructor(port: number) {
    this.#port = port;
    this.host = `127.0.0.1:${this.#listener.addr.port}`;
    this.#serving = this.#serve();
  }

  stopAfter(bytes: number): Promise<void> {
    const [reached, resumed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    this.#mark = { at: this.bytes + bytes, reached, resumed };
    return reached.promise;
  }

  resume(): void {
    this.#mark?.resumed.resolve();
    this.#mark = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume();
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
    await this.#serving;
  }

  async #serve(): Promise<void> {
    const pairs: Promise<void>[] = [];
    for await (const client of this.#listener) pairs.push(this.#join(client));
    await Promise.all(pairs);
  }

  async #join(client: Deno.Conn): Promise<void> {
    const server = await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
    this.#connections.add(client).add(server);
    await Promise.all([
      pump(client, server, () => Promise.resolve()),
      pump(server, client, (count) => this.#pass(count)),
    ]);
    for (const connection of [client, server]) {
      this.#connections.delete(connection);
      close(connection);
    }
  }

  /** Counts bytes before they are let through, and holds them when the mark is reached. */
  async #pass(count: number): Promise<void> {
    this.bytes += count;
    const mark = this.#mark;
    if (mark === undefined || this.bytes < mark.at) return;
    mark.reached.resolve();
    await mark.resumed.promise;
  }
}

/** Copies until either side is gone; then neither is of use any longer. */
async function pump(from: Deno.Conn, to: Deno.Conn, pass: (count: number) => Promise<void>): Promise<void> {
  const buffer = new Uint8Array(16 * 1024);
  try {
    for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
      await pass(count);
      for (let sent = 0; sent < count;) sent += await to.write(buffer.subarray(sent, count));
    }
    await to.closeWrite();
  } catch {
    close(from);
    close(to);
  }
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
