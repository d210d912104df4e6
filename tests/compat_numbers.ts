/** Lists the items of the compatibility checklist that tests hold, and the gaps. */

/** Items in the checklist, numbered from 1. */
const ITEMS = 83;
const DIRECTORY = new URL("./compat/", import.meta.url);

/** Which items the tests hold. */
export interface Coverage {
  /** Items with a test, in order. */
  covered: number[];
  /** Items without one, in order. */
  gaps: number[];
  /** Items that stand in several files, in order: each file makes a test of its own, and a filter runs them all. */
  repeated: number[];
  /** Numbers of tests that are not in the checklist, in order. */
  unknown: number[];
}

if (import.meta.main) Deno.exit(await listNumbers() ? 0 : 1);

/** Prints the numbers by file; `false` when there is a gap. */
async function listNumbers(): Promise<boolean> {
  const files = await readNumbers();
  for (const [name, numbers] of files) console.log(`${name.padEnd(22)} ${numbers.join(" ")}`);
  const { covered, ...oddities } = coverageOf(files.values());
  console.log(`\n${covered.length} of ${ITEMS} items have a test`);
  for (const [name, numbers] of Object.entries(oddities)) {
    console.log(`${name}: ${numbers.join(" ") || "none"}`);
  }
  return oddities.gaps.length === 0;
}

/** Numbers of the items by the files that hold them, the files in the order of their numbers. */
export async function readNumbers(): Promise<Map<string, number[]>> {
  const files: [name: string, numbers: number[]][] = [];
  for await (const { name } of Deno.readDir(DIRECTORY)) {
    if (!name.endsWith("_test.ts")) continue;
    files.push([name, numbersIn(await Deno.readTextFile(new URL(name, DIRECTORY)))]);
  }
  return new Map(files.sort(([, [one = 0]], [, [other = 0]]) => one - other));
}

/** Numbers of the items that a file's text has, each once, in order. */
export function numbersIn(text: string): number[] {
  const found = [...text.matchAll(/^\s*compat\(\s*(\d+),/gm)].map((match) => Number(match[1]));
  return inOrder(found);
}

/**
 * Compares the items that files hold with those there are.
 *
 * @param files Numbers of each file, each once.
 * @param items How many items there are.
 */
export function coverageOf(files: Iterable<readonly number[]>, items: number = ITEMS): Coverage {
  const found = [...files].flat();
  const all = Array.from({ length: items }, (_, index) => index + 1);
  return {
    covered: all.filter((number) => found.includes(number)),
    gaps: all.filter((number) => !found.includes(number)),
    repeated: inOrder(found.filter((number, index) => found.indexOf(number) !== index)),
    unknown: inOrder(found.filter((number) => !all.includes(number))),
  };
}

function inOrder(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((one, other) => one - other);
}
