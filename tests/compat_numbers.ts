/** Which items of the compatibility checklist have a test, and which have none: `deno task compat`. */

/** How many items the checklist has; they are numbered from 1. */
export const ITEM_COUNT = 83;

/** A test that carries the number of an item. */
export interface NumberedTest {
  /** Number of the item, from 1. */
  number: number;
  /** What the test says holds. */
  name: string;
  /** Name of the file it stands in. */
  file: string;
}

/** What is tested and what is not. */
export interface Coverage {
  /** Items with a test, in order. */
  covered: number[];
  /** Items without one, in order. */
  gaps: number[];
  /** Items with more than one, in order: a filter for their number runs them all. */
  repeated: number[];
  /** Numbers of tests that no item has, in order. */
  unknown: number[];
}

/** The number must stand in the name as it is written, so that a search for it finds its test. */
const NAME = /\bDeno\.test\(\s*(["'`])compat (\d\d): (.*?)\1\s*,/g;

/** The numbered tests that a file defines. */
export function findNumberedTests(text: string, file: string): NumberedTest[] {
  return [...text.matchAll(NAME)].map(([, , number, name = ""]) => ({ number: Number(number), name, file }));
}

/** Compares numbered tests with the items there are. */
export function coverageOf(tests: readonly Pick<NumberedTest, "number">[], items = ITEM_COUNT): Coverage {
  const counts = new Map<number, number>();
  for (const { number } of tests) counts.set(number, (counts.get(number) ?? 0) + 1);
  const all = Array.from({ length: items }, (_, index) => index + 1);
  return {
    covered: all.filter((number) => counts.has(number)),
    gaps: all.filter((number) => !counts.has(number)),
    repeated: all.filter((number) => (counts.get(number) ?? 0) > 1),
    unknown: [...counts.keys()].filter((number) => !all.includes(number)).sort((one, other) => one - other),
  };
}

/** Numbers as a person writes them: `1–12, 14, 17–19`. */
export function formatNumbers(numbers: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const number of numbers) {
    const range = ranges.at(-1);
    if (range !== undefined && range[1] === number - 1) range[1] = number;
    else ranges.push([number, number]);
  }
  const texts = ranges.map(([first, last]) => first === last ? `${first}` : `${first}–${last}`);
  return texts.length === 0 ? "none" : texts.join(", ");
}

/** The numbered tests of a directory, in the order of their numbers. */
export async function readNumberedTests(directory: URL): Promise<NumberedTest[]> {
  const tests: NumberedTest[] = [];
  for await (const { name, isFile } of Deno.readDir(directory)) {
    if (!isFile || !name.endsWith("_test.ts")) continue;
    tests.push(...findNumberedTests(await Deno.readTextFile(new URL(name, directory)), name));
  }
  return tests.sort((one, other) => one.number - other.number);
}

/** Where the numbered tests are. */
export const COMPAT_DIRECTORY: URL = new URL("./compat/", import.meta.url);

/** What `deno task compat` prints: a line for each test, then the numbers. */
export function coverageLines(tests: readonly NumberedTest[], coverage: Coverage): string[] {
  const lines = tests.map(({ number, name, file }) => `${`${number}`.padStart(2, "0")}  ${name}  (${file})`);
  lines.push("", `Covered: ${coverage.covered.length} of ${ITEM_COUNT}: ${formatNumbers(coverage.covered)}`);
  lines.push(`Gaps: ${formatNumbers(coverage.gaps)}`);
  if (coverage.repeated.length > 0) {
    lines.push(`With more than one test: ${formatNumbers(coverage.repeated)}`);
  }
  if (coverage.unknown.length > 0) lines.push(`Of no item: ${formatNumbers(coverage.unknown)}`);
  return lines;
}

if (import.meta.main) {
  const tests = await readNumberedTests(COMPAT_DIRECTORY);
  const coverage = coverageOf(tests);
  console.log(coverageLines(tests, coverage).join("\n"));
  if (coverage.gaps.length > 0) Deno.exit(1);
}
