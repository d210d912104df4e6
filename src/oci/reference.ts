/** Step 1 of the walk, the words: which registry, which repository, which tag or digest. */

import { type Digest, isDigest } from "./descriptor.ts";

/** Where an image is, or is to be. */
export interface Reference {
  /** Registry host with an optional port; `docker.io` for Docker Hub under any of its names. */
  registry: string;
  /** Repository name in the registry, for example `library/nginx`. */
  repository: string;
  /** Tag, for example `1.27`. */
  tag?: string;
  /** Digest; where both are set the digest counts. */
  digest?: Digest;
}

/** A text is not a reference. */
export class InvalidReferenceError extends SyntaxError {
  /** Says what was wrong with which text. */
  constructor(text: string, why: string) {
    super(`Cannot parse reference "${text}": ${why}`);
    this.name = "InvalidReferenceError";
  }
}

/** The name Docker Hub goes by in references, keys and output. */
export const DOCKER_HUB = "docker.io";

const DOCKER_HUB_NAMES = new Set([
  DOCKER_HUB,
  "index.docker.io",
  "registry.hub.docker.com",
  "registry-1.docker.io",
]);

/** The one name of a registry: lower case, `docker.io` for every name of Docker Hub. */
export function canonicalRegistry(registry: string): string {
  const name = registry.toLowerCase();
  return DOCKER_HUB_NAMES.has(name) ? DOCKER_HUB : name;
}

/** The host that serves a registry's API; Docker Hub's differs from its name. */
export function registryHost(registry: string): string {
  return registry === DOCKER_HUB ? "registry-1.docker.io" : registry;
}

const HOST = /^(?:[a-z0-9]+(?:[._-]+[a-z0-9]+)*\.?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Whether a text is a tag (distribution-spec 1.1, Pulling manifests). */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Whether a text is a repository name (distribution-spec 1.1, Pulling manifests). */
export function isRepository(text: string): boolean {
  return text.length <= 255 && REPOSITORY.test(text);
}

/** A text split at its registry: what follows still has its tag or digest. */
export interface SplitReference {
  /** Canonical registry. */
  registry: string;
  /** Repository name, Docker Hub's `library/` already added. */
  repository: string;
  /** What follows the repository, from its `:` or `@` on; may be empty. */
  rest: string;
}

/**
 * Splits a text into registry, repository and the rest, which rules read in a grammar of their own.
 * The first part is a registry if it has a `.` or a `:` or is `localhost`, else the image is on Docker Hub.
 *
 * @throws {InvalidReferenceError} when the registry or the repository is malformed.
 */
export function splitReference(text: string): SplitReference {
  if (/^[a-z]+:\/\//i.test(text)) {
    throw new InvalidReferenceError(text, "must not have a scheme such as https://");
  }
  const slash = text.indexOf("/");
  const first = slash < 0 ? "" : text.slice(0, slash);
  // In "nginx:/^1/" the slash opens a pattern.
  const isHost = /[.:[]/.test(first) && !/@|:$/.test(first);
  const hasRegistry = isHost || first.toLowerCase() === "localhost";
  const registry = canonicalRegistry(hasRegistry ? first : DOCKER_HUB);
  if (!HOST.test(registry) || !URL.canParse(`https://${registry}`)) {
    throw new InvalidReferenceError(text, `"${first}" is not a registry host`);
  }
  const path = hasRegistry ? text.slice(slash + 1) : text;
  const end = path.search(/[:@]/);
  const name = end < 0 ? path : path.slice(0, end);
  checkRepository(text, name);
  const repository = registry === DOCKER_HUB && !name.includes("/") ? `library/${name}` : name;
  return { registry, repository, rest: end < 0 ? "" : path.slice(end) };
}

function checkRepository(text: string, name: string): void {
  if (name === "") throw new InvalidReferenceError(text, "repository is empty");
  if (name.includes("$")) {
    throw new InvalidReferenceError(
      text,
      `"${name}" is not a repository name; variables count in destinations and credentials alone`,
    );
  }
  if (name !== name.toLowerCase()) throw new InvalidReferenceError(text, "repository must be lowercase");
  if (name.length > 255) throw new InvalidReferenceError(text, "repository is longer than 255 characters");
  if (!REPOSITORY.test(name)) throw new InvalidReferenceError(text, `"${name}" is not a repository name`);
}

/**
 * Parses `[registry/]repository[:tag][@digest]`.
 *
 * @throws {InvalidReferenceError} when any part is malformed.
 * @example
 * ```ts
 * parseReference("nginx:1.27"); // { registry: "docker.io", repository: "library/nginx", tag: "1.27" }
 * ```
 */
export function parseReference(text: string): Reference {
  const { registry, repository, rest } = splitReference(text);
  const at = rest.indexOf("@");
  const colon = at < 0 ? rest : rest.slice(0, at);
  const reference: Reference = { registry, repository };
  if (colon !== "") reference.tag = checkTag(text, colon.slice(1));
  if (at >= 0) reference.digest = checkDigest(text, rest.slice(at + 1));
  return reference;
}

/** Returns `tag` or throws a {@linkcode InvalidReferenceError} that quotes `text`. */
export function checkTag(text: string, tag: string): string {
  if (!isTag(tag)) throw new InvalidReferenceError(text, `"${tag}" is not a tag${tagHint(tag)}`);
  return tag;
}

function tagHint(tag: string): string {
  if (tag.includes("*")) {
    return '; several tags are chosen by a pattern between slashes, for example ":/^v1/"';
  }
  return tag.includes("$") ? "; variables count in destinations and credentials alone" : "";
}

/** Returns `digest` or throws a {@linkcode InvalidReferenceError} that quotes `text`. */
export function checkDigest(text: string, digest: string): Digest {
  if (!isDigest(digest)) throw new InvalidReferenceError(text, `"${digest}" is not a digest`);
  return digest;
}

/** Writes a reference as users write it: `registry/repository[:tag][@digest]`. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}
