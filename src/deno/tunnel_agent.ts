/** Connections through a proxy's tunnel (CONNECT; RFC 9110, section 9.3.6), for `node:https`. */

import { Agent, type AgentOptions, request as requestTls } from "node:https";
import { request as requestPlain } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect, type ConnectionOptions } from "node:tls";
import { ProxyError, proxyUser } from "./proxy.ts";

type OnConnection = (error: Error | null, socket: Duplex) => void;
type OnFailure = (error: Error) => void;

/** An agent whose connections go through a proxy; the proxy's own certificate is checked. */
export class TunnelAgent extends Agent {
  #proxy: URL;

  /**
   * Connects when it is first used.
   *
   * @throws {ProxyError} when the proxy is not an http: or https: one.
   */
  constructor(proxy: URL, options: AgentOptions) {
    super(options);
    if (proxy.protocol !== "http:" && proxy.protocol !== "https:") {
      throw new ProxyError(
        proxy.href,
        `an insecure registry is reached through http: and https: proxies only`,
      );
    }
    this.#proxy = proxy;
  }

  /** Opens a tunnel and TLS in it; `node:https` calls this when it needs a connection. */
  override createConnection(options: ConnectionOptions, onConnection: OnConnection): undefined {
    const fail = onConnection as OnFailure;
    const host = options.host?.includes(":") ? `[${options.host}]` : options.host;
    this.#openTunnel(`${host}:${options.port}`, fail, (socket) => {
      // Without the socket's own address in the options, TLS goes over the tunnel.
      const { host: _host, port: _port, path: _path, ...rest } = options;
      onConnection(null, connect({ ...rest, socket }));
    });
    return undefined;
  }

  #openTunnel(target: string, fail: OnFailure, done: (socket: Socket) => void): void {
    const proxy = this.#proxy;
    const send = proxy.protocol === "https:" ? requestTls : requestPlain;
    const request = send({
      host: proxy.hostname.replace(/^\[|\]$/g, ""),
      port: proxy.port || (proxy.protocol === "https:" ? 443 : 80),
      method: "CONNECT",
      path: target,
      headers: { host: target, ...authorizationOf(proxy) },
      agent: false,
    });
    const refuse = (status: number | undefined) => {
      request.destroy();
      fail(new ProxyError(proxy.href, `it answered ${status} to CONNECT ${target}`));
    };
    request.once("connect", (response, socket) => {
      if (response.statusCode === 200) done(socket);
      else {
        socket.destroy();
        refuse(response.statusCode);
      }
    });
    request.once("response", (response) => refuse(response.statusCode));
    request.on("error", (cause) => {
      const why = new ProxyError(proxy.href, cause.message);
      why.cause = cause;
      fail(why);
    });
    request.end();
  }
}

function authorizationOf(proxy: URL): Record<string, string> {
  const user = proxyUser(proxy);
  if (user === undefined) return {};
  const bytes = new TextEncoder().encode(`${user.username}:${user.password}`);
  return { "proxy-authorization": `Basic ${btoa(String.fromCharCode(...bytes))}` };
}
