/** Step 4 of the walk, the rules: what a rule deletes at its destinations, as its `prune` key says. */

/** Keys that lead to a place in a config. */
type Path = readonly (string | number)[];

/** What is deleted, and with how much care. */
export interface PrunePolicy {
  /** `gone` for tags that are no longer at the source; `unselected` for those too that the rule no longer selects. */
  when: "gone" | "unselected";
  /** Globs or `/patterns/` of tags that always stay. */
  keep?: readonly string[];
  /** How long a tag must have been missing, for example `7d` (`h`, `d`, `w`), which is what it is unless told. */
  grace?: string;
  /** Tags that a run deletes at one destination at the most: a number, or a share of its tags such as `10%`; 20 unless told. */
  most?: number | string;
  /** Whether tags go too that this mirror has not put there. */
  foreign?: boolean;
}

/** Keys of the policy. */
export const PRUNE_KEYS: readonly string[] = ["when", "keep", "grace", "most", "foreign"];

const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Milliseconds that a tag must have been missing. */
export function graceOf({ grace = "7d" }: Pick<PrunePolicy, "grace">): number {
  const [, count = "", unit = ""] = /^(\d{1,5})([hdw])$/.exec(grace) ?? [];
  return count === "" ? NaN : Number(count) * (UNITS[unit] ?? NaN);
}

/** How many of a destination's tags a run may delete. */
export function mostOf({ most = 20 }: Pick<PrunePolicy, "most">, tags: number): number {
  if (typeof most === "number") return Number.isSafeInteger(most) && most > 0 ? most : NaN;
  const [, percent = ""] = /^(\d{1,2}|100)%$/.exec(most) ?? [];
  return percent === "" || Number(percent) === 0 ? NaN : Math.floor(tags * Number(percent) / 100);
}

/**
 * Reads the `prune` key of a rule.
 *
 * @param place Keys that lead there.
 * @param fail Makes the error for a place.
 */
export function readPrune(
  place: Path,
  given: unknown,
  fail: (place: Path, why: string) => Error,
): PrunePolicy {
  const refuse = (why: string, key?: string) => fail([...place, ...(key === undefined ? [] : [key])], why);
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw refuse("expected an object");
  const value: Readonly<Record<string, unknown>> = { ...given };
  const { when, keep, grace, most, foreign } = value;
  const unknown = Object.keys(value).find((key) => !PRUNE_KEYS.includes(key));
  if (unknown !== undefined) {
    throw refuse(`there is no such key (there are ${PRUNE_KEYS.join(", ")})`, unknown);
  }
  if (when !== "gone" && when !== "unselected") throw refuse('it must be "gone" or "unselected"', "when");
  const policy: PrunePolicy = { when };
  if (keep !== undefined) {
    const isList = Array.isArray(keep) && keep.every((one) => typeof one === "string");
    if (!isList) throw refuse("expected an array of globs or /patterns/", "keep");
    policy.keep = keep;
  }
  if (grace !== undefined) policy.grace = String(grace);
  if (Number.isNaN(graceOf(policy))) throw refuse('expected a time such as "7d" (h, d or w)', "grace");
  if (typeof most === "number" || typeof most === "string") policy.most = most;
  const isMost = most === undefined || policy.most !== undefined && !Number.isNaN(mostOf(policy, 100));
  if (!isMost) throw refuse('expected a whole number above 0, or a share such as "10%"', "most");
  if (foreign !== undefined && typeof foreign !== "boolean") throw refuse("expected a boolean", "foreign");
  if (foreign !== undefined) policy.foreign = foreign;
  return policy;
}
