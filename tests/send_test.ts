/** Tests of sending requests: meeting a registry, trying again, obeying it, and saying what went wrong. */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import type { Fetch } from "../src/registry/fetch.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import type { RegistriesOptions, RegistryEvent, RegistryRequest } from "../src/registry/request.ts";
import { Registries } from "../src/registry/registries.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { RawServer } from "./raw_server.ts";
import { createNetwork, createRegistry, type RegistryOptions, serve, type TestRegistry } from "./registry.ts";

const REGISTRY = "registry.test";

function requestOf(overrides: Partial<RegistryRequest> = {}): RegistryRequest {
  return {
    action: "do it",
    repository: "a/b",
    scopes: ["repository:a/b:pull"],
    method: "GET",
    path: "/v2/a/b/thing?secret=1",
    expect: [200],
    ...overrides,
  };
}

interface Setup {
  registries: Registries;
  clock: FakeClock;
  events: RegistryEvent[];
  registry: TestRegistry;
}

/** Registries each of which is the same test registry. */
function setUp(registryOptions: RegistryOptions = {}, options: RegistriesOptions = {}): Setup {
  const clock = new FakeClock();
  const events: RegistryEvent[] = [];
  const registry = createRegistry({ now: () => clock.now(), ...registryOptions });
  const onEvent = (event: RegistryEvent) => events.push(event);
  const registries = new Registries({ fetchFor: () => registry.fetch, clock, onEvent, ...options });
  return { registries, clock, events, registry };
}

/** A test registry that gives these answers to everything but pings, the last one for ever. */
function answering(...answers: readonly (() => Response)[]): Setup & { asked: () => number } {
  let asked = 0;
  const setup = setUp({
    intercept: (_request, { kind }) => {
      if (kind === "ping") return undefined;
      return answers[Math.min(asked++, answers.length - 1)]?.();
    },
  });
  return { ...setup, asked: () => asked };
}

function refusing(status: number, headers: Record<string, string> = {}, body: BodyInit | null = null) {
  return () => new Response(body, { status, headers });
}

const OK = () => new Response("ok");

const failureOf = (work: Promise<unknown>) => assertRejects(() => work, RegistryError);

Deno.test("Registry.send() meets a registry alone before all others are sent", async () => {
  const gate = Promise.withResolvers<void>();
  const { registries, registry } = setUp({
    intercept: async (_request, { kind }) => {
      if (kind === "ping") await gate.promise;
      return OK();
    },
  });
  const sending = Array.from({ length: 20 }, () => registries.get(REGISTRY).send(requestOf()));
  await settle();
  assertEquals(registry.requests.map(({ path }) => path), ["/v2/"]);
  gate.resolve();
  for (const response of await Promise.all(sending)) await response.body?.cancel();
  assertEquals(registry.count({ kind: "ping" }), 1);
  assertEquals(registry.count(), 21);
});

Deno.test("Registry.send() takes any answer to the ping but one that says to come back", async () => {
  for (const status of [200, 301, 400, 403, 404, 405]) {
    const { registries, registry } = setUp({
      intercept: (_request, { kind }) => kind === "ping" ? new Response(null, { status }) : OK(),
    });
    await (await registries.get(REGISTRY).send(requestOf())).body?.cancel();
    assertEquals(registry.count({ kind: "ping" }), 1, `${status}`);
  }
});

Deno.test("fault 72: Registry.send() goes on where the root of the API is always out of order", async () => {
  for (const status of [500, 502, 503]) {
    const { registries, registry } = setUp({
      intercept: (_request, { kind }) => kind === "ping" ? new Response("no", { status }) : OK(),
    });
    assertEquals(await (await registries.get(REGISTRY).send(requestOf())).text(), "ok");
    assertEquals(registry.count({ kind: "ping" }), 1);
  }
});

Deno.test("Registry.send() waits as long as the root of the API asks", async () => {
  const { registries, clock, events } = setUp({
    intercept: (_request, { kind }) => kind === "ping" ? refusing(503, { "retry-after": "7" })() : OK(),
  });
  await (await registries.get(REGISTRY).send(requestOf())).body?.cancel();
  assertEquals([clock.waits, events.map(({ type }) => type)], [[7000], ["rate-limited"]]);
});

Deno.test("Registry.send() goes on for the others when the one that meets the registry gives up", async () => {
  const gate = Promise.withResolvers<void>();
  const { registries } = setUp({
    intercept: async (_request, { kind }) => {
      if (kind === "ping") await gate.promise;
      return OK();
    },
  });
  const controller = new AbortController();
  const first = registries.get(REGISTRY).send(requestOf({ signal: controller.signal }));
  const second = registries.get(REGISTRY).send(requestOf());
  await settle();
  controller.abort(new Error("enough"));
  await assertRejects(() => first, Error, "enough");
  gate.resolve();
  assertEquals(await (await second).text(), "ok");
});

Deno.test("Registry.send() sends what the registry needs to know and nothing that compresses", async () => {
  const seen: Headers[] = [];
  const { registries } = setUp({ intercept: (request) => (seen.push(request.headers), OK()) });
  await (await registries.get(REGISTRY).send(requestOf({ headers: { accept: "x/y" } }))).body?.cancel();
  for (const headers of seen) {
    assertEquals([headers.get("accept-encoding"), headers.get("user-agent")], [
      "identity",
      "image-syncer-deno",
    ]);
  }
  assertEquals(seen[1]?.get("accept"), "x/y");
});

Deno.test("Registry.send() asks Docker Hub at the host that serves it", async () => {
  const urls: string[] = [];
  const fetch: Fetch = (url) => (urls.push(url), Promise.resolve(OK()));
  const registries = new Registries({ fetchFor: () => fetch });
  await registries.get("docker.io").send(requestOf());
  assertEquals(urls.map((url) => new URL(url).origin), Array(2).fill("https://registry-1.docker.io"));
});

Deno.test("Registry.send() tries again what may succeed, and gives up at the limit", async () => {
  for (const status of [408, 425, 429, 500, 502, 503, 504, 522]) {
    const once = answering(refusing(status), OK);
    assertEquals(await (await once.registries.get(REGISTRY).send(requestOf())).text(), "ok");
    const never = answering(refusing(status));
    const error = await failureOf(never.registries.get(REGISTRY).send(requestOf()));
    assertEquals([error.status, never.asked()], [status, 6]);
  }
});

Deno.test("Registry.send() asks once where asking again cannot help", async () => {
  for (const status of [301, 400, 401, 403, 404, 405, 411, 413, 416, 501]) {
    const { registries, asked, clock } = answering(refusing(status));
    const error = await failureOf(registries.get(REGISTRY).send(requestOf()));
    assertEquals([error.status, error.isPermanent, asked(), clock.waits], [status, true, 1, []]);
  }
});

Deno.test("Registry.send() keeps to the attempts of a request", async () => {
  const { registries, asked } = answering(refusing(500));
  await failureOf(registries.get(REGISTRY).send(requestOf({ attempts: 1 })));
  assertEquals(asked(), 1);
});

Deno.test("Registry.send() waits up to twice as long each time, by the dice, at most 30 seconds", async () => {
  for (const chance of [0, 0.25, 0.999]) {
    const { registries, clock } = answering(refusing(500));
    clock.chance = chance;
    await failureOf(registries.get(REGISTRY).send(requestOf()));
    assertEquals(clock.waits, [400, 800, 1600, 3200, 6400].map((wait) => wait * chance));
  }
  const { registries, clock } = answering(refusing(500));
  await failureOf(registries.get(REGISTRY).send(requestOf({ attempts: 12 })));
  assertEquals(clock.waits.slice(-3), [15_000, 15_000, 15_000]);
});

Deno.test("Registry.send() waits as long as a registry asks, in seconds or until a date", async () => {
  const date = new Date(1_700_000_000_000 + 20_000).toUTCString();
  for (const [header, wait] of [["7", 7000], [date, 20_000], ["0", 0]] as const) {
    const { registries, clock, events } = answering(refusing(429, { "retry-after": header }), OK);
    await (await registries.get(REGISTRY).send(requestOf())).body?.cancel();
    assertEquals(clock.waits, [wait]);
    assertEquals(events[0], { type: "rate-limited", registry: REGISTRY, until: 1_700_000_000_000 + wait });
    assertEquals(events[1]?.type === "request-retried" ? events[1].wait : -1, wait);
  }
});

Deno.test("fault 25: Registry.send() fails what is asked to wait longer than the limit, and lets the others through", async () => {
  const { registries, clock, asked } = answering(refusing(429, { "retry-after": "86400" }), OK);
  const error = await failureOf(registries.get(REGISTRY).send(requestOf()));
  const until = new Date(clock.now() + 86_400_000).toISOString();
  assertEquals(error.message, `Cannot do it: 429 too many requests (it asks to wait until ${until})`);
  assertEquals([error.retry, clock.waits, asked()], ["never", [], 1]);
  assert(registries.get(REGISTRY).gate.notBefore <= clock.now());
  assertEquals(await (await registries.get(REGISTRY).send(requestOf())).text(), "ok");
});

Deno.test("Registry.send() obeys for all what one request was told", async () => {
  const clock = new FakeClock({ isManual: true });
  const { registry } = setUp();
  let isBusy = true;
  const fetch: Fetch = (url, init) => {
    if (isBusy && url.includes("first")) return Promise.resolve(refusing(503, { "retry-after": "10" })());
    return url.includes("thing") ? Promise.resolve(OK()) : registry.fetch(url, init);
  };
  const registries = new Registries({ fetchFor: () => fetch, clock });
  const first = registries.get(REGISTRY).send(requestOf({ path: "/v2/thing/first" }));
  await settle();
  isBusy = false;
  let done = 0;
  const others = Array.from(
    { length: 5 },
    () => registries.get(REGISTRY).send(requestOf()).then(() => done++),
  );
  await settle();
  clock.advance(9999);
  await settle();
  assertEquals(done, 0);
  clock.advance(1);
  await Promise.all([first, ...others]);
  assertEquals(done, 5);
});

Deno.test("Registry.send() sends fewer at once to a registry that is overloaded", async () => {
  const { registries } = answering(refusing(429), OK);
  assertEquals(registries.get(REGISTRY).gate.limit, 16);
  await (await registries.get(REGISTRY).send(requestOf())).body?.cancel();
  assertEquals(registries.get(REGISTRY).gate.limit, 8);
});

Deno.test("Registry.send() never has more requests under way than the gate lets in", async () => {
  const { registries, registry } = setUp({
    intercept: async () => {
      await settle();
      return OK();
    },
  });
  const responses = await Promise.all(
    Array.from({ length: 100 }, () => registries.get(REGISTRY).send(requestOf())),
  );
  for (const response of responses) await response.body?.cancel();
  assert(registry.peak >= 16 && registry.peak <= 24, `${registry.peak}`);
});

Deno.test("Registry.send() tries again when the network fails, and says what failed", async () => {
  let asked = 0;
  const fetch: Fetch = (url) => {
    if (url.endsWith("/v2/")) return Promise.resolve(OK());
    asked++;
    const cause = new Error(`error sending request for url (${url}): connection reset by peer`);
    return Promise.reject(new TypeError("fetch failed", { cause }));
  };
  const registries = new Registries({ fetchFor: () => fetch, clock: new FakeClock() });
  const error = await failureOf(registries.get(REGISTRY).send(requestOf()));
  assertEquals(asked, 6);
  assertEquals(error.message, "Cannot do it: the connection was reset (registry.test)");
  assertEquals([error.status, error.url], [0, "https://registry.test/v2/a/b/thing"]);
  assertInstanceOf(error.cause, TypeError);
});

Deno.test("Registry.send() does not try again what a certificate or a redirect rules out", async () => {
  const invalid = new TypeError("fetch failed", {
    cause: new Error("invalid peer certificate: UnknownIssuer"),
  });
  const moved = refusing(307, { location: "http://registry.test/" });
  for (const answer of [() => Promise.reject(invalid), () => Promise.resolve(moved())]) {
    let asked = 0;
    const fetch: Fetch = (url) => url.endsWith("/v2/") ? Promise.resolve(OK()) : (asked++, answer());
    const registries = new Registries({ fetchFor: () => fetch, clock: new FakeClock() });
    assert((await failureOf(registries.get(REGISTRY).send(requestOf()))).isPermanent);
    assertEquals(asked, 1);
  }
});

Deno.test("Registry.send() names the host that failed, also behind a redirect", async () => {
  const network = createNetwork({
    "https://registry.test": (request) =>
      request.url.endsWith("/v2/") ? OK() : refusing(307, { location: "https://cdn.test/x?sig=SECRET" })(),
    "https://cdn.test": () => {
      throw new Error("connection reset by peer");
    },
  });
  const registries = new Registries({ fetchFor: () => network, clock: new FakeClock() });
  const error = await failureOf(registries.get(REGISTRY).send(requestOf()));
  assertEquals(error.message, "Cannot do it: the connection was reset (cdn.test)");
});

Deno.test("Registry.send() ends with the signal while it waits to try again", async () => {
  const clock = new FakeClock({ isManual: true });
  const controller = new AbortController();
  const { registry } = setUp({ intercept: (_request, { kind }) => kind === "ping" ? OK() : refusing(500)() });
  const registries = new Registries({ fetchFor: () => registry.fetch, clock, signal: controller.signal });
  const sending = registries.get(REGISTRY).send(requestOf());
  while (clock.pending === 0) await settle();
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => sending), reason);
  assertStrictEquals(await assertRejects(() => registries.get(REGISTRY).send(requestOf())), reason);
});

Deno.test("Registry.send() ends with the signal while the registry keeps it waiting", async () => {
  const arrived = Promise.withResolvers<void>();
  const { registries } = setUp({
    intercept: (_request, { kind }) => {
      if (kind === "ping") return OK();
      arrived.resolve();
      return new Promise<Response>(() => {});
    },
  });
  const controller = new AbortController();
  const sending = registries.get(REGISTRY).send(requestOf({ signal: controller.signal }));
  await arrived.promise;
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => sending), reason);
});

Deno.test("Registry.send() gives up on a server that never answers", async () => {
  await using server = new RawServer(async ({ read }) => {
    while (await read() !== undefined);
  });
  const registries = new Registries({
    isInsecure: () => true,
    clock: new FakeClock(),
    limits: { headers: 300, attempts: 2 },
  });
  const error = await failureOf(registries.get(server.host).send(requestOf()));
  assertMatch(error.message, /^Cannot do it: no answer within [\d.]+ s$/);
  assertEquals(server.requests.length, 2);
});

Deno.test("Registry.send() reaches an insecure registry by https first, then by http for good", async () => {
  await using server = new RawServer((exchange) => exchange.reply(200, {}, "ok"));
  const registries = new Registries({ isInsecure: () => true, clock: new FakeClock() });
  for (let again = 0; again < 2; again++) {
    assertEquals(await (await registries.get(server.host).send(requestOf())).text(), "ok");
  }
  assertEquals(server.handshakes, 1);
  assertEquals(registries.get(server.host).url.href, `http://${server.host}/`);
});

Deno.test("Registry.send() never sends http to a registry that is not insecure", async () => {
  await using server = new RawServer((exchange) => exchange.reply(200));
  const registries = new Registries({ clock: new FakeClock() });
  const error = await failureOf(registries.get(server.host).send(requestOf()));
  assertEquals([server.handshakes, server.requests.length], [6, 0]);
  assert(error.message.startsWith(`Cannot reach "${server.host}": `), error.message);
});

Deno.test("Registry.send() stays with https where an insecure registry answers it", async () => {
  const { registries, registry } = setUp({ intercept: OK }, { isInsecure: () => true });
  await (await registries.get(REGISTRY).send(requestOf())).body?.cancel();
  assertEquals(registry.count(), 2);
  assertEquals(registries.get(REGISTRY).url.protocol, "https:");
});

Deno.test("Registry.send() tells why neither https nor http answers", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const host = `127.0.0.1:${listener.addr.port}`;
  listener.close();
  const registries = new Registries({ isInsecure: () => true, clock: new FakeClock() });
  const error = await failureOf(registries.get(host).send(requestOf()));
  assertEquals(error.message, `Cannot reach "${host}": connection refused`);
});

Deno.test("Registry.send() repeats a refusal in the registry's words, without what could do harm", async () => {
  const list = JSON.stringify({ errors: [{ code: "DENIED", message: "no\u001b[31m\nway" }] });
  const plain = { "content-type": "text/plain; charset=utf-8" };
  const cases: [() => Response, string][] = [
    [refusing(403, {}, list), "Cannot do it: 403 DENIED: no [31m way (anonymous)"],
    [refusing(400, plain, "Bad things\r\n"), "Cannot do it: 400 Bad things"],
    [refusing(400, plain, "see https://x/y?token=SECRET"), "Cannot do it: 400 see https://x/y?…"],
    [refusing(400, { "content-type": "text/html" }, "<html>SECRET</html>"), "Cannot do it: 400 bad request"],
    [refusing(413, plain, "x".repeat(70_000)), "Cannot do it: 413 too large"],
    [refusing(418), "Cannot do it: 418 unexpected answer"],
  ];
  for (const [answer, message] of cases) {
    const error = await failureOf(answering(answer).registries.get(REGISTRY).send(requestOf()));
    assertEquals(error.message, message);
    assertEquals([error.method, error.url.includes("secret")], ["GET", false]);
  }
});

Deno.test("Registry.send() leaves no body open, whatever the answer", async () => {
  // sanitizeResources sees what is left open.
  await using server = serve((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/v2/") return new Response("pong");
    if (pathname === "/moved") {
      return new Response("over there", { status: 307, headers: { location: "/v2/end" } });
    }
    return new Response("no".repeat(40_000), { status: 404 });
  });
  const registries = new Registries({ isInsecure: () => true, clock: new FakeClock() });
  for (const path of ["/moved", "/v2/else"]) {
    const error = await failureOf(registries.get(server.host).send(requestOf({ path })));
    assertEquals(error.status, 404);
  }
});

Deno.test("Registry.send() ends with the signal also while a refusal's words do not come", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const body = () =>
    new ReadableStream<Uint8Array>({ pull: () => controller.abort(reason) }, { highWaterMark: 0 });
  const { registries } = answering(() => new Response(body(), { status: 403 }));
  const sending = registries.get(REGISTRY).send(requestOf({ signal: controller.signal }));
  assertStrictEquals(await assertRejects(() => sending), reason);
});
