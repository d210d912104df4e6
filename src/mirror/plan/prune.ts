/** Step 5 of the walk, the plan: which tags of destinations are to be deleted. When anything is in doubt, none is. */

import type { Digest } from "../../oci/descriptor.ts";
import { formatReference, type Reference, splitReference } from "../../oci/reference.ts";
import type { Rule } from "../config/config.ts";
import { compileNames } from "../rules/name_pattern.ts";
import { graceOf, mostOf, type PrunePolicy } from "../rules/prune_policy.ts";
import { isNamespace, matchNamespace, parseNamespace } from "../rules/namespace.ts";
import { parseRuleSource } from "../rules/rules.ts";
import { isBelongingTag } from "../rules/selection.ts";
import { missingKey, tagKey } from "../store/store.ts";
import { messageOf } from "./failure.ts";
import type { PlannedDeletion } from "./plan.ts";
import { type ResolveContext, resolveDestination } from "./resolve.ts";
import type { RuleLedger } from "./rule_ledger.ts";

/** What choosing needs. */
export interface PruneContext extends ResolveContext {
  /** What rules have listed and want. */
  ledger: RuleLedger;
  /** Repositories (`registry/repository`), sources and destinations, of which something failed, was refused or left off. */
  troubled: ReadonlySet<string>;
  /** Told why something is left as it is, in a sentence. */
  warn: (message: string) => void;
}

/** A rule that deletes, at one of its destinations. */
interface PruneTarget {
  rule: number;
  policy: PrunePolicy;
  /** How the rule names tags, where it names them anew. */
  rename?: string | undefined;
  /** Source repository, `registry/repository`. */
  source: string;
  destination: { registry: string; repository: string };
}

/** A tag that is missing at the source. */
interface MissingTag {
  tag: string;
  digest: Digest;
  since: number;
}

/** The tags that rules want deleted now. What is seen missing for the first time is remembered. */
export async function chooseDeletions(
  rules: readonly Rule[],
  context: PruneContext,
): Promise<PlannedDeletion[]> {
  const targets = rules.flatMap((rule, position) => targetsOf(rule, position));
  const chosen = await Promise.all(targets.map(async (target) => {
    const why = doubtOf(target, rules, context);
    try {
      if (why === undefined) return await chooseAt(target, context);
      context.warn(`Nothing is deleted at "${nameOf(target.destination)}": ${why}`);
    } catch (error) {
      context.signal?.throwIfAborted();
      context.warn(`Nothing is deleted at "${nameOf(target.destination)}": ${messageOf(error)}`);
    }
    return [];
  }));
  return chosen.flat();
}

function targetsOf({ source, destinations, prune, rename }: Rule, rule: number): PruneTarget[] {
  if (prune === undefined) return [];
  try {
    const { registry, repository } = parseRuleSource(source);
    return destinations.map((destination) => {
      const to = splitReference(destination);
      return { rule, policy: prune, rename, source: `${registry}/${repository}`, destination: to };
    });
  } catch {
    // The rule itself has failed.
    return [];
  }
}

function nameOf({ registry, repository }: { registry: string; repository: string }): string {
  return `${registry}/${repository}`;
}

/** Why a rule may delete nothing at a destination in this run; every rule that writes there counts. */
function doubtOf(
  target: PruneTarget,
  rules: readonly Rule[],
  { ledger, troubled }: PruneContext,
): string | undefined {
  const name = nameOf(target.destination);
  if (troubled.has(name)) return "not everything that goes there has arrived";
  for (const [position, { source, destinations }] of rules.entries()) {
    try {
      if (isNamespace(source)) {
        if (!destinations.some((one) => mayHold(one, target.destination))) continue;
        return `"${source}" may copy there too`;
      }
      const { registry, repository, selection } = parseRuleSource(source);
      if (!destinations.some((one) => nameOf(splitReference(one)) === name)) continue;
      const from = `${registry}/${repository}`;
      if (troubled.has(from)) return `not everything of "${from}" has arrived`;
      const isOwn = position === target.rule;
      const isListed = selection.type === "all" || selection.type === "pattern";
      if (isOwn && !isListed) return `"${source}" names its tags, so none of them is ever gone`;
      if (isOwn && destinations.some((one) => splitReference(one).rest !== "")) {
        return "the rule names the tags of its destination";
      }
      if (isListed && (ledger.completeList(from)?.size ?? 0) === 0) {
        return `"${from}" has listed nothing, or not everything`;
      }
      if (ledger.isDoubted(position)) return `what "${source}" selects is not certain`;
    } catch {
      return `"${source}" is no rule`;
    }
  }
  return undefined;
}

/** Whether a namespace has a repository among its own. */
function mayHold(
  namespace: string,
  { registry, repository }: { registry: string; repository: string },
): boolean {
  const parsed = parseNamespace(namespace);
  return parsed.registry === registry && matchNamespace(parsed, repository) !== undefined;
}

async function chooseAt(target: PruneTarget, context: PruneContext): Promise<PlannedDeletion[]> {
  const { policy, rule, destination } = target;
  const repository = context.registries.open(destination, "pull,push");
  const tags: string[] = [];
  for await (const page of repository.listTags(context.signal)) tags.push(...page);
  const missing = await findMissing(target, tags, context);
  const grace = graceOf(policy);
  const due = missing.filter(({ since }) => context.now() - since >= grace)
    .sort((left, right) => left.since - right.since || (left.tag < right.tag ? -1 : 1));
  const most = mostOf(policy, tags.length);
  if (due.length > most) {
    const what = `${due.length} tags are to be deleted at "${nameOf(destination)}"`;
    context.warn(`${what}, and ${most} are in this run, because "most" allows no more`);
  }
  const attached = attachedTags(tags);
  return due.slice(0, most).map(({ tag, digest, since }) => {
    const belongings = attached.get(digest.replace(":", "-")) ?? [];
    return {
      rule,
      reference: { registry: destination.registry, repository: destination.repository, tag },
      digest,
      source: target.source,
      reason: context.ledger.completeList(target.source)?.has(nameAtSource(tag, target.rename) ?? "")
        ? "unselected"
        : "gone",
      since: new Date(since).toISOString(),
      ...(belongings.length === 0 ? {} : { belongings }),
    };
  });
}

/** Tags that belong to images, by what they begin with: `sha256-HEX`. */
function attachedTags(tags: readonly string[]): Map<string, string[]> {
  const attached = new Map<string, string[]>();
  for (const tag of tags) {
    if (!isBelongingTag(tag)) continue;
    const [subject = ""] = tag.split(".");
    const known = attached.get(subject);
    if (known === undefined) attached.set(subject, [tag]);
    else known.push(tag);
  }
  return attached;
}

/** Tags that nobody wants any more; those that are wanted again are no longer missing. */
async function findMissing(
  target: PruneTarget,
  tags: readonly string[],
  context: PruneContext,
): Promise<MissingTag[]> {
  const { policy, source, destination: { registry, repository } } = target;
  const list = context.ledger.completeList(source);
  const stays = await compileNames(policy.keep ?? []);
  const isListed = (tag: string) => list?.has(nameAtSource(tag, target.rename) ?? "") !== false;
  // What is not named as the rule names its tags is none of them.
  const isWanted = (tag: string) =>
    nameAtSource(tag, target.rename) === undefined ||
    context.ledger.ownerOf(formatReference({ registry, repository, tag })) !== undefined ||
    policy.when === "gone" && isListed(tag) || stays(tag) || isBelongingTag(tag);
  const missing: MissingTag[] = [];
  for (const tag of tags) {
    const key = missingKey(registry, repository, tag);
    const digest = isWanted(tag) ? undefined : await digestOf(target, tag, context);
    const value = await context.store.get(key);
    if (digest === undefined) {
      if (value !== undefined) await context.store.delete(key);
      continue;
    }
    const since = typeof value === "number" ? value : context.now();
    if (typeof value !== "number") await context.store.set(key, since);
    missing.push({ tag, digest, since });
  }
  return missing;
}

/** The name that a tag of a destination has at its source; `undefined` for one that the rule cannot have named. */
function nameAtSource(tag: string, rename = "{tag}"): string | undefined {
  const [before = "", after = ""] = rename.split("{tag}");
  const isNamed = tag.length > before.length + after.length && tag.startsWith(before) && tag.endsWith(after);
  return isNamed ? tag.slice(before.length, tag.length - after.length) : undefined;
}

/** What this mirror has put under a tag, out of the rule's source; or what is there, where foreign tags go too. */
async function digestOf(
  { policy, source, destination: { registry, repository } }: PruneTarget,
  tag: string,
  context: PruneContext,
): Promise<Digest | undefined> {
  const reference: Reference = { registry, repository, tag };
  if (policy.foreign === true) return (await resolveDestination(reference, context))?.digest;
  const value = await context.store.get(tagKey(registry, repository, tag));
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { digest, source: from } = value;
  if (typeof digest !== "string" || typeof from !== "string") return undefined;
  return from.startsWith(`${source}:`) || from.startsWith(`${source}@`) ? digest : undefined;
}
