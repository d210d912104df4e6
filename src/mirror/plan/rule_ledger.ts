/** Step 5 of the walk, the plan: which tags rules have listed and want, kept for whoever asks once everything was looked at. */

import { formatReference } from "../../oci/reference.ts";
import type { WantedPair } from "./rule_expansion.ts";
import type { RuleGroup } from "./rule_group.ts";

/** What became of one list of tags. */
interface SourceList {
  tags: Set<string>;
  isComplete: boolean;
}

/** What the rules of a run have listed and want. */
export class RuleLedger {
  #lists = new Map<string, SourceList>();
  /** Rules by what they want, as references are written; the first one has it. */
  #owners = new Map<string, number>();
  #wanted = new Map<number, Set<string>>();
  #doubted = new Set<number>();

  /** Takes note of the pages of a group's list. */
  async *watch(group: RuleGroup, pages: AsyncIterable<readonly string[]>): AsyncIterable<readonly string[]> {
    const list: SourceList = { tags: new Set(), isComplete: false };
    this.#lists.set(group.name, list);
    for await (const page of pages) {
      for (const tag of page) list.tags.add(tag);
      yield page;
    }
    list.isComplete = true;
  }

  /** Takes note of what rules want. */
  want(pairs: readonly WantedPair[]): void {
    for (const { destination, source, rule } of pairs) {
      if (rule === undefined) continue;
      const name = formatReference(destination);
      if (!this.#owners.has(name)) this.#owners.set(name, rule);
      const wanted = this.#wanted.get(rule) ?? new Set();
      this.#wanted.set(rule, wanted);
      wanted.add(formatReference(source));
    }
  }

  /** Takes note that what a rule selects is not certain, so that nothing is deleted for it. */
  doubt(rule: number): void {
    this.#doubted.add(rule);
  }

  /** Whether what a rule selects is not certain. */
  isDoubted(rule: number): boolean {
    return this.#doubted.has(rule);
  }

  /** All tags of a source repository (`registry/repository`), where its list came to its end. */
  completeList(name: string): ReadonlySet<string> | undefined {
    const list = this.#lists.get(name);
    return list?.isComplete ? list.tags : undefined;
  }

  /** How many tags a source repository has listed; 0 where it was not asked. */
  listed(name: string): number {
    return this.#lists.get(name)?.tags.size ?? 0;
  }

  /** How many images of its source a rule wants. */
  selected(rule: number): number {
    return this.#wanted.get(rule)?.size ?? 0;
  }

  /** The rule that wants something at a destination, as references are written. */
  ownerOf(destination: string): number | undefined {
    return this.#owners.get(destination);
  }
}
