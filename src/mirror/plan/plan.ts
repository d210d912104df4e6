/** Step 5 of the walk, the plan: what there is to copy, what is left out and what could not be found out, as plain JSON. */

import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import type { Reference } from "../../oci/reference.ts";
import type { BelongingsPolicy } from "../rules/belongings_policy.ts";
import type { DroppedTags } from "../rules/selection.ts";

/** What is to be done at one destination. */
export interface PlannedDestination {
  /** Where the image is to go. */
  reference: Reference;
  /** `unchanged` when the destination has the same digest, `drifted` when it has another and is not to be overwritten. */
  action: "copy" | "unchanged" | "drifted";
  /** Whether a tag that is there is left as it is: a registry that refuses to move it has kept it, and not failed. */
  overwrite?: "never";
  /** What is wanted of the things that belong to the image: `false` for nothing; everything without it. */
  referrers?: BelongingsPolicy | false;
  /** Whether what belongs to the image is to be brought although the image itself is there. */
  isIncomplete?: true;
  /** What it has now, where it has anything. */
  there?: Digest;
}

/** One image with all the places it is to go: its source is read once for all of them. */
export interface CopyTask {
  /** Name of the task in events; no two tasks of a plan share it. */
  id: string;
  /** Where the image is. */
  source: Reference;
  /**
   * What the source's tag stood for when the plan was made; that is what is copied, or what is left of it. Of an image that never
   * changes and is at every destination nobody was asked, so only the digest is known.
   */
  root: Pick<Descriptor, "digest"> & Partial<Descriptor>;
  /** Platforms that are wanted; all of them without it. */
  platforms?: string[];
  /** Digest at the source, where the platforms wanted leave something else than the source has. */
  original?: Digest;
  /** Where it is to go. */
  destinations: PlannedDestination[];
}

/** Something that could not be planned. */
export interface PlanFailure {
  /** Whether a rule could not be turned into images, or one image could not be looked at. */
  kind: "rule" | "image";
  /** Position of the rule among those of the plan, when it is about one. */
  rule?: number;
  /** Source of the rule or image. */
  source: string;
  /** Destination of the rule or image, when it is about one. */
  destination?: string;
  /** Platforms that are wanted of the image. */
  platforms?: string[];
  /** Why. */
  error: string;
  /** Whether trying again cannot help. */
  isPermanent: boolean;
}

/** A tag that is to be deleted at its destination, once everything was copied. */
export interface PlannedDeletion {
  /** Position of the rule that wants it deleted. */
  rule: number;
  /** The tag. */
  reference: Reference;
  /** What it stands for; another is left alone. */
  digest: Digest;
  /** Source repository (`registry/repository`) that it came from. */
  source: string;
  /** Whether the source no longer has it, or the rule no longer selects it. */
  reason: "gone" | "unselected";
  /** When it was first seen missing, in ISO 8601. */
  since: string;
  /** Tags of signatures and lists that belong to it, and go with it once nothing else has its digest. */
  belongings?: string[];
}

/** What there is to do: plain JSON, so that it can be saved, reviewed and run later. */
export interface Plan {
  /** When it was made, in ISO 8601. */
  createdAt: string;
  /** Every image, also those that are unchanged. */
  tasks: CopyTask[];
  /** Images that are not copied although their rules select them, with the platforms that are wanted, and why not. */
  skipped: { source: string; destination: string; platforms?: string[]; reason: string }[];
  /** What could not be planned. */
  failed: PlanFailure[];
  /** What is odd, in a sentence each: rules that select nothing among them. */
  warnings: string[];
  /** Rules that select nothing: position among those of the plan, and source as written. */
  empty: { rule: number; source: string }[];
  /** What is to be deleted after everything was copied, where that has been looked at. */
  deletions?: PlannedDeletion[];
  /** What filters have left out of the tags of rules: position among those of the plan, source as written, how many and which. */
  dropped: ({ rule: number; source: string } & DroppedTags)[];
  /** In a piece of a plan: images of which some destinations have not answered yet, with all of them in the order of the rules. */
  awaited?: { source: string; platforms?: string[]; destinations: string[] }[];
}

/** A plan of nothing. */
export function startPlan(createdAt: number): Plan {
  return {
    createdAt: new Date(createdAt).toISOString(),
    tasks: [],
    skipped: [],
    failed: [],
    warnings: [],
    empty: [],
    dropped: [],
  };
}

/** Adds what a piece of a plan says to the whole. */
export function addToPlan(plan: Plan, piece: Plan): void {
  // One by one: as arguments of one call they would have to fit on the stack.
  const { tasks, skipped, failed, warnings, empty, dropped } = piece;
  for (const task of tasks) plan.tasks.push(task);
  for (const skip of skipped) plan.skipped.push(skip);
  for (const failure of failed) plan.failed.push(failure);
  for (const warning of warnings) plan.warnings.push(warning);
  for (const one of empty) plan.empty.push(one);
  for (const one of dropped) plan.dropped.push(one);
}

/**
 * Name of an image in plans, events and reports.
 *
 * @param source Its source, as users write it.
 * @param platforms What is wanted of it; all of it without them, which is another image.
 */
export function imageId(source: string, platforms?: readonly string[]): string {
  return platforms === undefined ? source : `${source} (${platforms.join(", ")})`;
}
