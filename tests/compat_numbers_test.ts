/** The list of compatibility items that tests hold, and that it has no gaps. */

import { assertEquals } from "@std/assert";
import { coverageOf, numbersIn, readNumbers } from "./compat_numbers.ts";

Deno.test("numbersIn() finds items however their calls are broken into lines, and each once", () => {
  const text = `
    compat(12, "comments", () => {});
    compat(
      7,
      "flags",
      () => {},
    );
    compat(12, "trailing commas", () => {});
    // compat(13, "what stands in a comment is no test", () => {});
    compat(number, "what a loop makes of it, nobody can search for", () => {});
  `;
  assertEquals(numbersIn(text), [7, 12]);
});

Deno.test("coverageOf() names gaps, items that stand in two files, and numbers of no item", () => {
  const files = [[1, 2, 5], [2, 7, 9]];
  assertEquals(coverageOf(files, 5), { covered: [1, 2, 5], gaps: [3, 4], repeated: [2], unknown: [7, 9] });
});

Deno.test("tests/compat holds every item of the checklist, each in one file", async () => {
  const { gaps, repeated, unknown } = coverageOf((await readNumbers()).values());
  assertEquals({ gaps, repeated, unknown }, { gaps: [], repeated: [], unknown: [] });
});
