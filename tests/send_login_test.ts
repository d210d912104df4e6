/** Tests of logging in on the way: what a registry and its token service see, and what they never see. */

import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import type { Challenge } from "../src/registry/login/challenge.ts";
import type { Credential } from "../src/registry/login/credential.ts";
import { AuthError, RegistryError } from "../src/registry/registry_error.ts";
import type { Repository } from "../src/registry/repository/repository.ts";
import type { RegistriesOptions } from "../src/registry/request.ts";
import { Registries } from "../src/registry/registries.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { buildImage, buildLayer, pushImage } from "./images.ts";
import { assertHolds, DESTINATION, type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";
import {
  type AuthOptions,
  createBlobHost,
  createNetwork,
  createRegistry,
  generatedContent,
  type Handler,
  type RegistryOptions,
  serve,
  type TestRegistry,
} from "./registry.ts";

const REGISTRY = "registry.test";
const PASSWORD = "hunter2";
const USER: Credential = { username: "robot", password: PASSWORD };
const BEARER: AuthOptions = { type: "bearer", users: { robot: { password: PASSWORD } } };
const BLOB = generatedContent(1, 1000);

interface Setup {
  registry: TestRegistry;
  registries: Registries;
  clock: FakeClock;
  open: (name?: string, actions?: "pull" | "pull,push") => Repository;
}

function setUp(
  registryOptions: RegistryOptions = {},
  credential: Credential | undefined = USER,
  options: RegistriesOptions = {},
): Setup {
  const clock = new FakeClock();
  const registry = createRegistry({ auth: BEARER, now: () => clock.now(), ...registryOptions });
  pushImage(registry, "a/b", "v1", buildImage());
  registry.state.addBlob("a/b", BLOB);
  const registries = new Registries({
    fetchFor: () => registry.fetch,
    credentials: () => Promise.resolve(credential),
    clock,
    ...options,
  });
  const open: Setup["open"] = (name = "a/b", actions = "pull") =>
    registries.open({ registry: REGISTRY, repository: name }, actions);
  return { registry, registries, clock, open };
}

function many<Value>(count: number, make: () => Promise<Value>): Promise<Value[]> {
  return Promise.all(Array.from({ length: count }, make));
}

/** Every text and number of an error and its causes. */
function everythingIn(error: unknown): string {
  const parts: string[] = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    parts.push(cause.message, JSON.stringify(cause), String(cause));
  }
  return parts.join("\n");
}

Deno.test("Registry.send() logs fifty requests in with one ping and one token", async () => {
  const { registry, open } = setUp();
  assertEquals(await many(50, () => open().hasBlob(BLOB.digest)), Array(50).fill(true));
  assertEquals(registry.access.tokenRequests, 1);
  assertEquals(registry.count({ kind: "ping" }), 1);
  assertEquals(registry.count({ status: 401 }), 1);
  assertEquals(registry.count({ kind: "blob", status: 200 }), 50);
});

Deno.test("Registry.send() asks for a token per repository and for no more than it needs", async () => {
  const { registry, open } = setUp();
  await open("a/b").hasBlob(BLOB.digest);
  await open("a/b", "pull,push").openUpload(BLOB.digest);
  await open("a/b").hasBlob(BLOB.digest);
  const asked = registry.requests.filter(({ kind }) => kind === "token").map(({ path }) =>
    new URL(path, "https://x").searchParams.getAll("scope")
  );
  assertEquals(asked, [["repository:a/b:pull"], ["repository:a/b:pull,push"]]);
});

Deno.test("Registry.send() asks for pull on the repository it mounts from", async () => {
  const { registry, open } = setUp();
  const opening = await open("c", "pull,push").openUpload(BLOB.digest, { mountFrom: "a/b" });
  assertEquals(opening, { type: "mounted" });
  const token = registry.requests.find(({ kind }) => kind === "token");
  assertEquals(new URL(token?.path ?? "", "https://x").searchParams.getAll("scope"), [
    "repository:a/b:pull",
    "repository:c:pull,push",
  ]);
});

Deno.test("Registry.send() logs in anonymously where it has no credential", async () => {
  const auth: AuthOptions = { ...BEARER, anonymousPull: true };
  const { registry, open } = setUp({ auth }, {});
  assert(await open().hasBlob(BLOB.digest));
  const token = registry.requests.find(({ kind }) => kind === "token");
  assertEquals(token?.authorization, "none");
});

Deno.test("Registry.send() logs in by Basic with every request but the ping", async () => {
  const { registry, open } = setUp({ auth: { type: "basic", username: "robot", password: PASSWORD } });
  await many(3, () => open().hasBlob(BLOB.digest));
  assertEquals(registry.requests.map(({ authorization }) => authorization), [
    "none",
    "basic",
    "basic",
    "basic",
  ]);
});

Deno.test("Registry.send() exchanges an identity token", async () => {
  const { registry, open } = setUp({}, { identityToken: "x" });
  const login = await registry.fetch(
    `https://${REGISTRY}/token?service=registry.test&offline_token=true`,
    { headers: { authorization: `Basic ${btoa(`robot:${PASSWORD}`)}` } },
  );
  const identityToken: string = (await login.json()).refresh_token;
  const registries = new Registries({
    fetchFor: () => registry.fetch,
    credentials: () => Promise.resolve({ identityToken }),
  });
  assert(await registries.open({ registry: REGISTRY, repository: "a/b" }, "pull").hasBlob(BLOB.digest));
  assertEquals(registry.requests.findLast(({ kind }) => kind === "token")?.method, "POST");
  const error = await assertRejects(() => open().hasBlob(BLOB.digest), RegistryError);
  assertEquals([error.status, error.method], [401, "POST"]);
});

Deno.test("Registry.send() renews a token that runs out in the middle of a run, before it is refused", async () => {
  const { registry, open, clock } = setUp();
  for (let minute = 0; minute < 20; minute++) {
    assert(await open().hasBlob(BLOB.digest));
    clock.advance(60_000);
  }
  assertEquals(registry.count({ status: 401 }), 1);
  assertEquals(registry.access.tokenRequests, 4);
});

Deno.test("Registry.send() takes one new token for fifty requests whose token was refused", async () => {
  const { registry, open } = setUp();
  assert(await open().hasBlob(BLOB.digest));
  registry.access.revokeTokens();
  registry.resetLog();
  assertEquals(await many(50, () => open().hasBlob(BLOB.digest)), Array(50).fill(true));
  assertEquals(registry.count({ kind: "token" }), 1);
  assert(registry.count({ status: 401 }) <= 16);
});

Deno.test("Registry.send() says who was refused, and no secret", async () => {
  const { registry, open } = setUp({}, { username: "robot", password: "wrong-secret" });
  const error = await assertRejects(() => open().hasBlob(BLOB.digest), RegistryError);
  assertEquals(
    error.message,
    `Cannot log in to "registry.test" as user "robot": 401 UNAUTHORIZED: incorrect username or password`,
  );
  assert(error.isPermanent);
  assert(!/wrong-secret|scope=/.test(everythingIn(error)));
  assertEquals(registry.access.tokenRequests, 1);
});

Deno.test("Registry.send() says who lacks the right to do it", async () => {
  const auth: AuthOptions = {
    type: "bearer",
    users: { robot: { password: PASSWORD, rights: { "a/b": ["pull"] } } },
  };
  const { registry, open } = setUp({ auth });
  const error = await assertRejects(() => open("a/b", "pull,push").openUpload(BLOB.digest), RegistryError);
  assertEquals(
    error.message,
    `Cannot push blob "${BLOB.digest}" to "registry.test/a/b": 401 DENIED: authentication required (user "robot")`,
  );
  assertEquals(registry.count({ kind: "upload" }), 2);
});

Deno.test("Registry.send() refuses a token service that was forged, and asks it nothing", async () => {
  for (const realm of ["http://evil.test/token", "ftp://evil.test/", "https://u:p@evil.test/", "evil"]) {
    const { registry, open } = setUp({ auth: { ...BEARER, realm } });
    const error = await assertRejects(() => open().hasBlob(BLOB.digest), AuthError);
    assert(!everythingIn(error).includes(PASSWORD));
    assertEquals([registry.count(), registry.access.tokenRequests], [1, 0]);
  }
});

Deno.test("Registry.send() leaves no answer open when the challenge in it cannot be trusted", async () => {
  let isForged = false;
  const registry = createRegistry({
    auth: BEARER,
    intercept: (request) => {
      if (!isForged || request.url.endsWith("/v2/")) return undefined;
      const headers = { "www-authenticate": `Bearer realm="ftp://evil.test/"` };
      return new Response("x".repeat(100_000), { status: 401, headers });
    },
  });
  registry.state.addBlob("a/b", BLOB);
  await using server = serve(registry);
  const registries = new Registries({
    isInsecure: () => true,
    credentials: () => Promise.resolve(USER),
    clock: new FakeClock(),
  });
  const repository = registries.open({ registry: server.host, repository: "a/b" }, "pull");
  assert(await repository.hasBlob(BLOB.digest));
  isForged = true;
  await assertRejects(() => repository.getBlob(BLOB.digest), AuthError, "ftp:");
});

Deno.test("Registry.send() does not follow a token service that redirects", async () => {
  let stolen: string | null = "nothing";
  const evil: Handler = (request) => {
    stolen = request.headers.get("authorization");
    return Response.json({ token: "t" });
  };
  const { registry } = setUp({
    intercept: (_request, { kind }) =>
      kind === "token"
        ? new Response(null, { status: 307, headers: { location: "https://evil.test/" } })
        : undefined,
  });
  const network = createNetwork({ [`https://${REGISTRY}`]: registry.handler, "https://evil.test": evil });
  const registries = new Registries({
    fetchFor: () => network,
    credentials: () => Promise.resolve(USER),
    clock: new FakeClock(),
  });
  const error = await assertRejects(
    () => registries.open({ registry: REGISTRY, repository: "a/b" }, "pull").hasBlob(BLOB.digest),
    RegistryError,
  );
  assertEquals([error.status, stolen], [307, "nothing"]);
});

Deno.test("Registry.send() asks a token service that is down as often as the limit says, no more", async () => {
  let down = Infinity;
  const { registry, open, clock } = setUp({
    intercept: (_request, { kind, count }) =>
      kind === "token" && count <= down ? new Response("SECRET", { status: 503 }) : undefined,
  });
  const error = await assertRejects(() => open().hasBlob(BLOB.digest), RegistryError);
  assertEquals(
    error.message,
    `Cannot log in to "registry.test" as user "robot": 503 service unavailable`,
  );
  assertEquals([registry.count({ kind: "token" }), clock.waits.length], [6, 5]);
  assertEquals(error.retry, "later");
  registry.resetLog();
  down = 3;
  assert(await open().hasBlob(BLOB.digest));
  assertEquals(registry.count({ kind: "token" }), 4);
});

Deno.test("Registry.send() explains what a token service answers that it cannot use", async () => {
  const cases: [() => Response, string][] = [
    [() => new Response("<html>SECRET</html>"), "its token service answered with something that is not JSON"],
    [
      () => new Response("<html>SECRET</html>", { headers: { "content-type": "text/html; charset=utf-8" } }),
      "its token service answered with a web page (text/html)",
    ],
    [() => Response.json({ error: "SECRET" }), "its token service answered without a token"],
  ];
  for (const [answer, why] of cases) {
    const { open } = setUp({ intercept: (_request, { kind }) => kind === "token" ? answer() : undefined });
    const error = await assertRejects(() => open().hasBlob(BLOB.digest), AuthError);
    assertEquals(error.message, `Cannot log in to "registry.test": ${why}`);
    assert(!everythingIn(error).includes("SECRET"));
  }
});

Deno.test("Registry.send() sends no credentials along a redirect to a storage host", async () => {
  const { registry } = setUp({ redirectBlobsTo: "https://cdn.test" });
  const host = createBlobHost(registry);
  const network = createNetwork({
    [`https://${REGISTRY}`]: registry.handler,
    "https://cdn.test": host.handler,
  });
  const registries = new Registries({ fetchFor: () => network, credentials: () => Promise.resolve(USER) });
  const response = await registries.open({ registry: REGISTRY, repository: "a/b" }, "pull").getBlob(
    BLOB.digest,
  );
  assertEquals((await response.bytes()).length, BLOB.size);
  assertEquals(host.requests.map(({ authorizationHeader }) => authorizationHeader), [null]);
  assertEquals(registry.requests.at(-1)?.authorization, "bearer");
});

Deno.test("Registry.send() sends no credentials along a redirect, on real sockets", async () => {
  const registry = createRegistry({ auth: BEARER });
  registry.state.addBlob("a/b", BLOB);
  const host = createBlobHost(registry);
  await using storage = serve(host.handler);
  await using server = serve((request) =>
    request.url.includes("/blobs/")
      ? new Response("moved", {
        status: 307,
        headers: { location: `${storage.url}/cdn/${BLOB.digest}?sig=1` },
      })
      : registry.handler(request)
  );
  const registries = new Registries({ isInsecure: () => true, credentials: () => Promise.resolve(USER) });
  const response = await registries.open({ registry: server.host, repository: "a/b" }, "pull").getBlob(
    BLOB.digest,
  );
  assertEquals((await response.bytes()).length, BLOB.size);
  assertEquals(host.requests.map(({ authorizationHeader }) => authorizationHeader), [null]);
});

Deno.test("Registry.send() gives no password to a host that a registry only redirects to", async () => {
  const asked: string[] = [];
  const evil: Handler = (request) => {
    asked.push(`${new URL(request.url).pathname} ${request.headers.get("authorization")}`);
    const headers = { "www-authenticate": `Bearer realm="https://evil.test/token"` };
    return new Response("no", { status: 401, headers });
  };
  for (const isBasic of [true, false]) {
    asked.length = 0;
    const auth: AuthOptions = isBasic ? { type: "basic", username: "robot", password: PASSWORD } : BEARER;
    const { registry } = setUp({ auth, redirectBlobsTo: "https://evil.test" });
    const network = createNetwork({ [`https://${REGISTRY}`]: registry.handler, "https://evil.test": evil });
    const registries = new Registries({ fetchFor: () => network, credentials: () => Promise.resolve(USER) });
    const error = await assertRejects(
      () => registries.open({ registry: REGISTRY, repository: "a/b" }, "pull").getBlob(BLOB.digest),
      RegistryError,
    );
    assertEquals(error.status, 401);
    assertEquals(asked, [`/cdn/${BLOB.digest} null`]);
    assertEquals(error.url, `https://evil.test/cdn/${BLOB.digest}`);
  }
});

Deno.test("Registry.send() gives no password to a host that the ping is redirected to", async () => {
  const asked: string[] = [];
  const network = createNetwork({
    [`https://${REGISTRY}`]: (request) =>
      request.url.endsWith("/v2/")
        ? new Response(null, { status: 307, headers: { location: "https://evil.test/v2/" } })
        : new Response(null, { status: 200 }),
    "https://evil.test": (request) => {
      asked.push(request.url);
      return new Response(null, { status: 401, headers: { "www-authenticate": `Basic realm="x"` } });
    },
  });
  const registries = new Registries({ fetchFor: () => network, credentials: () => Promise.resolve(USER) });
  assert(await registries.open({ registry: REGISTRY, repository: "a/b" }, "pull").hasBlob(BLOB.digest));
  assertEquals(asked, ["https://evil.test/v2/"]);
});

Deno.test("Registry.send() does not ping a registry whose challenge is remembered", async () => {
  const memory = new Map<string, Challenge>();
  const challenges = {
    get: (registry: string) => Promise.resolve(memory.get(registry)),
    set: (registry: string, challenge: Challenge) => Promise.resolve(void memory.set(registry, challenge)),
  };
  const first = setUp({}, USER, { challenges });
  assert(await first.open().hasBlob(BLOB.digest));
  assertEquals(memory.get(REGISTRY)?.parameters.realm, `https://${REGISTRY}/token`);
  const second = setUp({}, USER, { challenges });
  assert(await second.open().hasBlob(BLOB.digest));
  assertEquals(second.registry.requests.map(({ kind }) => kind), ["token", "blob"]);
});

Deno.test("Registry.send() does not believe a remembered token service elsewhere", async () => {
  const challenge: Challenge = { scheme: "bearer", parameters: { realm: "https://evil.test/token" } };
  const challenges = { get: () => Promise.resolve(challenge), set: () => Promise.resolve() };
  const { registry, open } = setUp({}, USER, { challenges });
  assert(await open().hasBlob(BLOB.digest));
  assertEquals(registry.requests.map(({ kind }) => kind), ["ping", "token", "blob"]);
});

Deno.test("Registry.send() goes on without a memory that fails", async () => {
  const challenges = { get: () => Promise.reject(new Error("x")), set: () => Promise.reject(new Error("x")) };
  const { open } = setUp({}, USER, { challenges });
  assert(await open().hasBlob(BLOB.digest));
});

Deno.test("Registry.warm() meets the registry and gets a token, and keeps failures to itself", async () => {
  const { registry, open } = setUp();
  await open().warm();
  assertEquals(registry.requests.map(({ kind }) => kind), ["ping", "token"]);
  assert(await open().hasBlob(BLOB.digest));
  assertEquals(registry.count(), 3);
  const forged = setUp({ auth: { ...BEARER, realm: "ftp://evil.test" } });
  await forged.open().warm();
  await assertRejects(() => forged.open().hasBlob(BLOB.digest), AuthError);
});

Deno.test("Registry.send() asks for credentials by registry and repository", async () => {
  const asked = new Set<string>();
  const { registry } = setUp();
  const registries = new Registries({
    fetchFor: () => registry.fetch,
    credentials: (name, repository) => {
      asked.add(`${name}/${repository}`);
      return Promise.resolve(USER);
    },
  });
  await registries.open({ registry: REGISTRY, repository: "a/b" }, "pull").hasBlob(BLOB.digest);
  await settle();
  assertEquals([...asked], [`${REGISTRY}/a/b`]);
  const error = await assertRejects(() =>
    new Registries({
      fetchFor: () => registry.fetch,
      credentials: () => Promise.reject(new Error("locked")),
    }).open({ registry: REGISTRY, repository: "a/b" }, "pull").hasBlob(BLOB.digest)
  );
  assertInstanceOf(error, Error);
  assertEquals(error.message, "locked");
});

/** A memory of challenges that forgets. */
function memoryOf(challenge?: Challenge) {
  const known = new Map<string, Challenge>(challenge === undefined ? [] : [[REGISTRY, challenge]]);
  return {
    known,
    get: (registry: string) => Promise.resolve(known.get(registry)),
    set: (registry: string, next: Challenge) => Promise.resolve(void known.set(registry, next)),
    delete: (registry: string) => Promise.resolve(void known.delete(registry)),
  };
}

const REMEMBERED: Record<string, Challenge> = {
  "a token service that is gone": {
    scheme: "bearer",
    parameters: { realm: `https://${REGISTRY}/old/token` },
  },
  "another service": { scheme: "bearer", parameters: { realm: `https://${REGISTRY}/token`, service: "old" } },
  "a password": { scheme: "basic", parameters: { realm: "x" } },
};

Deno.test("fault 44: what is remembered of a registry is forgotten when it does not work", async () => {
  const now: Record<string, [RegistryOptions, (challenge: Challenge | undefined) => boolean]> = {
    "a token service": [{}, (one) => one?.parameters.realm === `https://${REGISTRY}/token`],
    "a password": [
      { auth: { type: "basic", username: "robot", password: PASSWORD } },
      (one) => one?.scheme === "basic",
    ],
  };
  for (const [before, challenge] of Object.entries(REMEMBERED)) {
    for (const [after, [options, isRight]] of Object.entries(now)) {
      const memory = memoryOf(challenge);
      const { open, registry } = setUp(options, USER, { challenges: memory });
      assert(await open().hasBlob(BLOB.digest), `${before}, then ${after}`);
      const asked = registry.count();
      assert(await open().hasBlob(BLOB.digest));
      assertEquals([
        registry.count() - asked,
        isRight(memory.known.get(REGISTRY)) || before === "another service",
      ], [
        1,
        true,
      ], `${before}, then ${after}`);
    }
  }
});

Deno.test("fault 44: a registry that has become open to all is used without a login, and nothing of it is remembered", async () => {
  const memory = memoryOf(REMEMBERED["a token service that is gone"]);
  const clock = new FakeClock();
  const registry = createRegistry();
  registry.state.addBlob("a/b", BLOB);
  const registries = new Registries({
    fetchFor: () => registry.fetch,
    credentials: () => Promise.resolve(USER),
    challenges: memory,
    clock,
  });
  const repository = registries.open({ registry: REGISTRY, repository: "a/b" }, "pull");
  assertEquals(await many(20, () => repository.hasBlob(BLOB.digest)), Array(20).fill(true));
  assertEquals([memory.known.size, registry.count({ kind: "ping" }), clock.waits], [0, 1, []]);
});

Deno.test("fault 44: a remembered token service that is out of order is asked once before the registry is", async () => {
  const memory = memoryOf(REMEMBERED["a token service that is gone"]);
  const { open, registry, clock } = setUp(
    {
      intercept: (request) => request.url.includes("/old/") ? new Response("", { status: 503 }) : undefined,
    },
    USER,
    { challenges: memory },
  );
  assert(await open().hasBlob(BLOB.digest));
  assertEquals(registry.requests.filter(({ path }) => path.startsWith("/old/")).length, 1);
  assertEquals(clock.waits, []);
});

/** Answers some paths besides the registry: what a proxy before it, or an odd token service, does. */
function withRoutes(
  routes: (request: Request, path: string) => Response | undefined | Promise<Response | undefined>,
  options: RegistryOptions = {},
): Setup {
  return setUp({ ...options, intercept: (request) => routes(request, new URL(request.url).pathname) });
}

Deno.test("fault 62: a token service that redirects to itself is followed with the password, and no other is", async () => {
  for (const status of [301, 302, 303, 307, 308]) {
    const seen: (string | null)[] = [];
    const { open } = withRoutes((request, path) => {
      if (path !== "/token") return undefined;
      seen.push(request.headers.get("authorization"));
      const { searchParams, search } = new URL(request.url);
      if (searchParams.has("again")) return undefined;
      return new Response(null, { status, headers: { location: `/token${search}&again=1` } });
    });
    assert(await open().hasBlob(BLOB.digest), `${status}`);
    assertEquals(seen, Array(2).fill(`Basic ${btoa(`robot:${PASSWORD}`)}`));
  }
});

Deno.test("fault 62: a token service that redirects to itself for ever is not followed for ever", async () => {
  const { open, registry } = withRoutes((request, path) =>
    path === "/token" ? new Response(null, { status: 307, headers: { location: request.url } }) : undefined
  );
  const error = await assertRejects(() => open().hasBlob(BLOB.digest), RegistryError);
  assertEquals([error.status, registry.count({ kind: "token" })], [307, 4]);
});

Deno.test("fault 62: a token service that knows only POST is asked by POST, at once from then on", async () => {
  for (const status of [404, 405]) {
    const { open, registry } = withRoutes((request, path) =>
      path === "/token" && request.method === "GET" ? new Response(null, { status }) : undefined
    );
    assert(await open().hasBlob(BLOB.digest));
    await open("c/d", "pull,push").openUpload(BLOB.digest);
    const methods = registry.requests.filter(({ kind }) => kind === "token").map(({ method }) => method);
    assertEquals(methods, ["GET", "POST", "POST"]);
    assert(!registry.requests.some(({ path }) => path.includes(PASSWORD)));
  }
});

Deno.test("fault 62: a token that comes with 201 is a token", async () => {
  const { open } = setUp({
    intercept: async (_request, { kind, next }) =>
      kind === "token" ? new Response((await next()).body, { status: 201 }) : undefined,
  });
  assert(await open().hasBlob(BLOB.digest));
});

/** Lets in whoever has a token for exactly the scope that the registry names, which is not the path's. */
function rewritingProxy(): Handler {
  return (request) => {
    const url = new URL(request.url);
    if (url.pathname === "/token") return Response.json({ token: btoa(url.searchParams.get("scope") ?? "") });
    const name = /^\/v2\/(.+)\/blobs\//.exec(url.pathname)?.[1];
    const scope = `repository:inner/${name}:pull`;
    if (request.headers.get("authorization") === `Bearer ${btoa(scope)}`) return new Response(null);
    const parameters = `realm="https://${REGISTRY}/token",service="s"${
      name === undefined ? "" : `,scope="${scope}"`
    }`;
    return new Response(null, { status: 401, headers: { "www-authenticate": `Bearer ${parameters}` } });
  };
}

Deno.test("fault 63: the scope that a registry names is the one that is asked for", async () => {
  let asked = 0;
  const network = createNetwork({
    [`https://${REGISTRY}`]: (request) => (asked++, rewritingProxy()(request)),
  });
  const registries = new Registries({ fetchFor: () => network });
  const repository = registries.open({ registry: REGISTRY, repository: "a/b" }, "pull");
  assert(await repository.hasBlob(BLOB.digest));
  const first = asked;
  for (let again = 0; again < 3; again++) assert(await repository.hasBlob(BLOB.digest));
  assertEquals([first, asked], [5, 8]);
});

Deno.test("fault 63: each repository may have a token service of its own", async () => {
  const network = createNetwork({
    [`https://${REGISTRY}`]: (request) => {
      const { pathname } = new URL(request.url);
      if (pathname.startsWith("/token/")) return Response.json({ token: pathname.slice(7) });
      const own = /^\/v2\/([^/]+)\/app\//.exec(pathname)?.[1] ?? "none";
      if (request.headers.get("authorization") === `Bearer ${own}`) return new Response(null);
      const challenge = `Bearer realm="https://${REGISTRY}/token/${own}",service="s"`;
      return new Response(null, { status: 401, headers: { "www-authenticate": challenge } });
    },
  });
  const registries = new Registries({ fetchFor: () => network });
  const names = ["one", "two", "three", "one", "two", "three"];
  const found = await Promise.all(names.map(async (name) => {
    const repository = registries.open({ registry: REGISTRY, repository: `${name}/app` }, "pull");
    return [await repository.hasBlob(BLOB.digest), await repository.hasBlob(BLOB.digest)];
  }));
  assertEquals(found.flat(), Array(12).fill(true));
});

Deno.test("fault 64: a token that is refused is replaced, a few times", async () => {
  for (const [refused, isFound] of [[1, true], [2, true], [3, true], [4, false]] as const) {
    let left = refused;
    const { open, registry } = setUp({
      intercept: (_request, { kind }) => {
        if (kind === "blob" && left-- > 0) registry.access.revokeTokens();
        return undefined;
      },
    });
    if (isFound) assert(await open().hasBlob(BLOB.digest), `${refused}`);
    else {
      const error = await assertRejects(() => open().hasBlob(BLOB.digest), RegistryError);
      assertEquals([error.status, error.retry], [401, "later"]);
    }
    assertEquals(registry.count({ kind: "blob" }), Math.min(refused, 3) + 1);
  }
});

Deno.test("fault 64: a 401 to a streamed upload is answered by another login and another upload", async () => {
  for (const times of [1, 2]) {
    let left = times;
    const image = buildImage({ layers: [buildLayer(3, 2 * 1024 * 1024)] });
    const setup: MirrorSetup = setUpMirror({
      destination: {
        auth: BEARER,
        intercept: (request, { kind }) => {
          const isLarge = Number(request.headers.get("content-length")) > 1024 * 1024;
          if (request.method === "PUT" && kind === "upload" && isLarge && left-- > 0) {
            setup.destination.access.revokeTokens();
          }
          return undefined;
        },
      },
      registries: { credentials: () => Promise.resolve(USER) },
    });
    pushImage(setup.source, "a/b", "v1", image);
    const report = await setup.run({ [`${SOURCE}/a/b:v1`]: `${DESTINATION}/a/b` }, { retries: 0 });
    assertEquals(report.totals.copied, 1, report.tasks[0]?.destinations[0]?.error);
    assertHolds(setup.destination, "a/b", "v1", image);
  }
});

Deno.test("Registry.send() never tries a password again that was refused", async () => {
  const wrong: Credential = { username: "robot", password: "wrong" };
  for (const auth of [BEARER, { type: "basic", username: "robot", password: PASSWORD } as const]) {
    const { open, registry } = setUp({ auth }, wrong);
    const error = await assertRejects(() => open().hasBlob(BLOB.digest), RegistryError);
    assertEquals([error.status, error.retry], [401, "never"]);
    assertEquals(registry.requests.filter(({ kind }) => kind !== "ping").length, 1);
  }
});
