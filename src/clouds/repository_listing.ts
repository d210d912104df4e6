/** Step 4 of the walk, the rules: the repositories of an owner where a registry has no list of its own, by its vendor's API. */

import type { Fetch, FetchInit } from "../registry/fetch.ts";
import type { Credential } from "../registry/login/credential.ts";
import { parseLinks } from "../registry/link_header.ts";
import { RegistryError } from "../registry/registry_error.ts";

/** What listing takes. */
export interface ListingPlace {
  /** Canonical registry. */
  registry: string;
  /** Who owns the repositories: the first part of their names. */
  owner: string;
  /** Root of the registry, as it was reached. */
  origin: string;
  /** Sends a request. */
  fetch: Fetch;
  /** Who is asking; nobody without it. */
  credential?: Credential | undefined;
  /** Ends it. */
  signal?: AbortSignal | undefined;
}

/** One vendor's API. */
interface Vendor {
  /** First pages; where one is not there, the next is asked for. */
  pages: (place: ListingPlace) => string[];
  /** Headers that say who is asking. */
  headers: (place: ListingPlace) => Promise<Record<string, string>>;
  /** Names on a page; `undefined` when it is no page of this vendor. */
  names: (page: unknown, place: ListingPlace) => string[] | undefined;
  /** The next page, where it does not stand in a `Link`. */
  next?: (page: unknown, url: string) => string | undefined;
}

/** Pages that are read: what has more never ends. */
const PAGE_LIMIT = 10_000;

/** Docker Hub (docs.docker.com, Docker Hub API: list repositories of a namespace, create access token). */
const DOCKER_HUB: Vendor = {
  pages: ({ owner }) => [`https://hub.docker.com/v2/namespaces/${owner}/repositories?page_size=100`],
  headers: hubHeaders,
  names: (page, { owner }) => listOf(field(page, "results"), (one) => `${owner}/${field(one, "name")}`),
  next: (page) => textOf(field(page, "next")),
};

/** GitHub (docs.github.com, REST API: list packages for an organization, for a user). */
const GITHUB: Vendor = {
  pages: ({ owner }) =>
    ["orgs", "users"].map((kind) =>
      `https://api.github.com/${kind}/${owner}/packages?package_type=container&per_page=100`
    ),
  headers: ({ credential }) => Promise.resolve(bearer(credential?.password ?? credential?.registryToken)),
  names: (page, { owner }) => listOf(page, (one) => `${owner}/${field(one, "name")}`.toLowerCase()),
};

/** GitLab.com (docs.gitlab.com, Container registry API: list registry repositories within a group, within a project). */
const GITLAB: Vendor = {
  pages: ({ owner }) =>
    ["groups", "projects"].map((kind) =>
      `https://gitlab.com/api/v4/${kind}/${encodeURIComponent(owner)}/registry/repositories?per_page=100`
    ),
  headers: ({ credential: { password } = {} }) =>
    Promise.resolve(password === undefined ? {} : { "private-token": password }),
  names: (page) => listOf(page, (one) => textOf(field(one, "path"))),
};

/** Quay (docs.quay.io, API: listRepos); its API takes OAuth tokens alone, and gives others what is public. */
const QUAY: Vendor = {
  pages: ({ owner }) => [`https://quay.io/api/v1/repository?public=true&namespace=${owner}`],
  headers: ({ credential }) =>
    Promise.resolve(bearer(credential?.username === "$oauthtoken" ? credential.password : undefined)),
  names: (page) =>
    listOf(field(page, "repositories"), (one) => `${field(one, "namespace")}/${field(one, "name")}`),
  next: (page, url) => {
    const token = textOf(field(page, "next_page"));
    if (token === undefined) return undefined;
    const next = new URL(url);
    next.searchParams.set("next_page", token);
    return next.href;
  },
};

/** Harbor 2 (goharbor.io, REST API: list repositories of a project). */
const HARBOR: Vendor = {
  pages: ({ origin, owner }) => [
    new URL(`/api/v2.0/projects/${owner}/repositories?page=1&page_size=100`, origin).href,
  ],
  headers: ({ credential }) => Promise.resolve(basic(credential)),
  names: (page, { owner }) =>
    listOf(page, (one) => {
      const name = textOf(field(one, "name"));
      return name?.startsWith(`${owner}/`) ? name : undefined;
    }),
};

/** Gitea and Forgejo (docs.gitea.com, API: gets all packages of an owner); a package stands there once a version. */
const GITEA: Vendor = {
  pages: ({ origin, owner }) => [
    new URL(`/api/v1/packages/${owner}?type=container&limit=50&page=1`, origin).href,
  ],
  headers: ({ credential }) => Promise.resolve(basic(credential)),
  names: (page, { owner }) =>
    listOf(page, (one) => field(one, "type") === "container" ? `${owner}/${field(one, "name")}` : undefined),
};

/** Whose API is at another host: never learned from an answer, so that none steers a credential. */
const BY_HOST: Readonly<Record<string, Vendor>> = {
  "docker.io": DOCKER_HUB,
  "ghcr.io": GITHUB,
  "quay.io": QUAY,
  "registry.gitlab.com": GITLAB,
};
/** Whose API is at the registry's own origin, and shows itself by its answer. */
const BY_ANSWER: readonly Vendor[] = [HARBOR, GITEA];

/**
 * The repositories of an owner, page by page, by the API of the registry's vendor.
 *
 * @returns `undefined` when the registry is of no vendor that is known.
 * @throws {RegistryError} when the API refuses, or its answer is not what its documentation says.
 */
export async function listVendorRepositories(place: ListingPlace): Promise<string[][] | undefined> {
  const vendor = Object.hasOwn(BY_HOST, place.registry) ? BY_HOST[place.registry] : undefined;
  if (vendor !== undefined) return await listAll(vendor, place);
  for (const one of BY_ANSWER) {
    const pages = await listAll(one, place).catch(ignoreForeign);
    if (pages !== undefined) return pages;
  }
  return undefined;
}

/** An answer that is not there, or of something else, is not of this vendor. */
function ignoreForeign(error: unknown): undefined {
  if (error instanceof RegistryError && [0, 404, 405].includes(error.status) && error.cause === undefined) {
    return undefined;
  }
  throw error;
}

async function listAll(vendor: Vendor, place: ListingPlace): Promise<string[][]> {
  const headers = { accept: "application/json", ...await vendor.headers(place) };
  const [first = "", second] = vendor.pages(place);
  try {
    return await readPages(vendor, place, { url: first, headers });
  } catch (error) {
    if (second === undefined || !(error instanceof RegistryError) || error.status !== 404) throw error;
    return await readPages(vendor, place, { url: second, headers });
  }
}

async function readPages(
  vendor: Vendor,
  place: ListingPlace,
  { url: first, headers }: { url: string; headers: Record<string, string> },
): Promise<string[][]> {
  const pages: string[][] = [];
  const seen = new Set<string>();
  let entries = 0;
  for (let url: string | undefined = first; url !== undefined;) {
    if (seen.has(url) || pages.length >= PAGE_LIMIT) throw wrong(place, url, "its list does not end");
    if (new URL(url).origin !== new URL(first).origin) {
      throw wrong(place, first, "its next page is elsewhere");
    }
    seen.add(url);
    const response: Response = await ask(place, url, { headers });
    const page = await readJson(place, url, response);
    const names = vendor.names(page, place);
    if (names === undefined) throw wrong(place, url, "the answer has no list of repositories");
    pages.push(names);
    entries += Array.isArray(page) ? page.length : 0;
    const next: string | undefined = vendor.next?.(page, url) ?? linkOf(response, url);
    const total = Number(response.headers.get("x-total-count") ?? response.headers.get("x-total"));
    if (next === undefined && total > entries) throw wrong(place, url, `it lists ${entries} of ${total}`);
    url = next;
  }
  return pages;
}

/** A redirect is no answer: a credential would go along. */
async function ask(place: ListingPlace, url: string, init: Partial<FetchInit>): Promise<Response> {
  const signal = place.signal === undefined ? {} : { signal: place.signal };
  const response = await place.fetch(url, { ...init, redirect: "manual", ...signal });
  if (response.status === 200) return response;
  await response.body?.cancel();
  const { status } = response;
  throw new RegistryError({ action: actionOf(place), method: init.method ?? "GET", url, status });
}

async function readJson(place: ListingPlace, url: string, response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw wrong(place, url, "the answer is not JSON");
  }
}

async function hubHeaders(place: ListingPlace): Promise<Record<string, string>> {
  const { username, password } = place.credential ?? {};
  if (username === undefined || password === undefined) return {};
  const url = "https://hub.docker.com/v2/auth/token";
  const body = JSON.stringify({ identifier: username, secret: password });
  const headers = { "content-type": "application/json", accept: "application/json" };
  const answer = await readJson(place, url, await ask(place, url, { method: "POST", headers, body }));
  return bearer(textOf(field(answer, "access_token")));
}

function linkOf(response: Response, url: string): string | undefined {
  const header = response.headers.get("link");
  const link = header === null
    ? undefined
    : parseLinks(header).find(({ parameters }) => parameters.get("rel") === "next");
  return link === undefined ? undefined : new URL(link.target, url).href;
}

function actionOf({ registry, owner }: ListingPlace): string {
  return `list the repositories of "${registry}/${owner}"`;
}

function wrong(place: ListingPlace, url: string, why: string): RegistryError {
  return new RegistryError({
    action: actionOf(place),
    method: "GET",
    url,
    status: 0,
    why,
    isPermanent: true,
  });
}

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

function basic({ username, password }: Credential = {}): Record<string, string> {
  if (username === undefined) return {};
  const bytes = new TextEncoder().encode(`${username}:${password ?? ""}`);
  return { authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function listOf(value: unknown, nameOf: (one: unknown) => string | undefined): string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.flatMap((one) => nameOf(one) ?? []);
}
