/** Tests of the test registry's authentication and token service. */

import { assert, assertEquals } from "@std/assert";
import { buildImage, buildLayer, pushImage, pushOverHttp } from "../images.ts";
import { createRegistry, type RegistryOptions, type TestRegistry } from "../registry.ts";

const BASE = "https://registry.test";

type Guard = Partial<Extract<RegistryOptions["auth"], { type: "bearer" }>>;

const START = 1_700_000_000_000;

function createGuarded(options: Guard = {}, now: () => number = () => START): TestRegistry {
  const rights = { "team/*": ["pull", "push"], "public/image": ["pull"] };
  const users = { robot: { password: "pass:word", rights }, admin: { password: "root" } };
  return createRegistry({ auth: { type: "bearer", users, ...options }, now });
}

function basic(username: string, password: string): Record<string, string> {
  return { authorization: `Basic ${btoa(`${username}:${password}`)}` };
}

async function token(
  registry: TestRegistry,
  scopes: string[],
  headers: Record<string, string> = {},
): Promise<string> {
  const query = scopes.map((scope) => `scope=${encodeURIComponent(scope)}`).join("&");
  const response = await registry.fetch(`${BASE}/token?service=registry.test&${query}`, { headers });
  assertEquals(response.status, 200);
  return (await response.json()).token;
}

async function status(
  registry: TestRegistry,
  path: string,
  bearer?: string,
  method = "GET",
): Promise<[number, string | null]> {
  const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
  const response = await registry.fetch(BASE + path, { method, headers });
  await response.body?.cancel();
  return [response.status, response.headers.get("www-authenticate")];
}

Deno.test("createRegistry() with basic auth lets only the user in", async () => {
  const registry = createRegistry({ auth: { type: "basic", username: "me", password: "pa:ss" } });
  const refused = await registry.fetch(`${BASE}/v2/`);
  assertEquals(refused.headers.get("www-authenticate"), 'Basic realm="registry.test"');
  await refused.body?.cancel();
  const wrong = await registry.fetch(`${BASE}/v2/`, { headers: basic("me", "pass") });
  await wrong.body?.cancel();
  assertEquals(wrong.status, 401);
  assertEquals((await registry.fetch(`${BASE}/v2/`, { headers: basic("me", "pa:ss") })).status, 200);
  assertEquals(registry.requests.map(({ authorization }) => authorization), ["none", "basic", "basic"]);
});

Deno.test("createRegistry() with tokens names realm, service and scope", async () => {
  const registry = createGuarded({ service: "reg" });
  const start = 'Bearer realm="https://registry.test/token",service="reg"';
  assertEquals(await status(registry, "/v2/"), [401, start]);
  assertEquals(await status(registry, "/v2/team/a/manifests/v1"), [
    401,
    `${start},scope="repository:team/a:pull"`,
  ]);
  const push = `${start},scope="repository:team/a:pull,push repository:team/b:pull"`;
  const mount = `/v2/team/a/blobs/uploads/?mount=${buildLayer(1).digest}&from=team/b`;
  assertEquals(await status(registry, mount, undefined, "POST"), [401, push]);
});

Deno.test("createRegistry() with tokens opens a token's repository and action, and no other", async () => {
  const registry = createGuarded();
  for (const name of ["team/a", "team/b"]) pushImage(registry, name, "v1", buildImage());
  const pull = await token(registry, ["repository:team/a:pull"], basic("robot", "pass:word"));
  assertEquals((await status(registry, "/v2/team/a/manifests/v1", pull))[0], 200);
  assert(
    (await status(registry, "/v2/team/b/manifests/v1", pull))[1]?.endsWith('error="insufficient_scope"'),
  );
  assertEquals((await status(registry, "/v2/team/a/blobs/uploads/", pull, "POST"))[0], 401);
  const push = await token(registry, ["repository:team/a:pull,push"], basic("robot", "pass:word"));
  assertEquals((await status(registry, "/v2/team/a/blobs/uploads/", push, "POST"))[0], 202);
  assertEquals((await status(registry, "/v2/team/a/manifests/v1", push, "DELETE"))[0], 401);
});

Deno.test("createRegistry() with tokens gives a user no more than their rights", async () => {
  const registry = createGuarded();
  pushImage(registry, "public/image", "v1", buildImage());
  const asked = await token(registry, ["repository:public/image:pull,push"], basic("robot", "pass:word"));
  assertEquals((await status(registry, "/v2/public/image/manifests/v1", asked))[0], 200);
  assertEquals((await status(registry, "/v2/public/image/blobs/uploads/", asked, "POST"))[0], 401);
  const other = await token(registry, ["repository:other:pull"], basic("robot", "pass:word"));
  assertEquals((await status(registry, "/v2/other/tags/list", other))[0], 401);
});

Deno.test("createRegistry() with tokens mounts only with pull on the other repository", async () => {
  const registry = createGuarded();
  const layer = buildLayer(1);
  registry.state.addBlob("team/b", layer);
  const mount = `/v2/team/a/blobs/uploads/?mount=${layer.digest}&from=team/b`;
  const one = await token(registry, ["repository:team/a:pull,push"], basic("robot", "pass:word"));
  assertEquals((await status(registry, mount, one, "POST"))[0], 401);
  registry.quirks.mountDeniedUploads = true;
  assertEquals((await status(registry, mount, one, "POST"))[0], 202);
  registry.quirks.mountDeniedUploads = false;
  const scopes = ["repository:team/a:pull,push", "repository:team/b:pull"];
  const both = await token(registry, scopes, basic("robot", "pass:word"));
  assertEquals((await status(registry, mount, both, "POST"))[0], 201);
});

Deno.test("createRegistry() with tokens can ask for delete to cancel an upload", async () => {
  const registry = createGuarded();
  const bearer = await token(registry, ["repository:team/a:pull,push"], basic("robot", "pass:word"));
  const headers = { authorization: `Bearer ${bearer}` };
  const started = await registry.fetch(`${BASE}/v2/team/a/blobs/uploads/`, { method: "POST", headers });
  const path = started.headers.get("location") ?? "";
  registry.quirks.uploadDeleteNeedsDelete = true;
  assertEquals((await status(registry, path, bearer, "DELETE"))[0], 401);
  registry.quirks.uploadDeleteNeedsDelete = false;
  assertEquals((await status(registry, path, bearer, "DELETE"))[0], 204);
});

Deno.test("createRegistry() with tokens refuses one that expired", async () => {
  let now = START;
  const registry = createGuarded({ tokenLifetimeSeconds: 60 }, () => now);
  const old = await token(registry, [], basic("admin", "root"));
  now = START + 59_999;
  assertEquals((await status(registry, "/v2/", old))[0], 200);
  now = START + 60_000;
  assert((await status(registry, "/v2/", old))[1]?.endsWith('error="invalid_token"'));
});

Deno.test("createRegistry() with tokens says how long one lives, or does not", async () => {
  const registry = createGuarded({ tokenLifetimeSeconds: 60, anonymousPull: true });
  const { expires_in, issued_at } = await (await registry.fetch(`${BASE}/token`)).json();
  assertEquals([expires_in, issued_at], [60, new Date(START).toISOString()]);
  const silent = createGuarded({ omitExpiry: true, anonymousPull: true });
  assertEquals("expires_in" in await (await silent.fetch(`${BASE}/token`)).json(), false);
});

Deno.test("createRegistry() with tokens lets anonymous clients pull where told to", async () => {
  const registry = createGuarded({ anonymousPull: ["public/image"] });
  for (const name of ["public/image", "team/a"]) pushImage(registry, name, "v1", buildImage());
  const scopes = ["repository:public/image:pull,push", "repository:team/a:pull"];
  const anonymous = await token(registry, scopes);
  assertEquals((await status(registry, "/v2/public/image/manifests/v1", anonymous))[0], 200);
  assertEquals((await status(registry, "/v2/public/image/blobs/uploads/", anonymous, "POST"))[0], 401);
  assertEquals((await status(registry, "/v2/team/a/manifests/v1", anonymous))[0], 401);
});

Deno.test("createRegistry() with tokens refuses wrong credentials and counts", async () => {
  const registry = createGuarded();
  for (const headers of [basic("robot", "wrong"), basic("nobody", ""), {}]) {
    const response = await registry.fetch(`${BASE}/token`, { headers });
    await response.body?.cancel();
    assertEquals(response.status, 401);
  }
  assertEquals(registry.access.tokenRequests, 3);
  assertEquals(registry.count({ kind: "token" }), 3);
});

Deno.test("createRegistry() with tokens takes a password by POST, then its refresh token", async () => {
  const registry = createGuarded();
  pushImage(registry, "team/a", "v1", buildImage());
  const post = (fields: Record<string, string>) =>
    registry.fetch(`${BASE}/token`, {
      method: "POST",
      body: new URLSearchParams({ service: "registry.test", scope: "repository:team/a:pull", ...fields }),
    });
  const login = { grant_type: "password", username: "robot", password: "pass:word", access_type: "offline" };
  const first = await (await post(login)).json();
  assertEquals((await status(registry, "/v2/team/a/manifests/v1", first.access_token))[0], 200);
  const refresh = { grant_type: "refresh_token", refresh_token: first.refresh_token };
  const second = await (await post(refresh)).json();
  assertEquals((await status(registry, "/v2/team/a/manifests/v1", second.access_token))[0], 200);
  registry.access.revokeTokens();
  assertEquals((await status(registry, "/v2/team/a/manifests/v1", second.access_token))[0], 401);
  const wrong = await post({ ...refresh, refresh_token: "made up" });
  await wrong.body?.cancel();
  assertEquals(wrong.status, 401);
});

Deno.test("pushOverHttp() needs one token for its repository", async () => {
  const registry = createGuarded();
  const bearer = await token(registry, ["repository:team/a:pull,push"], basic("robot", "pass:word"));
  const authorized: typeof registry.fetch = (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set("authorization", `Bearer ${bearer}`);
    return registry.fetch(input, { ...init, headers });
  };
  await pushOverHttp(authorized, BASE, "team/a", "v1", buildImage());
  assertEquals(registry.repositories.get("team/a")?.tags.get("v1"), buildImage().digest);
});
