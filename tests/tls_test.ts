/** How a registry is reached: certificates it needs, certificates it asks for, proxies, and what is said when that fails. */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { CertificateError } from "../src/machine/network/certificates.ts";
import { environmentProxy, isWithoutProxy, ProxyError } from "../src/machine/network/proxy.ts";
import { createRegistryFetch, type RegistryFetchOptions } from "../src/machine/network/tls.ts";
import { bytesSource, UploadBody } from "../src/registry/stream/body.ts";
import type { FetchInit } from "../src/registry/fetch.ts";
import { describeFailure } from "../src/registry/network_failure.ts";
import { serve } from "./registry/serve.ts";
import { pem, serveMutual, serveProxy, serverIdentity } from "./tls_servers.ts";

const CLIENT = { cert: pem("client.pem"), key: pem("client.key") };
const CA = { caCerts: [pem("ca.pem")] };
const NO_PROXIES = { env: () => undefined };

/** The text at a URL, through a fetch made for it. */
async function get(url: string, options: Omit<RegistryFetchOptions, "registry">): Promise<string> {
  const { fetch, close } = createRegistryFetch({ registry: "reg.test", ...NO_PROXIES, ...options });
  try {
    return await (await fetch(url, {})).text();
  } finally {
    close();
  }
}

const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
const VARIABLES = [...PROXY_VARIABLES, "NO_PROXY", "no_proxy"];

/** Runs a test while the environment names the proxies it is told and no others. */
async function withProxies(proxies: Record<string, string>, test: () => Promise<void>): Promise<void> {
  const before = VARIABLES.map((name) => [name, Deno.env.get(name)] as const);
  try {
    for (const name of VARIABLES) Deno.env.delete(name);
    for (const [name, value] of Object.entries(proxies)) Deno.env.set(name, value);
    await test();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

const LARGE = 4 * 1024 * 1024;

/** Whether a request goes over a socket of our own, and the text it is answered with. */
async function way(url: string, init: FetchInit, options: Omit<RegistryFetchOptions, "registry"> = CA) {
  const { fetch, close } = createRegistryFetch({ registry: "reg.test", ...options });
  try {
    const response = await fetch(url, init);
    return [response.interrupt !== undefined, await response.text()];
  } finally {
    close();
  }
}

/** An upload of so many bytes, as the walk sends it. */
function uploadOf(size: number): FetchInit {
  return { method: "PUT", ...new UploadBody(bytesSource(new Uint8Array(size)), size).init() };
}

/** What a user is told when a URL cannot be reached. */
async function failureOf(url: string, options: Omit<RegistryFetchOptions, "registry">): Promise<string> {
  const error = await assertRejects(() => get(url, options), TypeError);
  return describeFailure(error, new URL(url));
}

Deno.test("createRegistryFetch() fails on an untrusted certificate with what helps", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  const said = await failureOf(server.url, {});
  assertStringIncludes(
    said,
    `the certificate of ${new URL(server.url).host} is not trusted (unknown issuer)`,
  );
  assertStringIncludes(said, '"caFile"');
  assertStringIncludes(said, '"insecure": true');
});

Deno.test("createRegistryFetch() trusts the authorities it is given, for the names they vouch for", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  assertEquals(await get(server.url, CA), "hello");
  await using other = serve(() => new Response("hello"), serverIdentity("other"));
  const error = await assertRejects(() => get(other.url, CA), TypeError);
  assertStringIncludes(Deno.inspect(error), 'certificate not valid for name "127.0.0.1"');
});

Deno.test("createRegistryFetch() accepts any certificate of an insecure registry, and none at all", async () => {
  for (const identity of [serverIdentity(), serverIdentity("other"), {}]) {
    await using server = serve(() => new Response("hello"), identity);
    assertEquals(await get(server.url, { insecure: true }), "hello");
  }
});

Deno.test("createRegistryFetch() shows the client's certificate to a registry that asks for one", async () => {
  await using server = await serveMutual();
  const url = `https://${server.host}/`;
  for (const insecure of [false, true]) {
    assertEquals(await get(url, { ...CA, ...CLIENT, insecure }), "test client");
    const error = await assertRejects(() => get(url, { ...CA, insecure }), TypeError, "fetch failed");
    assertStringIncludes(Deno.inspect(error), "CertificateRequired");
  }
});

Deno.test("createRegistryFetch() refuses what is no certificate, and half a pair", () => {
  const make = (options: Omit<RegistryFetchOptions, "registry">) => () =>
    createRegistryFetch({ registry: "reg.test", ...options });
  const pemOf = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
  const source = 'Cannot use certificate "of registry reg.test": ';
  assertThrows(make({ caCerts: ["rubbish"] }), CertificateError, `${source}there is no certificate in it`);
  assertThrows(make({ caCerts: [pemOf("!!!")] }), CertificateError, "is not base64");
  assertThrows(make({ caCerts: [pemOf(btoa("rubbish"))] }), CertificateError, "it is refused");
  assertThrows(make({ cert: CLIENT.cert }), CertificateError, "go together");
  assertThrows(make({ ...CLIENT, key: pem("server.key") }), CertificateError, "KeyMismatch");
});

Deno.test("createRegistryFetch() goes through the proxy it is given, with its user name and password", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  const authorization = `Basic ${btoa("me:p@ss")}`;
  for (const insecure of [false, true]) {
    await using proxy = serveProxy(authorization);
    const options = { ...CA, insecure, proxy: `http://me:p%40ss@${proxy.host}` };
    assertEquals(await get(server.url, options), "hello");
    assertEquals(proxy.heads.length, 1);
    assertStringIncludes(proxy.heads[0] ?? "", `CONNECT ${new URL(server.url).host} HTTP/1.1`);
    const error = await assertRejects(
      () => get(server.url, { ...options, proxy: `http://me:wrong@${proxy.host}` }),
      TypeError,
    );
    assert(!Deno.inspect(error).includes("wrong"), Deno.inspect(error));
    if (insecure) {
      assertStringIncludes(describeFailure(error, new URL(server.url)), "answered 407 to CONNECT");
    }
  }
});

Deno.test("createRegistryFetch() takes the proxy of the environment for an insecure registry, except where it says no", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  await using proxy = serveProxy();
  const env = (variables: Record<string, string>) => (name: string) => variables[name];
  const through = { https_proxy: `http://${proxy.host}` };
  assertEquals(await get(server.url, { insecure: true, env: env(through) }), "hello");
  assertEquals(proxy.heads.length, 1);
  assertEquals(
    await get(server.url, { insecure: true, env: env({ ...through, NO_PROXY: "127.0.0.0/8" }) }),
    "hello",
  );
  assertEquals(proxy.heads.length, 1);
});

Deno.test("createRegistryFetch() leaves the environment's proxy to Deno for any other registry", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  await using proxy = serveProxy();
  const before = ["HTTPS_PROXY", "NO_PROXY", "no_proxy"].map((name) => [name, Deno.env.get(name)] as const);
  try {
    for (const [name] of before) Deno.env.delete(name);
    Deno.env.set("HTTPS_PROXY", `http://${proxy.host}`);
    assertEquals(await get(server.url, CA), "hello");
    assertEquals(proxy.heads.length, 1);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
});

Deno.test("createRegistryFetch() sends large bodies both ways over a socket, and small ones with Deno's fetch", () =>
  withProxies({}, async () => {
    for (const identity of [serverIdentity(), {}]) {
      await using server = serve(
        async (request) => new Response(String((await request.arrayBuffer()).byteLength)),
        identity,
      );
      assertEquals(await way(server.url, { size: LARGE }), [true, "0"]);
      assertEquals(await way(server.url, { size: LARGE - 1 }), [false, "0"]);
      assertEquals(await way(server.url, {}), [false, "0"]);
      assertEquals(await way(server.url, uploadOf(LARGE)), [true, `${LARGE}`]);
      assertEquals(await way(server.url, uploadOf(LARGE - 1)), [false, `${LARGE - 1}`]);
    }
  }));

Deno.test("createRegistryFetch() shows the client's certificate over a socket too", () =>
  withProxies({}, async () => {
    await using server = await serveMutual();
    const options = { ...CA, ...CLIENT };
    assertEquals(await way(`https://${server.host}/`, { size: LARGE }, options), [true, "test client"]);
  }));

Deno.test("createRegistryFetch() says of a large body what it says of others when a certificate is not trusted", () =>
  withProxies({}, async () => {
    await using server = serve(() => new Response("hello"), serverIdentity());
    for (const init of [{ size: LARGE }, uploadOf(LARGE)]) {
      const error = await assertRejects(() => way(server.url, init, {}), TypeError);
      assertStringIncludes(describeFailure(error, new URL(server.url)), "is not trusted (unknown issuer)");
    }
  }));

Deno.test("createRegistryFetch() goes over no socket for an insecure registry's https, and over one for its http", () =>
  withProxies({}, async () => {
    const insecure = { insecure: true, ...NO_PROXIES };
    await using server = serve(() => new Response("hello"), serverIdentity());
    assertEquals(await way(server.url, { size: LARGE }, insecure), [false, "hello"]);
    await using plain = serve(() => new Response("hello"));
    assertEquals(await way(plain.url, { size: LARGE }, insecure), [true, "hello"]);
  }));

Deno.test("createRegistryFetch() sends large bodies through the proxy it is given, or that any variable names", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  await using proxy = serveProxy();
  const url = `http://${proxy.host}`;
  await withProxies({}, async () => {
    assertEquals(await way(server.url, { size: LARGE }, { ...CA, proxy: url }), [false, "hello"]);
  });
  assertEquals(proxy.heads.length, 1);
  for (const name of PROXY_VARIABLES) {
    // What leads to some URLs only is not looked at closer.
    await withProxies({ [name]: url }, async () => {
      assertEquals(await way(server.url, { size: LARGE }), [false, "hello"], name);
    });
  }
  assertEquals(proxy.heads.length, 5);
});

/** Tests {@linkcode isWithoutProxy} with leave to read some variables only. */
function testLeave(name: string, env: string[] | boolean, test: () => void | Promise<void>): void {
  const permissions = { env, read: true, net: true } as const;
  Deno.test({ name, permissions, fn: test });
}

// Deno's fetch reads these whatever the program may read.
for (const hidden of PROXY_VARIABLES) {
  const leave = PROXY_VARIABLES.filter((name) => name !== hidden);
  testLeave(`isWithoutProxy() is not sure when ${hidden} may not be read`, leave, () => {
    assertEquals(isWithoutProxy(), false);
  });
}

testLeave("isWithoutProxy() is not sure when nothing may be read", false, () => {
  assertEquals(isWithoutProxy(), false);
});

testLeave(
  "isWithoutProxy() is sure when all six may be read and none names one",
  VARIABLES,
  async () => {
    await withProxies({}, () => Promise.resolve(assertEquals(isWithoutProxy(), true)));
    // An empty variable names none.
    await withProxies({ HTTPS_PROXY: "" }, () => Promise.resolve(assertEquals(isWithoutProxy(), true)));
  },
);

Deno.test({
  name: "createRegistryFetch() goes over no socket when the environment may not be read",
  permissions: { env: false, net: true, read: true },
  fn: async () => {
    await using server = serve(() => new Response("hello"));
    assertEquals(await way(server.url, { size: LARGE }, {}), [false, "hello"]);
  },
});

Deno.test("createRegistryFetch() names a proxy it cannot use, without the password", async () => {
  const make = (proxy: string) => () => createRegistryFetch({ registry: "reg.test", proxy });
  assertThrows(make("ftp://me:hunter2@proxy.test"), ProxyError, 'Cannot use proxy "ftp://proxy.test');
  assertThrows(make("http://me:hunter2@:80"), ProxyError, "it is not a URL");
  for (const proxy of ["ftp://me:hunter2@proxy.test", "http://me:hunter2@:80", "http://m:hunter2@a@b c"]) {
    const error = assertThrows(make(proxy), ProxyError);
    assert(!Deno.inspect(error).includes("hunter2"), Deno.inspect(error));
  }
  const error = await assertRejects(
    () => get("https://127.0.0.1:1/", { insecure: true, proxy: "socks5://127.0.0.1:1" }),
    TypeError,
  );
  assertStringIncludes(Deno.inspect(error), "through http: and https: proxies only");
});

Deno.test("environmentProxy() reads NO_PROXY as other programs do", () => {
  const proxyOf = (url: string, noProxy: string) =>
    environmentProxy(
      new URL(url),
      (name) => ({ ALL_PROXY: "proxy.test:3128", NO_PROXY: noProxy })[name],
    )?.href;
  const excepted: [string, string][] = [
    ["https://reg.test/", "*"],
    ["https://reg.test/", "a.test, REG.test"],
    ["https://eu.reg.test/", "reg.test"],
    ["https://eu.reg.test/", ".reg.test"],
    ["https://eu.reg.test/", "*.reg.test"],
    ["https://reg.test:5000/", "reg.test:5000"],
    ["https://10.1.2.3/", "10.1.2.3"],
    ["https://10.1.2.3/", "10.0.0.0/8"],
    ["https://[fd00::1]/", "fd00::/8"],
    ["https://[fd00::1]:5000/", "[fd00::1]:5000"],
  ];
  for (const [url, list] of excepted) assertEquals(proxyOf(url, list), undefined, `${url} ${list}`);
  const proxied: [string, string][] = [
    ["https://reg.test/", ""],
    ["https://myreg.test/", "reg.test"],
    ["https://reg.test/", "reg.test:5000"],
    ["https://10.1.2.3/", "1.2.3"],
    ["https://10.1.2.3/", "10.1.0.0/24"],
    ["https://10.1.2.3/", "10.0.0.0/nonsense"],
    ["https://reg.test/", "10.0.0.0/8"],
  ];
  for (const [url, list] of proxied) {
    assertEquals(proxyOf(url, list), "http://proxy.test:3128/", `${url} ${list}`);
  }
});
