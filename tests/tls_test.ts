/** How a registry is reached: certificates it needs, certificates it asks for, proxies, and what is said when that fails. */

import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { CertificateError } from "../src/machine/network/certificates.ts";
import { denoNetwork } from "../src/deno/fast_sockets.ts";
import { createRegistryFetch, type RegistryFetchOptions } from "../src/machine/network/tls.ts";
import { bytesSource, UploadBody } from "../src/registry/stream/body.ts";
import type { FetchInit } from "../src/registry/fetch.ts";
import { describeFailure } from "../src/registry/network_failure.ts";
import { serve } from "./registry/serve.ts";
import { listen, pem, serveMutual, serverIdentity } from "./tls_servers.ts";

const CLIENT = { cert: pem("client.pem"), key: pem("client.key") };
const CA = { caCerts: [pem("ca.pem")] };
/** Whatever the environment of the test says, and other tests in the same process may read. */
const BASE = { env: () => undefined, network: denoNetwork };

type Options = Partial<RegistryFetchOptions>;

/** The text at a URL, through a fetch made for it. */
async function get(url: string, options: Options): Promise<string> {
  const { fetch, close } = createRegistryFetch({ registry: new URL(url).host, ...BASE, ...options });
  try {
    return await (await fetch(url, {})).text();
  } finally {
    close();
  }
}

const LARGE = 4 * 1024 * 1024;

/** Whether a request goes over a socket of our own, and the text it is answered with. */
async function way(url: string, init: FetchInit, options: Options = {}) {
  const { fetch, close } = createRegistryFetch({ registry: new URL(url).host, ...BASE, ...options });
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
async function failureOf(url: string, options: Options): Promise<string> {
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
  assertStringIncludes(await failureOf(other.url, CA), "it is for another name");
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
    assertStringIncludes(await failureOf(url, { ...CA, insecure }), "wants a certificate of the client");
  }
});

Deno.test("createRegistryFetch() refuses what is no certificate, and half a pair", () => {
  const make = (options: Options) => () => createRegistryFetch({ registry: "reg.test", ...options });
  const pemOf = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
  const source = 'Cannot use certificate "of registry reg.test": ';
  assertThrows(make({ caCerts: ["rubbish"] }), CertificateError, `${source}there is no certificate in it`);
  assertThrows(make({ caCerts: [pemOf("!!!")] }), CertificateError, "is not base64");
  assertThrows(make({ cert: CLIENT.cert }), CertificateError, "go together");
  assertThrows(make({ key: CLIENT.key }), CertificateError, "go together");
});

Deno.test("createRegistryFetch() sends large bodies both ways over connections of its own, and small ones with Deno's fetch", async () => {
  await using server = serve(async (request) =>
    new Response(String((await request.arrayBuffer()).byteLength))
  );
  assertEquals(await way(server.url, { size: LARGE }), [true, "0"]);
  assertEquals(await way(server.url, { size: LARGE - 1 }), [false, "0"]);
  assertEquals(await way(server.url, {}), [false, "0"]);
  assertEquals(await way(server.url, uploadOf(LARGE)), [true, `${LARGE}`]);
  assertEquals(await way(server.url, uploadOf(LARGE - 1)), [false, `${LARGE - 1}`]);
});

Deno.test("createRegistryFetch() takes connections of its own for whatever needs a certificate, large or small", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  await using plain = serve(() => new Response("hello"));
  for (const options of [CA, { insecure: true }]) {
    for (const size of [0, LARGE]) {
      assertEquals(await way(server.url, { size }, options), [true, "hello"]);
      assertEquals(await way(plain.url, { size }, options), [size === LARGE, "hello"]);
    }
  }
});

Deno.test("createRegistryFetch() makes do with node: builtins and the runtime's fetch", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  await using plain = serve(() => new Response("hello"));
  for (const size of [0, LARGE]) {
    assertEquals(await way(server.url, { size }, { ...CA, network: undefined }), [true, "hello"]);
    assertEquals(await way(plain.url, { size }, { network: undefined }), [size === LARGE, "hello"]);
  }
});

Deno.test("createRegistryFetch() says of a large body what it says of others when a certificate is not trusted", async () => {
  await using server = serve(() => new Response("hello"), serverIdentity());
  for (const network of [denoNetwork, undefined]) {
    for (const init of [{ size: LARGE }, uploadOf(LARGE)]) {
      const error = await assertRejects(() => way(server.url, init, { network }), TypeError);
      assertStringIncludes(describeFailure(error, new URL(server.url)), "is not trusted (unknown issuer)");
    }
  }
});

Deno.test("fault 41: the client's certificate is shown to its own origin alone", async () => {
  await using own = await serveMutual();
  await using other = await serveMutual();
  for (const network of [denoNetwork, undefined]) {
    for (const insecure of [false, true]) {
      const options = { registry: own.host, ...CA, ...CLIENT, insecure, network };
      for (const size of [0, LARGE]) {
        assertEquals(await way(`https://${own.host}/`, { size }, options), [true, "test client"]);
        const said = await assertRejects(() => way(`https://${other.host}/`, { size }, options), TypeError);
        const words = describeFailure(said, new URL(`https://${other.host}/`));
        assertStringIncludes(words, "wants a certificate of the client");
      }
    }
  }
});

Deno.test("fault 71: a server's own certificate in caFile is trusted before anything is sent, and no other", async () => {
  const selfSigned = { cert: pem("self.pem"), key: pem("self.key") };
  await using server = serve(async (request) => new Response(await request.text() + "hello"), selfSigned);
  await using other = serve(() => new Response("hello"), serverIdentity("other"));
  const named = server.url.replace("127.0.0.1", "localhost");
  for (const network of [denoNetwork, undefined]) {
    const options = { caCerts: [pem("ca.pem"), pem("self.pem")], network };
    for (const size of [0, LARGE]) {
      assertEquals(await way(server.url, { size }, options), [true, "hello"]);
      assertEquals(await way(named, { size }, options), [true, "hello"]);
    }
    assertStringIncludes(await failureOf(other.url, options), "it is for another name");
    assertStringIncludes(await failureOf(server.url, { ...CA, network }), "unknown issuer");
  }
});

Deno.test("fault 71: an upload's first byte waits for the server's own certificate", async () => {
  const heads: (string | undefined)[] = [];
  await using server = listen(async (line) => void heads.push(await line.readHead()), true, "self");
  const upload = uploadOf(LARGE);
  await assertRejects(() => way(`https://${server.host}/`, upload, CA), TypeError);
  assertEquals(heads.filter((head) => head !== undefined), []);
});

Deno.test("fault 26: a server that does not answer a TLS hello is given up when the limit says so", async () => {
  for (const network of [denoNetwork, undefined]) {
    for (const insecure of [false, true]) {
      const begun = Promise.withResolvers<void>();
      await using server = listen(async (line) => {
        await line.read();
        begun.resolve();
        while (await line.read() !== undefined) { /* Until the client gives up, or the test is over. */ }
      }, false);
      const limit = new AbortController();
      const options = { ...CA, insecure, network };
      const asking = way(`https://${server.host}/`, { signal: limit.signal }, options);
      const failing = assertRejects(() => asking, RangeError, "enough");
      await begun.promise;
      limit.abort(new RangeError("enough"));
      await failing;
    }
  }
});

Deno.test({
  name: "createRegistryFetch() leaves all to Deno's fetch where a proxy may be hidden in the environment",
  permissions: { env: false, net: true, read: true },
  fn: async () => {
    await using server = serve(() => new Response("hello"));
    assertEquals(await way(server.url, { size: LARGE }, { env: undefined }), [false, "hello"]);
  },
});
