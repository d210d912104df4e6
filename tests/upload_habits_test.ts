/** Tests of what registries show of how they take uploads. */

import { assertEquals, assertRejects } from "@std/assert";
import { UploadHabits } from "../src/mirror/copy/upload_habits.ts";
import { RegistryError } from "../src/registry/registry_error.ts";

const MIB = 1024 * 1024;
const HOST = "registry.test";

function refusal(status: number): RegistryError {
  return new RegistryError({ action: "push", method: "PUT", url: `https://${HOST}/v2/`, status, why: "no" });
}

Deno.test("UploadHabits.chunkOf() has no limit until a registry has shown one", () => {
  const habits = new UploadHabits();
  assertEquals(habits.chunkOf(HOST), Infinity);
  habits.learnTooLarge(HOST, refusal(413), 100 * MIB);
  assertEquals(habits.chunkOf(HOST), 16 * MIB);
  assertEquals(habits.chunkOf("other.test"), Infinity);
});

Deno.test("UploadHabits.learnTooLarge() halves what was refused, down to 1 MiB", () => {
  const habits = new UploadHabits();
  const chunks: number[] = [];
  let atOnce = 1024 * MIB;
  while (habits.learnTooLarge(HOST, refusal(413), atOnce)) chunks.push(atOnce = habits.chunkOf(HOST));
  assertEquals(chunks, [16, 8, 4, 2, 1].map((size) => size * MIB));
  assertEquals(habits.chunkOf(HOST), MIB);
});

Deno.test("UploadHabits.learnTooLarge() learns once from requests that were under way together", () => {
  const habits = new UploadHabits();
  for (let request = 0; request < 20; request++) {
    assertEquals(habits.learnTooLarge(HOST, refusal(413), 40 * MIB), true);
  }
  assertEquals(habits.chunkOf(HOST), 16 * MIB);
});

Deno.test("UploadHabits.learnTooLarge() makes the first chunk smaller than what was refused", () => {
  const habits = new UploadHabits();
  assertEquals(habits.learnTooLarge(HOST, refusal(413), 3 * MIB + 1), true);
  assertEquals(habits.chunkOf(HOST), 3 * MIB / 2);
});

Deno.test("UploadHabits.learnTooLarge() learns nothing from other failures, nor from small blobs", () => {
  const habits = new UploadHabits();
  assertEquals(habits.learnTooLarge(HOST, refusal(400), 40 * MIB), false);
  assertEquals(habits.learnTooLarge(HOST, new Error("413"), 40 * MIB), false);
  assertEquals(habits.learnTooLarge(HOST, refusal(413), MIB), false);
  assertEquals(habits.chunkOf(HOST), Infinity);
});

Deno.test("UploadHabits.canResume() and canMount() hold until a registry shows otherwise", () => {
  const habits = new UploadHabits();
  const shown = (host: string) => [habits.canResume(host), habits.canMount(host)];
  assertEquals(shown(HOST), [true, true]);
  habits.learnNoResume(HOST);
  assertEquals(shown(HOST), [false, true]);
  habits.learnNoMount(HOST);
  assertEquals(shown(HOST), [false, false]);
  assertEquals(shown("other.test"), [true, true]);
});

Deno.test("UploadHabits.tryPostWhole() lets one try, and the others wait for what becomes of it", async () => {
  for (const type of ["stored", "opened"]) {
    const habits = new UploadHabits();
    const answer = Promise.withResolvers<{ type: string }>();
    const tried: boolean[] = [];
    const attempt = (mayPost: boolean) => (tried.push(mayPost), answer.promise);
    const trying = [1, 2, 3].map(() => habits.tryPostWhole(HOST, attempt));
    assertEquals(tried, [true]);
    answer.resolve({ type });
    assertEquals(await Promise.all(trying), [{ type }, { type }, { type }]);
    assertEquals(tried, [true, type === "stored", type === "stored"]);
    await habits.tryPostWhole("other.test", attempt);
    assertEquals(tried.at(-1), true);
  }
});

Deno.test("UploadHabits.tryPostWhole() lets another try when the trial came to nothing", async () => {
  const habits = new UploadHabits();
  const first = habits.tryPostWhole(HOST, () => Promise.reject(new Error("reset")));
  const tried: boolean[] = [];
  const second = habits.tryPostWhole(HOST, (mayPost) => {
    tried.push(mayPost);
    return Promise.resolve({ type: "stored" });
  });
  await assertRejects(() => first, Error, "reset");
  await second;
  assertEquals(tried, [true]);
});
