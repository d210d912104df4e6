/** The memory between runs when it fails or hangs: that costs hints, never a mirror. */

import { assert, assertEquals } from "@std/assert";
import { KvStore } from "../src/deno/kv_store.ts";
import { GuardedStore } from "../src/mirror/store/guarded_store.ts";
import { MemoryStore } from "../src/mirror/store/memory_store.ts";
import type { Store, StoreEntry } from "../src/mirror/store/store.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { buildImage, pushImage } from "./images.ts";
import { assertHolds, DESTINATION, setUpMirror, SOURCE } from "./mirror_setup.ts";

const METHODS = ["get", "set", "delete", "update", "list", "flush", "close"] as const;
type Method = typeof METHODS[number];
/** What a store does in place of one of its methods. */
type Misbehaviour = () => never | Promise<never> | AsyncIterable<StoreEntry>;

const WAYS: Record<string, Misbehaviour> = {
  rejects: () => Promise.reject(new Error("disk on fire")),
  throws: () => {
    throw new Error("disk on fire");
  },
  hangs: () => new Promise<never>(() => {}),
};

/** A store in memory some of whose methods do something else. */
function broken(methods: readonly Method[], misbehave: Misbehaviour): Store {
  const store: Store = new MemoryStore();
  const answer = (method: Method) => method === "list" ? () => listing(misbehave) : misbehave;
  return Object.assign(store, Object.fromEntries(methods.map((method) => [method, answer(method)])));
}

/** A list that misbehaves at its first entry, where it does not at once. */
function listing(misbehave: Misbehaviour): AsyncIterable<StoreEntry> {
  const next = () => misbehave() as Promise<never>;
  return { [Symbol.asyncIterator]: () => ({ next, return: next }) };
}

/** Uses every method; what comes of it. */
async function useAll(store: Store): Promise<unknown[]> {
  await store.set(["a"], 1);
  const results = [await store.get(["a"]), await Array.fromAsync(store.list([]))];
  results.push(await store.update(["a"], 1, 2));
  await store.delete(["a"]);
  await store.flush();
  await store.close();
  return results;
}

for (const [way, misbehave] of Object.entries(WAYS)) {
  for (const method of METHODS) {
    Deno.test(`fault 32: GuardedStore goes on when ${method}() ${way}, and says so once`, async () => {
      const warnings: string[] = [];
      const onWarning = (message: string) => warnings.push(message);
      // Waits of this clock pass at once.
      const store = new GuardedStore(broken([method], misbehave), { onWarning, clock: new FakeClock() });
      assertEquals((await useAll(store)).length, 3);
      assertEquals(warnings.length, 1);
      const why = way === "hangs" ? "it has not answered for 10 s" : "disk on fire";
      assert(warnings[0]?.endsWith(` store: ${why}; what it does not take is forgotten`), warnings[0]);
    });
  }
}

Deno.test("GuardedStore does not ask a store that hangs again until it has rested", async () => {
  let calls = 0;
  const hanging = broken(["get"], () => {
    calls++;
    return new Promise<never>(() => {});
  });
  const clock = new FakeClock();
  const store = new GuardedStore(hanging, { clock });
  for (let call = 0; call < 5; call++) assertEquals(await store.get(["a"]), undefined);
  assertEquals([calls, clock.waits], [1, [10_000]]);
  clock.advance(60_000);
  assertEquals(await store.get(["a"]), undefined);
  assertEquals(calls, 2);
});

Deno.test("GuardedStore takes no timer for a store that answers at once, and leaves none behind", async () => {
  const clock = new FakeClock({ isManual: true });
  assertEquals(await useAll(new GuardedStore(new MemoryStore(), { clock })), [
    1,
    [{ key: ["a"], value: 1 }],
    true,
  ]);
  assertEquals(clock.waits, []);
  const { promise, resolve } = Promise.withResolvers<number>();
  const slow = Object.assign(new MemoryStore(), { get: () => promise });
  const answer = new GuardedStore(slow, { clock }).get(["a"]);
  await settle();
  assertEquals(clock.pending, 1);
  resolve(5);
  assertEquals(await answer, 5);
  assertEquals(clock.pending, 0);
});

const RULE = { [`${SOURCE}/from/image:v1`]: `${DESTINATION}/to/image` };

for (const [way, misbehave] of Object.entries(WAYS)) {
  Deno.test(`fault 32: mirror() copies everything when all of its store ${way}`, async () => {
    const setup = setUpMirror();
    const image = buildImage({ layers: 3 });
    pushImage(setup.source, "from/image", "v1", image);
    const inner = broken(METHODS, misbehave);
    const store = way === "hangs" ? new GuardedStore(inner, { clock: new FakeClock() }) : inner;
    const report = await setup.run(RULE, { store });
    assertEquals(report.totals.copied, 1);
    assertHolds(setup.destination, "to/image", "v1", image);
  });
}

Deno.test("fault 23: mirror() goes on when a Deno KV dies in the middle of the run, and forgets", async () => {
  using kv = await Deno.openKv(":memory:");
  let isDead = false;
  // Deno asks a remote database that is gone again and again, for ever.
  const dying = new Proxy(kv, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property);
      if (typeof value !== "function") return value;
      return (...parts: unknown[]) => {
        if (isDead && property === "list") return listing(() => new Promise<never>(() => {}));
        return isDead ? new Promise(() => {}) : value.apply(target, parts);
      };
    },
  });
  const setup = setUpMirror();
  const image = buildImage({ layers: 3 });
  pushImage(setup.source, "from/image", "v1", image);
  const inner = new KvStore(dying, { kv: dying, deadline: 1 });
  await inner.set(["a"], 1);
  await inner.flush();
  isDead = true;
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  const store = new GuardedStore(inner, { onWarning, clock: new FakeClock() });
  const report = await setup.run(RULE, { store });
  await store.close();
  assertEquals(report.totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v1", image);
  assertEquals(warnings, [
    "Cannot read store: it has not answered for 10 s; what it does not take is forgotten",
  ]);
  await inner.close();
});

Deno.test("KvStore writes what it has missed when its database comes back", async () => {
  using kv = await Deno.openKv(":memory:");
  let isDead = true;
  const away = new Proxy(kv, {
    get: (target, property) => {
      if (property === "atomic" && isDead) throw new Error("connection refused");
      const value: unknown = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const clock = new FakeClock();
  const store = new KvStore(away, { kv: away, now: () => clock.now() });
  for (const key of ["a", "b"]) {
    await store.set([key], key);
    await store.flush();
  }
  isDead = false;
  clock.advance(60_000);
  await store.set(["c"], "c");
  await store.close();
  const other = new KvStore(kv, { kv });
  assertEquals((await Array.fromAsync(other.list([]))).map(({ value }) => value), ["a", "b", "c"]);
});
