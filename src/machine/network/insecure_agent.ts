/** Connections to servers whose certificate is not checked, for `node:https`. */

import type { ClientRequest } from "node:http";
import { Agent } from "node:https";
import { connect as connectPlain, Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { ProxyError } from "./proxy.ts";
import { type OnSocket, openTunnel } from "./tunnel.ts";
import { Valve } from "./valve.ts";

/** Options of an {@linkcode InsecureAgent}. */
export interface InsecureAgentOptions {
  /** The client's own certificate, as PEM; goes with `key`. */
  cert?: string | undefined;
  /** Key of the client's certificate, as PEM. */
  key?: string | undefined;
  /** The proxy all connections go through. */
  proxy?: URL | undefined;
}

/** Something under way that can be given up. */
interface Opening {
  destroy(error: Error): unknown;
}

/** A pool of connections, kept open for the next request. */
export class InsecureAgent {
  /** What `node:https` takes. */
  readonly agent: Agent;
  #options: InsecureAgentOptions;
  #opening = new Set<Opening>();
  #valves = new WeakMap<object, Valve>();
  #reusers = new WeakSet<ClientRequest>();
  #isClosed = false;

  /**
   * Connects when it is first used.
   *
   * @throws {ProxyError} when the proxy is not an http: or https: one.
   */
  constructor(options: InsecureAgentOptions) {
    const { cert, key, proxy } = options;
    if (proxy !== undefined && !/^https?:$/.test(proxy.protocol)) {
      throw new ProxyError(
        proxy.href,
        "an insecure registry is reached through http: and https: proxies only",
      );
    }
    this.#options = options;
    const identity = cert !== undefined && key !== undefined ? { cert, key } : {};
    this.agent = new Agent({
      keepAlive: true,
      rejectUnauthorized: false,
      ALPNProtocols: ["http/1.1"],
      ...identity,
    });
    const create = (target: ConnectionOptions, onSocket: OnSocket) => this.#connect(target, onSocket);
    // Node's types demand a stream where Node itself also takes one that comes later.
    this.agent.createConnection = create as unknown as Agent["createConnection"];
    // Node's own would mark the request, and Deno then keeps its whole body in memory and sends it again by itself, even
    // after an abort (denoland/deno#36786).
    this.agent.reuseSocket = (socket, request) => {
      if (socket instanceof Socket) socket.ref();
      this.#reusers.add(request);
    };
  }

  /** Whether it was closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether a request goes over a connection that has served others. */
  isReuser(request: ClientRequest): boolean {
    return this.#reusers.has(request);
  }

  /** The valve behind a connection of this pool. */
  valveOf(socket: Socket): Valve | undefined {
    return this.#valves.get(socket);
  }

  /** Closes every connection, and gives up those that are being opened. */
  close(): void {
    this.#isClosed = true;
    for (const one of this.#opening) one.destroy(new Error("the client is closed"));
    this.agent.destroy();
  }

  #connect(target: ConnectionOptions, onSocket: OnSocket): void {
    const opening = this.#open(target, (error, socket) => {
      this.#opening.delete(opening);
      if (socket === undefined) return onSocket(error);
      socket.setNoDelay(true);
      const valve = new Valve(socket);
      // Without an address in the options TLS goes over the given connection.
      const { host: _host, port: _port, path: _path, ...options } = target;
      const secured = connectTls({ ...options, socket: valve });
      this.#valves.set(secured, valve);
      onSocket(null, secured);
    });
    this.#opening.add(opening);
  }

  #open({ host = "", port = 443 }: ConnectionOptions, onSocket: OnSocket): Opening {
    const { proxy } = this.#options;
    if (proxy !== undefined) {
      return openTunnel(proxy, `${host.includes(":") ? `[${host}]` : host}:${port}`, onSocket);
    }
    const socket = connectPlain({ host, port: Number(port) });
    const onError = (error: Error) => onSocket(error);
    socket.once("error", onError);
    return socket.once("connect", () => {
      socket.off("error", onError);
      onSocket(null, socket);
    });
  }
}
