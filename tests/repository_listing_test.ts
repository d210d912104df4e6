/** Tests of vendors' listings: servers that answer as the vendors' public documentation says, and what none of them may do. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { listVendorRepositories } from "../src/clouds/repository_listing.ts";
import type { Credential } from "../src/registry/login/credential.ts";
import { Registries } from "../src/registry/registries.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import { FakeClock } from "./fake_clock.ts";

const NAMES = Array.from({ length: 200 }, (_, number) => `acme/app-${number}`);

/** A request as a server sees it. */
interface Seen {
  url: URL;
  authorization: string | null;
}

/** Whose repositories are listed, and who asks. */
interface Place {
  registry?: string;
  credential?: Credential;
}

type Answer = (url: URL, request: { headers: Headers; method: string; body: string }) => Response | undefined;

/** Asks servers that answer so, the registry among them, which lists nothing itself; what its vendor was asked comes along. */
async function ask(answer: Answer, { registry = "registry.test", credential }: Place) {
  const seen: Seen[] = [];
  const warnings: string[] = [];
  let isKnown = false;
  const fetch = (url: string, init: RequestInit) => {
    const at = new URL(url);
    if (/^\/v2\/(?:_catalog)?$/.test(at.pathname)) {
      return Promise.resolve(new Response(null, { status: 404 }));
    }
    const headers = new Headers(init.headers);
    seen.push({ url: at, authorization: headers.get("authorization") ?? headers.get("private-token") });
    const body = init.body instanceof Uint8Array ? new TextDecoder().decode(init.body) : "";
    const response = answer(at, { headers, method: init.method ?? "GET", body });
    return Promise.resolve(response ?? new Response("not found", { status: 404 }));
  };
  const registries = new Registries({
    clock: new FakeClock(),
    fetchFor: () => fetch,
    onEvent: (event) => void (event.type === "warning" && warnings.push(event.message)),
    listOwned: async (place) => {
      const pages = await listVendorRepositories(place, credential);
      isKnown = pages !== undefined;
      return pages ?? [];
    },
  });
  const pages = await Array.fromAsync(registries.listRepositories(registry, "acme"));
  return { names: isKnown ? pages.flat().sort() : undefined, seen, warnings };
}

/** Entries by pages with a `Link`, as Harbor, Gitea, GitHub and GitLab give them. */
function linked(url: URL, entries: readonly unknown[], size: number, total = "x-total-count"): Response {
  const page = Number(url.searchParams.get("page") ?? "1");
  const part = entries.slice((page - 1) * size, page * size);
  const next = new URL(url);
  next.searchParams.set("page", String(page + 1));
  const headers: Record<string, string> = { [total]: String(entries.length) };
  if (page * size < entries.length) headers.link = `<${next.href}>; rel="next"`;
  return Response.json(part, { headers });
}

const short = (name: string) => name.slice("acme/".length);
const LOGIN = { username: "robot", password: "secret" };

const VENDORS: readonly [string, Place, Answer, string][] = [
  [
    "Harbor",
    {},
    (url) =>
      url.pathname === "/api/v2.0/projects/acme/repositories"
        ? linked(url, NAMES.map((name) => ({ name, artifact_count: 1 })), 100)
        : undefined,
    `Basic ${btoa("robot:secret")}`,
  ],
  [
    "Gitea",
    {},
    (url) =>
      url.pathname === "/api/v1/packages/acme" && url.searchParams.get("type") === "container"
        ? linked(url, NAMES.map((name) => ({ type: "container", name: short(name), version: "v1" })), 50)
        : undefined,
    `Basic ${btoa("robot:secret")}`,
  ],
  ["Docker Hub", { registry: "docker.io" }, (url, { body }) => {
    if (url.host !== "hub.docker.com") return undefined;
    if (url.pathname === "/v2/auth/token") {
      assertEquals(JSON.parse(body), { identifier: "robot", secret: "secret" });
      return Response.json({ access_token: "token" });
    }
    if (url.pathname !== "/v2/namespaces/acme/repositories") return undefined;
    const page = Number(url.searchParams.get("page") ?? "1");
    const next = new URL(url);
    next.searchParams.set("page", String(page + 1));
    const results = NAMES.slice((page - 1) * 100, page * 100).map((name) => ({ name: short(name) }));
    return Response.json({ count: 200, next: page < 2 ? next.href : null, previous: null, results });
  }, "Bearer token"],
  [
    "GitHub organisations",
    { registry: "ghcr.io" },
    (url) =>
      url.href.startsWith("https://api.github.com/orgs/acme/packages?package_type=container")
        ? linked(url, NAMES.map((name) => ({ name: short(name), package_type: "container" })), 100, "x-other")
        : undefined,
    "Bearer secret",
  ],
  [
    "GitHub users",
    { registry: "ghcr.io" },
    (url) =>
      url.href.startsWith("https://api.github.com/users/acme/packages?package_type=container")
        ? linked(url, NAMES.map((name) => ({ name: short(name), package_type: "container" })), 100, "x-other")
        : undefined,
    "Bearer secret",
  ],
  [
    "GitLab groups",
    { registry: "registry.gitlab.com" },
    (url) =>
      url.href.startsWith("https://gitlab.com/api/v4/groups/acme/registry/repositories")
        ? linked(url, NAMES.map((path, id) => ({ id, path })), 100, "x-total")
        : undefined,
    "secret",
  ],
  ["Quay", { registry: "quay.io", credential: { username: "$oauthtoken", password: "secret" } }, (url) => {
    if (
      !url.href.startsWith("https://quay.io/api/v1/repository?") ||
      url.searchParams.get("namespace") !== "acme"
    ) {
      return undefined;
    }
    const start = Number(url.searchParams.get("next_page") ?? "0");
    const repositories = NAMES.slice(start, start + 100).map((name) => ({
      namespace: "acme",
      name: short(name),
    }));
    return Response.json(start === 0 ? { repositories, next_page: "100" } : { repositories });
  }, "Bearer secret"],
];

for (const [vendor, place, answer, authorization] of VENDORS) {
  Deno.test(`the repositories of ${vendor} are listed, by no more than a request each`, async () => {
    const { names, seen, warnings } = await ask(answer, { credential: LOGIN, ...place });
    assertEquals(warnings, []);
    assertEquals(names, [...NAMES].sort());
    assert(seen.length <= 10, `${seen.length} requests`);
    assertEquals(seen.at(-1)?.authorization, authorization);
  });
}

Deno.test("a registry of no known vendor is not listed", async () => {
  const { names } = await ask(() => undefined, {});
  assertEquals(names, undefined);
  const { names: page } = await ask(() => new Response("<html>"), {});
  assertEquals(page, undefined);
});

Deno.test("a host that only looks like a vendor's gets no credential elsewhere", async () => {
  for (const registry of ["ghcr.io.evil.test", "evilghcr.io", "quay.io.test", "__proto__"]) {
    const { seen } = await ask(() => undefined, { registry, credential: LOGIN });
    assertEquals(new Set(seen.map(({ url }) => url.host)), new Set([registry]));
  }
});

for (
  const [what, response] of [
    ["refuses", () => new Response(null, { status: 403 })],
    ["has enough", () => new Response(null, { status: 429 })],
    [
      "leads elsewhere",
      () => Response.json([{ name: "a" }], { headers: { link: '<https://evil.test/next>; rel="next"' } }),
    ],
    ["redirects", () => new Response(null, { status: 302, headers: { location: "https://evil.test/" } })],
    ["lists half", () => Response.json([{ name: "a" }], { headers: { "x-total": "2" } })],
    ["lists something else", () => Response.json({ message: "maintenance" })],
    ["lists what has no name", () => Response.json([{ package_type: "container" }])],
    ["leads nowhere", () => Response.json([], { headers: { link: '<https://[>; rel="next"' } })],
    ["writes no links", () => Response.json([], { headers: { link: '<<>; rel="next"' } })],
    ["never answers well", () => new Response(null, { status: 502 })],
    ["says too much", () => new Response(new Uint8Array(17 * 1024 * 1024))],
  ] as const
) {
  Deno.test(`a vendor's API that ${what} fails the listing`, async () => {
    await assertRejects(() => ask(response, { registry: "ghcr.io", credential: LOGIN }), RegistryError);
  });
}

Deno.test("a vendor's API that has a bad moment is asked again, as a registry is", async () => {
  let asked = 0;
  const answer = () => {
    if (asked++ === 0) return new Response(null, { status: 503, headers: { "retry-after": "2" } });
    return asked === 2 ? new Response(null, { status: 429 }) : Response.json([{ name: "app" }]);
  };
  const { names } = await ask(answer, { registry: "ghcr.io", credential: LOGIN });
  assertEquals([names, asked], [["acme/app"], 3]);
});

Deno.test("Quay's API takes no robots: what it then does not list is said, and to whom it lists all", async () => {
  const answer = () => Response.json({ repositories: [{ namespace: "acme", name: "open" }] });
  const robot = { username: "acme+robot", password: "secret" };
  const { names, seen, warnings } = await ask(answer, { registry: "quay.io", credential: robot });
  assertEquals([names, seen.at(-1)?.authorization], [["acme/open"], null]);
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0] ?? "", 'Private repositories of "quay.io/acme" are not listed');
  assertStringIncludes(warnings[0] ?? "", '"$oauthtoken"');
  assertEquals((await ask(answer, { registry: "quay.io" })).warnings, []);
});

Deno.test("a credential that a vendor's API cannot be shown is warned of at every vendor", async () => {
  const token = { identityToken: "secret" };
  const lists: [string, unknown][] = [
    ["docker.io", { results: [] }],
    ["ghcr.io", []],
    ["registry.gitlab.com", []],
    ["quay.io", { repositories: [] }],
    ["registry.test", []],
  ];
  for (const [registry, list] of lists) {
    const { warnings, seen } = await ask(() => Response.json(list), { registry, credential: token });
    assertEquals([warnings.length, seen.at(-1)?.authorization], [1, null], registry);
  }
});
