/** Deno's own connections: what they leave to others. */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { fastSockets } from "../src/deno/fast_sockets.ts";
import type { Duplex, Sockets, TlsOptions } from "../src/machine/network/duplex.ts";
import { pem, serverIdentity } from "./tls_servers.ts";
import { serve } from "./registry/serve.ts";

const SIGNAL = new AbortController().signal;
const NOWHERE: Duplex = {
  read: () => Promise.resolve(null),
  write: (bytes) => Promise.resolve(bytes.length),
  close: () => {},
};

/** Sockets that only take note of what they are asked for. */
function recorder(): { sockets: Sockets; asked: unknown[][] } {
  const asked: unknown[][] = [];
  const record = (...request: unknown[]) => {
    asked.push(request);
    return Promise.resolve(NOWHERE);
  };
  return { asked, sockets: { connect: record, secure: record } };
}

Deno.test("fastSockets() lets others try a name that the first address does not answer for, with TLS and without", async () => {
  const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = { hostname: "localhost", port: (free.addr as Deno.NetAddr).port };
  free.close();
  for (const tls of [undefined, { hostname: "localhost", caCerts: [] }]) {
    const { sockets, asked } = recorder();
    assertStrictEquals(await fastSockets(sockets).connect(address, SIGNAL, tls), NOWHERE);
    assertEquals(asked, [[address, SIGNAL, tls]]);
  }
});

Deno.test("fastSockets() leaves to nobody what has a certificate that is not trusted", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  const { hostname, port } = new URL(server.url);
  const { sockets, asked } = recorder();
  const tls = { hostname, caCerts: [] };
  await assertRejects(
    () => fastSockets(sockets).connect({ hostname, port: Number(port) }, SIGNAL, tls),
    Error,
  );
  assertEquals(asked, []);
});

Deno.test("fastSockets() leaves TLS to others where Deno has none of its kind", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  const { hostname, port } = new URL(server.url);
  const address = { hostname, port: Number(port) };
  const base = { hostname, caCerts: [pem("ca.pem")] };
  const identity = { cert: pem("client.pem"), key: pem("client.key") };
  const { sockets, asked } = recorder();
  const fast = fastSockets(sockets);
  const over = async (tls: TlsOptions) => {
    const duplex = await fast.connect(address, SIGNAL);
    const secured = await fast.secure(duplex, tls, SIGNAL);
    (secured === NOWHERE ? duplex : secured).close();
    return secured === NOWHERE;
  };
  assertEquals(await over(base), false);
  assertEquals(await over({ ...base, accepts: () => true }), true);
  assertEquals(await over({ ...base, identity }), true);
  assertStrictEquals(await fast.secure(NOWHERE, base, SIGNAL), NOWHERE);
  assertEquals(asked.length, 3);
});
