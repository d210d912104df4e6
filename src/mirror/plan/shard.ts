/** Step 5 of the walk, the plan: the part of the work that one of several machines does, without asking the others. */

import { formatReference, splitReference } from "../../oci/reference.ts";
import { type Rule, SetupError } from "../config/config.ts";
import type { Plan } from "./plan.ts";

/** One of several parts, counted from 1: `{ index: 3, count: 8 }` is the third of eight. */
export interface Shard {
  /** Which part, from 1 to `count`. */
  index: number;
  /** How many parts there are. */
  count: number;
}

/** A text does not name a shard. */
export class ShardError extends SetupError {
  /** Names the text. */
  constructor(text: string) {
    super(`Cannot use shard "${text}": expected INDEX/COUNT, from 1/COUNT to COUNT/COUNT, for example 3/8`);
    this.name = "ShardError";
  }
}

/**
 * Parses `3/8`.
 *
 * @throws {ShardError} when it is no such thing.
 */
export function parseShard(text: string): Shard {
  const [, first = "", second = ""] = /^(\d{1,6})\/(\d{1,6})$/.exec(text.trim()) ?? [];
  const [index, count] = [Number(first), Number(second)];
  if (first === "" || index < 1 || index > count) throw new ShardError(text);
  return { index, count };
}

/**
 * Whether a destination belongs to a shard. That depends on its registry and repository alone, so tags may come and go, on
 * any machine, and each image stays with the shard that has its layers.
 *
 * @param destination A reference, or a destination as rules write it.
 */
export function isInShard({ index, count }: Shard, destination: string): boolean {
  return hash(repositoryOf(destination)) % count === index - 1;
}

/** The rules of one shard: each with the destinations that belong to it, so that nothing is asked about the others. */
export function shardRules(rules: readonly Rule[], shard: Shard): Rule[] {
  return rules
    .map((rule) => ({ ...rule, destinations: rule.destinations.filter((one) => isInShard(shard, one)) }))
    .filter(({ destinations }) => destinations.length > 0);
}

/** The part of a plan that belongs to one shard: what `shardRules` leaves, of a plan that was made of all rules. */
export function shardPlan(plan: Plan, shard: Shard): Plan {
  const tasks = plan.tasks
    .map((task) => ({
      ...task,
      destinations: task.destinations.filter(({ reference }) => isInShard(shard, formatReference(reference))),
    }))
    .filter(({ destinations }) => destinations.length > 0);
  const skipped = plan.skipped.filter(({ destination }) => isInShard(shard, destination));
  const failed = plan.failed.filter(({ source, destination }) => isInShard(shard, destination ?? source));
  const awaited = plan.awaited?.map((image) => ({
    ...image,
    destinations: image.destinations.filter((destination) => isInShard(shard, destination)),
  })).filter(({ destinations }) => destinations.length > 0);
  return { ...plan, tasks, skipped, failed, ...(awaited === undefined ? {} : { awaited }) };
}

/** A malformed destination belongs to one shard too, which then says what is wrong with it. */
function repositoryOf(destination: string): string {
  try {
    const { registry, repository } = splitReference(destination);
    return `${registry}/${repository}`;
  } catch {
    return destination;
  }
}

/** FNV-1a of 32 bits over UTF-16, its bits mixed once more (the last steps of MurmurHash3) because few of them are used. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
