/** Tests of how many requests a registry is given at once, and when it wants none. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Gate, type Outcome } from "../src/registry/gate.ts";
import { FakeClock, settle } from "./fake_clock.ts";

type Leave = (outcome: Outcome) => void;

function makeGate(): { gate: Gate; clock: FakeClock } {
  const clock = new FakeClock({ isManual: true });
  return { gate: new Gate(clock), clock };
}

async function enterMany(gate: Gate, count: number): Promise<Leave[]> {
  return await Promise.all(Array.from({ length: count }, () => gate.enter()));
}

/** Sends requests one by one, each answered before the next. */
async function pass(gate: Gate, count: number, outcome: Outcome): Promise<void> {
  for (let index = 0; index < count; index++) (await gate.enter())(outcome);
}

Deno.test("Gate.enter() lets in as many as its limit, the next one when a place is given back", async () => {
  const { gate } = makeGate();
  assertEquals(gate.limit, 16);
  const leaves = await enterMany(gate, 16);
  let isIn = false;
  const late = gate.enter().then((leave) => {
    isIn = true;
    return leave;
  });
  await settle();
  assert(!isIn);
  leaves[0]?.("failed");
  leaves.push(await late);
  for (const leave of leaves) leave("failed");
});

Deno.test("Gate.enter() lets in who came first first", async () => {
  const { gate } = makeGate();
  const leaves = await enterMany(gate, 16);
  const order: number[] = [];
  const waiting = [0, 1, 2, 3].map((number) =>
    gate.enter().then((leave) => {
      order.push(number);
      leave("failed");
    })
  );
  leaves[0]?.("failed");
  await Promise.all(waiting);
  assertEquals(order, [0, 1, 2, 3]);
});

Deno.test("Gate gives one more place per round of good answers, up to 64", async () => {
  const { gate } = makeGate();
  for (const leave of await enterMany(gate, 16)) leave("ok");
  assertEquals(gate.limit, 16);
  await pass(gate, 1, "ok");
  assertEquals(gate.limit, 17);
  await pass(gate, 16, "failed");
  assertEquals(gate.limit, 17);
  await pass(gate, 5000, "ok");
  assertEquals(gate.limit, 64);
});

Deno.test("Gate halves its places when the registry is overloaded, down to one", async () => {
  const { gate, clock } = makeGate();
  const limits: number[] = [];
  for (let round = 0; round < 7; round++) {
    clock.advance(1);
    await pass(gate, 1, "overloaded");
    limits.push(gate.limit);
  }
  assertEquals(limits, [8, 4, 2, 1, 1, 1, 1]);
  await pass(gate, 1, "ok");
  assertEquals(gate.limit, 2);
});

Deno.test("Gate halves once for all requests that were under way together", async () => {
  const { gate, clock } = makeGate();
  const leaves = await enterMany(gate, 16);
  clock.advance(5);
  for (const leave of leaves) leave("overloaded");
  assertEquals(gate.limit, 8);
});

Deno.test("Gate halves again for a request that was sent after a pause", async () => {
  const { gate, clock } = makeGate();
  const leaves = await enterMany(gate, 16);
  gate.pauseUntil(clock.now() + 1000);
  const late = gate.enter();
  for (const leave of leaves) leave("overloaded");
  await settle();
  clock.advance(1000);
  (await late)("overloaded");
  assertEquals(gate.limit, 4);
});

Deno.test("Gate.enter() counts only the first call of what it returns", async () => {
  const { gate } = makeGate();
  const leaves = await enterMany(gate, 16);
  for (let again = 0; again < 3; again++) leaves[0]?.("failed");
  let admitted = 0;
  const waiting = [1, 2, 3].map(() => gate.enter().then((leave) => (admitted++, leave)));
  await settle();
  assertEquals(admitted, 1);
  for (const leave of leaves) leave("failed");
  await Promise.all(waiting);
});

Deno.test("Gate.pauseUntil() by one is obeyed by all, also by who is inside waiting already", async () => {
  const { gate, clock } = makeGate();
  const [first] = await enterMany(gate, 1);
  gate.pauseUntil(clock.now() + 5000);
  first?.("overloaded");
  let sent = 0;
  const waiting = Array.from({ length: 30 }, () =>
    gate.enter().then((leave) => {
      sent++;
      leave("failed");
    }));
  await settle();
  clock.advance(4999);
  await settle();
  assertEquals(sent, 0);
  gate.pauseUntil(clock.now() + 100);
  clock.advance(1);
  await settle();
  assertEquals(sent, 0);
  clock.advance(99);
  await Promise.all(waiting);
  assertEquals(sent, 30);
});

Deno.test("Gate.pauseUntil() never shortens a pause", () => {
  const { gate, clock } = makeGate();
  const until = clock.now() + 60_000;
  gate.pauseUntil(until);
  gate.pauseUntil(until - 1000);
  assertEquals(gate.notBefore, until);
});

Deno.test("Gate.enter() ends with the signal while it waits for a place, and loses none", async () => {
  const { gate } = makeGate();
  const leaves = await enterMany(gate, 16);
  const controller = new AbortController();
  const reason = new Error("enough");
  const waiting = [gate.enter(controller.signal), gate.enter(), gate.enter(controller.signal)];
  controller.abort(reason);
  assert(await assertRejects(() => waiting[0] ?? Promise.resolve()) === reason);
  assert(await assertRejects(() => waiting[2] ?? Promise.resolve()) === reason);
  leaves[0]?.("failed");
  (await waiting[1])?.("failed");
  for (const leave of leaves) leave("failed");
  for (const leave of await enterMany(gate, 16)) leave("failed");
  await assertRejects(() => gate.enter(controller.signal), Error, "enough");
});

Deno.test("Gate.enter() ends with the signal while the registry pauses, and gives its place back", async () => {
  const { gate, clock } = makeGate();
  gate.pauseUntil(clock.now() + 1000);
  const controller = new AbortController();
  const waiting = Array.from({ length: 16 }, () => gate.enter(controller.signal));
  await settle();
  controller.abort(new Error("enough"));
  for (const one of waiting) await assertRejects(() => one, Error, "enough");
  clock.advance(1000);
  for (const leave of await enterMany(gate, 16)) leave("failed");
});

Deno.test("Gate lets fewer in when answers become slow, and more again when they are fast", async () => {
  let now = 0;
  const gate = new Gate({ now: () => now, delay: () => Promise.resolve(), random: () => 0 });
  const answer = async (milliseconds: number) => {
    const leave = await gate.enter();
    now += milliseconds;
    leave("ok");
    now += 1;
  };
  for (let request = 0; request < 10; request++) await answer(50);
  const before = gate.limit;
  for (let request = 0; request < 20; request++) await answer(5000);
  assert(gate.limit < before / 2, `${gate.limit} of ${before}`);
  const slow = gate.limit;
  for (let request = 0; request < 200; request++) await answer(50);
  assert(gate.limit > slow, `${gate.limit} after ${slow}`);
});
