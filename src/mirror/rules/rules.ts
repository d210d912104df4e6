/** Step 4 of the walk: what a rule selects at its source, and which pairs of references it becomes. */

import {
  checkDigest,
  checkTag,
  InvalidReferenceError,
  type Reference,
  splitReference,
} from "../../oci/reference.ts";
import type { Digest } from "../../oci/descriptor.ts";

/** Which images of a repository a rule selects. */
export type Selection =
  | { type: "all" }
  | { type: "tags"; tags: readonly string[] }
  | { type: "pattern"; pattern: string }
  /** With a tag too, the digest says what is copied, and the tag how it is named where the destination does not say. */
  | { type: "digest"; digest: Digest; tag?: string };

/** The source side of a rule. */
export interface RuleSource {
  /** Canonical registry. */
  registry: string;
  /** Repository name. */
  repository: string;
  /** What is selected in it. */
  selection: Selection;
}

/** One image to copy: where from, where to. */
export interface ReferencePair {
  /** Where the image is. */
  source: Reference;
  /** Where it is to be. */
  destination: Reference;
}

/** Where an empty destination leads. */
export interface RuleDefaults {
  /** Registry host; without it an empty destination is an error. */
  registry?: string | undefined;
  /** Namespace in that registry; without it the repository stands alone. */
  namespace?: string | undefined;
}

/** Both sides of a rule, as the user wrote them. */
export interface RuleSides {
  source: string;
  destination: string;
}

/** A rule does not fit together. */
export class RuleError extends Error {
  /** Names both sides, and why they do not fit. */
  constructor({ source, destination }: RuleSides, why: string, options?: ErrorOptions) {
    super(`Cannot copy "${source}" to "${destination}": ${why}`, options);
    this.name = "RuleError";
  }
}

/**
 * Parses the source of a rule: a repository followed by nothing, `:tag`, `:tag1,tag2`, `:/pattern/`, `@digest` or
 * `:tag@digest` (the form in which Renovate, Helm and kustomize pin).
 *
 * @throws {InvalidReferenceError} when it is none of these.
 */
export function parseRuleSource(text: string): RuleSource {
  if (text.trim() === "") throw new InvalidReferenceError(text, "it is empty");
  const { registry, repository, rest } = splitReference(text);
  return { registry, repository, selection: parseSelection(text, rest) };
}

function parseSelection(text: string, rest: string): Selection {
  if (rest === "") return { type: "all" };
  if (rest.startsWith(":/")) return { type: "pattern", pattern: parsePattern(text, rest.slice(1)) };
  const at = rest.indexOf("@");
  if (at >= 0) {
    const digest = checkDigest(text, rest.slice(at + 1));
    return at === 0
      ? { type: "digest", digest }
      : { type: "digest", digest, tag: checkTag(text, rest.slice(1, at)) };
  }
  return { type: "tags", tags: parseTags(text, rest.slice(1)) };
}

function parsePattern(text: string, quoted: string): string {
  if (quoted.length < 2 || !quoted.endsWith("/")) {
    throw new InvalidReferenceError(text, 'a regex must start and end with "/"');
  }
  return quoted.slice(1, -1);
}

function parseTags(text: string, list: string): string[] {
  return [...new Set(list.split(",").map((tag) => checkTag(text, tag.trim())))];
}

/** Whether a rule's source must be listed before it can be expanded. */
export function needsTags(source: RuleSource): boolean {
  return source.selection.type === "all" || source.selection.type === "pattern";
}

/**
 * Where an empty destination leads: default registry, default namespace, last part of the source repository.
 *
 * @returns A destination, or `undefined` when there is no default registry.
 */
export function defaultDestination(source: RuleSource, defaults: RuleDefaults): string | undefined {
  if (!defaults.registry) return undefined;
  const namespace = defaults.namespace?.replace(/^\/+|\/+$/g, "") ?? "";
  const name = source.repository.slice(source.repository.lastIndexOf("/") + 1);
  return [defaults.registry, namespace, name].filter((part) => part !== "").join("/");
}

/**
 * The pairs that a rule becomes for one of its destinations. Pure: the tags are passed in.
 *
 * @param source The parsed source.
 * @param destination The destination as written: a repository followed by nothing, `:tag`, `:tag1,tag2` or `@digest`.
 * @param tags Tags of the source repository that the selection leaves; unused where the source names its own.
 * @throws {RuleError} when source and destination do not fit together.
 * @throws {InvalidReferenceError} when the destination is malformed.
 */
export function expandRule(
  source: RuleSource,
  destination: string,
  tags: readonly string[] = [],
): ReferencePair[] {
  const { registry, repository, rest } = splitReference(destination);
  const { selection } = source;
  if (selection.type === "digest") return [digestPair(source, selection, destination)];
  const selected = source.selection.type === "tags" ? source.selection.tags : tags;
  const wanted = rest === "" ? selected : destinationTags(destination, rest);
  if (wanted.length !== selected.length) {
    const why =
      `the number of tags of source and destination is not matched (${selected.length} and ${wanted.length})`;
    throw new RuleError({ source: formatRuleSource(source), destination }, why);
  }
  return selected.map((tag, index) => ({
    source: { registry: source.registry, repository: source.repository, tag },
    destination: { registry, repository, tag: wanted[index] ?? tag },
  }));
}

/**
 * The pair as a rule's `rename` has it: another name for the tag at the destination.
 *
 * @param rename `{tag}` in it stands for the name at the source; nothing changes without it.
 * @throws {InvalidReferenceError} when what comes out is no tag.
 */
export function renamePair(pair: ReferencePair, rename: string | undefined): ReferencePair {
  const { tag } = pair.destination;
  if (rename === undefined || tag === undefined) return pair;
  const renamed = checkTag(rename, rename.replace("{tag}", () => tag));
  return { ...pair, destination: { ...pair.destination, tag: renamed } };
}

function destinationTags(destination: string, rest: string): readonly string[] {
  if (rest.includes("@")) throw new InvalidReferenceError(destination, "a tag cannot be copied to a digest");
  return rest.slice(1).split(",").map((tag) => checkTag(destination, tag.trim()));
}

function digestPair(
  source: RuleSource,
  { digest, tag: sourceTag = "" }: { digest: Digest; tag?: string },
  destination: string,
): ReferencePair {
  const { registry, repository, rest } = splitReference(destination);
  const from: Reference = { registry: source.registry, repository: source.repository, digest };
  const at = rest.indexOf("@");
  if (at >= 0 && checkDigest(destination, rest.slice(at + 1)) !== digest) {
    throw new RuleError(
      { source: formatRuleSource(source), destination },
      "source and destination name different digests",
    );
  }
  const named = at < 0 ? rest.slice(1) : rest.slice(1, at);
  // A destination that names a digest and no tag means that digest.
  const tag = named === "" && at < 0 ? sourceTag : named;
  const to: Reference = { registry, repository };
  if (tag === "") to.digest = digest;
  else to.tag = checkTag(destination, tag);
  return { source: from, destination: to };
}

/** Writes the source of a rule as users write it. */
export function formatRuleSource({ registry, repository, selection }: RuleSource): string {
  const name = `${registry}/${repository}`;
  if (selection.type === "tags") return `${name}:${selection.tags.join(",")}`;
  if (selection.type === "pattern") return `${name}:/${selection.pattern}/`;
  if (selection.type === "all") return name;
  return `${name}${selection.tag === undefined ? "" : `:${selection.tag}`}@${selection.digest}`;
}
