/** Tests of how many requests and transfers a registry is given at once. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Gate, type Outcome, TransferSlots } from "../src/registry/gate.ts";
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

/** Gates whose limit was lowered to a number. */
async function gateWithLimit(limit: number): Promise<Gate> {
  const { gate, clock } = makeGate();
  while (gate.limit > limit) {
    clock.advance(1);
    await pass(gate, 1, "overloaded");
  }
  assertEquals(gate.limit, limit);
  return gate;
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

Deno.test("TransferSlots.acquire() never gives out more than the maximum, nor more than a registry's limit", async () => {
  const [narrow, wide, other] = [await gateWithLimit(2), makeGate().gate, makeGate().gate];
  const slots = new TransferSlots(5);
  const held: Record<string, number> = { narrow: 0, wide: 0, other: 0 };
  let [total, most, done] = [0, 0, 0];
  const gates: Record<string, Gate> = { narrow, wide, other };
  const transfer = async (registries: string[], turns: number) => {
    const release = await slots.acquire(registries.flatMap((name) => gates[name] ?? []));
    most = Math.max(most, ++total);
    for (const name of registries) held[name] = (held[name] ?? 0) + 1;
    assert(total <= 5 && (held.narrow ?? 0) <= 2);
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    for (const name of registries) held[name] = (held[name] ?? 0) - 1;
    total--;
    release();
    done++;
  };
  const kinds = [["narrow", "wide"], ["wide"], ["other", "narrow"], ["wide", "other"], ["narrow"]];
  await Promise.all(
    Array.from({ length: 500 }, (_, index) => transfer(kinds[(index * 7) % kinds.length] ?? [], index % 11)),
  );
  assertEquals([done, most, total], [500, 5, 0]);
});

Deno.test("TransferSlots.acquire() takes places at all registries together, whatever their order", async () => {
  const [one, two] = [await gateWithLimit(1), await gateWithLimit(1)];
  const slots = new TransferSlots(10);
  const transfer = async (gates: Gate[]) => {
    const release = await slots.acquire(gates);
    await settle();
    release();
  };
  await Promise.all(
    Array.from({ length: 20 }, (_, index) => transfer(index % 2 === 0 ? [one, two] : [two, one])),
  );
});

Deno.test("TransferSlots.acquire() counts a registry that is source and destination once", async () => {
  const gate = await gateWithLimit(2);
  const slots = new TransferSlots(10);
  const release = await slots.acquire([gate, gate]);
  (await slots.acquire([gate]))();
  release();
});

Deno.test("TransferSlots.acquire() serves one registry in the order of arrival", async () => {
  const gate = await gateWithLimit(1);
  const slots = new TransferSlots(10);
  const release = await slots.acquire([gate]);
  const order: number[] = [];
  const waiting = [0, 1, 2, 3, 4].map((number) =>
    slots.acquire([gate]).then((give) => {
      order.push(number);
      give();
    })
  );
  release();
  await Promise.all(waiting);
  assertEquals(order, [0, 1, 2, 3, 4]);
});

Deno.test("TransferSlots.acquire() lets nobody who waits for a busy registry hold up the others", async () => {
  const [busy, free] = [await gateWithLimit(1), makeGate().gate];
  const slots = new TransferSlots(10);
  const release = await slots.acquire([busy]);
  const waiting = slots.acquire([busy, free]);
  (await slots.acquire([free]))();
  release();
  (await waiting)();
});

Deno.test("TransferSlots.acquire() serves who needs two busy registries among many who need one", async () => {
  const [one, two] = [await gateWithLimit(1), await gateWithLimit(1)];
  const slots = new TransferSlots(10);
  let done = 0;
  const transfer = async (gates: Gate[], turns: number) => {
    const release = await slots.acquire(gates);
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    done++;
    release();
  };
  const singles = Array.from({ length: 100 }, (_, index) => transfer([index % 2 === 0 ? one : two], 7));
  await Promise.all([transfer([one, two], 1), ...singles]);
  assertEquals(done, 101);
});

Deno.test("TransferSlots.acquire() ends with the signal and loses no place", async () => {
  const slots = new TransferSlots(1);
  const { gate } = makeGate();
  const release = await slots.acquire([gate]);
  const controller = new AbortController();
  const aborted = slots.acquire([gate], controller.signal);
  const next = slots.acquire([gate]);
  controller.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  await assertRejects(() => slots.acquire([gate], controller.signal), Error, "enough");
  release();
  release();
  const second = await next;
  let isIn = false;
  const third = slots.acquire([gate]).then((give) => (isIn = true, give));
  await settle();
  assert(!isIn);
  second();
  (await third)();
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
