/** A tunnel through a proxy (CONNECT; RFC 9110, section 9.3.6). */

import { type ClientRequest, request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import type { Socket } from "node:net";
import { ProxyError, proxyUser } from "./proxy.ts";

/** Told of a connection, or of why there is none. */
export type OnSocket = (error: Error | null, socket?: Socket) => void;

/** Milliseconds a proxy may take to open a tunnel. */
const TUNNEL_TIMEOUT = 30_000;

/**
 * Opens a tunnel to a server; a proxy that is itself reached over TLS needs a trusted certificate.
 *
 * @param proxy URL of the proxy, http: or https:.
 * @param server The server and its port.
 * @returns The request under way; destroying it fails the tunnel.
 */
export function openTunnel(proxy: URL, server: string, onSocket: OnSocket): ClientRequest {
  const request = askForTunnel(proxy, server);
  let settle: OnSocket | undefined = onSocket;
  const fail = (why: string, cause?: Error) => {
    settle?.(new ProxyError(proxy.href, why, { cause }));
    settle = undefined;
    request.destroy();
  };
  request.once("connect", (response, socket) => {
    if (response.statusCode !== 200) {
      socket.destroy();
      return fail(`it answered ${response.statusCode} to CONNECT ${server}`);
    }
    socket.setTimeout(0);
    settle?.(null, socket);
    settle = undefined;
  });
  request.once("response", ({ statusCode }) => fail(`it answered ${statusCode} to CONNECT ${server}`));
  request.once("timeout", () => fail(`no answer within ${TUNNEL_TIMEOUT / 1000} s`));
  request.on("error", (cause) => fail(cause.message, cause));
  return request.end();
}

function askForTunnel(proxy: URL, server: string): ClientRequest {
  const isTls = proxy.protocol === "https:";
  return (isTls ? requestTls : requestPlain)({
    host: proxy.hostname.replace(/^\[|\]$/g, ""),
    port: proxy.port || (isTls ? 443 : 80),
    method: "CONNECT",
    path: server,
    headers: { host: server, ...authorizationOf(proxy) },
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
