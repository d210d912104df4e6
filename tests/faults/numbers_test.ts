/** The list of known faults that tests hold. */

import { assertEquals } from "@std/assert";
import { coverageOfFaults, faultNumbersIn, readFaultNumbers } from "./numbers.ts";

const quoted = (number: number) => `"fault ${number}: what was seen"`;

Deno.test("faultNumbersIn() finds the numbers that names begin with, in calls and in tables, each once", () => {
  const text = `
    Deno.test(${quoted(12)}, () => {});
    const CASES = [[${quoted(7)}, {}], [${quoted(12)}, {}]];
    // fault 13: what stands in a comment is no test
    Deno.test("mirror() does not mind fault 14: it is not the name's beginning", () => {});
  `;
  assertEquals(faultNumbersIn(text), [7, 12]);
});

Deno.test("no test has the number of a fault that nobody found", async () => {
  assertEquals(coverageOfFaults(await readFaultNumbers()).unknown, []);
});
