/** Proxies: which one leads where, whom its password is for, and what is said when one fails. */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { denoNetwork } from "../src/deno/fast_sockets.ts";
import { googleToken } from "../src/machine/login/google_token.ts";
import { openConfigRegistries } from "../src/machine/network/config_registries.ts";
import {
  environmentProxy,
  mayHideProxy,
  parseProxy,
  ProxyError,
  proxyUser,
} from "../src/machine/network/proxy.ts";
import { createRegistryFetch, type RegistryFetchOptions } from "../src/machine/network/tls.ts";
import { parseConfig } from "../src/mirror/config/config_text.ts";
import { describeFailure } from "../src/registry/network_failure.ts";
import { bytesSource, UploadBody } from "../src/registry/stream/body.ts";
import { serve } from "./registry/serve.ts";
import { listen, pem, serveProxy, serverIdentity, serveSocks } from "./tls_servers.ts";

const CA = { caCerts: [pem("ca.pem")] };
const LARGE = 4 * 1024 * 1024;
const NETWORKS = [denoNetwork, undefined];

type Options = Partial<RegistryFetchOptions>;

/** What a registry is asked through a proxy: a small GET, a large one and a large upload. */
async function askAll(url: string, options: Options): Promise<string[]> {
  const { fetch, close } = createRegistryFetch({ registry: "reg.test", env: () => undefined, ...options });
  const upload = new UploadBody(bytesSource(new Uint8Array(LARGE)), LARGE);
  try {
    const texts: string[] = [];
    for (const init of [{}, { size: LARGE }, { method: "PUT", ...upload.init() }]) {
      texts.push(await (await fetch(url, init)).text());
    }
    return texts;
  } finally {
    close();
  }
}

/** A server that says what it was asked with, and takes uploads. */
function serveEcho(isTls: boolean) {
  return serve(async (request) => {
    await request.arrayBuffer();
    const names = [...request.headers.keys()].filter((name) => /^(?:proxy-|authorization)/.test(name));
    return new Response(`${request.method} ${names}`);
  }, isTls ? serverIdentity() : {});
}

const ECHOES = ["GET ", "GET ", "PUT "];

Deno.test("fault 38: a proxy's user and password reach the proxy alone, in small requests and large, from config and environment", async () => {
  const authorization = `Basic ${btoa("me:p@ss")}`;
  for (const isTls of [true, false]) {
    await using server = serveEcho(isTls);
    const host = new URL(server.url).host;
    const scheme = isTls ? "https" : "http";
    for (const isTlsProxy of [false, true]) {
      for (const network of NETWORKS) {
        for (const insecure of [false, true]) {
          await using proxy = serveProxy({
            authorization,
            isTls: isTlsProxy,
            hosts: { "other.test:444": host },
          });
          const address = `${isTlsProxy ? "https" : "http"}://me:p%40ss@${proxy.host}`;
          const options = { ...CA, insecure, network };
          assertEquals(await askAll(server.url, { ...options, proxy: address }), ECHOES);
          const name = `${scheme}_proxy`;
          const env = (variable: string) => ({ [name]: address })[variable];
          // The name is not this machine's, and no certificate is for it.
          if (insecure || !isTls) {
            assertEquals(await askAll(`${scheme}://other.test:444/`, { ...options, env }), ECHOES);
          }
          assert(proxy.heads.length >= 1 && proxy.heads.every((head) => head.includes(authorization)));
          assert(proxy.heads.every((head) => head.startsWith("CONNECT ") === isTls));
        }
      }
    }
  }
});

Deno.test("fault 38: a wrong password is the proxy's failure, and is not repeated", async () => {
  await using server = serveEcho(true);
  await using proxy = serveProxy({ authorization: "Basic right" });
  const wrong = { ...CA, proxy: `http://me:wrong@${proxy.host}`, network: denoNetwork };
  const error = await assertRejects(() => askAll(server.url, wrong), TypeError);
  const said = describeFailure(error, new URL(server.url));
  assertStringIncludes(said, `Cannot use proxy "http://${proxy.host}/": it answered 407 to CONNECT`);
  assert(!Deno.inspect(error).includes("wrong"), Deno.inspect(error));
});

Deno.test("createRegistryFetch() goes through SOCKS 5, with a password and without", async () => {
  for (const isTls of [true, false]) {
    await using server = serveEcho(isTls);
    for (const network of NETWORKS) {
      for (const user of ["", "me:p@ss"]) {
        await using proxy = serveSocks({}, user);
        const login = user === "" ? "" : "me:p%40ss@";
        const options = { ...CA, network, proxy: `socks5://${login}${proxy.host}` };
        assertEquals(await askAll(server.url, options), ECHOES);
        assertEquals(proxy.heads[0], `${user} ${new URL(server.url).host}`);
      }
    }
  }
  await using proxy = serveSocks({}, "me:right");
  const options = { proxy: `socks5h://me:wrong@${proxy.host}` };
  const error = await assertRejects(() => askAll("http://reg.test/", options), TypeError);
  assertStringIncludes(describeFailure(error, new URL("http://reg.test/")), "it refuses the user name");
});

Deno.test("fault 34: a % in a proxy's password is one, whatever follows it", () => {
  const userOf = (proxy: string) => proxyUser(parseProxy(proxy));
  assertEquals(userOf("http://me:100%@proxy.test"), { username: "me", password: "100%" });
  assertEquals(userOf("me:5%zz%40%@proxy.test:3128"), { username: "me", password: "5%zz@%" });
  assertEquals(userOf("http://me:%C3%BC%@proxy.test"), { username: "me", password: "ü%" });
  assertEquals(userOf("http://m%40e:p%3Aw@proxy.test"), { username: "m@e", password: "p:w" });
  assertEquals(userOf("http://proxy.test"), undefined);
});

Deno.test("fault 34: a Google key's token comes through the registry's proxy, with its password and authorities", async () => {
  const bodies: string[] = [];
  await using server = serve(async (request) => {
    bodies.push(await request.text());
    return Response.json({ access_token: "a token" });
  }, serverIdentity());
  await using proxy = serveProxy({ authorization: `Basic ${btoa("me:100%")}` });
  const { privateKey } = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 2048,
      publicExponent: Uint8Array.of(1, 0, 1),
      hash: "SHA-256",
    },
    true,
    ["sign"],
  );
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
  const key = `-----BEGIN PRIVATE KEY-----\n${
    btoa(String.fromCharCode(...der))
  }\n-----END PRIVATE KEY-----\n`;
  const account = { client_email: "robot@project.test", private_key: key, token_uri: `${server.url}/token` };
  const caFile = new URL("./testdata/tls/ca.pem", import.meta.url).pathname;
  // The proxy has no scheme, which curl allows.
  const entry = {
    username: "_oauth2_",
    password: JSON.stringify(account),
    caFile,
    proxy: `me:100%@${proxy.host}`,
  };
  const config = parseConfig(
    JSON.stringify({ auth: { "gcr.test": entry }, images: { "gcr.test/a": "reg.test/a" } }),
  );
  const { find, close } = openConfigRegistries(config, {
    network: denoNetwork,
    environment: () => undefined,
  });
  try {
    const found = await find("gcr.test", "a/b");
    assertEquals(found?.credential, { username: "oauth2accesstoken", password: "a token" });
  } finally {
    close();
  }
  assertEquals([proxy.heads.length, bodies.length], [1, 1]);
  assertStringIncludes(bodies[0] ?? "", "grant-type%3Ajwt-bearer&assertion=");
  const nowhere = () => Promise.reject(new TypeError("fetch failed"));
  await assertRejects(
    () =>
      googleToken(JSON.stringify({ ...account, client_email: "x" }), {
        registry: "gcr.test",
        fetch: nowhere,
      }),
    Error,
    "token service cannot be used",
  );
});

Deno.test("fault 56: NO_PROXY and this machine itself are exempt in small requests and large, http and https", async () => {
  for (const isTls of [false, true]) {
    await using server = serveEcho(isTls);
    const nowhere = { HTTP_PROXY: "http://127.0.0.1:9", HTTPS_PROXY: "http://127.0.0.1:9" };
    for (
      const variables of [nowhere, { ...nowhere, NO_PROXY: "*" }, { ...nowhere, no_proxy: "127.0.0.0/8" }]
    ) {
      const env = (name: string) => (variables as Record<string, string>)[name];
      for (const network of NETWORKS) {
        assertEquals(await askAll(server.url, { ...CA, env, network }), ECHOES);
      }
    }
  }
});

Deno.test("fault 56: a proxy that is not there, or breaks off, is named", async () => {
  await using rude = listen(async (line) => void await line.readHead(), false);
  const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const dead = `127.0.0.1:${(free.addr as Deno.NetAddr).port}`;
  free.close();
  for (const network of NETWORKS) {
    for (
      const [host, why] of [[dead, "connection refused"], [rude.host, "the connection was closed too early"]]
    ) {
      const env = () => `http://${host}`;
      const error = await assertRejects(
        () => askAll("https://reg.test/", { env: (name) => name === "NO_PROXY" ? "" : env(), network }),
        TypeError,
      );
      const said = describeFailure(error, new URL("https://reg.test/"));
      assertEquals(said, `Cannot use proxy "http://${host}/": ${why} (reg.test)`);
    }
  }
});

Deno.test("createRegistryFetch() refuses a proxy it cannot use, without its password", () => {
  const make = (proxy: string) => () => createRegistryFetch({ registry: "reg.test", proxy });
  const error = assertThrows(make("ftp://me:secret@proxy.test"), ProxyError);
  assertEquals(error.message, 'Cannot use proxy "ftp://proxy.test": ftp: is none of http:, https:, socks5:');
  assertThrows(make("http://"), ProxyError, "it is not a URL");
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
    ["http://reg.test/", "reg.test:80"],
    ["https://10.1.2.3/", "10.1.2.3"],
    ["https://10.1.2.3/", "10.0.0.0/8"],
    ["https://[fd00::1]/", "fd00::/8"],
    ["https://[fd00::1]:5000/", "[fd00::1]:5000"],
    ["https://localhost:5000/", ""],
    ["http://reg.localhost/", ""],
    ["http://127.1.2.3:5000/", ""],
    ["https://[::1]/", ""],
  ];
  for (const [url, list] of excepted) assertEquals(proxyOf(url, list), undefined, `${url} ${list}`);
  const proxied: [string, string][] = [
    ["https://reg.test/", ""],
    ["http://notlocalhost/", ""],
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

Deno.test("environmentProxy() takes the variable of the URL's scheme, else ALL_PROXY", () => {
  const variables: Record<string, string> = {
    http_proxy: "a.test",
    HTTPS_PROXY: "b.test",
    ALL_PROXY: "c.test",
  };
  const proxyOf = (url: string, names: string[]) =>
    environmentProxy(new URL(url), (name) => names.includes(name) ? variables[name] : undefined)?.hostname;
  const all = Object.keys(variables);
  assertEquals(proxyOf("http://reg.test/", all), "a.test");
  assertEquals(proxyOf("https://reg.test/", all), "b.test");
  assertEquals(proxyOf("http://reg.test/", ["ALL_PROXY", "HTTPS_PROXY"]), "c.test");
  assertEquals(proxyOf("https://reg.test/", ["http_proxy"]), undefined);
});

const NAMES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/** Tests {@linkcode mayHideProxy} with leave to read some variables only. */
function testLeave(name: string, env: string[] | boolean, expected: boolean): void {
  const permissions = { env, read: true, net: true } as const;
  Deno.test({ name, permissions, fn: () => assertEquals(mayHideProxy(), expected) });
}

// Deno's fetch reads these whatever the program may read.
for (const hidden of NAMES) {
  testLeave(
    `mayHideProxy() is not sure when ${hidden} may not be read`,
    NAMES.filter((name) => name !== hidden),
    true,
  );
}
testLeave("mayHideProxy() is not sure when nothing may be read", false, true);
testLeave("mayHideProxy() is sure when all six may be read", NAMES, false);
