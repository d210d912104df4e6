/** Step 5 of the walk, the plan: a plan as a file, which says what it was made from and notices when it was changed. */

import { type Digest, digestOf, isDigest } from "../../oci/descriptor.ts";
import { type Content, parseContent } from "../../oci/manifest.ts";
import { formatReference, parseReference, type Reference } from "../../oci/reference.ts";
import { type Rule, SetupError } from "../config/config.ts";
import { messageOf } from "./failure.ts";
import type { CopyTask, Plan, PlannedDeletion } from "./plan.ts";

/** Version of the files that are written and read. */
export const PLAN_VERSION = 1;

/** A manifest in a plan file: its digest, under which it stands, says whether the text is right. */
export interface SavedManifest {
  /** Its media type. */
  mediaType: string;
  /** Its bytes as text. */
  text: string;
}

/** What a rule comes to in a plan. */
export interface RuleCounts {
  /** Position of the rule, from 0. */
  rule: number;
  /** Its source, as written. */
  source: string;
  /** Tags of its source repository; 0 where it need not be listed. */
  tags: number;
  /** Images it wants. */
  selected: number;
  /** What is at no destination yet, counted by destination. */
  new: number;
  /** What stands for something else at its destination. */
  changed: number;
  /** What is there already. */
  same: number;
  /** What stands for something else at its destination, and is not to be overwritten. */
  drifted: number;
  /** What is left out because none of its platforms is wanted. */
  skipped: number;
  /** What could not be looked at. */
  failed: number;
  /** What is to be deleted. */
  pruned: number;
}

/** A plan as it is saved. */
export interface SavedPlan extends Plan {
  /** Version of the file; see {@linkcode PLAN_VERSION}. */
  version: number;
  /** Digest of what the config says is to be copied, without credentials. */
  config: Digest;
  /** What each rule comes to. */
  rules: RuleCounts[];
  /** What running it will take. */
  forecast: unknown;
  /** Destination repositories that had no tags. */
  emptyRepositories: string[];
  /** Manifests that were read, by digest. */
  manifests: Record<Digest, SavedManifest>;
  /** Digest of all of the above. */
  hash: Digest;
}

/** A plan cannot be run. */
export class PlanFileError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "PlanFileError";

  /** Says why. */
  constructor(why: string, options?: ErrorOptions) {
    super(`Cannot apply the plan: ${why}`, options);
  }
}

/** Digest of what rules say is to be copied; where they stand in the config does not count. */
export async function hashRules(rules: readonly Rule[], platforms: readonly string[] = []): Promise<Digest> {
  const said = rules.map(({ line: _, ...rule }) => rule);
  return await digestOf(new TextEncoder().encode(canonicalJson({ rules: said, platforms })));
}

/** Digest of a plan without its own. */
export async function hashPlan(
  { hash: _, ...plan }: Omit<SavedPlan, "hash"> & { hash?: Digest },
): Promise<Digest> {
  return await digestOf(new TextEncoder().encode(canonicalJson(plan)));
}

/**
 * Manifests as they stand in a plan.
 *
 * @param contents All of them; what is no text is left out, and read again by whoever runs the plan.
 */
export function saveManifests(contents: readonly Content[]): Record<Digest, SavedManifest> {
  const saved: Record<Digest, SavedManifest> = {};
  for (const { descriptor: { digest, mediaType }, bytes } of contents) {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    if (new TextEncoder().encode(text).length === bytes.length) saved[digest] = { mediaType, text };
  }
  return saved;
}

/**
 * Reads a saved plan and checks that it is as it was written.
 *
 * @throws {PlanFileError} when it is none, is of another version, or was changed.
 */
export async function readSavedPlan(text: string): Promise<SavedPlan> {
  const plan = parsePlan(text);
  if (plan.version !== PLAN_VERSION) {
    const found = JSON.stringify(plan.version) ?? "none";
    throw new PlanFileError(
      `its version is ${found}, and this image-syncer runs ${PLAN_VERSION}; make it anew`,
    );
  }
  const lacking = ["tasks", "skipped", "failed", "warnings", "empty", "rules", "emptyRepositories"]
    .find((key) => !Array.isArray((plan as unknown as Record<string, unknown>)[key]));
  if (lacking !== undefined) throw new PlanFileError(`it has no list "${lacking}"`);
  if (await hashPlan(plan) !== plan.hash) {
    throw new PlanFileError(
      "it is not as it was written (its hash differs); make it anew rather than edit it",
    );
  }
  for (const [position, task] of plan.tasks.entries()) checkTask(task, position);
  for (const [position, deletion] of (plan.deletions ?? []).entries()) checkDeletion(deletion, position);
  return plan;
}

function parsePlan(text: string): SavedPlan {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PlanFileError(`it is not JSON (${messageOf(cause)})`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new PlanFileError("it is not a JSON object");
  }
  return value as SavedPlan;
}

function checkTask(task: CopyTask, position: number): void {
  try {
    checkReference(task.source);
    for (const { reference, action, there } of task.destinations) {
      checkReference(reference);
      if (!["copy", "unchanged", "drifted"].includes(action)) {
        throw new TypeError(`there is no action "${action}"`);
      }
      if (there !== undefined && !isDigest(there)) throw new TypeError(`"${there}" is not a digest`);
    }
    if (!isDigest(task.root.digest)) throw new TypeError(`"${task.root.digest}" is not a digest`);
    if (task.original !== undefined && !isDigest(task.original)) {
      throw new TypeError("original is not a digest");
    }
  } catch (cause) {
    throw new PlanFileError(`task ${position + 1} makes no sense (${messageOf(cause)})`, { cause });
  }
}

function checkDeletion({ reference, digest, source }: PlannedDeletion, position: number): void {
  try {
    checkReference(reference);
    parseReference(source);
    if (!isDigest(digest) || reference.tag === undefined) throw new TypeError("it names no tag and digest");
  } catch (cause) {
    throw new PlanFileError(`deletion ${position + 1} makes no sense (${messageOf(cause)})`, { cause });
  }
}

function checkReference(reference: Reference): void {
  const again = formatReference(parseReference(formatReference(reference)));
  if (again !== formatReference(reference)) throw new TypeError(`"${again}" is not written that way`);
}

/**
 * The manifests of a plan, each checked against its digest; one that differs is left out, and read again.
 */
export async function readManifests(saved: Record<Digest, SavedManifest>): Promise<Map<Digest, Content>> {
  const contents = new Map<Digest, Content>();
  for (const [digest, { mediaType, text }] of Object.entries(saved)) {
    try {
      contents.set(
        digest,
        await parseContent(new TextEncoder().encode(text), mediaType, { expected: digest }),
      );
    } catch {
      // Its registry has the right one.
    }
  }
  return contents;
}

/** JSON whose keys stand in order, so that the same facts are the same text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, one) => {
    if (typeof one !== "object" || one === null || Array.isArray(one)) return one;
    return Object.fromEntries(Object.entries(one).sort(([left], [right]) => left < right ? -1 : 1));
  });
}
