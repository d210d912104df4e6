/** Step 4 of the walk, the rules: the repositories of an owner where a registry has no list of its own, by its vendor's API. */

import { isRepository } from "../oci/reference.ts";
import { nextTarget } from "../registry/repository/link_header.ts";
import { accountOf, type Credential } from "../registry/login/credential.ts";
import { RegistryError } from "../registry/registry_error.ts";
import type { ListingPlace } from "../registry/request.ts";

/** Headers of a request. */
type Fields = Record<string, string>;

/** One vendor's API. */
interface Vendor {
  /** First pages; where one is not there, the next is asked for. */
  pages: (place: ListingPlace) => string[];
  /** What it takes to see private repositories, for messages. */
  takes: string;
  /** Headers that say who is asking; `undefined` for a credential that the API does not take. */
  headers: (credential: Credential, place: ListingPlace) => Fields | undefined | Promise<Fields | undefined>;
  /** Names on a page; `undefined` when it is no page of this vendor. */
  names: (page: unknown, place: ListingPlace) => string[] | undefined;
  /** The next page, where it does not stand in a `Link`. */
  next?: (page: unknown, url: string) => string | undefined;
}

/** Pages that are read: what has more never ends. */
const PAGE_LIMIT = 10_000;
/** Names that are read, all of which are held. */
const NAME_LIMIT = 1_000_000;

/** Docker Hub (docs.docker.com, Docker Hub API: list repositories of a namespace, create access token). */
const DOCKER_HUB: Vendor = {
  pages: ({ owner }) => [`https://hub.docker.com/v2/namespaces/${owner}/repositories?page_size=100`],
  takes: "a user name with a password or an access token",
  headers: hubHeaders,
  names: (page, { owner }) => listOf(field(page, "results"), (one) => `${owner}/${nameOf(one)}`),
  next: (page) => textOf(field(page, "next")),
};

/** GitHub (docs.github.com, REST API: list packages for an organization, for a user). */
const GITHUB: Vendor = {
  pages: ({ owner }) =>
    ["orgs", "users"].map((kind) =>
      `https://api.github.com/${kind}/${owner}/packages?package_type=container&per_page=100`
    ),
  takes: "a token as password",
  headers: ({ password, registryToken }) => bearer(password ?? registryToken),
  names: (page, { owner }) => listOf(page, (one) => `${owner}/${nameOf(one)}`.toLowerCase()),
};

/** GitLab.com (docs.gitlab.com, Container registry API: list registry repositories within a group, within a project). */
const GITLAB: Vendor = {
  pages: ({ owner }) =>
    ["groups", "projects"].map((kind) =>
      `https://gitlab.com/api/v4/${kind}/${encodeURIComponent(owner)}/registry/repositories?per_page=100`
    ),
  takes: "a token as password",
  headers: ({ password }) => password === undefined ? undefined : { "private-token": password },
  names: (page) => listOf(page, (one) => textOf(field(one, "path")) ?? ""),
};

/** Quay (docs.quay.io, API: listRepos); its API takes OAuth tokens alone, no robots, and gives others what is public. */
const QUAY: Vendor = {
  pages: ({ owner }) => [`https://quay.io/api/v1/repository?public=true&namespace=${owner}`],
  takes: 'an OAuth token as password of the user "$oauthtoken"',
  headers: ({ username, password }) => username === "$oauthtoken" ? bearer(password) : undefined,
  names: (page) => listOf(field(page, "repositories"), (one) => `${field(one, "namespace")}/${nameOf(one)}`),
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
  takes: "a user name with a password",
  headers: basic,
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
  takes: "a user name with a password",
  headers: basic,
  names: (page, { owner }) =>
    listOf(page, (one) => field(one, "type") === "container" ? `${owner}/${nameOf(one)}` : undefined),
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
 * The repositories of an owner, page by page, by the API of the registry's vendor. Where that cannot be told who is asking, it
 * lists what is public, and a warning says so.
 *
 * @param credential Who is asking; nobody without it.
 * @returns `undefined` when the registry is of no vendor that is known.
 * @throws {RegistryError} when the API refuses, or its answer is not what its documentation says.
 */
export async function listVendorRepositories(
  place: ListingPlace,
  credential?: Credential,
): Promise<string[][] | undefined> {
  const vendor = Object.hasOwn(BY_HOST, place.registry) ? BY_HOST[place.registry] : undefined;
  if (vendor !== undefined) return await listAll(vendor, place, credential);
  for (const one of BY_ANSWER) {
    const pages = await listAll(one, place, credential).catch(ignoreForeign);
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

async function listAll(
  vendor: Vendor,
  place: ListingPlace,
  credential: Credential | undefined,
): Promise<string[][]> {
  const headers = credential === undefined ? {} : await vendor.headers(credential, place);
  const [first = "", second] = vendor.pages(place);
  const read = (url: string) => readPages(vendor, place, { url, headers: headers ?? {} });
  let pages: string[][];
  try {
    pages = await read(first);
  } catch (error) {
    if (second === undefined || !(error instanceof RegistryError) || error.status !== 404) throw error;
    pages = await read(second);
  }
  if (headers === undefined) place.warn(withoutPrivate(vendor, place, credential));
  return pages;
}

function withoutPrivate(
  { takes }: Vendor,
  { registry, owner }: ListingPlace,
  credential: Credential | undefined,
): string {
  return `Private repositories of "${registry}/${owner}" are not listed and so not mirrored by a wildcard: ` +
    `the vendor's API takes ${takes}, and not ${accountOf(credential)}`;
}

async function readPages(
  vendor: Vendor,
  place: ListingPlace,
  { url: first, headers }: { url: string; headers: Fields },
): Promise<string[][]> {
  const pages: string[][] = [];
  const seen = new Set<string>();
  let [entries, count] = [0, 0];
  for (let url: string | undefined = first; url !== undefined;) {
    const isEndless = seen.has(url) || pages.length >= PAGE_LIMIT || count > NAME_LIMIT;
    if (isEndless) throw wrong(place, url, "its list does not end");
    seen.add(url);
    const answer = await place.ask(url, { headers });
    const page = readJson(place, url, answer.text);
    const names = namesOf(vendor, place, { page, url });
    pages.push(names);
    count += names.length;
    entries += Array.isArray(page) ? page.length : 0;
    const next: string | undefined = nextOf(place, url, vendor.next?.(page, url) ?? answer.headers);
    const total = Number(answer.headers.get("x-total-count") ?? answer.headers.get("x-total"));
    if (next === undefined && total > entries) throw wrong(place, url, `it lists ${entries} of ${total}`);
    url = next;
  }
  return pages;
}

/** A list that names what no repository can be called is not to be trusted with the rest. */
function namesOf(
  vendor: Vendor,
  place: ListingPlace,
  { page, url }: { page: unknown; url: string },
): string[] {
  const names = vendor.names(page, place);
  if (names === undefined) throw wrong(place, url, "the answer has no list of repositories");
  if (names.every(isRepository)) return names;
  throw wrong(place, url, "its list has names that no repository can have");
}

function readJson(place: ListingPlace, url: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw wrong(place, url, "the answer is not JSON");
  }
}

async function hubHeaders(
  { username, password }: Credential,
  place: ListingPlace,
): Promise<Fields | undefined> {
  if (username === undefined || password === undefined) return undefined;
  const url = "https://hub.docker.com/v2/auth/token";
  const body = new TextEncoder().encode(JSON.stringify({ identifier: username, secret: password }));
  const headers = { "content-type": "application/json" };
  const { text } = await place.ask(url, { method: "POST", headers, body });
  const token = textOf(field(readJson(place, url, text), "access_token"));
  if (token === undefined) throw wrong(place, url, "the answer has no token");
  return bearer(token);
}

/** The next page, which must be the same API's: a credential goes along. */
function nextOf(place: ListingPlace, url: string, said: string | Headers): string | undefined {
  const target = typeof said === "string" ? said : linkOf(place, url, said.get("link"));
  if (target === undefined) return undefined;
  const next = URL.canParse(target, url) ? new URL(target, url) : undefined;
  if (next?.origin !== new URL(url).origin) throw wrong(place, url, "its next page is elsewhere");
  return next.href;
}

function linkOf(place: ListingPlace, url: string, header: string | null): string | undefined {
  try {
    return header === null ? undefined : nextTarget(header);
  } catch (error) {
    throw wrong(place, url, error instanceof Error ? error.message : String(error));
  }
}

function wrong({ registry, owner }: ListingPlace, url: string, why: string): RegistryError {
  return new RegistryError({
    action: `list the repositories of "${registry}/${owner}"`,
    method: "GET",
    url: url.split("?")[0] ?? "",
    status: 0,
    why,
    isPermanent: true,
  });
}

function bearer(token: string | undefined): Fields | undefined {
  return token === undefined ? undefined : { authorization: `Bearer ${token}` };
}

function basic({ username, password = "" }: Credential): Fields | undefined {
  if (username === undefined) return undefined;
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  return { authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The name of an entry; where it has none, what becomes of it is none of a repository either. */
function nameOf(entry: unknown): string {
  return textOf(field(entry, "name")) ?? "";
}

function listOf(value: unknown, nameOf: (one: unknown) => string | undefined): string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.flatMap((one) => nameOf(one) ?? []);
}
