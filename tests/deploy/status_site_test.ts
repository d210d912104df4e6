/** The site of a scheduled mirror: who sees what, what a run on demand answers, and a site that is asked too often. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { MemoryStore } from "../../src/mirror/store/memory_store.ts";
import { createStatusSite } from "../../src/machine/site/status_site.ts";
import { FakeClock } from "../fake_clock.ts";
import { FakeTime } from "../fake_timers.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, type TestRegistry } from "../registry.ts";
import { configOf, OPERATOR, serviceOf, siteOf, TOKEN } from "./site.ts";

const CONFIG = configOf({
  "one.test/secret/app": "two.test/mirror/app",
  'one.test/secret/<script>alert("x")</script>': "two.test/x",
});
const NAMES = ["secret", "one.test", "two.test", "NAME_UNKNOWN", "Cannot"];

function registryWith(tags: number): TestRegistry {
  const registry = createRegistry();
  for (let seed = 0; seed < tags; seed++) pushImage(registry, "secret/app", `v${seed}`, buildImage({ seed }));
  return registry;
}

/** A site whose mirror has run once. */
async function siteAfterRun(token?: string) {
  const service = serviceOf(registryWith(2), CONFIG);
  await service.run("schedule");
  return siteOf(service, token === undefined ? {} : { token });
}

const WITH_NAMES = { headers: OPERATOR };

Deno.test("the site shows names to who has the token, and totals to everybody", async () => {
  const ask = await siteAfterRun(TOKEN);
  for (const path of ["/", "/status", "/metrics"]) {
    const open = await (await ask(path)).text();
    for (const name of NAMES) assert(!open.includes(name), `${path} names ${name}`);
    const full = await (await ask(path, WITH_NAMES)).text();
    assertStringIncludes(full, "one.test/secret/app");
  }
  const { last, rules } = await (await ask("/status")).json();
  assertEquals([last.totals.copied, rules], [2, undefined]);
});

Deno.test("the site without a token shows totals only and starts nothing", async () => {
  const ask = await siteAfterRun();
  for (const headers of [{}, OPERATOR, { authorization: "Bearer " }, { authorization: "Bearer undefined" }]) {
    const run = await ask("/run", { method: "POST", headers });
    assertEquals(run.status, 403);
    assertStringIncludes((await run.json()).error, "IMAGE_SYNCER_TOKEN");
  }
  const page = await (await ask("/")).text();
  assertStringIncludes(page, "IMAGE_SYNCER_TOKEN");
  assert(!page.includes("secret"));
  const signIn = await ask("/sign-in", { method: "POST", body: new URLSearchParams({ token: "" }) });
  assertEquals(signIn.status, 401);
  await signIn.body?.cancel();
});

Deno.test("the site refuses a token that is wrong, and says nothing of the right one", async () => {
  const ask = await siteAfterRun(TOKEN);
  const wrong = [
    "Bearer wrong",
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.slice(1)}`,
    `Basic ${TOKEN}`,
    "Bearer",
    TOKEN,
  ];
  for (const authorization of wrong) {
    for (
      const [path, method] of [["/", "GET"], ["/status", "GET"], ["/metrics", "GET"], [
        "/run",
        "POST",
      ]] as const
    ) {
      const response = await ask(path, { method, headers: { authorization } });
      assertEquals(response.status, 401);
      assertMatch(response.headers.get("www-authenticate") ?? "", /^Bearer /);
      const text = await response.text();
      assert(!text.includes(TOKEN) && !text.includes("secret"));
    }
  }
  const anonymous = await ask("/run", { method: "POST" });
  assertEquals(anonymous.status, 401);
  await anonymous.body?.cancel();
});

Deno.test("the site escapes whatever is in a config or an answer of a registry", async () => {
  const ask = await siteAfterRun(TOKEN);
  const page = await (await ask("/", WITH_NAMES)).text();
  assertEquals(page.match(/<script[^>]*>/g), ['<script src="/live.js" defer>']);
  assertStringIncludes(page, "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;");
  const metrics = await (await ask("/metrics", WITH_NAMES)).text();
  assertStringIncludes(metrics, 'rule="one.test/secret/<script>alert(\\"x\\")</script>"');
});

Deno.test("the site keeps a browser signed in for a while, without keeping the token", async () => {
  let now = Date.UTC(2026, 7, 3);
  const service = serviceOf(registryWith(1), CONFIG);
  await service.run("schedule");
  const ask = siteOf(service, { token: TOKEN, now: () => now });
  const signIn = await ask("/sign-in", { method: "POST", body: new URLSearchParams({ token: TOKEN }) });
  assertEquals([signIn.status, signIn.headers.get("location")], [303, "/"]);
  const cookie = signIn.headers.get("set-cookie") ?? "";
  assertMatch(cookie, /; HttpOnly/);
  assertMatch(cookie, /; SameSite=Strict/);
  assert(!cookie.includes(TOKEN));
  const session = cookie.split(";")[0] ?? "";
  const sees = async (cookie: string) =>
    (await (await ask("/", { headers: { cookie } })).text()).includes("secret");
  assertEquals(await sees(session), true);
  const [until = "", signature = ""] = session.split("=")[1]?.split(".") ?? [];
  assertEquals(await sees(`image-syncer-session=${Number(until) + 1}.${signature}`), false);
  assertEquals(await sees(`image-syncer-session=${until}.`), false);
  now += 12 * 3600_000 + 1000;
  assertEquals(await sees(session), false);
});

Deno.test("POST /run runs, says how far it is, and how it ended", async () => {
  const registry = registryWith(2);
  const ask = siteOf(serviceOf(registry, CONFIG), { token: TOKEN });
  const response = await ask("/run", { method: "POST", headers: OPERATOR });
  assertEquals([response.status, response.headers.get("content-type")], [200, "application/x-ndjson"]);
  const lines = (await response.text()).trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines[0].type, "running");
  const { type, run } = lines.at(-1);
  assertEquals([type, run.outcome, run.trigger, run.totals.copied], ["ended", "failed", "request", 2]);
  assertEquals(registry.repositories.get("mirror/app")?.tags.size, 2);
});

Deno.test("POST /run goes on when nobody listens any more, and answers 409 while it does", async () => {
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const registry = createRegistry({
    intercept: async (request, { kind }) => {
      if (kind !== "manifest" || request.method !== "PUT") return undefined;
      reached.resolve();
      await gate.promise;
      return undefined;
    },
  });
  pushImage(registry, "secret/app", "v1", buildImage({ seed: 1 }));
  const service = serviceOf(registry, CONFIG);
  const ask = siteOf(service, { token: TOKEN });
  const first = await ask("/run", { method: "POST", headers: OPERATOR });
  await first.body?.cancel();
  await reached.promise;
  const second = await ask("/run", { method: "POST", headers: OPERATOR });
  assertEquals(second.status, 409);
  assertEquals(await second.json(), { error: "Cannot run now: a run is on already" });
  const page = await (await ask("/", WITH_NAMES)).text();
  assertStringIncludes(page, 'http-equiv="refresh" content="3"');
  assertStringIncludes(page, "<progress");
  assert(!page.includes("Run now"));
  gate.resolve();
  await service.stop();
  assertEquals(registry.repositories.get("mirror/app")?.tags.size, 1);
});

Deno.test("POST /run from the page's button leads back to the page", async () => {
  const service = serviceOf(registryWith(1), CONFIG);
  const ask = siteOf(service, { token: TOKEN });
  const signIn = await ask("/sign-in", { method: "POST", body: new URLSearchParams({ token: TOKEN }) });
  const cookie = signIn.headers.get("set-cookie")?.split(";")[0] ?? "";
  const headers = { cookie, origin: "http://mirror.test" };
  const pressed = await ask("/run", { method: "POST", body: new URLSearchParams(), headers });
  assertEquals([pressed.status, pressed.headers.get("location")], [303, "/"]);
  await service.stop();
  assertEquals((await service.memory.runs()).length, 1);
});

Deno.test("fault 37: a body larger than any form is refused before it is read", async () => {
  const ask = await siteAfterRun(TOKEN);
  let given = 0;
  const body = new ReadableStream({
    pull: (controller) => {
      given++;
      controller.enqueue(new Uint8Array(1024).fill(97));
    },
  });
  const headers = { "content-type": "application/x-www-form-urlencoded", ...OPERATOR };
  const refused = await ask("/sign-in", { method: "POST", body, headers });
  assertEquals(refused.status, 413);
  await refused.body?.cancel();
  assert(given < 10, `${given} KiB were read`);
  const told = await ask("/sign-in", {
    method: "POST",
    body: new URLSearchParams({ token: "x".repeat(5000) }),
    headers: { "content-length": "5006" },
  });
  assertEquals(told.status, 413);
  await told.body?.cancel();
});

Deno.test("fault 43: what another page makes a browser send is refused", async () => {
  const service = serviceOf(registryWith(1), CONFIG);
  const ask = siteOf(service, { token: TOKEN });
  const form = () => ({ method: "POST", body: new URLSearchParams({ token: TOKEN }) });
  const signIn = await ask("/sign-in", form());
  const cookie = signIn.headers.get("set-cookie")?.split(";")[0] ?? "";
  const foreign = [
    { origin: "http://mirror.test:81" },
    { origin: "https://evil.test" },
    { origin: "null" },
    { origin: "http://mirror.test", "sec-fetch-site": "same-site" },
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "none" },
    {},
  ];
  for (const headers of foreign) {
    for (const path of ["/run", "/stop", "/sign-in"]) {
      const answer = await ask(path, { ...form(), headers: { cookie, ...headers } as HeadersInit });
      assertEquals(answer.status, 403, JSON.stringify({ path, headers }));
      await answer.body?.cancel();
    }
  }
  assertEquals((await service.memory.runs()).length, 0);
  const own = [
    { origin: "http://mirror.test" },
    { "sec-fetch-site": "same-origin", origin: "null" },
    { origin: "https://front.test", "x-forwarded-host": "front.test" },
  ];
  for (const headers of own) {
    const answer = await ask("/run", { ...form(), headers: { cookie, ...headers } as HeadersInit });
    assertEquals(answer.status, 303, JSON.stringify(headers));
  }
  await service.stop();
});

Deno.test("fault 43: the cookie is Secure where the browser came over https", async () => {
  const ask = siteOf(serviceOf(registryWith(1), CONFIG), { token: TOKEN });
  const cookieWith = async (headers: HeadersInit) => {
    const answer = await ask("/sign-in", {
      method: "POST",
      body: new URLSearchParams({ token: TOKEN }),
      headers,
    });
    return answer.headers.get("set-cookie") ?? "";
  };
  assertMatch(await cookieWith({ "x-forwarded-proto": "https" }), /; Secure/);
  assert(!/Secure/.test(await cookieWith({})));
  const site = createStatusSite({ service: serviceOf(registryWith(1), CONFIG), token: TOKEN });
  const body = new URLSearchParams({ token: TOKEN });
  const secure = await site(new Request("https://mirror.test/sign-in", { method: "POST", body }));
  assertMatch(secure.headers.get("set-cookie") ?? "", /; Secure/);
});

Deno.test("fault 43: whoever guesses tokens waits longer each time, and others do not", async () => {
  const clock = new FakeClock();
  const ask = siteOf(serviceOf(registryWith(1), CONFIG), { token: TOKEN, clock });
  for (let guess = 0; guess < 4; guess++) {
    const headers = { authorization: `Bearer ${guess}` };
    await (await ask("/status", { headers })).body?.cancel();
    const body = new URLSearchParams({ token: String(guess) });
    await (await ask("/sign-in", { method: "POST", body })).body?.cancel();
  }
  assertEquals(clock.waits, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
  await (await ask("/status", WITH_NAMES)).body?.cancel();
  assertEquals(clock.waits.length, 8);
});

Deno.test("fault 43: of very many guesses at once, most are not even looked at", async () => {
  const clock = new FakeClock({ isManual: true });
  const ask = siteOf(serviceOf(registryWith(1), CONFIG), { token: TOKEN, clock });
  const guesses = Array.from(
    { length: 100 },
    (_, at) =>
      ask("/metrics", { headers: { authorization: `Bearer ${at}` } }).then(async (answer) => {
        await answer.body?.cancel();
        return answer.status;
      }),
  );
  while (clock.pending < 64) await Promise.resolve();
  const health = await ask("/healthz");
  assertEquals([health.status, await health.text()], [200, "ok\n"]);
  clock.advance(5000);
  const statuses = await Promise.all(guesses);
  assertEquals(statuses.filter((status) => status === 429).length, 36);
});

Deno.test("GET /events tells that a run is on, ends with the service, and is not given without end", async () => {
  using time = new FakeTime();
  const service = serviceOf(registryWith(1), CONFIG);
  const ask = siteOf(service, {});
  const answers = await Promise.all(Array.from({ length: 101 }, () => ask("/events")));
  assertEquals(answers.map(({ status }) => status).filter((status) => status !== 200), [503]);
  const [first, ...others] = answers;
  for (const other of others) await other.body?.cancel();
  time.pass(30_000);
  await service.stop();
  time.pass(2000);
  assertEquals(await first?.text(), "retry: 3000\n\ndata: changed\n\n");
});

Deno.test("POST /run?rule= runs that rule, as its button on the page does", async () => {
  const registry = registryWith(2);
  const service = serviceOf(registry, CONFIG);
  await service.run("schedule");
  const ask = siteOf(service, { token: TOKEN });
  const page = await (await ask("/", WITH_NAMES)).text();
  const [, action = ""] = /action="(\/run\?rule=[^"]*app[^"]*)"/.exec(page) ?? [];
  assertEquals(action, "/run?rule=one.test%2Fsecret%2Fapp");
  const lines = (await (await ask(action, { method: "POST", headers: OPERATOR })).text()).trim().split("\n");
  const { run } = JSON.parse(lines.at(-1) ?? "{}");
  assertEquals([run.outcome, run.rule, run.totals.unchanged], ["done", "one.test/secret/app", 2]);
  const open = await (await ask("/status")).text();
  assert(!open.includes("secret"), open);
});

Deno.test("POST /stop ends the run that is on, and only for who has the token", async () => {
  const reached = Promise.withResolvers<void>();
  const registry = createRegistry({
    intercept: (request, { kind }) => {
      if (kind === "manifest" && request.method === "PUT") reached.resolve();
      return undefined;
    },
  });
  for (let seed = 0; seed < 40; seed++) pushImage(registry, "secret/app", `v${seed}`, buildImage({ seed }));
  const service = serviceOf(registry, CONFIG, { mirrorOptions: { concurrency: 1 } });
  const ask = siteOf(service, { token: TOKEN });
  const idle = await ask("/stop", { method: "POST", headers: OPERATOR });
  assertEquals([idle.status, (await idle.json()).error], [409, "Cannot stop: no run is on"]);
  const running = service.run("schedule");
  await reached.promise;
  assertEquals((await ask("/stop", { method: "POST" })).status, 401);
  assertEquals((await ask("/stop", { method: "POST", headers: OPERATOR })).status, 200);
  const result = await running;
  assertEquals(result.type === "ended" && result.run.outcome, "stopped");
  assertEquals((await service.run("schedule")).type, "ended");
});

Deno.test("GET /healthz tells whether the database answers, and nothing else", async () => {
  const service = serviceOf(registryWith(1), CONFIG);
  const well = await siteOf(service)("/healthz");
  assertEquals([well.status, await well.text()], [200, "ok\n"]);
  const checkHealth = () => Promise.reject(new Error("secret"));
  const ill = await siteOf(service, { checkHealth })("/healthz");
  assertEquals([ill.status, await ill.text()], [503, "the database does not answer\n"]);
});

Deno.test("the site asks the store once a second, however often it is asked", async () => {
  let reads = 0;
  class CountingStore extends MemoryStore {
    override list(prefix: readonly string[]) {
      if (prefix.includes("rule")) reads++;
      return super.list(prefix);
    }
  }
  let now = 1000;
  const service = serviceOf(registryWith(1), CONFIG, { store: new CountingStore() });
  await service.run("schedule");
  const ask = siteOf(service, { token: TOKEN, now: () => now });
  reads = 0;
  const askAll = async () => {
    const paths = Array.from({ length: 100 }, (_, at) => ["/", "/status", "/metrics"][at % 3] ?? "/");
    for (const response of await Promise.all(paths.map((path) => ask(path)))) await response.text();
  };
  await askAll();
  assertEquals(reads, 1);
  now += 999;
  await askAll();
  assertEquals(reads, 1);
  now += 1;
  await askAll();
  assertEquals(reads, 2);
});

Deno.test("the site lets nothing foreign into its pages, and nobody keep them", async () => {
  const ask = await siteAfterRun(TOKEN);
  for (const path of ["/", "/status", "/sign-in", "/live.js", "/none"]) {
    const response = await ask(path);
    assertEquals(response.headers.get("cache-control"), "no-store");
    assertMatch(response.headers.get("content-security-policy") ?? "", /^default-src 'none'/);
    assertEquals(response.status, path === "/none" ? 404 : 200);
    const text = await response.text();
    assert(!/(?:src|href)="(?:https?:)?\/\//.test(text));
  }
});
