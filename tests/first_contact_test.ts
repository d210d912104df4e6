/** Tests of the first contact with a registry: one asks for all, and what it finds holds for all. */

import { assert, assertEquals, assertMatch, assertRejects, assertStrictEquals } from "@std/assert";
import { type Fetch, TimeLimitError } from "../src/registry/fetch.ts";
import { Registries } from "../src/registry/registries.ts";
import type { Registry } from "../src/registry/registry.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import type { RegistriesOptions, RegistryEvent, RegistryRequest } from "../src/registry/request.ts";
import { BlobSource } from "../src/registry/repository/blob_source.ts";
import { FakeClock } from "./fake_clock.ts";
import { setUpMirror } from "./mirror_setup.ts";
import { RawServer } from "./raw_server.ts";

const HOST = "registry.test";

const REQUEST: RegistryRequest = {
  action: `read manifest of "${HOST}/a/b:v1"`,
  repository: "a/b",
  scopes: [],
  method: "GET",
  path: "/v2/a/b/manifests/v1",
  expect: [200],
};

interface Setup {
  registry: Registry;
  registries: Registries;
  clock: FakeClock;
  events: RegistryEvent[];
  asked: () => number;
}

/** A registry whose fetch does what it is told to, and is counted. */
function setUp(answer: (count: number) => Response | Error, options: RegistriesOptions = {}): Setup {
  const clock = new FakeClock();
  const events: RegistryEvent[] = [];
  let asked = 0;
  const fetch: Fetch = () => {
    const result = answer(++asked);
    return result instanceof Error ? Promise.reject(result) : Promise.resolve(result);
  };
  const registries = new Registries({
    fetchFor: () => fetch,
    clock,
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { registries, registry: registries.get(HOST), clock, events, asked: () => asked };
}

function failing(message: string, name = "TypeError"): Error {
  const cause = Object.assign(new Error(message), { name });
  return new TypeError("fetch failed", { cause });
}

const REFUSED = failing("client error (Connect): tcp connect error: Connection refused (os error 111)");
const UNKNOWN = failing("client error (Connect): dns error: failed to lookup address information");
const OK = () => new Response("ok");

const failureOf = (work: Promise<unknown>) => assertRejects(() => work, RegistryError);

Deno.test("fault 27: a registry that refuses, or has no address, is tried three times within 5 s", async () => {
  for (
    const [failure, reason] of [[REFUSED, "connection refused"], [
      UNKNOWN,
      "the host name cannot be resolved",
    ]] as const
  ) {
    const { registry, clock, events, asked } = setUp(() => failure);
    const error = await failureOf(registry.send(REQUEST));
    assertEquals(error.message, `Cannot reach "${HOST}": ${reason}`);
    assertEquals([asked(), clock.waits, error.retry], [3, [1000, 2000], "once"]);
    const common = { type: "waiting", registry: HOST, reason, attempts: 3 } as const;
    assertEquals(events, [{ ...common, wait: 1000, attempt: 2 }, { ...common, wait: 2000, attempt: 3 }]);
  }
});

Deno.test("fault 27: a registry that is just starting is waited for", async () => {
  const { registry, asked } = setUp((count) => count < 3 ? REFUSED : OK());
  assertEquals(await (await registry.send(REQUEST)).text(), "ok");
  assertEquals(asked(), 4);
});

Deno.test("fault 27: what cannot mend itself is tried once", async () => {
  const hopeless = [
    failing('Requires net access to "registry.test:443", run again with the --allow-net flag', "NotCapable"),
    failing("client error (SendRequest): invalid HTTP version parsed"),
    Object.assign(failing("Parse Error: Expected HTTP/"), { code: "HPE_INVALID_CONSTANT" }),
    failing("the answer is not HTTP/1.1: it has no status line", "HttpSyntaxError"),
    failing("invalid peer certificate: UnknownIssuer"),
    failing("Fetch failed: Requests to port 9 are blocked"),
    failing("received corrupt message of type InvalidContentType"),
  ];
  for (const failure of hopeless) {
    const { registry, clock, asked } = setUp(() => failure);
    const error = await failureOf(registry.send(REQUEST));
    assertEquals([asked(), clock.waits, error.retry], [1, [], "never"], error.message);
  }
});

Deno.test("fault 27: a host that the runtime does not allow is named with the permission it needs", async () => {
  const { registry } = setUp(() => failing("Requires net access", "NotCapable"));
  const { message } = await failureOf(registry.send(REQUEST));
  assertEquals(
    message,
    `Cannot reach "${HOST}": this program is not allowed to reach it (--allow-net=${HOST})`,
  );
});

Deno.test("fault 17: a registry that cannot be reached is tried by one on behalf of all, also of those who come later", async () => {
  const { registry, registries, clock, asked } = setUp(() => REFUSED);
  const errors = await Promise.all(Array.from({ length: 59 }, () => failureOf(registry.send(REQUEST))));
  errors.push(await failureOf(registry.send(REQUEST)));
  assertEquals([new Set(errors).size, asked()], [1, 3]);
  registries.reconsider();
  await failureOf(registry.send(REQUEST));
  assertEquals(asked(), 6);
  clock.advance(30_000);
  await failureOf(registry.send(REQUEST));
  assertEquals(asked(), 9);
});

Deno.test("fault 17: 59 all-tags rules at one dead host end under 30 s", async () => {
  for (const failure of [REFUSED, UNKNOWN, failing("connection reset by peer"), new TimeLimitError(10_000)]) {
    const setup = setUpMirror();
    let asked = 0;
    const startedAt = setup.clock.now();
    const fetchFor = () => () => {
      asked++;
      // The clock is moved by whoever waits, which is nobody for a fetch.
      if (failure instanceof TimeLimitError) setup.clock.advance(10_000);
      return Promise.reject(failure);
    };
    const images = Object.fromEntries(
      Array.from({ length: 59 }, (_, index) => [`dead.test/ns/app${index}`, `dead.test/to/app${index}`]),
    );
    const report = await setup.run(images, { registries: setup.registries({ fetchFor }) });
    assertEquals(report.totals.rulesFailed, 59);
    assert(
      setup.clock.now() - startedAt < 30_000,
      `${setup.clock.now() - startedAt} ms for "${failure.message}"`,
    );
    assert(asked <= 18, `${asked}`);
  }
});

Deno.test("fault 17: a registry that does not answer is tried twice, and given up for the run", async () => {
  const { registry, registries, asked } = setUp(() => new TimeLimitError(10_000));
  const error = await failureOf(registry.send(REQUEST));
  assertEquals([error.message, error.retry], [`Cannot reach "${HOST}": no answer within 10 s`, "never"]);
  registries.reconsider();
  assertStrictEquals(await failureOf(registry.send(REQUEST)), error);
  assertEquals(asked(), 2);
});

Deno.test("fault 17: a registry that falls silent in mid-run is given up for all", async () => {
  const { registry, clock, asked } = setUp((count) => count <= 2 ? OK() : new TimeLimitError(30_000));
  await (await registry.send(REQUEST)).body?.cancel();
  clock.advance(1);
  const first = await failureOf(registry.send(REQUEST));
  // Twice without an answer, and then none at its root.
  assertEquals([first.retry, asked()], ["never", 5]);
  const next = await failureOf(registry.send(REQUEST));
  assertEquals([next.message, next.retry, asked()], [
    `Cannot reach "${HOST}": no answer within 30 s`,
    "never",
    5,
  ]);
});

Deno.test("fault 17: one request without an answer is not the registry's silence", async () => {
  const clock = new FakeClock();
  let asked = 0;
  const fetch: Fetch = (url) => {
    if (url.endsWith("/v2/")) return Promise.resolve(OK());
    asked++;
    return url.includes("v1") ? Promise.reject(new TimeLimitError(30_000)) : Promise.resolve(OK());
  };
  const registry = new Registries({ fetchFor: () => fetch, clock }).get(HOST);
  clock.advance(1);
  const error = await failureOf(registry.send(REQUEST));
  assertEquals([error.retry, asked], ["never", 6]);
  assertEquals(await (await registry.send({ ...REQUEST, path: "/v2/a/b/manifests/v2" })).text(), "ok");
});

/** A registry that answers everything but some PUTs, of which each takes 30 s. */
function muteAt(isMute: (url: string) => boolean) {
  const clock = new FakeClock();
  const asked: string[] = [];
  const fetch: Fetch = (url, { method = "GET" }) => {
    if (method === "PUT") asked.push(url.slice(url.lastIndexOf("/") + 1));
    if (method !== "PUT" || !isMute(url)) return Promise.resolve(OK());
    clock.advance(30_000);
    return Promise.reject(new TimeLimitError(30_000));
  };
  const registry = new Registries({ fetchFor: () => fetch, clock }).get(HOST);
  const put = (tag: string) => registry.send({ ...REQUEST, method: "PUT", path: `/v2/a/b/manifests/${tag}` });
  return { registry, asked, put };
}

Deno.test("fault 16: a registry that takes nothing for as long as one push is tried is sent no more, and still read", async () => {
  const { registry, asked, put } = muteAt(() => true);
  const error = await failureOf(put("v1"));
  assertEquals([error.retry, asked.length], ["never", 6]);
  const next = await failureOf(put("v2"));
  assertEquals([next.message, next.retry, asked.length], [
    `Cannot push to "${HOST}": no answer within 30 s`,
    "never",
    6,
  ]);
  assertEquals(await (await registry.send(REQUEST)).text(), "ok");
});

Deno.test("fault 16: a push that alone is not answered ends no other", async () => {
  const { asked, put } = muteAt((url) => {
    if (url.endsWith("/v1") && asked.length === 3) void put("v0");
    return url.endsWith("/v1");
  });
  const error = await failureOf(put("v1"));
  assertEquals(error.retry, "never");
  assertEquals(await (await put("v2")).text(), "ok");
});

Deno.test("fault 22: first contact takes 30 s in all, however often it is cut", async () => {
  const { registry, clock, asked } = setUp(() => (clock.advance(8000), failing("connection reset by peer")));
  const startedAt = clock.now();
  const error = await failureOf(registry.send(REQUEST));
  assert(clock.now() - startedAt <= 30_000, `${clock.now() - startedAt}`);
  assertEquals([asked() >= 2, error.retry], [true, "later"]);
});

Deno.test("fault 26: an insecure registry that says nothing to TLS is reached without, from then on", async () => {
  await using server = new RawServer((exchange) => exchange.reply(200, {}, "ok"), { ignoresTls: true });
  const registries = new Registries({ isInsecure: () => true, limits: { connect: 300 } });
  for (let again = 0; again < 2; again++) {
    assertEquals(await (await registries.get(server.host).send(REQUEST)).text(), "ok");
  }
  assertEquals([server.handshakes, registries.get(server.host).url.protocol], [1, "http:"]);
});

Deno.test("fault 74: a registry that cannot be reached is named for what it is, whoever asked first", async () => {
  const { registry } = setUp(() => REFUSED);
  const actions = ["read one image", "list tags of another"];
  const errors = await Promise.all(actions.map((action) => failureOf(registry.send({ ...REQUEST, action }))));
  for (const { message } of errors) assertEquals(message, `Cannot reach "${HOST}": connection refused`);
});

Deno.test("fault 24: a lasting 500 is tried as often as one request is, and is then nobody's to multiply", async () => {
  const { registry, asked } = setUp((count) => count === 1 ? OK() : new Response("no", { status: 500 }));
  const error = await failureOf(registry.send(REQUEST));
  assertEquals([asked(), error.retry, error.isPermanent], [7, "later", true]);
});

/** A body that gives one byte every few milliseconds and never ends. */
function drip(): Response {
  let timer: ReturnType<typeof setInterval> | undefined;
  return new Response(
    new ReadableStream({
      start: (controller) => void (timer = setInterval(() => controller.enqueue(new Uint8Array(1)), 2)),
      cancel: () => clearInterval(timer),
    }),
  );
}

const FLOOR = { rate: 1_000_000, window: 20, blobWindow: 40 };

Deno.test("fault 21: a registry whose answers hardly move is given up for the run, at the first of them", async () => {
  const { registries, registry, asked } = setUp((count) => count === 1 ? OK() : drip(), { limits: FLOOR });
  const repository = registries.open({ registry: HOST, repository: "a/b" }, "pull");
  const error = await failureOf(repository.getManifest("v1"));
  assertMatch(
    error.message,
    /^Cannot read manifest of "registry.test\/a\/b:v1": it gave only \d+ bytes within \d+ s$/,
  );
  assertEquals([error.retry, asked()], ["never", 2]);
  registries.reconsider();
  const next = await failureOf(registry.send(REQUEST));
  assertMatch(next.message, /^Cannot reach "registry.test": it gave only \d+ bytes within \d+ s$/);
  assertEquals([next.retry, asked()], ["never", 2]);
});

Deno.test("fault 21: one answer that hardly moves among others that do is that answer's failure alone", async () => {
  const { registries, registry, clock } = setUp((count) => count === 2 ? drip() : OK(), { limits: FLOOR });
  const repository = registries.open({ registry: HOST, repository: "a/b" }, "pull");
  const slow = failureOf(repository.getManifest("v1"));
  clock.advance(1);
  await assertRejects(() => repository.getManifest("v2"));
  clock.advance(1);
  assertEquals((await slow).retry, "never");
  assertEquals(await (await registry.send(REQUEST)).text(), "ok");
});

Deno.test("fault 21: a blob that hardly moves is given up, and not asked for again", async () => {
  for (const size of [1000, 2 * 1024 * 1024]) {
    const { registries, asked } = setUp((count) => count === 1 ? OK() : drip(), { limits: FLOOR });
    const repository = registries.open({ registry: HOST, repository: "a/b" }, "pull");
    const digest = `sha256:${"1".repeat(64)}`;
    const source = new BlobSource(repository, { mediaType: "application/octet-stream", digest, size });
    const readAll = async () => {
      while (await source.read() !== undefined);
    };
    const error = await failureOf(readAll());
    assertEquals([error.retry, asked()], ["never", 2]);
    source.cancel(undefined);
  }
});

Deno.test("fault 21: a blob that hardly moves beside one that was read to its last byte is that blob's failure alone", async () => {
  const size = 2 * 1024 * 1024;
  const whole = () => new Response(new Uint8Array(size));
  const answers = [OK, drip, whole, OK];
  const { registries, registry, clock } = setUp((count) => (answers[count - 1] ?? OK)(), { limits: FLOOR });
  const repository = registries.open({ registry: HOST, repository: "a/b" }, "pull");
  const open = (digit: string) =>
    new BlobSource(repository, {
      mediaType: "application/octet-stream",
      digest: `sha256:${digit.repeat(64)}`,
      size,
    });
  const [slow, fast] = [open("1"), open("2")];
  await slow.open();
  clock.advance(1);
  // An upload ends with the last byte, and asks for nothing after it.
  while (fast.position < size) await fast.read();
  fast.cancel(undefined);
  const error = await failureOf((async () => {
    while (await slow.read() !== undefined);
  })());
  slow.cancel(undefined);
  assertEquals(error.retry, "never");
  assertEquals(await (await registry.send(REQUEST)).text(), "ok");
});

Deno.test("fault 22: a small answer may take longer than a stall, as long as it moves", async () => {
  const bytes = new TextEncoder().encode(`{"tags": ["v1"]${" ".repeat(50)}}`);
  const slowly = () => {
    let sent = 0;
    return new Response(
      new ReadableStream({
        pull: async (controller) => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          if (sent === bytes.length) controller.close();
          else controller.enqueue(bytes.slice(sent, ++sent));
        },
      }, { highWaterMark: 0 }),
    );
  };
  const { registries, asked } = setUp((count) => count === 1 ? OK() : slowly(), {
    limits: { stall: 200, attempts: 1 },
  });
  const repository = registries.open({ registry: HOST, repository: "a/b" }, "pull");
  const pages: string[][] = [];
  for await (const page of repository.listTags()) pages.push(page);
  assertEquals([pages, asked()], [[["v1"]], 2]);
});
