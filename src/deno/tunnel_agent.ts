/** Connections through a proxy's tunnel (CONNECT; RFC 9110, section 9.3.6), for `node:https`. */

import { Agent, type AgentOptions, request as requestTls } from "node:https";
import { type ClientRequest, request as requestPlain } from "node:http";
import type { Socket } from "node:net";
import { connect, type ConnectionOptions } from "node:tls";
import { ProxyError, proxyUser } from "./proxy.ts";

/** Told of a connection, or of why there is none. */
type OnConnection = (error: Error | null, socket?: Socket) => void;

/** Milliseconds a proxy may take to open a tunnel. */
const TUNNEL_TIMEOUT = 30_000;

/**
 * Makes an agent whose connections go through a proxy; the proxy's own certificate is checked.
 *
 * @throws {ProxyError} when the proxy is not an http: or https: one.
 */
export function createTunnelAgent(proxy: URL, options: AgentOptions): Agent {
  if (proxy.protocol !== "http:" && proxy.protocol !== "https:") {
    throw new ProxyError(proxy.href, "an insecure registry is reached through http: and https: proxies only");
  }
  const agent = new Agent(options);
  const opening = new Set<ClientRequest>();
  const open = (target: ConnectionOptions, onConnection: OnConnection) => {
    const request = openTunnel(proxy, target, onConnection);
    opening.add(request.once("close", () => opening.delete(request)));
  };
  // Node's types demand a stream where Node itself also takes one that comes later.
  agent.createConnection = open as unknown as Agent["createConnection"];
  const destroy = agent.destroy.bind(agent);
  agent.destroy = () => {
    for (const request of opening) request.destroy();
    return destroy();
  };
  return agent;
}

function openTunnel(proxy: URL, options: ConnectionOptions, onConnection: OnConnection): ClientRequest {
  const host = options.host?.includes(":") ? `[${options.host}]` : options.host;
  const target = `${host}:${options.port}`;
  const request = askForTunnel(proxy, target);
  const fail = (why: string, cause?: Error) => {
    onConnection(Object.assign(new ProxyError(proxy.href, why), { cause }));
    request.destroy();
  };
  request.once("connect", (response, socket) => {
    if (response.statusCode !== 200) {
      socket.destroy();
      return fail(`it answered ${response.statusCode} to CONNECT ${target}`);
    }
    socket.setTimeout(0);
    // Without an address in the options TLS goes over the tunnel.
    const { host: _host, port: _port, path: _path, ...rest } = options;
    onConnection(null, connect({ ...rest, socket }));
  });
  request.once("response", ({ statusCode }) => fail(`it answered ${statusCode} to CONNECT ${target}`));
  request.once("timeout", () => fail(`no answer within ${TUNNEL_TIMEOUT / 1000} s`));
  request.on("error", (cause) => fail(cause.message, cause));
  return request.end();
}

function askForTunnel(proxy: URL, target: string): ClientRequest {
  const isTls = proxy.protocol === "https:";
  return (isTls ? requestTls : requestPlain)({
    host: proxy.hostname.replace(/^\[|\]$/g, ""),
    port: proxy.port || (isTls ? 443 : 80),
    method: "CONNECT",
    path: target,
    headers: { host: target, ...authorizationOf(proxy) },
    agent: false,
    timeout: TUNNEL_TIMEOUT,
  });
}

function authorizationOf(proxy: URL): Record<string, string> {
  const user = proxyUser(proxy);
  if (user === undefined) return {};
  const bytes = new TextEncoder().encode(`${user.username}:${user.password}`);
  return { "proxy-authorization": `Basic ${btoa(String.fromCharCode(...bytes))}` };
}
