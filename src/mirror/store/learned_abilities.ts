/** The memory between runs, as forecasts use it: how registries take uploads. */

import type { LearnedAbilities } from "../../registry/abilities.ts";
import type { StoreValue } from "./store.ts";

/** What a store remembers of a registry's abilities; what makes no sense counts as nothing. */
export function readLearned(value: StoreValue | undefined): LearnedAbilities | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { chunk, mounts, postsWhole } = value;
  return {
    chunk: typeof chunk === "number" ? chunk : null,
    mounts: mounts === "granted" || mounts === "opened" || mounts === "refused" ? mounts : null,
    postsWhole: typeof postsWhole === "boolean" ? postsWhole : null,
  };
}

/** What is known now; what was not tried this time is known from before. */
export function mergeLearned(
  before: LearnedAbilities | undefined,
  { chunk, mounts, postsWhole }: LearnedAbilities,
): { [key in keyof LearnedAbilities]: StoreValue } {
  return {
    chunk: chunk ?? before?.chunk ?? null,
    mounts: mounts ?? before?.mounts ?? null,
    postsWhole: postsWhole ?? before?.postsWhole ?? null,
  };
}
