/** What a tag costs in memory: a repository may have 300,000 of them, in one page. Exact enough for a limit, because garbage is collected first. */

import { assert, assertEquals } from "@std/assert";
import { measureTagMemory } from "./bench/tag_memory.ts";

const TAGS = 30_000;
/** Bytes that may be kept of a tag that is unchanged, the report's part included. */
const LIMIT = 1000;

Deno.test("fault 45: mirror() keeps less than 1 kB of each of very many tags in one page", async () => {
  const { bytes, unchanged } = await measureTagMemory(TAGS);
  assertEquals(unchanged, TAGS);
  assert(bytes < LIMIT, `${bytes} bytes a tag`);
});
