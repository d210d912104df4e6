/** Step 4 of the walk, the rules: all rules of one source repository, and the pairs they become, page by page. */

import type { NumberedRule } from "./namespace_rules.ts";
import type { PlanFailure } from "./plan.ts";
import {
  type ExpandOptions,
  type PlacedRule,
  RuleExpansion,
  ruleFailure,
  type WantedPair,
} from "./rule_expansion.ts";
import { parseRuleSource } from "../rules/rules.ts";

/** Rules of one source repository: its tags are listed once for all of them. */
export interface RuleGroup {
  /** `registry/repository`. */
  name: string;
  /** Canonical registry. */
  registry: string;
  /** At least one. */
  rules: PlacedRule[];
}

/** Groups rules by source repository, in the order of their first rules. */
export function groupRules(
  rules: readonly NumberedRule[],
  onFailure: (failure: PlanFailure) => void,
): RuleGroup[] {
  const groups = new Map<string, RuleGroup>();
  for (const { rule, position } of rules) {
    try {
      const source = parseRuleSource(rule.source);
      const name = `${source.registry}/${source.repository}`;
      const group = groups.get(name) ?? { name, registry: source.registry, rules: [] };
      groups.set(name, group);
      group.rules.push({ rule, position, source });
    } catch (error) {
      onFailure(ruleFailure({ rule, position }, error));
    }
  }
  return [...groups.values()];
}

/**
 * The pairs that a group's rules become: first those that need no list, with the first page, then page by page. A rule that
 * must see all names comes last.
 */
export async function* expandGroup(group: RuleGroup, options: ExpandOptions): AsyncIterable<WantedPair[]> {
  const expansions = group.rules.map((rule) => new RuleExpansion(rule, options));
  await Promise.all(expansions.map((expansion) => expansion.compile()));
  const listing = expansions.filter(({ needsTags, isFailed }) => needsTags && !isFailed);
  const pairsOf = async (pairs: (expansion: RuleExpansion) => Promise<WantedPair[]>) =>
    (await Promise.all(listing.map(pairs))).flat();
  let pending = expansions.filter(({ needsTags }) => !needsTags).flatMap((expansion) => expansion.pairs());
  try {
    if (listing.length > 0) {
      for await (const page of options.listTags()) {
        yield pending.concat(await pairsOf((expansion) => expansion.take(page)));
        pending = [];
      }
    }
    pending = pending.concat(await pairsOf((expansion) => expansion.end()));
  } catch (error) {
    for (const expansion of listing) expansion.fail(error);
  }
  if (pending.length > 0) yield pending;
}
