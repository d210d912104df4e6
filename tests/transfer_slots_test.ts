/** Tests of places for blobs: never more than the maximum, none for who is overloaded, and a fair part for everyone. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Gate } from "../src/registry/gate.ts";
import { type TransferParties, TransferSlots } from "../src/registry/transfer_slots.ts";
import { FakeClock, settle } from "./fake_clock.ts";

function makeGate(): { gate: Gate; clock: FakeClock } {
  const clock = new FakeClock({ isManual: true });
  return { gate: new Gate(clock), clock };
}

/** A gate whose limit was lowered to a number. */
async function gateWithLimit(limit: number): Promise<Gate> {
  const { gate, clock } = makeGate();
  while (gate.limit > limit) {
    clock.advance(1);
    (await gate.enter())("overloaded");
  }
  assertEquals(gate.limit, limit);
  return gate;
}

/** The first is the source, the others are destinations. */
function partiesOf([source = makeGate().gate, ...destinations]: readonly Gate[]): TransferParties {
  return { source, destinations };
}

Deno.test("TransferSlots.acquire() never gives out more than the maximum, nor more than a registry's limit", async () => {
  const [narrow, wide, other] = [await gateWithLimit(2), makeGate().gate, makeGate().gate];
  const slots = new TransferSlots(5);
  const held: Record<string, number> = { narrow: 0, wide: 0, other: 0 };
  let [total, most, done] = [0, 0, 0];
  const gates: Record<string, Gate> = { narrow, wide, other };
  const transfer = async (registries: string[], turns: number) => {
    const release = await slots.acquire(partiesOf(registries.flatMap((name) => gates[name] ?? [])));
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
    const release = await slots.acquire(partiesOf(gates));
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
  const release = await slots.acquire(partiesOf([gate, gate]));
  (await slots.acquire(partiesOf([gate])))();
  release();
});

Deno.test("TransferSlots.acquire() serves one registry in the order of arrival", async () => {
  const gate = await gateWithLimit(1);
  const slots = new TransferSlots(10);
  const release = await slots.acquire(partiesOf([gate]));
  const order: number[] = [];
  const waiting = [0, 1, 2, 3, 4].map((number) =>
    slots.acquire(partiesOf([gate])).then((give) => {
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
  const release = await slots.acquire(partiesOf([busy]));
  const waiting = slots.acquire(partiesOf([busy, free]));
  (await slots.acquire(partiesOf([free])))();
  release();
  (await waiting)();
});

Deno.test("TransferSlots.acquire() serves who needs two busy registries among many who need one", async () => {
  const [one, two] = [await gateWithLimit(1), await gateWithLimit(1)];
  const slots = new TransferSlots(10);
  let done = 0;
  const transfer = async (gates: Gate[], turns: number) => {
    const release = await slots.acquire(partiesOf(gates));
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
  const release = await slots.acquire(partiesOf([gate]));
  const controller = new AbortController();
  const aborted = slots.acquire(partiesOf([gate]), controller.signal);
  const next = slots.acquire(partiesOf([gate]));
  controller.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  await assertRejects(() => slots.acquire(partiesOf([gate]), controller.signal), Error, "enough");
  release();
  release();
  const second = await next;
  let isIn = false;
  const third = slots.acquire(partiesOf([gate])).then((give) => (isIn = true, give));
  await settle();
  assert(!isIn);
  second();
  (await third)();
});

/** Blobs of one source, each of which takes so many milliseconds. */
interface Load {
  source: Gate;
  destination: Gate;
  blobs: number;
  time: number;
}

/** What a load holds and waits for at a moment. */
interface Standing {
  held: number;
  waiting: number;
}

/** Runs loads over places on a clock of its own, all images announced at the start, in the order of the list. */
class Simulation {
  readonly ends: number[];
  readonly standings: Standing[];
  readonly #maximum: number;
  readonly #loads: readonly Load[];

  constructor(maximum: number, loads: readonly Load[]) {
    this.#maximum = maximum;
    this.#loads = loads;
    this.ends = loads.map(() => -1);
    this.standings = loads.map(({ blobs }) => ({ held: 0, waiting: blobs }));
  }

  /** Runs to the end; `look` is called whenever all stands still. */
  async run(look: (standings: readonly Standing[]) => void = () => {}): Promise<number[]> {
    const clock = new FakeClock({ isManual: true });
    const slots = new TransferSlots(this.#maximum);
    const start = clock.now();
    const announced = this.#loads.map(({ source, destination, blobs }) =>
      Array.from({ length: blobs }, () => slots.announce({ source, destinations: [destination] }))
    );
    const work = this.#loads.map(async ({ source, destination, time }, index) => {
      const standing = this.standings[index] ?? { held: 0, waiting: 0 };
      await Promise.all((announced[index] ?? []).map(async (isOver) => {
        const release = await slots.acquire({ source, destinations: [destination] });
        standing.held++;
        standing.waiting--;
        await clock.delay(time);
        standing.held--;
        release();
        isOver();
      }));
      this.ends[index] = clock.now() - start;
    });
    while (this.ends.includes(-1)) {
      await settle();
      look(this.standings.map((one) => ({ ...one })));
      clock.advance(1);
    }
    await Promise.all(work);
    return this.ends;
  }
}

function runLoads(maximum: number, loads: readonly Load[]): Promise<number[]> {
  return new Simulation(maximum, loads).run();
}

const gate = () => makeGate().gate;

Deno.test("fault 20: a slow source that comes first leaves a fast one its part", async () => {
  const destination = gate();
  const fast = { source: gate(), destination, blobs: 40, time: 10 };
  const slow = { source: gate(), destination, blobs: 10, time: 2000 };
  const [alone = 0] = await runLoads(5, [fast]);
  const [, beside = 0] = await runLoads(5, [slow, fast]);
  assert(beside <= 2.5 * alone, `${beside} beside a slow one, ${alone} alone`);
});

Deno.test("fault 20: a slow destination that comes first leaves a fast one its part", async () => {
  const source = gate();
  const fast = { source, destination: gate(), blobs: 40, time: 10 };
  const slow = { source, destination: gate(), blobs: 10, time: 2000 };
  const [alone = 0] = await runLoads(5, [fast]);
  const [, beside = 0] = await runLoads(5, [slow, fast]);
  assert(beside <= 2.5 * alone, `${beside} beside a slow one, ${alone} alone`);
});

Deno.test("fault 20: one source alone has all places", async () => {
  const [end] = await runLoads(5, [{ source: gate(), destination: gate(), blobs: 50, time: 10 }]);
  assertEquals(end, 100);
});

Deno.test("fault 20: a source with little to do keeps no places that another could use", async () => {
  const destination = gate();
  const long = { source: gate(), destination, blobs: 1, time: 1000 };
  const many = { source: gate(), destination, blobs: 90, time: 10 };
  const [, end = 0] = await runLoads(10, [long, many]);
  assert(end <= 110, `${end}`);
});

Deno.test("fault 20: places are shared max-min between sources, whatever their speed and order", async () => {
  const random = dice(7);
  for (let round = 0; round < 30; round++) {
    const maximum = 2 + Math.floor(random() * 8);
    const destination = gate();
    const loads = Array.from({ length: 2 + Math.floor(random() * 4) }, () => ({
      source: gate(),
      destination,
      blobs: 1 + Math.floor(random() * 30),
      time: 1 + Math.floor(random() ** 3 * 60),
    }));
    let before: readonly Standing[] | undefined;
    await new Simulation(maximum, loads).run((now) => {
      const total = now.reduce((sum, { held }) => sum + held, 0);
      assert(total <= maximum, `${total} of ${maximum}`);
      const isWanted = now.some(({ waiting }) => waiting > 0);
      assert(!isWanted || total >= Math.ceil(maximum / 2), `${total} of ${maximum} in use while some wait`);
      for (const [index, { held }] of now.entries()) {
        // At the start those that ask first cannot know who else does.
        if (before === undefined || held <= (before[index]?.held ?? 0)) continue;
        // Nobody gains a place while somebody waits who has two fewer.
        for (const [other, { held: fewer, waiting }] of now.entries()) {
          if (other === index || waiting === 0) continue;
          assert(fewer >= held - 1, `round ${round}: ${JSON.stringify([before, now])}`);
        }
      }
      before = now;
    });
  }
});

/** Numbers from 0 to 1 that are the same in every run. */
function dice(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
