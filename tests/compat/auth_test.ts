/** Compatibility, items 32, 33 and 36 to 44: which registry a name means, and which credentials it gets. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { mirror, parseConfig, Registries, type RegistriesOptions, type Report } from "../../mod.ts";
import { openConfigRegistries } from "../../src/machine/network/config_registries.ts";
import { parseRuleSource } from "../../src/mirror/rules/rules.ts";
import { FakeClock } from "../fake_clock.ts";
import { buildImage, pushImage } from "../images.ts";
import { DESTINATION, type MirrorSetup, rulesOf, setUpMirror, SOURCE } from "../mirror_setup.ts";
import { RawServer } from "../raw_server.ts";
import {
  type AuthOptions,
  createRegistry,
  type RegistryOptions,
  serve,
  type TestRegistry,
} from "../registry.ts";
import type { BearerAuthOptions } from "../registry/options.ts";
import { compat } from "./item.ts";
import { assertExit, type Scene, withScene } from "./scene.ts";

/** Where Docker Hub's API is. */
const HUB = "registry-1.docker.io";
const ROBOT = { type: "basic", username: "robot", password: "secret" } as const;
const TOKENS: BearerAuthOptions = { type: "bearer", users: { robot: { password: "secret" } } };
const LOGIN = { username: "robot", password: "secret" };

/** Finds credentials as the command line does, apart from those of the machine. */
function registriesOf(auth: Record<string, unknown>): ReturnType<typeof openConfigRegistries> {
  const config = parseConfig(JSON.stringify({ auth, images: {} }));
  // Nothing of the tester's proxies and certificates gets through.
  return openConfigRegistries(config, { environment: () => undefined });
}

/** What a config's `auth` makes of the way to registries. */
function credentialsOf(auth: Record<string, unknown>): RegistriesOptions {
  return { credentials: registriesOf(auth).options.credentials };
}

/** Docker Hub with `library/nginx:1` and `u/app:v1`, and a mirror that knows the config's credentials. */
function setUpHub(auth: Record<string, unknown>, options: RegistryOptions = {}): [MirrorSetup, TestRegistry] {
  const hub = createRegistry(options);
  for (const name of ["library/nginx", "a/b", "u/app"]) pushImage(hub, name, "v1", buildImage());
  return [setUpMirror({ others: { [HUB]: hub }, registries: credentialsOf(auth) }), hub];
}

function rule({ S, D }: Scene): Record<string, string> {
  return { [`${S}/ns/app:v1`]: `${D}/copy/app` };
}

compat(
  32,
  "a first part without dot, colon or localhost is on Docker Hub, and one part alone is in library",
  async () => {
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
  },
);

compat(
  33,
  "an auth key by any name of Docker Hub is for its images, by whatever name they are called",
  async () => {
    for (const name of ["docker.io", "registry.hub.docker.com", "index.docker.io", "registry-1.docker.io"]) {
      const [setup] = setUpHub({ [name]: LOGIN }, { auth: ROBOT });
      for (const registry of ["", "docker.io/", "registry.hub.docker.com/"]) {
        const { totals } = await setup.run({ [`${registry}u/app:v1`]: `${DESTINATION}/x/${registry}app` });
        assertEquals([totals.copied, totals.failed], [1, 0], `${name} ${registry}`);
      }
    }
  },
);

// Go's map decided when two keys matched: the same config worked in one run and not in the next.
compat(
  36,
  "the longest key counts, in whatever order they stand, a hundred times out of a hundred",
  async () => {
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
        registries: credentialsOf(auth),
      });
      for (const repository of ["ns/x", "nsx/y"]) pushImage(setup.source, repository, "v1", buildImage());
      assertEquals((await setup.run(rules)).totals.copied, 2, `run ${run}`);
    }
  },
);

/** Copies from a source that wants a login, with that login under a key, from which the registry is left out. */
async function copyWithKey(ending: string): Promise<void> {
  await withScene(async (scene) => {
    const auth = scene.auth({ [`${scene.S}${ending}`]: { ...LOGIN, insecure: true } });
    const config = await scene.write("config.json", { auth, images: rule(scene) });
    assertExit(await scene.run(["--config", config]), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }, { source: { auth: ROBOT } });
}

compat(37, "a key that is the whole repository counts for it", () => copyWithKey("/ns/app"));

compat(38, "a key may end in a slash", () => copyWithKey("/ns/"));

// There, names without a registry matched no key at all once they had no tag or a regex.
compat(
  39,
  "names without a registry use the credentials of docker.io, as sources and as destinations",
  async () => {
    const [setup] = setUpHub({ "docker.io": LOGIN }, { auth: ROBOT });
    const sources = { "library/nginx": `${DESTINATION}/x/nginx`, "u/app:/v/": `${DESTINATION}/x/app` };
    assertEquals((await setup.run(sources)).totals.copied, 2);
    pushImage(setup.source, "ns/app", "v9", buildImage({ seed: 9 }));
    assertEquals((await setup.run({ [`${SOURCE}/ns/app:v9`]: "u/app" })).totals.copied, 1);
  },
);

// Decided: what `docker login` left is used, as v1.0.3 did; the config wins where it has credentials of its own. A registry that
// asks nobody who they are is used without a word.
compat(
  40,
  "without a key it is what docker login left or nobody, and the log says so",
  () =>
    withScene(async (scene) => {
      const environment = { DOCKER_CONFIG: scene.workspace.directory };
      const login = async (password: string) => {
        await scene.write("config.json", { auths: { [scene.D]: { auth: btoa(`robot:${password}`) } } });
      };
      const run = async (auth: Record<string, unknown>, args: readonly string[] = []) => {
        const config = await scene.write("mirror.json", { auth: scene.auth(auth), images: rule(scene) });
        return await scene.run(["--config", config, "--retries", "0", ...args], { environment });
      };
      await login("secret");
      assertExit(await run({}, ["--log", scene.workspace.path("log")]), 0);
      const log = await scene.workspace.read("log");
      assertStringIncludes(log, `No credentials for "${scene.S}/ns/app", it is used anonymously`);
      assert(!log.includes(`No credentials for "${scene.D}`), log);
      await login("wrong");
      assertExit(await run({}), 1);
      assertExit(await run({ [scene.D]: { ...LOGIN, insecure: true } }), 0);
    }, {
      source: { auth: { type: "bearer", users: {}, anonymousPull: true } },
      destination: { auth: ROBOT },
    }),
);

compat(
  41,
  "an entry with insecure alone is anonymous, over http and over TLS that is not verified",
  async () => {
    for (const tls of [false, true]) {
      await withScene(async (scene) => {
        assertExit(await scene.sync(rule(scene)), 0);
        const requests = [...scene.source.requests, ...scene.destination.requests];
        assertEquals(new Set(requests.map(({ authorization }) => authorization)), new Set(["none"]));
        assertEquals(scene.tagsAt("copy/app"), ["v1"]);
      }, { tls });
    }
  },
);

/** Scopes of the tokens that a registry was asked for, each once. */
function scopesAt(registry: TestRegistry): string[] {
  const paths = registry.requests.filter(({ kind }) => kind === "token").map(({ path }) => path);
  return [...new Set(paths.flatMap((path) => new URLSearchParams(path.split("?")[1]).getAll("scope")))];
}

/** Copies between registries that both want a login of this kind. */
async function copyWithLogin(auth: AuthOptions): Promise<MirrorSetup> {
  const registries = credentialsOf({ [SOURCE]: LOGIN, [DESTINATION]: LOGIN });
  const setup = setUpMirror({ source: { auth }, destination: { auth }, registries });
  pushImage(setup.source, "ns/app", "v1", buildImage());
  assertEquals((await setup.run({ [`${SOURCE}/ns/app:v1`]: `${DESTINATION}/copy/app` })).totals.copied, 1);
  return setup;
}

/** How many tokens a source was asked for, each time it was asked for an image some seconds after the last. */
async function tokensOver(
  seconds: readonly number[],
  options: Partial<BearerAuthOptions>,
): Promise<number[]> {
  const clock = new FakeClock();
  const source = { auth: { ...TOKENS, ...options }, now: () => clock.now() };
  const setup = setUpMirror({ source, registries: { ...credentialsOf({ [SOURCE]: LOGIN }), clock } });
  pushImage(setup.source, "ns/app", "v1", buildImage());
  const repository = setup.registries().open({ registry: SOURCE, repository: "ns/app" }, "pull");
  const counts: number[] = [];
  for (const wait of seconds) {
    clock.advance(wait * 1000);
    await repository.resolve("v1");
    counts.push(setup.source.access.tokenRequests);
  }
  return counts;
}

compat(
  42,
  "Basic and Bearer are answered, with tokens for no more than is done, until they run out",
  async () => {
    await copyWithLogin(ROBOT);
    const { source, destination } = await copyWithLogin(TOKENS);
    assertEquals(scopesAt(source), ["repository:ns/app:pull"]);
    assertEquals(scopesAt(destination), ["repository:copy/app:pull,push"]);
    assertEquals([source.access.tokenRequests, destination.access.tokenRequests], [1, 1]);
    assertEquals(await tokensOver([0, 100, 100, 100], { tokenLifetimeSeconds: 300 }), [1, 1, 1, 2]);
    assertEquals(await tokensOver([0, 20, 20, 21], { omitExpiry: true }), [1, 1, 1, 2]);
    // There, a token that is to live for less than a minute was used for one: a registry that means it answers 401.
    assertEquals(await tokensOver([0, 10, 21], { tokenLifetimeSeconds: 30 }), [1, 1, 2]);
  },
);

/** What becomes of the scene's image, over real connections; nothing is tried twice. */
async function mirrorOnce({ S, D }: Pick<Scene, "S" | "D">, auth: Record<string, unknown>): Promise<Report> {
  const { options, close } = registriesOf(auth);
  try {
    const registries = new Registries({ ...options, limits: { attempts: 1 } });
    return await mirror(rulesOf({ [`${S}/ns/app:v1`]: `${D}/copy/app` }), { registries, retries: 0 });
  } finally {
    close();
  }
}

function errorOf(report: Report): string {
  return report.tasks[0]?.destinations[0]?.error ?? "";
}

compat(
  43,
  "insecure tries TLS that is not verified, then plain http; without it both fail and say what helps",
  async () => {
    const handshakes: number[] = [];
    await using plain = new RawServer(async (exchange) => {
      handshakes.push(plain.handshakes);
      await exchange.reply(404);
    });
    await withScene(async (scene) => {
      // A server of whom nobody else vouches, and one that closes connections that begin with TLS.
      const auth = { [scene.S]: { insecure: true }, [plain.host]: { insecure: true } };
      await mirrorOnce({ S: scene.S, D: plain.host }, auth);
      assert(scene.source.requests.length > 0);
      assertEquals(handshakes[0], 1);
      for (const remedy of ["not trusted", `"caFile"`, `"insecure": true`]) {
        assertStringIncludes(errorOf(await mirrorOnce(scene, {})), remedy);
      }
    }, { tls: true });
    await withScene(async (scene) => {
      assertStringIncludes(errorOf(await mirrorOnce(scene, {})), `it does not speak TLS`);
      assertEquals(scene.source.requests.length, 0);
      assertEquals((await mirrorOnce(scene, scene.auth())).totals.copied, 1);
    });
  },
);

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

/** Fails unless a form asks for a token as RFC 7523 says, signed by the account. */
async function assertGrant(form: URLSearchParams, publicKey: CryptoKey, audience: string): Promise<void> {
  assertEquals(form.get("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
  const [header, claims, signature] = form.get("assertion")?.split(".") ?? [];
  const signed = new TextEncoder().encode(`${header}.${claims}`);
  assert(await crypto.subtle.verify("RSASSA-PKCS1-v1_5", publicKey, decodePart(signature), signed));
  const said = JSON.parse(new TextDecoder().decode(decodePart(claims)));
  assertEquals([said.iss, said.aud, said.exp - said.iat], ["robot@project.test", audience, 3600]);
}

/** Google's registries, each asked as a destination and as a source. There, it was us.gcr.io as a destination alone. */
const GOOGLE = ["us.gcr.io", "gcr.io", "europe-docker.pkg.dev"];

compat(
  44,
  "_oauth2_ with a service account's key gets a token for Google's registries, pushing and pulling",
  async () => {
    const forms: URLSearchParams[] = [];
    await using server = serve(async (request) => {
      forms.push(new URLSearchParams(await request.text()));
      return Response.json({ access_token: "token-of-google", expires_in: 3600 });
    });
    const { json, publicKey } = await serviceAccount(`${server.url}/token`);
    const google = { type: "basic", username: "oauth2accesstoken", password: "token-of-google" } as const;
    for (const host of GOOGLE) {
      const registry = createRegistry({ auth: google });
      const copy = async (from: string, to: string, password: string) => {
        const registries = credentialsOf({ [host]: { username: "_oauth2_", password } });
        const setup = setUpMirror({ others: { [host]: registry }, registries });
        pushImage(setup.source, "ns/app", "v1", buildImage());
        const report = await setup.run({ [`${from}/ns/app:v1`]: `${to}/ns/app` });
        return [report.totals.copied, JSON.stringify(report)] as const;
      };
      assertEquals((await copy(SOURCE, host, btoa(json)))[0], 1, host);
      assertEquals((await copy(host, DESTINATION, json))[0], 1, host);
      const [copied, report] = await copy(host, DESTINATION, "c2VjcmV0");
      assertEquals(copied, 0, "a key that is none");
      assertStringIncludes(report, "not a service account's key");
      assert(!/c2Vjcm|secret/.test(report), report);
    }
    // One token for each way to write the key: it is good for an hour, whatever the registry.
    assertEquals(forms.length, 2);
    for (const form of forms) await assertGrant(form, publicKey, `${server.url}/token`);
  },
);
