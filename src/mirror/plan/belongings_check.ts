/** Step 5 of the walk, the plan: whether an image that is unchanged may have got something that belongs to it. */

import { cosignTagsOf } from "../../oci/referrers.ts";
import type { Reference } from "../../oci/reference.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { belongingsKey, passedKey, type StoreValue } from "../store/store.ts";
import { type Belongings, fingerprintOf, type RootBelongings } from "./belongings.ts";
import { type BelongingsPolicy, hasDemands } from "../rules/belongings_policy.ts";
import type { ResolveContext, Root } from "./resolve.ts";

/** An image that is at its destination already. */
export interface PresentImage {
  /** Where it is read from. */
  source: Reference;
  /** Where it is. */
  destination: Reference;
  /** What it is. */
  root: Root;
  /** What its rule wants of what belongs to it. */
  policy: BelongingsPolicy | false | undefined;
}

/** What was remembered of an image's belongings at a destination. */
interface BelongingsFact {
  root: string;
  lookedAt: number | null;
}

const NOTHING: RootBelongings = { referrers: [], tags: [] };

/**
 * Whether what belongs to an image is to be looked at whole, and brought where it is missing: because what belongs to the image
 * itself has changed, or nobody has looked for long. It costs a request at the source, and one at the destination where nothing
 * is remembered of it.
 *
 * @throws {RegistryError} when a registry refuses.
 */
export async function isIncomplete(
  image: PresentImage,
  belongings: Belongings,
  context: ResolveContext,
): Promise<boolean> {
  const { source, destination: { registry, repository }, root, policy } = image;
  if (policy === false) return false;
  const { digest } = root.descriptor;
  if (hasDemands(policy) && await context.store.get(demandKey(image, policy)) !== true) return true;
  const now = await rootBelongings(belongings, context.registries.open(source, "pull"), root);
  const key = belongingsKey(registry, repository, digest);
  const known = readFact(await context.store.get(key));
  if (known !== undefined) {
    const isOld = known.lookedAt === null || context.now() - known.lookedAt >= belongings.every;
    return isOld || now !== undefined && known.root !== factText(now, policy);
  }
  if (now !== undefined && !await hasAll(image, now, { belongings, context })) return true;
  // What belongs to its children is looked at by the next run.
  await context.store.set(key, { root: factText(now ?? NOTHING, policy), lookedAt: null });
  return false;
}

/**
 * Remembers that everything that belongs to an image is where it was to be brought; what stands in a list that others write as
 * well (`isShared`) is looked at once more by the next run.
 */
export async function rememberBelongings(
  { source, destination: { registry, repository }, root, policy }: PresentImage,
  { belongings, isShared }: { belongings: Belongings; isShared: boolean },
  context: Pick<ResolveContext, "registries" | "store" | "now">,
): Promise<void> {
  const now = await rootBelongings(belongings, context.registries.open(source, "pull"), root) ?? NOTHING;
  const value = { root: factText(now, policy || undefined), lookedAt: isShared ? null : context.now() };
  await context.store.set(belongingsKey(registry, repository, root.descriptor.digest), value);
}

/** Where it is remembered that an image has passed what its rule demands. */
export function demandKey(
  { root }: Pick<PresentImage, "root">,
  policy: BelongingsPolicy | undefined,
): readonly string[] {
  return passedKey(root.descriptor.digest, JSON.stringify([policy?.require, policy?.verify]));
}

/** What was rewritten has a digest that nothing belongs to. */
async function rootBelongings(
  belongings: Belongings,
  repository: Repository,
  { descriptor, original }: Root,
): Promise<RootBelongings | undefined> {
  return original === undefined ? await belongings.ofRoot(repository, descriptor.digest) : NOTHING;
}

function factText(now: RootBelongings, policy: BelongingsPolicy | undefined): string {
  const { include, exclude } = policy ?? {};
  const wishes = include === undefined && exclude === undefined
    ? ""
    : ` ${JSON.stringify([include, exclude])}`;
  return fingerprintOf(now) + wishes;
}

function readFact(value: StoreValue | undefined): BelongingsFact | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { root, lookedAt } = value;
  if (typeof root !== "string") return undefined;
  return { root, lookedAt: typeof lookedAt === "number" ? lookedAt : null };
}

/** Whether a destination has all that belongs to the image itself. */
async function hasAll(
  { destination, root, policy }: PresentImage,
  { referrers, tags }: RootBelongings,
  { belongings, context }: { belongings: Belongings; context: ResolveContext },
): Promise<boolean> {
  if (referrers.length + tags.length === 0) return true;
  // What filters leave out is known when the things themselves are.
  if (policy && (policy.include !== undefined || policy.exclude !== undefined)) return false;
  const repository = context.registries.open(destination, "pull,push");
  const { digest } = root.descriptor;
  const there = new Set(referrers.length === 0 ? [] : await belongings.referrersAt(repository, digest));
  if (referrers.some((one) => !there.has(one))) return false;
  const wanted = cosignTagsOf(digest).filter((tag) => tags.includes(tag));
  const found = await Promise.all(wanted.map((tag) => repository.resolve(tag, context.signal)));
  return found.every((one) => one !== undefined);
}
