/** Tests of tag patterns: they mean what RE2 means, and nobody can make them run for ever. */

import { assertEquals, assertRejects } from "@std/assert";
import { compilePattern } from "../src/mirror/rules/pattern.ts";
import { InvalidReferenceError } from "../src/oci/reference.ts";

async function selected(pattern: string, tags: readonly string[]): Promise<string[]> {
  return tags.filter(await compilePattern(pattern));
}

Deno.test("compilePattern() searches anywhere in the tag unless anchored", async () => {
  assertEquals(await selected("1", ["v1", "1", "21-x", "v2"]), ["v1", "1", "21-x"]);
  assertEquals(await selected("^1", ["v1", "1", "1.2"]), ["1", "1.2"]);
  assertEquals(await selected(String.raw`^v\d+\.\d+$`, ["v1.2", "v1.2.3", "xv1.2"]), ["v1.2"]);
});

Deno.test("compilePattern() selects every tag when the pattern is empty", async () => {
  assertEquals(await selected("", ["a", "b"]), ["a", "b"]);
});

Deno.test("compilePattern() knows what RE2 has and JavaScript has not", async () => {
  assertEquals(await selected("(?i)V1", ["v1", "V1", "v2"]), ["v1", "V1"]);
  assertEquals(await selected(String.raw`\Av1\z`, ["v1", "v10", "xv1"]), ["v1"]);
  assertEquals(await selected("(?P<major>v[0-9])-rc", ["v1-rc", "v1"]), ["v1-rc"]);
  assertEquals(await selected("[[:digit:]]{2}", ["v1", "v10"]), ["v10"]);
});

Deno.test("compilePattern() refuses what RE2 has not, and what is no pattern", async () => {
  for (const pattern of ["(?=v)", String.raw`(v)\1`, "(", "[", "*", "(?<!x)v"]) {
    const error = await assertRejects(() => compilePattern(pattern), InvalidReferenceError);
    assertEquals(
      error.message.startsWith(`Cannot parse reference "/${pattern}/": the regex does not compile`),
      true,
    );
  }
});

Deno.test("compilePattern() is through in no time with what makes JavaScript run for ever", async () => {
  const matches = await compilePattern("^(a+)+$");
  const startedAt = performance.now();
  assertEquals(matches(`${"a".repeat(127)}!`), false);
  assertEquals(performance.now() - startedAt < 1000, true);
});
