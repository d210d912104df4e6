/** Tests of logging in: from a registry's challenge to the header that satisfies it. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  AuthError,
  Authorizer,
  type AuthorizerOptions,
  type TokenRequest,
} from "../src/registry/login/auth.ts";
import { parseChallenges } from "../src/registry/login/challenge.ts";
import type { Credential } from "../src/registry/login/credential.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import { FakeClock } from "./fake_clock.ts";

const REGISTRY = "registry.test";
const BEARER = `Bearer realm="https://auth.test/token",service="registry.test",scope="repository:x:pull"`;
const TARGET = { registry: REGISTRY, repository: "a/b", scopes: ["repository:a/b:pull"] };

/** An authorizer whose token service gives `token-1`, `token-2`, … */
function makeAuthorizer(
  credential?: Credential,
  options: Partial<AuthorizerOptions> = {},
): { authorizer: Authorizer; requests: TokenRequest[]; clock: FakeClock } {
  const requests: TokenRequest[] = [];
  const clock = new FakeClock();
  const authorizer = new Authorizer({
    credentials: () => Promise.resolve(credential),
    fetchToken: (request) => {
      requests.push(request);
      return Promise.resolve({ token: `token-${requests.length}`, expires_in: 300 });
    },
    allowsPlainRealm: () => false,
    clock,
    ...options,
  });
  return { authorizer, requests, clock };
}

function learn(authorizer: Authorizer, header = BEARER): boolean {
  return authorizer.learn(REGISTRY, parseChallenges(header));
}

function answering(answer: unknown, header = BEARER): () => Promise<string | undefined> {
  const { authorizer } = makeAuthorizer(undefined, { fetchToken: () => Promise.resolve(answer) });
  learn(authorizer, header);
  return () => authorizer.header(TARGET);
}

Deno.test("Authorizer.header() sends nothing to a registry that asked for nothing", async () => {
  const { authorizer, requests } = makeAuthorizer({ username: "u", password: "p" });
  assertEquals(await authorizer.header(TARGET), undefined);
  assertEquals(requests, []);
});

Deno.test("Authorizer.header() answers Basic with user name and password in UTF-8", async () => {
  const { authorizer } = makeAuthorizer({ username: "jürgen", password: "pä:ss" });
  learn(authorizer, `Basic realm="x"`);
  const header = await authorizer.header(TARGET);
  const bytes = Uint8Array.from(atob(header?.slice(6) ?? ""), (char) => char.charCodeAt(0));
  assertEquals(new TextDecoder().decode(bytes), "jürgen:pä:ss");
});

Deno.test("Authorizer.header() answers Basic with nothing when there is no user name", async () => {
  for (const credential of [undefined, { identityToken: "secret" }]) {
    const { authorizer } = makeAuthorizer(credential);
    learn(authorizer, `Basic realm="x"`);
    assertEquals(await authorizer.header(TARGET), undefined);
  }
});

Deno.test("Authorizer.learn() prefers a token to a password and knows what it cannot do", () => {
  const { authorizer } = makeAuthorizer();
  assert(!learn(authorizer, `Negotiate, Digest realm="x"`));
  assert(!learn(authorizer, `Bearer service="no realm"`));
  assertEquals(authorizer.challengeOf(REGISTRY), undefined);
  assert(learn(authorizer, `Basic realm="x", ${BEARER}`));
  assertEquals(authorizer.challengeOf(REGISTRY)?.scheme, "bearer");
});

Deno.test("Authorizer.header() asks anonymously for the scopes of the request", async () => {
  const { authorizer, requests } = makeAuthorizer();
  learn(authorizer);
  const scopes = ["repository:b:pull", "repository:a:pull,push"];
  assertEquals(await authorizer.header({ ...TARGET, scopes }), "Bearer token-1");
  const [request] = requests;
  assertEquals([request?.method, request?.headers, request?.body], ["GET", {}, undefined]);
  const url = new URL(request?.url ?? "");
  assertEquals(url.origin + url.pathname, "https://auth.test/token");
  assertEquals(url.searchParams.get("service"), "registry.test");
  assertEquals(url.searchParams.getAll("scope"), [...scopes].sort());
});

Deno.test("Authorizer.header() asks for the challenge's scope where the request names none", async () => {
  const { authorizer, requests } = makeAuthorizer();
  learn(authorizer);
  await authorizer.header({ ...TARGET, scopes: [] });
  assertEquals(new URL(requests[0]?.url ?? "").searchParams.getAll("scope"), ["repository:x:pull"]);
});

Deno.test("Authorizer.header() keeps the query of the realm", async () => {
  const { authorizer, requests } = makeAuthorizer();
  learn(authorizer, `Bearer realm="https://auth.test/jwt?tenant=7"`);
  await authorizer.header(TARGET);
  const { searchParams } = new URL(requests[0]?.url ?? "");
  assertEquals([searchParams.get("tenant"), searchParams.has("service")], ["7", false]);
});

Deno.test("Authorizer.header() gives the token service user name and password by Basic", async () => {
  const { authorizer, requests } = makeAuthorizer({ username: "u", password: "p" });
  learn(authorizer);
  await authorizer.header(TARGET);
  assertEquals(requests[0]?.headers, { authorization: `Basic ${btoa("u:p")}` });
  assertEquals(requests[0]?.account, `user "u"`);
});

Deno.test("Authorizer.header() exchanges an identity token by POST, never in the URL", async () => {
  const { authorizer, requests } = makeAuthorizer({ username: "u", identityToken: "secret" });
  learn(authorizer);
  const scopes = ["repository:a:pull", "repository:b:pull"];
  assertEquals(await authorizer.header({ ...TARGET, scopes }), "Bearer token-1");
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

Deno.test("Authorizer.header() sends a registry token as it is", async () => {
  const { authorizer, requests } = makeAuthorizer({ registryToken: "ready" });
  learn(authorizer);
  assertEquals(await authorizer.header(TARGET), "Bearer ready");
  assertEquals(requests, []);
});

Deno.test("Authorizer.header() has one request in flight for fifty who want the same token", async () => {
  const { authorizer, requests } = makeAuthorizer();
  learn(authorizer);
  const headers = await Promise.all(Array.from({ length: 50 }, () => authorizer.header(TARGET)));
  assertEquals(new Set(headers), new Set(["Bearer token-1"]));
  assertEquals(requests.length, 1);
});

Deno.test("Authorizer.header() asks once, also for those who come just when the token arrives", async () => {
  for (let turns = 0; turns < 30; turns++) {
    let asked = 0;
    const arrived = Promise.withResolvers<unknown>();
    const fetchToken = () => {
      asked++;
      return arrived.promise;
    };
    const { authorizer } = makeAuthorizer(undefined, { fetchToken, credentials: undefined });
    learn(authorizer);
    const first = authorizer.header(TARGET);
    arrived.resolve({ token: "token" });
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    assertEquals(await authorizer.header(TARGET), "Bearer token");
    await first;
    assertEquals(asked, 1, `${turns} turns later`);
  }
});

Deno.test("Authorizer.header() has a token for each scope, account and service", async () => {
  const { authorizer, requests } = makeAuthorizer(undefined, {
    credentials: (_registry, repository) =>
      Promise.resolve(repository === "a" ? { username: "u", password: "p" } : undefined),
  });
  learn(authorizer);
  const ask = (repository: string, scope: string) =>
    authorizer.header({ registry: REGISTRY, repository, scopes: [scope] });
  for (let again = 0; again < 2; again++) {
    assertEquals(await ask("a", "s"), "Bearer token-1");
    assertEquals(await ask("b", "s"), "Bearer token-2");
    assertEquals(await ask("b", "t"), "Bearer token-3");
  }
  learn(authorizer, `Bearer realm="https://other.test/token"`);
  assertEquals(await ask("b", "t"), "Bearer token-4");
  assertEquals(requests.length, 4);
});

Deno.test("Authorizer.header() keeps its tokens when another request is refused for its scope", async () => {
  const { authorizer, requests } = makeAuthorizer();
  learn(authorizer);
  await authorizer.header(TARGET);
  learn(authorizer, BEARER.replace("x:pull", "y:push") + `,error="insufficient_scope"`);
  assertEquals(await authorizer.header(TARGET), "Bearer token-1");
  assertEquals(requests.length, 1);
});

Deno.test("Authorizer.header() renews a token shortly before it runs out", async () => {
  const { authorizer, clock } = makeAuthorizer();
  learn(authorizer);
  assertEquals(await authorizer.header(TARGET), "Bearer token-1");
  clock.advance(289_999);
  assertEquals(await authorizer.header(TARGET), "Bearer token-1");
  clock.advance(1);
  assertEquals(await authorizer.header(TARGET), "Bearer token-2");
});

Deno.test("Authorizer.header() takes 60 seconds where the service does not say a lifetime", async () => {
  for (const expires of [undefined, "soon", -1, 0, null]) {
    let asked = 0;
    const clock = new FakeClock();
    const own = new Authorizer({
      credentials: undefined,
      fetchToken: () => Promise.resolve({ access_token: `${++asked}`, expires_in: expires }),
      allowsPlainRealm: () => false,
      clock,
    });
    learn(own);
    assertEquals(await own.header(TARGET), "Bearer 1");
    clock.advance(53_999);
    assertEquals(await own.header(TARGET), "Bearer 1");
    clock.advance(1);
    assertEquals(await own.header(TARGET), "Bearer 2");
  }
});

Deno.test("Authorizer.header() counts a token's life from when it was asked for", async () => {
  let asked = 0;
  const clock = new FakeClock();
  const authorizer = new Authorizer({
    credentials: undefined,
    fetchToken: () => {
      clock.advance(50_000);
      return Promise.resolve({ token: `${++asked}`, expires_in: 60 });
    },
    allowsPlainRealm: () => false,
    clock,
  });
  learn(authorizer);
  assertEquals(await authorizer.header(TARGET), "Bearer 1");
  clock.advance(5000);
  assertEquals(await authorizer.header(TARGET), "Bearer 2");
});

Deno.test("Authorizer.forget() drops the token that was refused, and only that", async () => {
  const { authorizer } = makeAuthorizer();
  learn(authorizer);
  const other = { ...TARGET, scopes: ["other"] };
  assertEquals([await authorizer.header(TARGET), await authorizer.header(other)], [
    "Bearer token-1",
    "Bearer token-2",
  ]);
  authorizer.forget(REGISTRY, "Bearer token-1");
  authorizer.forget("elsewhere.test", "Bearer token-2");
  assertEquals(await authorizer.header(other), "Bearer token-2");
  assertEquals(await authorizer.header(TARGET), "Bearer token-3");
});

Deno.test("Authorizer.header() fails for all who waited, and asks again for the next", async () => {
  let asked = 0;
  const { authorizer } = makeAuthorizer(undefined, {
    fetchToken: () => ++asked === 1 ? Promise.reject(new Error("down")) : Promise.resolve({ token: "t" }),
  });
  learn(authorizer);
  const results = await Promise.allSettled(Array.from({ length: 5 }, () => authorizer.header(TARGET)));
  assertEquals(new Set(results.map(({ status }) => status)), new Set(["rejected"]));
  assertEquals(await authorizer.header(TARGET), "Bearer t");
  assertEquals(asked, 2);
});

Deno.test("Authorizer.header() sends no password to a realm it cannot trust", async () => {
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
    const { authorizer, requests } = makeAuthorizer({ username: "u", password: "hunter2" });
    learn(authorizer, `Bearer realm="${realm}"`);
    const error = await assertRejects(() => authorizer.header(TARGET), AuthError, why);
    assert(error.message.startsWith(`Cannot log in to "registry.test": `));
    assert(!/hunter2|word@/.test(error.message), error.message);
    assertEquals(requests, []);
  }
});

Deno.test("Authorizer.header() takes a realm without TLS only from a registry without TLS", async () => {
  const { authorizer, requests } = makeAuthorizer(undefined, { allowsPlainRealm: (one) => one === REGISTRY });
  learn(authorizer, `Bearer realm="http://auth.test/token"`);
  assertEquals(await authorizer.header(TARGET), "Bearer token-1");
  assertEquals(requests.length, 1);
});

Deno.test("Authorizer.header() shows little of a realm that is not a URL, and nothing a terminal obeys", async () => {
  const { authorizer } = makeAuthorizer();
  authorizer.learn(REGISTRY, [{ scheme: "bearer", parameters: { realm: `\u001b[2J${"x".repeat(8000)}` } }]);
  const error = await assertRejects(() => authorizer.header(TARGET), AuthError);
  assert(!error.message.includes("\u001b") && error.message.length < 700, error.message);
});

Deno.test("Authorizer.header() refuses answers of a token service that hold no token", async () => {
  const answers = [null, [], "token", {}, { token: "" }, { token: 7 }, { token: "a b" }, { token: "a\r\nb" }];
  for (const answer of answers) {
    await assertRejects(answering(answer), AuthError, "its token service answered without a token");
  }
  assertEquals(await answering({ token: "", access_token: "second" })(), "Bearer second");
});

/** Asks for a pull token for each repository at the same moment. */
function askForAll(authorizer: Authorizer, repositories: readonly string[]): Promise<(string | undefined)[]> {
  return Promise.all(
    repositories.map((repository) =>
      authorizer.header({ registry: REGISTRY, repository, scopes: [`repository:${repository}:pull`] })
    ),
  );
}

function scopesOf({ url }: TokenRequest): string[] {
  return new URL(url).searchParams.getAll("scope");
}

Deno.test("Authorizer.header() has one token for all who ask at the same moment, and keeps it for each", async () => {
  const { authorizer, requests } = makeAuthorizer();
  learn(authorizer);
  const names = ["c", "a", "b", "a"];
  for (let again = 0; again < 2; again++) {
    assertEquals(new Set(await askForAll(authorizer, names)), new Set(["Bearer token-1"]));
  }
  assertEquals(requests.map(scopesOf), [["repository:a:pull", "repository:b:pull", "repository:c:pull"]]);
});

Deno.test("Authorizer.header() asks for twenty repositories at once at the most", async () => {
  const { authorizer, requests } = makeAuthorizer();
  learn(authorizer);
  await askForAll(authorizer, Array.from({ length: 45 }, (_, index) => `r${index}`));
  assertEquals(requests.map((request) => scopesOf(request).length), [20, 20, 5]);
});

Deno.test("Authorizer.header() puts different accounts in no request together", async () => {
  const { authorizer, requests } = makeAuthorizer(undefined, {
    credentials: (_registry, repository) => Promise.resolve({ username: repository[0] ?? "", password: "p" }),
  });
  learn(authorizer);
  await askForAll(authorizer, ["a1", "b1", "a2", "b2"]);
  assertEquals(requests.map(scopesOf), [
    ["repository:a1:pull", "repository:a2:pull"],
    ["repository:b1:pull", "repository:b2:pull"],
  ]);
});

Deno.test("Authorizer.header() asks for each repository where all together are refused, and from then on", async () => {
  for (const failure of [new AuthError(REGISTRY, "denied"), refusal(403)]) {
    const requests: TokenRequest[] = [];
    const { authorizer } = makeAuthorizer(undefined, {
      fetchToken: (request) => {
        requests.push(request);
        if (scopesOf(request).length > 1) return Promise.reject(failure);
        return Promise.resolve({ token: scopesOf(request)[0] });
      },
    });
    learn(authorizer);
    assertEquals(await askForAll(authorizer, ["a", "b"]), [
      "Bearer repository:a:pull",
      "Bearer repository:b:pull",
    ]);
    await askForAll(authorizer, ["c", "d"]);
    assertEquals(requests.map((request) => scopesOf(request).length), [2, 1, 1, 1, 1]);
  }
});

Deno.test("Authorizer.header() asks a token service that is down for nobody again", async () => {
  let asked = 0;
  const { authorizer } = makeAuthorizer(undefined, {
    fetchToken: () => {
      asked++;
      return Promise.reject(refusal(503));
    },
  });
  learn(authorizer);
  await assertRejects(() => askForAll(authorizer, ["a", "b", "c"]));
  assertEquals(asked, 1);
});

Deno.test("Authorizer.forget() makes those who shared a token ask for themselves", async () => {
  const { authorizer, requests } = makeAuthorizer();
  learn(authorizer);
  const [header] = await askForAll(authorizer, ["a", "b"]);
  authorizer.forget(REGISTRY, header ?? "");
  assertEquals(await askForAll(authorizer, ["a", "b"]), ["Bearer token-2", "Bearer token-3"]);
  assertEquals(requests.map((request) => scopesOf(request).length), [2, 1, 1]);
});

function refusal(status: number): RegistryError {
  return new RegistryError({ action: "get a token", method: "GET", url: "https://auth.test/token", status });
}

Deno.test("Authorizer.accountOf() names who asks and no secret", async () => {
  const cases: [Credential | undefined, string][] = [
    [undefined, "anonymous"],
    [{}, "anonymous"],
    [{ username: "u", password: "secret" }, `user "u"`],
    [{ identityToken: "secret" }, "the holder of an identity token"],
    [{ registryToken: "secret" }, "the holder of a registry token"],
  ];
  for (const [credential, expected] of cases) {
    const { authorizer } = makeAuthorizer(credential);
    assertEquals(await authorizer.accountOf(TARGET), expected);
  }
});

Deno.test("AuthError names the registry, the reason and the cause", () => {
  const cause = new Error("below");
  const error = new AuthError(REGISTRY, "why", { cause });
  assertStringIncludes(error.message, `Cannot log in to "registry.test": why`);
  assertEquals([error.name, error.cause], ["AuthError", cause]);
});
