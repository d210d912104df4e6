/** Tests of what registries show of how they take uploads. */

import { assertEquals, assertRejects } from "@std/assert";
import { Abilities } from "../src/registry/abilities.ts";
import { RegistryError } from "../src/registry/registry_error.ts";

const MIB = 1024 * 1024;
const HOST = "registry.test";

function refusal(status: number): RegistryError {
  return new RegistryError({ action: "push", method: "PUT", url: `https://${HOST}/v2/`, status, why: "no" });
}

Deno.test("Abilities.chunk has no limit until a registry has shown one", () => {
  const abilities = new Abilities();
  assertEquals(abilities.chunk, Infinity);
  abilities.learnTooLarge(refusal(413), 100 * MIB);
  assertEquals(abilities.chunk, 16 * MIB);
});

Deno.test("Abilities.learnTooLarge() goes down to the smallest chunk in few steps", () => {
  const abilities = new Abilities();
  const chunks: number[] = [];
  let atOnce = 1024 * MIB;
  while (abilities.learnTooLarge(refusal(413), atOnce)) chunks.push(atOnce = abilities.chunk);
  assertEquals(chunks, [16, 4, 1, 1 / 4, 1 / 16].map((size) => size * MIB));
  assertEquals(abilities.chunk, MIB / 16);
});

Deno.test("Abilities.learnTooLarge() learns once from requests that were under way together", () => {
  const abilities = new Abilities();
  for (let request = 0; request < 20; request++) {
    assertEquals(abilities.learnTooLarge(refusal(413), 40 * MIB), true);
  }
  assertEquals(abilities.chunk, 16 * MIB);
});

Deno.test("Abilities.learnTooLarge() makes the first chunk smaller than what was refused", () => {
  const abilities = new Abilities();
  assertEquals(abilities.learnTooLarge(refusal(413), 3 * MIB + 1), true);
  assertEquals(abilities.chunk, MIB);
});

Deno.test("Abilities.learnTooLarge() learns nothing from other failures, nor from the smallest chunk", () => {
  const abilities = new Abilities();
  assertEquals(abilities.learnTooLarge(refusal(400), 40 * MIB), false);
  assertEquals(abilities.learnTooLarge(new Error("413"), 40 * MIB), false);
  assertEquals(abilities.learnTooLarge(refusal(413), MIB / 16), false);
  assertEquals(abilities.chunk, Infinity);
});

Deno.test("Abilities.canResume and canMount hold until a registry shows otherwise", () => {
  const abilities = new Abilities();
  const shown = () => [abilities.canResume, abilities.canMount];
  assertEquals(shown(), [true, true]);
  abilities.canResume = false;
  assertEquals(shown(), [false, true]);
  abilities.canMount = false;
  assertEquals(shown(), [false, false]);
});

Deno.test("Abilities.tryPostWhole() lets one try, and the others wait for what becomes of it", async () => {
  for (const type of ["stored", "opened"]) {
    const abilities = new Abilities();
    const answer = Promise.withResolvers<{ type: string }>();
    const tried: boolean[] = [];
    const attempt = (mayPost: boolean) => (tried.push(mayPost), answer.promise);
    const trying = [1, 2, 3].map(() => abilities.tryPostWhole(attempt));
    assertEquals(tried, [true]);
    answer.resolve({ type });
    assertEquals(await Promise.all(trying), [{ type }, { type }, { type }]);
    assertEquals(tried, [true, type === "stored", type === "stored"]);
  }
});

Deno.test("Abilities.tryPostWhole() lets another try when the trial came to nothing", async () => {
  const abilities = new Abilities();
  const first = abilities.tryPostWhole(() => Promise.reject(new Error("reset")));
  const tried: boolean[] = [];
  const second = abilities.tryPostWhole((mayPost) => {
    tried.push(mayPost);
    return Promise.resolve({ type: "stored" });
  });
  await assertRejects(() => first, Error, "reset");
  await second;
  assertEquals(tried, [true]);
});
