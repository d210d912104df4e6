/** Tests of what went wrong below HTTP, in words. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { RedirectError, TimeLimitError } from "../src/registry/fetch.ts";
import { describeFailure, isCertificateFailure } from "../src/registry/network_failure.ts";
import { RawServer } from "./raw_server.ts";

const URL_AT = new URL("https://registry.test:5000/v2/");

function failed(...messages: string[]): Error {
  const [first = "", ...rest] = messages;
  return new TypeError(first, rest.length === 0 ? {} : { cause: failed(...rest) });
}

async function failureOf(url: string, init: RequestInit = {}): Promise<unknown> {
  try {
    await (await fetch(url, init)).body?.cancel();
  } catch (error) {
    return error;
  }
}

Deno.test("describeFailure() puts what runtimes say into words, with the host", () => {
  const cases: [Error, string][] = [
    [
      failed("fetch failed", "client error (Connect): tcp connect error: Connection refused (os error 111)"),
      "connection refused",
    ],
    [
      failed("fetch failed", "dns error: failed to lookup address information"),
      "the host name cannot be resolved",
    ],
    [failed("fetch failed", "connection reset by peer"), "the connection was reset"],
    [failed("fetch failed", "Network is unreachable (os error 101)"), "the network cannot be reached"],
    [failed("fetch failed", "connect timed out"), "the connection timed out"],
    [failed("fetch failed", "received corrupt message of type InvalidContentType"), "it does not speak TLS"],
    [
      failed("fetch failed", "a", "connection closed before message completed"),
      "the connection was closed too early",
    ],
  ];
  for (const [error, words] of cases) {
    const text = describeFailure(error, URL_AT);
    assertStringIncludes(text, words);
    assertStringIncludes(text, "registry.test:5000");
  }
});

Deno.test("describeFailure() reads the codes of Node, also inside an AggregateError", () => {
  const inner = Object.assign(new Error(""), { code: "ECONNREFUSED" });
  const error = new TypeError("fetch failed", { cause: new AggregateError([inner], "") });
  assertEquals(describeFailure(error, URL_AT), "connection refused (registry.test:5000)");
});

Deno.test("describeFailure() says what is wrong with a certificate and how to go on", () => {
  const cases: [string, string][] = [
    ["invalid peer certificate: UnknownIssuer", "unknown issuer"],
    ["invalid peer certificate: NotValidForName", "it is for another name"],
    ["certificate has expired", "it has expired"],
    ["invalid peer certificate: Revoked", "it was refused"],
  ];
  for (const [message, words] of cases) {
    const error = failed("fetch failed", message);
    assert(isCertificateFailure(error));
    assertStringIncludes(describeFailure(error, URL_AT), `registry.test:5000 is not trusted (${words})`);
    assertStringIncludes(describeFailure(error, URL_AT), `"caFile"`);
  }
  assert(!isCertificateFailure(failed("fetch failed", "connection refused")));
});

Deno.test("describeFailure() repeats this project's own sentences", () => {
  assertEquals(describeFailure(new TimeLimitError(30_000), URL_AT), "no answer within 30 s");
  assertEquals(describeFailure(new RedirectError("why"), URL_AT), "its redirect is not followed: why");
});

Deno.test("describeFailure() shows no query, user name or control character of what it does not know", () => {
  const error = failed(
    "fetch failed",
    "error sending request for url (https://u:pw@cdn/x?sig=SECRET): \u001b[31modd",
  );
  const text = describeFailure(error, URL_AT);
  assertStringIncludes(text, "odd (registry.test:5000)");
  for (const secret of ["SECRET", "pw", "\u001b"]) assert(!text.includes(secret), text);
  assertEquals(describeFailure("text", URL_AT), "text (registry.test:5000)");
});

Deno.test("describeFailure() ends with causes that go round in a circle", () => {
  const error = failed("odd");
  error.cause = error;
  assertEquals(describeFailure(error, URL_AT), "odd (registry.test:5000)");
});

Deno.test("describeFailure() shows no query of a request that Deno's fetch could not send", async () => {
  await using garbage = new RawServer((exchange) => exchange.write("GARBAGE\r\n\r\n"));
  await using silent = new RawServer(() => {});
  for (const { host } of [garbage, silent]) {
    for (const scheme of ["http", "https"]) {
      const url = new URL(`${scheme}://${host}/x?sig=SECRET`);
      const text = describeFailure(await failureOf(url.href), url);
      assert(!text.includes("SECRET"), text);
      assertStringIncludes(text, host);
    }
  }
});

Deno.test("describeFailure() knows a port where nobody listens and a connection closed too early", async () => {
  const server = new RawServer(() => {});
  await using open = server;
  const cut = new URL(`http://${open.host}/x`);
  assertEquals(
    describeFailure(await failureOf(cut.href), cut),
    `the connection was closed too early (${cut.host})`,
  );
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const free = new URL(`http://127.0.0.1:${listener.addr.port}/`);
  listener.close();
  assertEquals(describeFailure(await failureOf(free.href), free), `connection refused (${free.host})`);
});
