/** Step 4 of the walk, the rules: whole namespaces, `harbor.example.com/team/*` to `registry.example.com/mirror/team/*`. */

import { InvalidReferenceError, isRepository, splitReference } from "../../oci/reference.ts";
import { RuleError } from "./rules.ts";

/** Repositories by the shape of their names: `*` is one part or some of one, `**` is one part or more. */
export interface Namespace {
  /** As it was written. */
  text: string;
  /** Canonical registry. */
  registry: string;
  /** Name with its wildcards. */
  pattern: string;
  /** What of them is wanted: nothing, or what may follow a repository, such as `:latest`. */
  rest: string;
}

/** A repository of a namespace, and where it goes. */
export interface MappedRepository {
  /** Source of a rule. */
  source: string;
  /** Its destinations, in the order of the rule. */
  destinations: string[];
}

/** What stands in place of wildcards while a text is split as any reference is. */
const ONE = "0one0";
const MANY = "0many0";

/** Whether a text names a namespace and not one repository: a wildcard stands in its name, not in a pattern of tags. */
export function isNamespace(text: string): boolean {
  const end = text.search(/:\/(?!\/)|@/);
  const name = end < 0 ? text : text.slice(0, end);
  return name.includes("*");
}

/**
 * Parses a namespace.
 *
 * @throws {InvalidReferenceError} when the text is none, or a wildcard stands in its registry.
 */
export function parseNamespace(text: string): Namespace {
  const end = text.search(/:\/(?!\/)|@/);
  const name = end < 0 ? text : text.slice(0, end);
  const plain = name.replaceAll("**", MANY).replaceAll("*", ONE);
  const { registry, repository, rest } = splitReference(plain);
  if (registry.includes(ONE) || registry.includes(MANY)) {
    throw new InvalidReferenceError(text, "a registry is one host; a wildcard cannot stand in it");
  }
  if (rest.includes(ONE) || rest.includes(MANY)) {
    throw new InvalidReferenceError(text, 'tags are chosen by "tags": { "include": ["…*"] } or ":/pattern/"');
  }
  const pattern = repository.replaceAll(MANY, "**").replaceAll(ONE, "*");
  if (/\*\*[^/]|[^/]\*\*/.test(pattern)) {
    throw new InvalidReferenceError(text, '"**" stands for whole parts, between slashes');
  }
  return { text, registry, pattern, rest: rest + (end < 0 ? "" : text.slice(end)) };
}

/** What a repository has in place of a namespace's wildcards, in order; `undefined` when it is not one of them. */
export function matchNamespace(
  { pattern }: Pick<Namespace, "pattern">,
  repository: string,
): string[] | undefined {
  const source = pattern.split(/(\*\*|\*)/).map((part) => {
    if (part === "**") return "(.+)";
    return part === "*" ? "([^/]+)" : part.replace(/[.]/g, "\\.");
  });
  return new RegExp(`^${source.join("")}$`).exec(repository)?.slice(1);
}

/** The part of a namespace's name that no wildcard is in, up to a slash: what a listing can be narrowed to. */
export function prefixOf({ pattern }: Pick<Namespace, "pattern">): string {
  const fixed = pattern.slice(0, pattern.indexOf("*"));
  return fixed.slice(0, fixed.lastIndexOf("/") + 1);
}

/**
 * Checks that two sides of a rule fit: the same wildcards in the same order.
 *
 * @throws {RuleError} when they do not.
 */
export function checkNamespaces(source: Namespace, destination: string): Namespace {
  if (!isNamespace(destination)) {
    throw new RuleError(
      { source: source.text, destination },
      "a wildcard stands on one side only; the other needs it too",
    );
  }
  const to = parseNamespace(destination);
  const wildcards = (one: Namespace) => (one.pattern.match(/\*\*|\*/g) ?? []).join(" ");
  if (wildcards(source) !== wildcards(to)) {
    const why = `both sides need the same wildcards in the same order (${wildcards(source)} and ${
      wildcards(to)
    })`;
    throw new RuleError({ source: source.text, destination }, why);
  }
  if (to.rest !== "") {
    throw new RuleError({ source: source.text, destination }, "the destination names repositories, not tags");
  }
  return to;
}

/**
 * Where a repository of a namespace goes.
 *
 * @returns `undefined` when the repository is not of the source's namespace.
 * @throws {RuleError} when what comes out is no repository name.
 */
export function mapRepository(
  source: Namespace,
  destinations: readonly Namespace[],
  repository: string,
): MappedRepository | undefined {
  const parts = matchNamespace(source, repository);
  if (parts === undefined) return undefined;
  const to = destinations.map((destination) => fill(source, destination, parts));
  return { source: `${source.registry}/${repository}${source.rest}`, destinations: to };
}

function fill(source: Namespace, { registry, pattern, text }: Namespace, parts: readonly string[]): string {
  let index = 0;
  const name = pattern.replace(/\*\*|\*/g, () => parts[index++] ?? "");
  if (!isRepository(name)) {
    throw new RuleError({ source: source.text, destination: text }, `"${name}" is not a repository name`);
  }
  return `${registry}/${name}`;
}
