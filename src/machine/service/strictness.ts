/** What `--strict` does not let pass, of a command's run and of a schedule's: nothing has failed, and yet not all is as it was meant. */

/** What a run has found, or a dry run would. */
export interface Findings {
  /** Rules there are. */
  rules: number;
  /** Rules that select nothing of their sources. */
  empty: readonly { source: string }[];
  /** Images none of whose platforms is wanted. */
  skipped: number;
  /** Images whose tags stand for something else at their destinations, and are not overwritten. */
  drifted: number;
  /** Warnings. */
  warnings: number;
}

/** Rules that a sentence names. */
const NAMED = 3;

/** What is not as it was meant, in a few words each; nothing when all is well. */
export function shortcomingsOf({ rules, empty, skipped, drifted, warnings }: Findings): string[] {
  const names = [...new Set(empty.map(({ source }) => source))];
  const who = names.length > NAMED ? `${names.length} rules` : names.join(", ");
  const found: [is: boolean, words: string][] = [
    [rules === 0, "there is no rule"],
    [names.length > 0, `nothing is selected by ${who}`],
    [skipped > 0, `no platform wanted is in ${countOf(skipped, "image")}`],
    [drifted > 0, `${countOf(drifted, "tag")} drifted`],
  ];
  const said = found.filter(([is]) => is).map(([, words]) => words);
  // A rule that selects nothing is warned of as well.
  return said.length === 0 && warnings > 0 ? [`${countOf(warnings, "warning")} in the log`] : said;
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
