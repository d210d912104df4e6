/** The list of compatibility items that have a test, and that it has no gaps. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  COMPAT_DIRECTORY,
  coverageLines,
  coverageOf,
  findNumberedTests,
  formatNumbers,
  readNumberedTests,
} from "./compat_numbers.ts";

Deno.test("findNumberedTests() finds tests by their numbers, however the call is broken into lines", () => {
  const text = `
    Deno.test("compat 07: flags are \\"understood\\"", () => {});
    Deno.test(
      'compat 12: comments',
      async () => {},
    );
    // compat 13: a comment is no test
    Deno.test("compat 9: one digit is not what the filter looks for", () => {});
    Deno.test(\`compat \${number}: a number nobody can search for\`, () => {});
    helper("compat 15: not a test", () => {});
  `;
  assertEquals(findNumberedTests(text, "a_test.ts").map(({ number }) => number), [7, 12]);
  assertEquals(findNumberedTests(text, "a_test.ts")[1], { number: 12, name: "comments", file: "a_test.ts" });
});

Deno.test("coverageOf() names gaps, what is tested twice, and numbers of no item", () => {
  const tests = [5, 2, 2, 1, 9, 7].map((number) => ({ number }));
  assertEquals(coverageOf(tests, 5), { covered: [1, 2, 5], gaps: [3, 4], repeated: [2], unknown: [7, 9] });
});

Deno.test("formatNumbers() joins neighbours", () => {
  assertEquals(formatNumbers([1, 2, 3, 5, 7, 8]), "1–3, 5, 7–8");
  assertEquals(formatNumbers([]), "none");
});

Deno.test("coverageLines() lists tests with their files, and the gaps", () => {
  const tests = [{ number: 3, name: "it works", file: "a_test.ts" }];
  const text = coverageLines(tests, coverageOf(tests)).join("\n");
  assertStringIncludes(text, "03  it works  (a_test.ts)");
  assertStringIncludes(text, "Gaps: 1–2, 4–83");
});

Deno.test("tests/compat has one test for every item of the checklist", async () => {
  const { gaps, repeated, unknown } = coverageOf(await readNumberedTests(COMPAT_DIRECTORY));
  assertEquals({ gaps, repeated, unknown }, { gaps: [], repeated: [], unknown: [] });
});
