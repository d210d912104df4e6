/** Compatibility, items 32, 33 and 36 to 44: which registry a name means, and which credentials it gets. */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { parseConfig, parseRuleSource, type TransportOptions } from "../../mod.ts";
import { openConfigRegistries } from "../../src/deno/config_registries.ts";
import { googleToken } from "../../src/deno/google_token.ts";
import { buildImage, pushImage } from "../images.ts";
import { DESTINATION, type MirrorSetup, setUpMirror, SOURCE } from "../mirror_setup.ts";
import {
  type AuthOptions,
  createRegistry,
  type RegistryOptions,
  serve,
  type TestRegistry,
} from "../registry.ts";
import { assertExit, type Scene, withScene } from "./scene.ts";

/** Where Docker Hub's API is. */
const HUB = "registry-1.docker.io";
const ROBOT = { type: "basic", username: "robot", password: "secret" } as const;
const TOKENS: AuthOptions = { type: "bearer", users: { robot: { password: "secret" } } };
const LOGIN = { username: "robot", password: "secret" };

/** Finds credentials as the command line does, apart from those of the machine. */
function registriesOf(auth: Record<string, unknown>): ReturnType<typeof openConfigRegistries> {
  return openConfigRegistries(parseConfig(JSON.stringify({ auth, images: {} })));
}

/** What a config's `auth` makes of a transport. */
function credentialsOf(auth: Record<string, unknown>): TransportOptions {
  return { credentials: registriesOf(auth).options.credentials };
}

/** Docker Hub with `library/nginx:1` and `u/app:v1`, and a mirror that knows the config's credentials. */
function setUpHub(auth: Record<string, unknown>, options: RegistryOptions = {}): [MirrorSetup, TestRegistry] {
  const hub = createRegistry(options);
  for (const name of ["library/nginx", "a/b", "u/app"]) pushImage(hub, name, "v1", buildImage());
  return [setUpMirror({ others: { [HUB]: hub }, transport: credentialsOf(auth) }), hub];
}

function rule({ S, D }: Scene): Record<string, string> {
  return { [`${S}/ns/app:v1`]: `${D}/copy/app` };
}

Deno.test("compat 32: a first part without dot, colon or localhost is on Docker Hub, and one part alone is in library", async () => {
  const places = {
    "nginx:1": "docker.io library/nginx",
    "a/b:1": "docker.io a/b",
    "host.tld/x:1": "host.tld x",
    "host:5000/x:1": "host:5000 x",
    "localhost/x:1": "localhost x",
    "docker.io/x:1": "docker.io library/x",
  };
  for (const [text, place] of Object.entries(places)) {
    const { registry, repository } = parseRuleSource(text);
    assertEquals(`${registry} ${repository}`, place, text);
  }
  // And Docker Hub's images do come from where its API is, which is not where its name leads.
  const [setup] = setUpHub({});
  const images = { "nginx:v1": `${DESTINATION}/x/nginx`, "a/b:v1": `${DESTINATION}/x/b` };
  const { totals } = await setup.run(images);
  assertEquals(totals.copied, 2);
  assertEquals([...setup.destination.repositories.keys()].sort(), ["x/b", "x/nginx"]);
});

Deno.test("compat 33: an auth key by any name of Docker Hub is for its images, by whatever name they are called", async () => {
  for (const name of ["docker.io", "registry.hub.docker.com", "index.docker.io", "registry-1.docker.io"]) {
    const [setup] = setUpHub({ [name]: LOGIN }, { auth: ROBOT });
    for (const registry of ["", "docker.io/", "registry.hub.docker.com/"]) {
      const { totals } = await setup.run({ [`${registry}u/app:v1`]: `${DESTINATION}/x/${registry}app` });
      assertEquals([totals.copied, totals.failed], [1, 0], `${name} ${registry}`);
    }
  }
});

// Go's map decided when two keys matched: the same config worked in one run and not in the next.
Deno.test("compat 36: the longest key counts, in whatever order they stand, a hundred times out of a hundred", async () => {
  const [host, namespace] = [SOURCE, `${SOURCE}/ns`];
  const rules = { [`${SOURCE}/ns/x:v1`]: `${DESTINATION}/x`, [`${SOURCE}/nsx/y:v1`]: `${DESTINATION}/y` };
  for (let run = 0; run < 100; run++) {
    const names = run % 2 === 0 ? [host, namespace] : [namespace, host];
    const auth = Object.fromEntries(names.map((name) => [name, { username: name, password: "x" }]));
    const users = {
      [host]: { password: "x", rights: { "nsx/y": ["pull"] } },
      [namespace]: { password: "x", rights: { "ns/x": ["pull"] } },
    };
    const setup = setUpMirror({
      source: { auth: { type: "bearer", users } },
      transport: credentialsOf(auth),
    });
    for (const repository of ["ns/x", "nsx/y"]) pushImage(setup.source, repository, "v1", buildImage());
    assertEquals((await setup.run(rules)).totals.copied, 2, `run ${run}`);
  }
});

/** Copies from a source that wants a login, with that login under a key, from which the registry is left out. */
async function copyWithKey(ending: string): Promise<void> {
  await withScene(async (scene) => {
    const auth = scene.auth({ [`${scene.S}${ending}`]: { ...LOGIN, insecure: true } });
    const config = await scene.write("config.json", { auth, images: rule(scene) });
    assertExit(await scene.run(["--config", config]), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }, { source: { auth: ROBOT } });
}

Deno.test("compat 37: a key that is the whole repository counts for it", () => copyWithKey("/ns/app"));

Deno.test("compat 38: a key may end in a slash", () => copyWithKey("/ns/"));

// There, names without a registry matched no key at all once they had no tag or a regex.
Deno.test("compat 39: names without a registry use the credentials of docker.io, as sources and as destinations", async () => {
  const [setup] = setUpHub({ "docker.io": LOGIN }, { auth: ROBOT });
  const sources = { "library/nginx": `${DESTINATION}/x/nginx`, "u/app:/v/": `${DESTINATION}/x/app` };
  assertEquals((await setup.run(sources)).totals.copied, 2);
  pushImage(setup.source, "ns/app", "v9", buildImage({ seed: 9 }));
  assertEquals((await setup.run({ [`${SOURCE}/ns/app:v9`]: "u/app" })).totals.copied, 1);
});

Deno.test("compat 40: without a key that matches it goes on anonymously, and the log says so", () =>
  withScene(async (scene) => {
    assertExit(await scene.sync(rule(scene), ["--log", scene.workspace.path("log")]), 0);
    assertMatch(await scene.workspace.read("log"), new RegExp(`${scene.S}/ns/app".*anonymous`));
    assertEquals(scene.source.access.tokenRequests > 0, true);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }, { source: { auth: { type: "bearer", users: {}, anonymousPull: true } } }));

// Decided: what `docker login` left is used, as it was; the config wins where it has credentials of its own.
Deno.test("compat 40: what docker login left on the machine is used where the config has no credentials", () =>
  withScene(async (scene) => {
    await Deno.mkdir(scene.workspace.path("docker"));
    const auths = { [scene.S]: { auth: btoa("robot:secret") }, [scene.D]: { auth: btoa("other:wrong") } };
    await scene.write("docker/config.json", { auths });
    const environment = { DOCKER_CONFIG: scene.workspace.path("docker") };
    const auth = scene.auth({ [scene.D]: { ...LOGIN, insecure: true } });
    const config = await scene.write("config.json", { auth, images: rule(scene) });
    assertExit(await scene.run(["--config", config], { environment }), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }, { source: { auth: ROBOT }, destination: { auth: ROBOT } }));

for (const tls of [false, true]) {
  Deno.test(`compat 41: an entry with insecure alone is anonymous, ${tls ? "over unverified TLS" : "over http"}`, () =>
    withScene(async (scene) => {
      assertExit(await scene.sync(rule(scene)), 0);
      const requests = [...scene.source.requests, ...scene.destination.requests];
      assertEquals(new Set(requests.map(({ authorization }) => authorization)), new Set(["none"]));
      assertEquals(scene.tagsAt("copy/app"), ["v1"]);
    }, { tls }));
}

for (const auth of [ROBOT, TOKENS]) {
  Deno.test(`compat 42: a ${auth.type} challenge is answered at both sides`, () =>
    withScene(async (scene) => {
      const login = { ...LOGIN, insecure: true };
      const config = { auth: { [scene.S]: login, [scene.D]: login }, images: rule(scene) };
      assertExit(await scene.run(["--config", await scene.write("config.json", config)]), 0);
      assertEquals(scene.tagsAt("copy/app"), ["v1"]);
    }, { source: { auth }, destination: { auth } }));
}

/** Scopes of the tokens that a registry was asked for, each once. */
function scopesAt(registry: TestRegistry): string[] {
  const paths = registry.requests.filter(({ kind }) => kind === "token").map(({ path }) => path);
  return [...new Set(paths.flatMap((path) => new URLSearchParams(path.split("?")[1]).getAll("scope")))];
}

Deno.test("compat 42: tokens are asked for to pull at the source and to push at the destination", async () => {
  const login = credentialsOf({ [SOURCE]: LOGIN, [DESTINATION]: LOGIN });
  const setup = setUpMirror({ source: { auth: TOKENS }, destination: { auth: TOKENS }, transport: login });
  pushImage(setup.source, "ns/app", "v1", buildImage());
  assertEquals((await setup.run({ [`${SOURCE}/ns/app:v1`]: `${DESTINATION}/copy/app` })).totals.copied, 1);
  assertEquals(scopesAt(setup.source), ["repository:ns/app:pull"]);
  assertEquals(scopesAt(setup.destination), ["repository:copy/app:pull,push"]);
});

Deno.test("compat 42: a token is used until it runs out, for a minute where nothing says how long that is", async () => {
  const login = credentialsOf({ [SOURCE]: LOGIN });
  const now = () => setup.clock.now();
  const source: RegistryOptions = {
    auth: { ...TOKENS, type: "bearer", omitExpiry: true } as AuthOptions,
    now,
  };
  const setup = setUpMirror({ source, transport: login });
  pushImage(setup.source, "ns/app", "v1", buildImage());
  const repository = setup.context().open(SOURCE, "ns/app", "pull");
  const tokensAfter = async (seconds: number) => {
    await setup.clock.delay(seconds * 1000);
    await repository.resolve("v1");
    return setup.source.access.tokenRequests;
  };
  assertEquals([await tokensAfter(0), await tokensAfter(20), await tokensAfter(20)], [1, 1, 1]);
  assertEquals(await tokensAfter(21), 2);
});

Deno.test("compat 43: insecure goes on without TLS where there is none, and without it that fails and says what helps", () =>
  withScene(async (scene) => {
    assertExit(await scene.sync(rule(scene)), 0);
    const config = await scene.write("config.json", { auth: {}, images: rule(scene) });
    const result = await scene.run(["--config", config, "--retries", "0"]);
    assertExit(result, 1);
    assertStringIncludes(result.stdout, `"insecure": true`);
  }));

Deno.test("compat 43: a certificate nobody vouches for fails, and is accepted with insecure or with its authority", () =>
  withScene(async (scene) => {
    const failed = await scene.run([
      ...["--config", await scene.write("config.json", { images: rule(scene) })],
      ...["--retries", "0"],
    ]);
    assertExit(failed, 1);
    for (const remedy of ["not trusted", `"caFile"`, `"insecure": true`]) {
      assertStringIncludes(failed.stdout, remedy);
    }
    const trusted = { caFile: scene.workspace.path("ca.pem") };
    const auth = { [scene.S]: { insecure: true }, [scene.D]: trusted };
    const config = await scene.write("config.json", { auth, images: rule(scene) });
    assertExit(await scene.run(["--config", config]), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }, { tls: true }));

/** A service account's key, as Google hands it out. */
async function serviceAccount(tokenUri: string): Promise<{ json: string; publicKey: CryptoKey }> {
  const algorithm = {
    name: "RSASSA-PKCS1-v1_5",
    hash: "SHA-256",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  };
  const { privateKey, publicKey } = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const bytes = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
  const lines = btoa(String.fromCharCode(...bytes)).replace(/.{64}/g, "$&\n");
  const json = JSON.stringify({
    type: "service_account",
    client_email: "robot@project.test",
    private_key: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
    token_uri: tokenUri,
  });
  return { json, publicKey };
}

function decodePart(part = ""): Uint8Array<ArrayBuffer> {
  const text = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

Deno.test("compat 44: the user _oauth2_ with a service account's key gets a token for it", async () => {
  const forms: URLSearchParams[] = [];
  await using server = serve(async (request) => {
    forms.push(new URLSearchParams(await request.text()));
    return Response.json({ access_token: "token-of-google", expires_in: 3600 });
  });
  const { json, publicKey } = await serviceAccount(`${server.url}/token`);
  for (const key of [btoa(json), json]) {
    assertEquals(await googleToken(key, { registry: "us.gcr.io" }), "token-of-google");
  }
  const [header, claims, signature] = forms[0]?.get("assertion")?.split(".") ?? [];
  const signed = new TextEncoder().encode(`${header}.${claims}`);
  assert(await crypto.subtle.verify("RSASSA-PKCS1-v1_5", publicKey, decodePart(signature), signed));
  const said = JSON.parse(new TextDecoder().decode(decodePart(claims)));
  assertEquals([said.iss, said.aud], ["robot@project.test", `${server.url}/token`]);
  assertEquals(said.exp - said.iat, 3600);
});

Deno.test("compat 44: what is pushed and pulled with _oauth2_ goes on as the user oauth2accesstoken", () => {
  const auth: AuthOptions = { type: "basic", username: "oauth2accesstoken", password: "token-of-google" };
  return withScene(async (scene) => {
    await using server = serve(() => Response.json({ access_token: "token-of-google", expires_in: 3600 }));
    const { json } = await serviceAccount(`${server.url}/token`);
    const entry = { insecure: true, username: "_oauth2_", password: btoa(json) };
    const config = { auth: { [scene.S]: entry, [scene.D]: entry }, images: rule(scene) };
    assertExit(await scene.run(["--config", await scene.write("config.json", config)]), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }, { source: { auth }, destination: { auth } });
});

Deno.test("compat 44: a key that is none is an error that repeats nothing of it", async () => {
  const error = await assertRejects(() => googleToken("c2VjcmV0", { registry: "gcr.io" }));
  assertMatch(String(error), /"gcr\.io"/);
  assert(!/c2Vjcm|secret/.test(String(error)), String(error));
});
