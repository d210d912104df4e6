/** Tests of what registries show of how they take uploads. */

import { assertEquals } from "@std/assert";
import { UploadHabits } from "../src/mirror/upload_habits.ts";
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

Deno.test("UploadHabits.claimPostWhole() lets one try, and the others wait for what becomes of it", async () => {
  for (const isTaken of [true, false]) {
    const habits = new UploadHabits();
    assertEquals(await habits.claimPostWhole(HOST), "trial");
    const others = [habits.claimPostWhole(HOST), habits.claimPostWhole(HOST)];
    habits.settlePostWhole(HOST, isTaken);
    assertEquals(await Promise.all(others), isTaken ? ["yes", "yes"] : ["no", "no"]);
    assertEquals(await habits.claimPostWhole("other.test"), "trial");
  }
});

Deno.test("UploadHabits.claimPostWhole() lets another try when the trial came to nothing", async () => {
  const habits = new UploadHabits();
  assertEquals(await habits.claimPostWhole(HOST), "trial");
  const next = habits.claimPostWhole(HOST);
  habits.settlePostWhole(HOST, undefined);
  assertEquals(await next, "trial");
});
