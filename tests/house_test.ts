/** Tests that rooms stay rooms: how long functions and files may be, and how much one may lean on others. */

import { assert, assertEquals } from "@std/assert";
import { importersOf, measureHouse, percentile } from "./house.ts";

/** Functions of more than three parameters that there may be; the number may only shrink, to 5. */
const MANY_PARAMETERS = 5;

const HOUSE = await measureHouse();

Deno.test("functions are short: 95 of 100 at 25 lines, none over 40", () => {
  assert(HOUSE.functions.length > 500);
  assert(percentile(HOUSE.functions.map(({ lines }) => lines), 0.95) <= 25);
  assertEquals(HOUSE.functions.filter(({ lines }) => lines > 40), []);
});

Deno.test("functions take three parameters, few take more", () => {
  const many = HOUSE.functions.filter(({ parameters }) => parameters > 3);
  assert(many.length <= MANY_PARAMETERS, many.map(({ path, name }) => `${path} ${name}`).join("\n"));
});

Deno.test("files are rooms: none over 400 lines, none of under 25 that only one other needs", () => {
  const importers = importersOf(HOUSE);
  assertEquals(HOUSE.files.filter(({ lines }) => lines > 400).map(({ path }) => path), []);
  const slips = HOUSE.files.filter(({ path, lines }) => lines < 25 && importers.get(path)?.length === 1);
  assertEquals(slips.map(({ path }) => path), []);
});

Deno.test("no file imports more than 15 others of ours", () => {
  // mod.ts is the list of what is offered.
  const leaning = HOUSE.files.filter(({ path, imports }) => path !== "mod.ts" && imports.length > 15);
  assertEquals(leaning.map(({ path }) => path), []);
});
