/** Step 4 of the walk, the rules: which of the things that belong to an image a rule wants, and what it demands of them. */

import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import { compileNames, type NameMatcher } from "./name_pattern.ts";

/** What a rule wants of the things that belong to its images. */
export interface BelongingsPolicy {
  /** Globs or `/patterns/` of artifact types, of which one must match; all types without it. */
  include?: readonly string[];
  /** Globs or `/patterns/` of artifact types, of which none may match. */
  exclude?: readonly string[];
  /** Artifact types without which an image is refused; judged at the source, before the filters. */
  require?: readonly string[];
  /** What is demanded of signatures, as the check that is passed in reads it; plain JSON. */
  verify?: Readonly<Record<string, string | boolean>>;
}

/** One thing that belongs to an image, directly or to something that does. */
export interface Belonging {
  /** Digest of what it belongs to. */
  subject: Digest;
  /** What it is; a list of referrers gave its artifact type and annotations, where it came from one. */
  descriptor: Descriptor;
  /** cosign's tag that it is kept under; without it its manifest names the subject. */
  tag?: string;
  /** How far it is from the image: 0 for what belongs to the image or one of its children. */
  depth: number;
}

/** How many things of one artifact type belong to an image, and what has become of them at one destination. */
export interface BelongingCounts {
  /** At the source. */
  found: number;
  /** Brought in this run; the others were there. */
  copied: number;
  /** Left out by the rule's filters. */
  skipped: number;
}

/** What stands for the artifact type of a manifest that names none. */
const NO_TYPE = "unknown";

/** The artifact type by which filters and reports know a belonging; cosign's tags count as what cosign calls them as referrers. */
export function artifactTypeOf({ descriptor, tag }: Pick<Belonging, "descriptor" | "tag">): string {
  if (tag === undefined) return descriptor.artifactType ?? NO_TYPE;
  return `application/vnd.dev.cosign.artifact.${tag.slice(tag.lastIndexOf(".") + 1)}.v1+json`;
}

/**
 * Makes the filter of a policy.
 *
 * @throws {NamePatternError} when a glob or pattern does not parse.
 */
export async function compileFilter({ include, exclude }: BelongingsPolicy): Promise<NameMatcher> {
  const isIncluded = include === undefined ? () => true : await compileNames(include);
  const isExcluded = exclude === undefined ? () => false : await compileNames(exclude);
  return (type) => isIncluded(type) && !isExcluded(type);
}

/** Whether a policy refuses some images. */
export function hasDemands(policy: BelongingsPolicy | undefined): boolean {
  return policy?.verify !== undefined || (policy?.require?.length ?? 0) > 0;
}

/** A belonging that an image must have, or a signature, is not there as demanded. */
export class RefusedImageError extends Error {
  /** Names the image, and why. */
  constructor(image: string, why: string) {
    super(`Cannot let in "${image}": ${why}`);
    this.name = "RefusedImageError";
  }
}

/** A fallback tag names something that is no list of referrers. */
export class FallbackTagError extends Error {
  /** Names the tag. */
  constructor(tag: string) {
    super(
      `Cannot list what belongs to an image under "${tag}": the tag names something that is no list of referrers, ` +
        `and is left as it is`,
    );
    this.name = "FallbackTagError";
  }
}

/** What a rule wants where nothing is to come along: what it demands stands. */
export function withoutBelongings(policy: BelongingsPolicy | false | undefined): BelongingsPolicy | false {
  if (policy === false || policy === undefined || !hasDemands(policy)) return false;
  return { ...policy, exclude: ["/^/"] };
}

/** Rules as a run follows them that may have been told to bring nothing along. */
export function rulesFor<One extends { referrers?: BelongingsPolicy | false }>(
  rules: readonly One[],
  { referrers }: { referrers?: boolean },
): readonly One[] {
  if (referrers !== false) return rules;
  return rules.map((rule) => ({ ...rule, referrers: withoutBelongings(rule.referrers) }));
}
