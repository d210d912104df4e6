/** Leases: one holder at a time, what the dead leave behind, and databases and clocks that misbehave. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { KvLeases, LeaseLostError } from "../../src/deno/kv_leases.ts";
import { FakeClock } from "../fake_clock.ts";

const LIFETIME = 30_000;
const NAME = ["run"];

/** Runs a test on a database in memory, with clocks of two processes. */
async function withTwo(test: (parts: Parts) => Promise<void>): Promise<void> {
  using kv = await Deno.openKv(":memory:");
  const clocks = [new FakeClock(), new FakeClock()] as const;
  const [one, two] = clocks.map((clock) => new KvLeases(kv, { lifetime: LIFETIME, clock }));
  if (one !== undefined && two !== undefined) await test({ kv, one, two, clocks });
}

interface Parts {
  kv: Deno.Kv;
  one: KvLeases;
  two: KvLeases;
  clocks: readonly [FakeClock, FakeClock];
}

/** A database that does something else where it is told to. */
function withAtomic(kv: Deno.Kv, atomic: () => Deno.AtomicOperation): Deno.Kv {
  return new Proxy(kv, {
    get: (target, property) => {
      if (property === "atomic") return atomic;
      const value: unknown = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function keysOf(kv: Deno.Kv): Promise<Deno.KvKey[]> {
  return (await Array.fromAsync(kv.list({ prefix: [] }))).map(({ key }) => key);
}

Deno.test("take() gives a lease to one, and after its release to another", () =>
  withTwo(async ({ kv, one, two }) => {
    const lease = await one.take(NAME);
    assert(lease !== undefined);
    assertEquals(await two.take(NAME), undefined);
    assertEquals(await one.take(NAME), undefined);
    await lease.release();
    await lease.release();
    assertEquals(await keysOf(kv), []);
    const next = await two.take(NAME);
    assert(next !== undefined);
    await next.release();
  }));

Deno.test("take() gives a lease to exactly one of many who ask at once", () =>
  withTwo(async ({ one, two }) => {
    const leases = await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 ? one : two).take(NAME)));
    const held = leases.filter((lease) => lease !== undefined);
    assertEquals(held.length, 1);
    await held[0]?.release();
  }));

Deno.test("take() takes over what was not renewed for a lifetime, and the old holder learns of it", () =>
  withTwo(async ({ one, two, clocks: [, clock] }) => {
    const lost = await one.take(NAME);
    assertEquals(await two.take(NAME), undefined);
    clock.time += LIFETIME - 1;
    assertEquals(await two.take(NAME), undefined);
    clock.time += 1;
    const lease = await two.take(NAME);
    assert(lease !== undefined && lost !== undefined);
    assertEquals(lost.signal.aborted, false);
    await one.renew();
    assert(lost.signal.reason instanceof LeaseLostError);
    assertEquals(lost.signal.reason.message, 'Cannot keep lease "run": somebody else has it');
    // A lease that is lost is not let go of in the new holder's name.
    await lost.release();
    assertEquals(await one.take(NAME), undefined);
    await lease.release();
  }));

Deno.test("release() leaves a lease to who has taken it over unnoticed", () =>
  withTwo(async ({ one, two, clocks: [, clock] }) => {
    const lost = await one.take(NAME);
    await two.take(NAME);
    clock.time += LIFETIME;
    const lease = await two.take(NAME);
    await lost?.release();
    assertEquals(await one.take(NAME), undefined);
    await lease?.release();
  }));

Deno.test("take() counts the lifetime from the last renewal it has seen", () =>
  withTwo(async ({ one, two, clocks: [, clock] }) => {
    const lease = await one.take(NAME);
    for (let round = 0; round < 5; round++) {
      assertEquals(await two.take(NAME), undefined);
      clock.time += LIFETIME - 1;
      await one.renew();
    }
    assertEquals(lease?.signal.aborted, false);
    await lease?.release();
  }));

Deno.test("take() is not moved by the holder's clock, wherever it jumps", () =>
  withTwo(async ({ one, two, clocks: [clock] }) => {
    const lease = await one.take(NAME);
    clock.time += 365 * 86_400_000;
    assertEquals(await two.take(NAME), undefined);
    clock.time = 0;
    await one.renew();
    assertEquals(await two.take(NAME), undefined);
    assertEquals(lease?.signal.aborted, false);
    await lease?.release();
  }));

Deno.test("takeFromDead() waits a lifetime for who is silent", () =>
  withTwo(async ({ one, two, clocks: [, clock] }) => {
    const dead = await one.take(NAME);
    const start = clock.time;
    const lease = await two.takeFromDead(NAME);
    assert(lease !== undefined);
    assert(clock.time - start >= LIFETIME);
    await one.renew();
    assert(dead?.signal.aborted);
    await lease.release();
  }));

Deno.test("takeFromDead() gives up as soon as the holder shows that it lives", () =>
  withTwo(async ({ kv, one }) => {
    const lease = await one.take(NAME);
    const clock = new FakeClock();
    const waiting = clock.delay.bind(clock);
    clock.delay = async (milliseconds, signal) => {
      await one.renew();
      await waiting(milliseconds, signal);
    };
    const other = new KvLeases(kv, { lifetime: LIFETIME, clock });
    assertEquals(await other.takeFromDead(NAME), undefined);
    assertEquals(clock.waits.length, 1);
    await lease?.release();
  }));

Deno.test("takeFromDead() ends with its signal", () =>
  withTwo(async ({ one, two }) => {
    const lease = await one.take(NAME);
    const reason = new Error("stop");
    await assertRejects(() => two.takeFromDead(NAME, AbortSignal.abort(reason)), Error, "stop");
    await lease?.release();
  }));

Deno.test("renew() keeps a lease whose write the database has lost", () =>
  withTwo(async ({ kv, one, two }) => {
    const lease = await one.take(NAME);
    for (const key of await keysOf(kv)) await kv.delete(key);
    await one.renew();
    assertEquals(lease?.signal.aborted, false);
    assertEquals(await two.take(NAME), undefined);
    await lease?.release();
    assertEquals(await keysOf(kv), []);
  }));

Deno.test("renew() gives a lease up once the database has not answered for a lifetime", async () => {
  using kv = await Deno.openKv(":memory:");
  let isDown = false;
  const broken = withAtomic(kv, () => {
    if (isDown) throw new Error("database or disk is full");
    return kv.atomic();
  });
  const clock = new FakeClock();
  const leases = new KvLeases(broken, { lifetime: LIFETIME, clock });
  const lease = await leases.take(NAME);
  isDown = true;
  clock.time += LIFETIME - 1;
  await leases.renew();
  assertEquals(lease?.signal.aborted, false);
  clock.time += 1;
  await leases.renew();
  assertEquals(lease?.signal.reason.message, 'Cannot keep lease "run": the database does not answer');
  await assertRejects(() => leases.take(["other"]), Error, "database or disk is full");
  // Nothing can be deleted now, and that is no reason to fail.
  await lease?.release();
});

Deno.test("take() and release() are patient with a database that another process has locked", async () => {
  using kv = await Deno.openKv(":memory:");
  let locks = 0;
  const busy = withAtomic(kv, () => {
    if (++locks % 3 !== 0) throw new Error("database is locked");
    return kv.atomic();
  });
  const leases = new KvLeases(busy, { lifetime: LIFETIME, clock: new FakeClock() });
  const lease = await leases.take(NAME);
  assert(lease !== undefined);
  await lease.release();
  assertEquals(await keysOf(kv), []);
  assertEquals(locks, 6);
});

Deno.test("clearDead() removes what the dead have left, and nothing of the living", () =>
  withTwo(async ({ kv, one }) => {
    const dead = new KvLeases(kv, { lifetime: LIFETIME, clock: new FakeClock() });
    const left = await dead.take(["image", "dead"]);
    const lives = await one.take(["image", "alive"]);
    const other = await dead.take(["run"]);
    const clock = new FakeClock();
    const waiting = clock.delay.bind(clock);
    clock.delay = async (milliseconds, signal) => {
      await one.renew();
      await waiting(milliseconds, signal);
    };
    const clearing = new KvLeases(kv, { lifetime: LIFETIME, clock });
    const mine = await clearing.take(["image", "mine"]);
    await clearing.clearDead(["image"]);
    assertEquals((await keysOf(kv)).map((key) => key.at(-1)), ["alive", "mine", "run"]);
    // Ends the timers; what the dead wrote is gone.
    for (const lease of [left, lives, other, mine]) await lease?.release();
    assertEquals(await keysOf(kv), []);
  }));

Deno.test("survey() tells in one read what is free, and when the first of the others may be", () =>
  withTwo(async ({ kv, one, two, clocks: [, clock] }) => {
    let lists = 0;
    const counted = new Proxy(kv, {
      get: (target, property) => {
        if (property === "list") lists++;
        const value: unknown = Reflect.get(target, property);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const dead = await one.take(["image", "dead"]);
    const leases = new KvLeases(counted, { lifetime: LIFETIME, clock });
    assertEquals(await leases.survey(["image"], ["dead", "gone"]), {
      free: new Set(["gone"]),
      wait: LIFETIME,
    });
    clock.time += 20_000;
    const alive = await two.take(["image", "alive"]);
    const names = ["dead", "alive"];
    assertEquals(await leases.survey(["image"], names), { free: new Set(), wait: LIFETIME - 20_000 });
    clock.time += LIFETIME - 20_000;
    await two.renew();
    assertEquals(await leases.survey(["image"], names), { free: new Set(["dead"]), wait: LIFETIME });
    assertEquals(await leases.survey(["image"], []), { free: new Set(), wait: Infinity });
    assertEquals(lists, 4);
    for (const lease of [dead, alive]) await lease?.release();
  }));
