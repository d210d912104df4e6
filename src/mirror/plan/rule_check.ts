/** Step 4 of the walk, the rules: whether rules make sense, and what they become, as far as that is known without a request. */

import { formatReference } from "../../oci/reference.ts";
import type { Rule } from "../config/config.ts";
import { compileNames } from "../rules/name_pattern.ts";
import { messageOf } from "./failure.ts";
import { oddPlatforms } from "./platform_filter.ts";
import type { PlanFailure } from "./plan.ts";
import type { DroppedTags } from "../rules/selection.ts";
import type { TagDates } from "./tag_dates.ts";
import { ruleFailure, type WantedPair } from "./rule_expansion.ts";
import {
  expandNamespace,
  type ListRepositories,
  type NumberedRule,
  RepositoryOwners,
  splitRules,
} from "./namespace_rules.ts";
import { expandGroup, groupRules } from "./rule_group.ts";

/** What is wrong with rules, and what is odd. */
export interface RuleFindings {
  /** What cannot be used, in sentences. */
  failures: string[];
  /** What is odd but does no harm. */
  warnings: string[];
}

/** Stands for the list of a source that is not asked. */
const NOT_ASKED = new Error("its source is not asked");
const REFUSING: AsyncIterable<readonly string[]> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(NOT_ASKED) }),
};

/** Looks at rules without asking anybody: whether they parse, their patterns compile, and no two write the same tag. */
export async function checkRules(rules: readonly Rule[]): Promise<RuleFindings> {
  const failures: string[] = [];
  const warnings = oddPlatforms(rules.flatMap(({ platforms = [] }) => platforms));
  const owners = new Map<string, string>();
  const found = await expandRules(rules, {
    listRepositories: () => REFUSING,
    listTags: () => REFUSING,
    onPair: ({ source, destination }) => {
      const [from, to] = [formatReference(source), formatReference(destination)];
      const owner = owners.get(to) ?? from;
      owners.set(to, owner);
      if (owner !== from) {
        failures.push(`Cannot copy "${from}" to "${to}": another rule copies "${owner}" there`);
      }
    },
    onWarning: (message) => warnings.push(message),
  });
  failures.push(...found.map(({ error }) => error).filter((error) => error !== NOT_ASKED.message));
  for (const { source, prune } of rules) {
    await compileNames(prune?.keep ?? []).catch((error) =>
      failures.push(`Cannot read what "${source}" keeps: ${messageOf(error)}`)
    );
  }
  return { failures: [...new Set(failures)], warnings };
}

/** What rules are expanded with. */
export interface ExpandRulesOptions {
  /** Lists the repositories of a registry, for rules of whole namespaces. */
  listRepositories: ListRepositories;
  /** Tags of a source repository, page by page. */
  listTags: (source: { registry: string; repository: string }) => AsyncIterable<readonly string[]>;
  /** Finds out what rules must know that choose by date; without it filters by name alone count. */
  dates?: TagDates;
  /** Told what filters have left out. */
  onDropped?: (dropped: readonly DroppedTags[]) => void;
  /** Told of each image that a rule becomes. */
  onPair: (pair: WantedPair) => void;
  /** Told of what is odd. */
  onWarning: (message: string) => void;
}

/**
 * Finds out what rules become.
 *
 * @returns What could not be expanded.
 */
export async function expandRules(
  rules: readonly Rule[],
  options: ExpandRulesOptions,
): Promise<PlanFailure[]> {
  const failed: PlanFailure[] = [];
  const onFailure = (failure: PlanFailure) => failed.push(failure);
  for (const group of groupRules(await withNamespaces(rules, options, onFailure), onFailure)) {
    const [placed] = group.rules;
    if (placed === undefined) continue;
    const pages = expandGroup(group, {
      ...(options.dates === undefined ? {} : { dates: options.dates }),
      onDropped: (dropped) => options.onDropped?.(dropped),
      listTags: () => options.listTags(placed.source),
      platforms: undefined,
      pass: 0,
      onFailure,
      onWarning: options.onWarning,
      onEmpty: ({ rule }) => options.onWarning(`No tag of "${rule.source}" is selected`),
    });
    try {
      for await (const pairs of pages) for (const pair of pairs) options.onPair(pair);
    } catch (error) {
      failed.push(ruleFailure(placed, error));
    }
  }
  return failed;
}

/** Rules of single repositories, with those that namespaces become. */
async function withNamespaces(
  rules: readonly Rule[],
  { listRepositories, onWarning }: ExpandRulesOptions,
  onFailure: (failure: PlanFailure) => void,
): Promise<NumberedRule[]> {
  const { single, namespaces } = splitRules(rules);
  const owners = new RepositoryOwners(single);
  const all = [...single];
  for (const namespace of namespaces) {
    try {
      const found = await expandNamespace(namespace, listRepositories, owners);
      if (found.length === 0) onWarning(`No repository is in "${namespace.rule.source}"`);
      all.push(...found);
    } catch (error) {
      onFailure(ruleFailure(namespace, error));
    }
  }
  return all;
}
