/** Tests of logging in: from a registry's challenge to the header that satisfies it. */

import { digestOf } from "../src/oci/descriptor.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Connection } from "../src/registry/connection.ts";
import { Login, type LoginOptions } from "../src/registry/login/login.ts";
import type { TokenRequest } from "../src/registry/login/token_service.ts";
import { parseChallenges } from "../src/registry/login/challenge.ts";
import type { Credential } from "../src/registry/login/credential.ts";
import { AuthError, RegistryError } from "../src/registry/registry_error.ts";
import { DEFAULT_LIMITS } from "../src/registry/request.ts";
import { BufferPool } from "../src/registry/stream/buffer_pool.ts";
import { FakeClock } from "./fake_clock.ts";

const REGISTRY = "registry.test";
const BEARER = `Bearer realm="https://auth.test/token",service="registry.test",scope="repository:x:pull"`;
const TARGET = { repository: "a/b", scopes: ["repository:a/b:pull"] };

/** A login whose token service gives `token-1`, `token-2`, … */
function makeLogin(
  credential?: Credential,
  { isPlain = false, ...options }: LoginOptions & { isPlain?: boolean } = {},
): { login: Login; requests: TokenRequest[]; clock: FakeClock } {
  const requests: TokenRequest[] = [];
  const clock = new FakeClock();
  const login = new Login(connectionWith(clock, isPlain), {
    credentials: () => Promise.resolve(credential),
    fetchToken: (_connection, request) => {
      requests.push(request);
      return Promise.resolve({ token: `token-${requests.length}`, expires_in: 300 });
    },
    ...options,
  });
  return { login, requests, clock };
}

function connectionWith(clock: FakeClock, isPlain: boolean): Connection {
  const context = {
    clock,
    limits: DEFAULT_LIMITS,
    buffers: new BufferPool(),
    digestOf,
    signal: undefined,
    emit: () => {},
  };
  const fetch = () => Promise.reject(new Error("there is no network here"));
  const connection = new Connection(REGISTRY, context, { fetch, isInsecure: isPlain });
  if (isPlain) connection.setOrigin("http");
  return connection;
}

function learn(login: Login, header = BEARER): boolean {
  return login.learn(parseChallenges(header));
}

function answering(answer: unknown, header = BEARER): () => Promise<string | undefined> {
  const { login } = makeLogin(undefined, { fetchToken: () => Promise.resolve(answer) });
  learn(login, header);
  return () => login.header(TARGET);
}

Deno.test("Login.header() sends nothing to a registry that asked for nothing", async () => {
  const { login, requests } = makeLogin({ username: "u", password: "p" });
  assertEquals(await login.header(TARGET), undefined);
  assertEquals(requests, []);
});

Deno.test("Login.header() answers Basic with user name and password in UTF-8", async () => {
  const { login } = makeLogin({ username: "jürgen", password: "pä:ss" });
  learn(login, `Basic realm="x"`);
  const header = await login.header(TARGET);
  const bytes = Uint8Array.from(atob(header?.slice(6) ?? ""), (char) => char.charCodeAt(0));
  assertEquals(new TextDecoder().decode(bytes), "jürgen:pä:ss");
});

Deno.test("Login.header() answers Basic with nothing when there is no user name", async () => {
  for (const credential of [undefined, { identityToken: "secret" }]) {
    const { login } = makeLogin(credential);
    learn(login, `Basic realm="x"`);
    assertEquals(await login.header(TARGET), undefined);
  }
});

Deno.test("Login.learn() prefers a token to a password and knows what it cannot do", () => {
  const { login } = makeLogin();
  assert(!learn(login, `Negotiate, Digest realm="x"`));
  assert(!learn(login, `Bearer service="no realm"`));
  assertEquals(login.challenge, undefined);
  assert(learn(login, `Basic realm="x", ${BEARER}`));
  assertEquals(login.challenge?.scheme, "bearer");
});

Deno.test("Login.header() asks anonymously for the scopes of the request", async () => {
  const { login, requests } = makeLogin();
  learn(login);
  const scopes = ["repository:b:pull", "repository:a:pull,push"];
  assertEquals(await login.header({ ...TARGET, scopes }), "Bearer token-1");
  const [request] = requests;
  assertEquals([request?.method, request?.headers, request?.body], ["GET", {}, undefined]);
  const url = new URL(request?.url ?? "");
  assertEquals(url.origin + url.pathname, "https://auth.test/token");
  assertEquals(url.searchParams.get("service"), "registry.test");
  assertEquals(url.searchParams.getAll("scope"), [...scopes].sort());
});

Deno.test("Login.header() asks for the challenge's scope where the request names none", async () => {
  const { login, requests } = makeLogin();
  learn(login);
  await login.header({ ...TARGET, scopes: [] });
  assertEquals(new URL(requests[0]?.url ?? "").searchParams.getAll("scope"), ["repository:x:pull"]);
});

Deno.test("Login.header() keeps the query of the realm", async () => {
  const { login, requests } = makeLogin();
  learn(login, `Bearer realm="https://auth.test/jwt?tenant=7"`);
  await login.header(TARGET);
  const { searchParams } = new URL(requests[0]?.url ?? "");
  assertEquals([searchParams.get("tenant"), searchParams.has("service")], ["7", false]);
});

Deno.test("Login.header() gives the token service user name and password by Basic", async () => {
  const { login, requests } = makeLogin({ username: "u", password: "p" });
  learn(login);
  await login.header(TARGET);
  assertEquals(requests[0]?.headers, { authorization: `Basic ${btoa("u:p")}` });
  assertEquals(requests[0]?.account, `user "u"`);
});

Deno.test("Login.header() exchanges an identity token by POST, never in the URL", async () => {
  const { login, requests } = makeLogin({ username: "u", identityToken: "secret" });
  learn(login);
  const scopes = ["repository:a:pull", "repository:b:pull"];
  assertEquals(await login.header({ ...TARGET, scopes }), "Bearer token-1");
  const [request] = requests;
  assertEquals([request?.method, request?.url], ["POST", "https://auth.test/token"]);
  assertEquals(request?.headers, { "content-type": "application/x-www-form-urlencoded" });
  assertEquals(Object.fromEntries(new URLSearchParams(new TextDecoder().decode(request?.body))), {
    grant_type: "refresh_token",
    refresh_token: "secret",
    client_id: "image-syncer",
    service: "registry.test",
    scope: "repository:a:pull repository:b:pull",
  });
});

Deno.test("Login.header() sends a registry token as it is", async () => {
  const { login, requests } = makeLogin({ registryToken: "ready" });
  learn(login);
  assertEquals(await login.header(TARGET), "Bearer ready");
  assertEquals(requests, []);
});

Deno.test("Login.header() has one request in flight for fifty who want the same token", async () => {
  const { login, requests } = makeLogin();
  learn(login);
  const headers = await Promise.all(Array.from({ length: 50 }, () => login.header(TARGET)));
  assertEquals(new Set(headers), new Set(["Bearer token-1"]));
  assertEquals(requests.length, 1);
});

Deno.test("Login.header() asks once, also for those who come just when the token arrives", async () => {
  for (let turns = 0; turns < 30; turns++) {
    let asked = 0;
    const arrived = Promise.withResolvers<unknown>();
    const fetchToken = () => {
      asked++;
      return arrived.promise;
    };
    const { login } = makeLogin(undefined, { fetchToken, credentials: undefined });
    learn(login);
    const first = login.header(TARGET);
    arrived.resolve({ token: "token" });
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    assertEquals(await login.header(TARGET), "Bearer token");
    await first;
    assertEquals(asked, 1, `${turns} turns later`);
  }
});

Deno.test("Login.header() has a token for each scope, account and service", async () => {
  const { login, requests } = makeLogin(undefined, {
    credentials: (_registry, repository) =>
      Promise.resolve(repository === "a" ? { username: "u", password: "p" } : undefined),
  });
  learn(login);
  const ask = (repository: string, scope: string) => login.header({ repository, scopes: [scope] });
  for (let again = 0; again < 2; again++) {
    assertEquals(await ask("a", "s"), "Bearer token-1");
    assertEquals(await ask("b", "s"), "Bearer token-2");
    assertEquals(await ask("b", "t"), "Bearer token-3");
  }
  learn(login, `Bearer realm="https://other.test/token"`);
  assertEquals(await ask("b", "t"), "Bearer token-4");
  assertEquals(requests.length, 4);
});

Deno.test("Login.header() keeps its tokens when another request is refused for its scope", async () => {
  const { login, requests } = makeLogin();
  learn(login);
  await login.header(TARGET);
  learn(login, BEARER.replace("x:pull", "y:push") + `,error="insufficient_scope"`);
  assertEquals(await login.header(TARGET), "Bearer token-1");
  assertEquals(requests.length, 1);
});

Deno.test("Login.header() renews a token shortly before it runs out", async () => {
  const { login, clock } = makeLogin();
  learn(login);
  assertEquals(await login.header(TARGET), "Bearer token-1");
  clock.advance(289_999);
  assertEquals(await login.header(TARGET), "Bearer token-1");
  clock.advance(1);
  assertEquals(await login.header(TARGET), "Bearer token-2");
});

Deno.test("Login.header() takes 60 seconds where the service does not say a lifetime", async () => {
  for (const expires of [undefined, "soon", -1, 0, null]) {
    let asked = 0;
    const { login: own, clock } = makeLogin(undefined, {
      fetchToken: () => Promise.resolve({ access_token: `${++asked}`, expires_in: expires }),
    });
    learn(own);
    assertEquals(await own.header(TARGET), "Bearer 1");
    clock.advance(53_999);
    assertEquals(await own.header(TARGET), "Bearer 1");
    clock.advance(1);
    assertEquals(await own.header(TARGET), "Bearer 2");
  }
});

Deno.test("Login.header() counts a token's life from when it was asked for", async () => {
  let asked = 0;
  const { login, clock } = makeLogin(undefined, {
    fetchToken: () => {
      clock.advance(50_000);
      return Promise.resolve({ token: `${++asked}`, expires_in: 60 });
    },
  });
  learn(login);
  assertEquals(await login.header(TARGET), "Bearer 1");
  clock.advance(5000);
  assertEquals(await login.header(TARGET), "Bearer 2");
});

Deno.test("fault 64: Login.header() counts a token's life from when it was issued", async () => {
  const issuedAgo = async (seconds: number | undefined) => {
    let asked = 0;
    const { login, clock } = makeLogin(undefined, {
      fetchToken: () => {
        const issued = seconds === undefined ? "soon" : new Date(clock.now() - seconds * 1000).toISOString();
        return Promise.resolve({ token: `${++asked}`, expires_in: 300, issued_at: issued });
      },
    });
    learn(login);
    await login.header(TARGET);
    const start = clock.now();
    while (await login.header(TARGET) === "Bearer 1") clock.advance(1000);
    return (clock.now() - start) / 1000;
  };
  assertEquals([await issuedAgo(0), await issuedAgo(200), await issuedAgo(undefined)], [290, 90, 290]);
  // A clock that is wrong by more than that says nothing.
  assertEquals([await issuedAgo(301), await issuedAgo(-60)], [290, 290]);
});

Deno.test("Login.forget() drops the token that was refused, and only that", async () => {
  const { login } = makeLogin();
  learn(login);
  const other = { ...TARGET, scopes: ["other"] };
  assertEquals([await login.header(TARGET), await login.header(other)], [
    "Bearer token-1",
    "Bearer token-2",
  ]);
  login.forget("Bearer token-1");
  assertEquals(await login.header(other), "Bearer token-2");
  assertEquals(await login.header(TARGET), "Bearer token-3");
});

Deno.test("Login.header() fails for all who waited, and asks again for the next", async () => {
  let asked = 0;
  const { login } = makeLogin(undefined, {
    fetchToken: () => ++asked === 1 ? Promise.reject(new Error("down")) : Promise.resolve({ token: "t" }),
  });
  learn(login);
  const results = await Promise.allSettled(Array.from({ length: 5 }, () => login.header(TARGET)));
  assertEquals(new Set(results.map(({ status }) => status)), new Set(["rejected"]));
  assertEquals(await login.header(TARGET), "Bearer t");
  assertEquals(asked, 2);
});

Deno.test("Login.header() sends no password to a realm it cannot trust", async () => {
  const realms: [string, string][] = [
    ["http://auth.test/token", `its token service "http://auth.test" is not reached by https`],
    ["ftp://auth.test/token", "is not reached by https"],
    ["javascript:alert(1)", "is not reached by https"],
    ["file:///etc/passwd", "is not reached by https"],
    ["https://user:word@auth.test/token", "has a user name in it"],
    ["/token", `its token service "/token" is not a URL`],
    ["", "is not a URL"],
  ];
  for (const [realm, why] of realms) {
    const { login, requests } = makeLogin({ username: "u", password: "hunter2" });
    learn(login, `Bearer realm="${realm}"`);
    const error = await assertRejects(() => login.header(TARGET), AuthError, why);
    assert(error.message.startsWith(`Cannot log in to "registry.test": `));
    assert(!/hunter2|word@/.test(error.message), error.message);
    assertEquals(requests, []);
  }
});

Deno.test("Login.header() takes a realm without TLS only from a registry without TLS", async () => {
  const { login, requests } = makeLogin(undefined, { isPlain: true });
  learn(login, `Bearer realm="http://auth.test/token"`);
  assertEquals(await login.header(TARGET), "Bearer token-1");
  assertEquals(requests.length, 1);
});

Deno.test("Login.header() shows little of a realm that is not a URL, and nothing a terminal obeys", async () => {
  const { login } = makeLogin();
  login.learn([{ scheme: "bearer", parameters: { realm: `\u001b[2J${"x".repeat(8000)}` } }]);
  const error = await assertRejects(() => login.header(TARGET), AuthError);
  assert(!error.message.includes("\u001b") && error.message.length < 700, error.message);
});

Deno.test("Login.header() refuses answers of a token service that hold no token", async () => {
  const answers = [null, [], "token", {}, { token: "" }, { token: 7 }, { token: "a b" }, { token: "a\r\nb" }];
  for (const answer of answers) {
    await assertRejects(answering(answer), AuthError, "its token service answered without a token");
  }
  assertEquals(await answering({ token: "", access_token: "second" })(), "Bearer second");
});

/** Asks for a pull token for each repository at the same moment. */
function askForAll(login: Login, repositories: readonly string[]): Promise<(string | undefined)[]> {
  return Promise.all(
    repositories.map((repository) => login.header({ repository, scopes: [`repository:${repository}:pull`] })),
  );
}

function scopesOf({ url }: TokenRequest): string[] {
  return new URL(url).searchParams.getAll("scope");
}

Deno.test("Login.header() has one token for all who ask at the same moment, and keeps it for each", async () => {
  const { login, requests } = makeLogin();
  learn(login);
  const names = ["c", "a", "b", "a"];
  for (let again = 0; again < 2; again++) {
    assertEquals(new Set(await askForAll(login, names)), new Set(["Bearer token-1"]));
  }
  assertEquals(requests.map(scopesOf), [["repository:a:pull", "repository:b:pull", "repository:c:pull"]]);
});

Deno.test("Login.header() asks for twenty repositories at once at the most", async () => {
  const { login, requests } = makeLogin();
  learn(login);
  await askForAll(login, Array.from({ length: 45 }, (_, index) => `r${index}`));
  assertEquals(requests.map((request) => scopesOf(request).length), [20, 20, 5]);
});

Deno.test("Login.header() puts different accounts in no request together", async () => {
  const { login, requests } = makeLogin(undefined, {
    credentials: (_registry, repository) => Promise.resolve({ username: repository[0] ?? "", password: "p" }),
  });
  learn(login);
  await askForAll(login, ["a1", "b1", "a2", "b2"]);
  assertEquals(requests.map(scopesOf), [
    ["repository:a1:pull", "repository:a2:pull"],
    ["repository:b1:pull", "repository:b2:pull"],
  ]);
});

Deno.test("Login.header() asks for each repository where all together are refused, and from then on", async () => {
  for (const failure of [new AuthError(REGISTRY, "denied"), refusal(403)]) {
    const requests: TokenRequest[] = [];
    const { login } = makeLogin(undefined, {
      fetchToken: (_connection, request) => {
        requests.push(request);
        if (scopesOf(request).length > 1) return Promise.reject(failure);
        return Promise.resolve({ token: scopesOf(request)[0] });
      },
    });
    learn(login);
    assertEquals(await askForAll(login, ["a", "b"]), [
      "Bearer repository:a:pull",
      "Bearer repository:b:pull",
    ]);
    await askForAll(login, ["c", "d"]);
    assertEquals(requests.map((request) => scopesOf(request).length), [2, 1, 1, 1, 1]);
  }
});

Deno.test("Login.header() asks a token service that is down for nobody again", async () => {
  let asked = 0;
  const { login } = makeLogin(undefined, {
    fetchToken: () => {
      asked++;
      return Promise.reject(refusal(503));
    },
  });
  learn(login);
  await assertRejects(() => askForAll(login, ["a", "b", "c"]));
  assertEquals(asked, 1);
});

Deno.test("Login.forget() makes those who shared a token ask for themselves", async () => {
  const { login, requests } = makeLogin();
  learn(login);
  const [header] = await askForAll(login, ["a", "b"]);
  login.forget(header ?? "");
  assertEquals(await askForAll(login, ["a", "b"]), ["Bearer token-2", "Bearer token-3"]);
  assertEquals(requests.map((request) => scopesOf(request).length), [2, 1, 1]);
});

function refusal(status: number): RegistryError {
  return new RegistryError({ action: "get a token", method: "GET", url: "https://auth.test/token", status });
}

Deno.test("Login.accountOf() names who asks and no secret", async () => {
  const cases: [Credential | undefined, string][] = [
    [undefined, "anonymous"],
    [{}, "anonymous"],
    [{ username: "u", password: "secret" }, `user "u"`],
    [{ identityToken: "secret" }, "the holder of an identity token"],
    [{ registryToken: "secret" }, "the holder of a registry token"],
  ];
  for (const [credential, expected] of cases) {
    const { login } = makeLogin(credential);
    assertEquals(await login.accountOf("a/b"), expected);
  }
});

Deno.test("AuthError names the registry, the reason and the cause", () => {
  const cause = new Error("below");
  const error = new AuthError(REGISTRY, "why", { cause });
  assertStringIncludes(error.message, `Cannot log in to "registry.test": why`);
  assertEquals([error.name, error.cause], ["AuthError", cause]);
});
