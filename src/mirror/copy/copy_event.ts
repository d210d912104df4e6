/** Step 6 of the walk, the copy: what happens while a plan is made and run, as one stream of events. */

import type { Digest } from "../../oci/descriptor.ts";
import type { RegistryEvent } from "../../registry/request.ts";
import type { Plan } from "../plan/plan.ts";
import type { DeletionOutcome } from "../plan/tag_deletion.ts";

/** What happens during a run. A progress view, a log, a report and a status page are readers of one stream of these. */
export type CopyEvent =
  | { type: "phase-started"; phase: "generate" | "copy" | "retry-generate" | "retry-copy" }
  | { type: "planned"; plan: Plan }
  | { type: "planning-ended" }
  | { type: "task-started"; task: string }
  | { type: "blob-started"; task: string; digest: Digest; size: number; destinations: string[] }
  | { type: "blob-progress"; task: string; digest: Digest; bytes: number }
  | { type: "blob-ended"; task: string; digest: Digest }
  | { type: "blob-copied"; task: string; digest: Digest; size: number; destination: string }
  | {
    type: "blob-skipped";
    task: string;
    digest: Digest;
    size: number;
    destination: string;
    reason: "exists" | "mounted" | "foreign";
  }
  | { type: "manifest-pushed"; task: string; digest: Digest; destination: string }
  | {
    type: "belongings-brought";
    task: string;
    destination: string;
    /** By artifact type. */
    counts: Record<string, { found: number; copied: number; skipped: number }>;
  }
  | { type: "destination-copied"; task: string; destination: string }
  /** A registry does not move the tag, which is as it is meant. */
  | { type: "destination-drifted"; task: string; destination: string }
  | { type: "destination-failed"; task: string; destination: string; error: string; isPermanent: boolean }
  | { type: "task-finished"; task: string; status: TaskStatus }
  | { type: "tag-deletion" } & DeletionOutcome
  | { type: "warning"; message: string }
  | RegistryEvent;

/** The phases of a run, in order; the retries may come several times or not at all. */
export type Phase = Extract<CopyEvent, { type: "phase-started" }>["phase"];

/** What has become of an image. `skipped` is an image none of whose platforms is wanted, `drifted` one whose tag
 * stands for something else at the destination and is not to be overwritten; `pending` stands
 * only in the report of a run that was interrupted. */
export type TaskStatus = "copied" | "unchanged" | "skipped" | "failed" | "pending" | "drifted";
