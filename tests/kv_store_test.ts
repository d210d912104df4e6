/** The store in Deno KV: what is stored and how, the limits of the database, and databases that fail. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { KvStoreError, openKvStore } from "../src/deno/kv_store.ts";

/** Runs a test on a database in memory. */
async function withKv(test: (kv: Deno.Kv) => Promise<void>): Promise<void> {
  using kv = await Deno.openKv(":memory:");
  await test(kv);
}

/** A database of which one method is another. */
function withMethod(kv: Deno.Kv, name: string, method: () => unknown): Deno.Kv {
  return new Proxy(kv, {
    get: (target, property) => {
      if (property === name) return method;
      const value: unknown = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Everything in a database: keys and the texts stored there. */
async function textsOf(kv: Deno.Kv): Promise<[Deno.KvKey, string][]> {
  const entries = await Array.fromAsync(kv.list<Uint8Array>({ prefix: [] }));
  return entries.map(({ key, value }) => [key, new TextDecoder().decode(value)]);
}

Deno.test("openKvStore() stores JSON bytes below its prefix, the expiry beside the value", () =>
  withKv(async (kv) => {
    const store = await openKvStore({ kv, now: () => 5000 });
    await store.set(["a", "é"], { size: 1 });
    await store.set(["b"], "日", { expiresIn: 60_000 });
    await store.close();
    const other = await openKvStore({ kv, prefix: ["my", "mirror"] });
    await other.set(["a"], 1);
    await other.close();
    assertEquals(await textsOf(kv), [
      [["image-syncer", "a", "é"], '{"v":{"size":1}}'],
      [["image-syncer", "b"], '{"v":"日","e":65000}'],
      [["my", "mirror", "a"], '{"v":1}'],
    ]);
    assertEquals(await Array.fromAsync(other.list([])), [{ key: ["a"], value: 1 }]);
  }));

Deno.test("openKvStore() works without a prefix", () =>
  withKv(async (kv) => {
    const store = await openKvStore({ kv, prefix: [] });
    await store.set(["a"], 1);
    await store.flush();
    assertEquals(await textsOf(kv), [[["a"], '{"v":1}']]);
    assertEquals(await Array.fromAsync(store.list([])), [{ key: ["a"], value: 1 }]);
    await store.close();
  }));

Deno.test("openKvStore() passes over what is no fact", () =>
  withKv(async (kv) => {
    const foreign = [
      "text",
      1,
      new Uint8Array(),
      new TextEncoder().encode("{}"),
      new TextEncoder().encode("null"),
    ];
    for (const [index, value] of foreign.entries()) await kv.set(["image-syncer", "x", String(index)], value);
    await kv.set(["image-syncer", "x", 7], new TextEncoder().encode('{"v":1}'));
    const store = await openKvStore({ kv });
    assertEquals(await Array.fromAsync(store.list([])), []);
    assertEquals(await store.get(["x", "0"]), undefined);
    await store.set(["x", "0"], 1);
    await store.flush();
    assertEquals(await store.get(["x", "0"]), 1);
    await store.close();
  }));

Deno.test("set() keeps what is too large for this run, and forgets what was stored before", () =>
  withKv(async (kv) => {
    const warnings: string[] = [];
    const store = await openKvStore({ kv, onWarning: (message) => warnings.push(message) });
    const room = 64 * 1024 - '{"v":""}'.length;
    await store.set(["fits"], "x".repeat(room));
    await store.set(["large"], "small");
    await store.flush();
    await store.set(["large"], "x".repeat(room + 1));
    const longest = "é".repeat((2048 - "image-syncer".length - 4) / 2);
    await store.set([longest], 1);
    for (const key of [longest + "x", "\0".repeat(1020), "\ud800"]) {
      await store.set([key], key.length);
      await store.flush();
      assertEquals(await store.get([key]), key.length);
      assertEquals(await Array.fromAsync(store.list([key])), [{ key: [key], value: key.length }]);
    }
    assertEquals(await store.get(["large"]), "x".repeat(room + 1));
    await store.delete([longest + "x"]);
    assertEquals(await store.get([longest + "xy"]), undefined);
    await store.close();
    assertEquals(warnings, []);
    assertEquals((await textsOf(kv)).map(([key]) => key[1]), ["fits", longest]);
    const again = await openKvStore({ kv });
    assertEquals(await again.get(["fits"]), "x".repeat(room));
    assertEquals(await again.get([longest + "x"]), undefined);
    await again.close();
  }));

Deno.test("set() stays below the limits of one atomic operation", () =>
  withKv(async (kv) => {
    const warnings: string[] = [];
    const store = await openKvStore({ kv, onWarning: (message) => warnings.push(message) });
    for (let index = 0; index < 100; index++) await store.set([String(index).padEnd(2000, "k")], index);
    for (let index = 0; index < 40; index++) await store.set(["value", String(index)], "v".repeat(60_000));
    for (let index = 0; index < 2500; index++) await store.set(["many", String(index)], index);
    await store.close();
    assertEquals(warnings, []);
    assertEquals((await textsOf(kv)).length, 2640);
  }));

Deno.test("set() writes many facts with few operations", () =>
  withKv(async (kv) => {
    let operations = 0;
    const counting = withMethod(kv, "atomic", () => {
      operations++;
      return kv.atomic();
    });
    const store = await openKvStore({ kv: counting });
    for (let index = 0; index < 2000; index++) await store.set(["many", String(index)], index);
    for (let index = 0; index < 2000; index++) await store.set(["many", "0"], index);
    await store.close();
    assert(operations <= 6, `${operations} operations`);
    const again = await openKvStore({ kv });
    assertEquals(await again.get(["many", "0"]), 1999);
    await again.close();
  }));

Deno.test("get() and list() see what is set while a batch is being written", () =>
  withKv(async (kv) => {
    const { promise: isCommitting, resolve: tell } = Promise.withResolvers<void>();
    const { promise: mayCommit, resolve: allow } = Promise.withResolvers<void>();
    const commitWhenAllowed = async (operation: Deno.AtomicOperation) => {
      tell();
      await mayCommit;
      return await operation.commit();
    };
    const slow = withMethod(kv, "atomic", () => ({
      set: (key: string[], value: unknown) => {
        const operation = kv.atomic().set(key, value);
        return { commit: () => commitWhenAllowed(operation) };
      },
    }));
    const store = await openKvStore({ kv: slow });
    await store.set(["a"], 1);
    await isCommitting;
    assertEquals(await store.get(["a"]), 1);
    await store.set(["a"], 2);
    allow();
    await store.flush();
    assertEquals(await store.get(["a"]), 2);
    assertEquals(await Array.fromAsync(store.list(["a"])), [{ key: ["a"], value: 2 }]);
    assertEquals(await textsOf(kv), [[["image-syncer", "a"], '{"v":2}']]);
    await store.close();
  }));

Deno.test("set() warns once when the database does not take it, and goes on in memory", () =>
  withKv(async (kv) => {
    await kv.set(["image-syncer", "old"], new TextEncoder().encode('{"v":0}'));
    const warnings: string[] = [];
    let attempts = 0;
    const broken = withMethod(kv, "atomic", () => {
      attempts++;
      throw new Error("database or disk is full");
    });
    const store = await openKvStore({ kv: broken, onWarning: (message) => warnings.push(message) });
    for (const value of [1, 2]) {
      await store.set(["a"], value);
      await store.flush();
      assertEquals(await store.get(["a"]), value);
    }
    await store.delete(["old"]);
    await store.flush();
    assertEquals(await store.get(["old"]), undefined);
    assertEquals(await Array.fromAsync(store.list([])), [{ key: ["a"], value: 2 }]);
    await store.close();
    assertEquals(attempts, 1);
    assertEquals(warnings, [
      "Cannot write Deno KV store: database or disk is full; new facts last for this run only",
    ]);
  }));

Deno.test("get() and list() warn once when the database does not answer, and know nothing", async () => {
  const kv = await Deno.openKv(":memory:");
  const warnings: string[] = [];
  const store = await openKvStore({ kv, onWarning: (message) => warnings.push(message) });
  kv.close();
  assertEquals(await store.get(["a"]), undefined);
  assertEquals(await Array.fromAsync(store.list([])), []);
  await store.set(["a"], 1);
  await store.flush();
  assertEquals(await store.get(["a"]), 1);
  assertEquals(await Array.fromAsync(store.list([])), [{ key: ["a"], value: 1 }]);
  await store.close();
  assertEquals(warnings.length, 1);
});

Deno.test("close() leaves a database open that it was given", () =>
  withKv(async (kv) => {
    const store = await openKvStore({ kv });
    await store.close();
    await kv.set(["a"], 1);
    assertEquals((await kv.get(["a"])).value, 1);
  }));

Deno.test("openKvStore() says how to turn Deno KV on", async () => {
  // A process of its own, because Deno KV is on in this one.
  const room = new URL("../src/deno/kv_store.ts", import.meta.url);
  const names = ["deadline", "retry"].map((name) => [
    `@std/async/${name}`,
    new URL(`../src/std/async/${name}.ts`, import.meta.url).href,
  ]);
  const imports = Object.fromEntries(names);
  const map = `data:application/json,${encodeURIComponent(JSON.stringify({ imports }))}`;
  const code =
    `import { openKvStore } from "${room}"; await openKvStore({ path: ":memory:" }).catch(console.log);`;
  const args = ["eval", "--no-config", "--no-lock", "--import-map", map, code];
  const command = new Deno.Command(Deno.execPath(), { args });
  const said = new TextDecoder().decode((await command.output()).stdout);
  const advice = 'Deno KV is off; run with --unstable-kv or put "unstable": ["kv"] into deno.json';
  assert(said.startsWith(`KvStoreError: Cannot open Deno KV store ":memory:": ${advice}\n`), said);
});

Deno.test("openKvStore() names the database that cannot be opened", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/missing/kv.db`;
    const error = await assertRejects(
      () => openKvStore({ path }),
      KvStoreError,
      `Cannot open Deno KV store "${path}": `,
    );
    assert(error.cause instanceof Error);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
