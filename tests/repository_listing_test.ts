/** Tests of vendors' listings: servers that answer as the vendors' public documentation says, and what none of them may do. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { type ListingPlace, listVendorRepositories } from "../src/clouds/repository_listing.ts";
import { RegistryError } from "../src/registry/registry_error.ts";

const NAMES = Array.from({ length: 200 }, (_, number) => `acme/app-${number}`);

/** A request as a server sees it. */
interface Seen {
  url: URL;
  authorization: string | null;
}

type Answer = (url: URL, request: { headers: Headers; method: string; body: string }) => Response | undefined;

/** Asks a server that answers so; what it was asked comes along. */
async function ask(answer: Answer, place: Partial<ListingPlace>) {
  const seen: Seen[] = [];
  const pages = await listVendorRepositories({
    registry: "registry.test",
    owner: "acme",
    origin: "https://registry.test",
    fetch: (url, init) => {
      const headers = new Headers(init?.headers);
      const at = new URL(url);
      seen.push({ url: at, authorization: headers.get("authorization") ?? headers.get("private-token") });
      const body = String(init?.body ?? "");
      const response = answer(at, { headers, method: init?.method ?? "GET", body });
      return Promise.resolve(response ?? new Response("not found", { status: 404 }));
    },
    ...place,
  });
  return { names: pages?.flat().sort(), seen };
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

const VENDORS: readonly [string, Partial<ListingPlace>, Answer, string][] = [
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
    const { names, seen } = await ask(answer, { credential: LOGIN, ...place });
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
    assertEquals(new Set(seen.map(({ url }) => url.host)), new Set(["registry.test"]));
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
  ] as const
) {
  Deno.test(`a vendor's API that ${what} fails the listing`, async () => {
    await assertRejects(() => ask(response, { registry: "ghcr.io", credential: LOGIN }), RegistryError);
  });
}
