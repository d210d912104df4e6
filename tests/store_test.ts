/** What every store does alike, tried on the one in memory, in a file, and in Deno KV in memory and on disk. */

import { assert, assertEquals } from "@std/assert";
import { openFileStore } from "../src/machine/store/file_store.ts";
import { openSqliteStore } from "../src/machine/store/sqlite_store.ts";
import { openKvStore } from "../src/deno/kv_store.ts";
import { MemoryStore } from "../src/mirror/store/memory_store.ts";
import {
  blobKey,
  challengeKey,
  encodeKey,
  type Store,
  type StoreEntry,
  type StoreKey,
  tagKey,
} from "../src/mirror/store/store.ts";

/** One kind of store, and what the suite needs to know of it. */
interface Kind {
  /** Opens the store; again after `close`, it is the same one when the kind is durable. */
  open(): Promise<Store>;
  /** What is durable, in a form that changes with every write; absent when nothing is. */
  look?(): Promise<string>;
  /** Lets go of everything. */
  remove(): Promise<void>;
}

/** A clock that stands still until it is told. */
interface Clock {
  time: number;
}

function makeMemory(clock: Clock): Promise<Kind> {
  const open = () => Promise.resolve(new MemoryStore({ now: () => clock.time }));
  return Promise.resolve({ open, remove: () => Promise.resolve() });
}

async function makeFile(clock: Clock): Promise<Kind> {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/records`;
  return {
    open: () => openFileStore(path, { now: () => clock.time, onWarning: refuse }),
    look: () => Deno.readTextFile(path),
    remove: () => Deno.remove(directory, { recursive: true }),
  };
}

async function makeKvInMemory(clock: Clock): Promise<Kind> {
  const kv = await Deno.openKv(":memory:");
  return {
    open: () => openKvStore({ kv, now: () => clock.time, onWarning: refuse }),
    look: () => lookAtKv(kv),
    remove: () => Promise.resolve(kv.close()),
  };
}

async function makeKvOnDisk(clock: Clock): Promise<Kind> {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/kv.db`;
  return {
    open: () => openKvStore({ path, now: () => clock.time, onWarning: refuse }),
    look: async () => {
      using kv = await Deno.openKv(path);
      return await lookAtKv(kv);
    },
    remove: () => Deno.remove(directory, { recursive: true }),
  };
}

async function lookAtKv(kv: Deno.Kv): Promise<string> {
  const entries = await Array.fromAsync(kv.list({ prefix: [] }));
  return JSON.stringify(entries.map(({ key, versionstamp }) => [key, versionstamp]));
}

function refuse(message: string): void {
  throw new Error(`Unexpected warning: ${message}`);
}

async function listOf(store: Store, prefix: StoreKey): Promise<StoreEntry[]> {
  const entries = await Array.fromAsync(store.list(prefix));
  return entries.sort((left, right) => left.key.join("\0") < right.key.join("\0") ? -1 : 1);
}

const AWKWARD_KEYS: StoreKey[] = [
  ["a/b", "c"],
  ["a", "b/c"],
  ["a,b", "c"],
  ['"', "\\", "\n"],
  ["naïve", "日本語", "🐳"],
  ["__proto__"],
  ["nul\0nul"],
  [" ", "  "],
];

type Test = (kind: Kind, clock: Clock) => Promise<void>;

const SUITE: Record<string, Test> = {
  "get() knows nothing at first": async (kind) => {
    const store = await kind.open();
    assertEquals(await store.get(["a"]), undefined);
    await store.close();
  },
  "get() sees what set() has set at once": async (kind) => {
    const store = await kind.open();
    const values = [null, false, 0, "", "text", [1, [2]], { a: { b: null }, c: "é" }];
    for (const [index, value] of values.entries()) {
      await store.set(["v", String(index)], value);
      assertEquals(await store.get(["v", String(index)]), value);
    }
    await store.flush();
    for (const [index, value] of values.entries()) {
      assertEquals(await store.get(["v", String(index)]), value);
    }
    await store.close();
  },
  "set() replaces, the last one winning": async (kind) => {
    const store = await kind.open();
    await Promise.all([1, 2, 3].map((value) => store.set(["a"], value)));
    assertEquals(await store.get(["a"]), 3);
    await store.flush();
    await store.set(["a"], 4);
    await store.flush();
    assertEquals(await store.get(["a"]), 4);
    await store.close();
  },
  "set() keeps the value as it was, whatever becomes of the object": async (kind) => {
    const store = await kind.open();
    const value = { list: [1] };
    const key = ["a"];
    await store.set(key, value);
    value.list.push(2);
    key[0] = "b";
    assertEquals(await store.get(["a"]), { list: [1] });
    assertEquals(await listOf(store, []), [{ key: ["a"], value: { list: [1] } }]);
    await store.close();
  },
  "delete() forgets, also what is not there": async (kind) => {
    const store = await kind.open();
    await store.delete(["a"]);
    await store.set(["a"], 1);
    await store.flush();
    await store.delete(["a"]);
    assertEquals(await store.get(["a"]), undefined);
    assertEquals(await listOf(store, []), []);
    await store.flush();
    assertEquals(await store.get(["a"]), undefined);
    await store.close();
  },
  "update() sets what is as expected, and nothing else": async (kind) => {
    const store = await kind.open();
    assertEquals(await store.update(["a"], { n: 0 }, { n: 1 }), false);
    assertEquals(await store.update(["a"], undefined, { n: 1 }), true);
    assertEquals(await store.update(["a"], undefined, { n: 2 }), false);
    assertEquals(await store.get(["a"]), { n: 1 });
    await store.set(["a"], { n: 2 });
    assertEquals(await store.update(["a"], { n: 1 }, { n: 3 }), false);
    assertEquals(await store.update(["a"], await store.get(["a"]), { n: 3 }), true);
    assertEquals(await listOf(store, []), [{ key: ["a"], value: { n: 3 } }]);
    assertEquals(await store.update(["a"], { n: 3 }, undefined), true);
    assertEquals(await listOf(store, []), []);
    await store.close();
  },
  "update() takes what has expired for nothing, and lets its own expire": async (kind, clock) => {
    const store = await kind.open();
    await store.set(["a"], 1, { expiresIn: 1000 });
    clock.time += 1000;
    assertEquals(await store.update(["a"], undefined, 2, { expiresIn: 1000 }), true);
    clock.time += 999;
    assertEquals(await store.get(["a"]), 2);
    clock.time += 1;
    assertEquals(await store.get(["a"]), undefined);
    await store.close();
  },
  "update() lets one of many win": async (kind) => {
    const store = await kind.open();
    const won = await Promise.all([1, 2, 3, 4, 5].map((value) => store.update(["a"], undefined, value)));
    assertEquals(won.filter((one) => one).length, 1);
    assertEquals(won[Number(await store.get(["a"])) - 1], true);
    await store.close();
  },
  "set() takes keys of 2 KiB and values of 64 KiB": async (kind) => {
    const store = await kind.open();
    const key = ["k".repeat(1000), "é".repeat(500)];
    await store.set(key, "v".repeat(64 * 1024 - 100));
    await store.flush();
    assertEquals(await store.get(key), "v".repeat(64 * 1024 - 100));
    assertEquals((await listOf(store, key.slice(0, 1))).length, 1);
    await store.close();
  },
  "set() keeps facts of a kind for its lifetime, and what is set again as long as that": async (
    kind,
    clock,
  ) => {
    const store = await kind.open();
    const day = 24 * 60 * 60 * 1000;
    await store.set(["blob", "r", "a", "d"], { size: 1 });
    clock.time += 25 * day;
    await store.set(["blob", "r", "a", "d"], { size: 1 });
    clock.time += 25 * day;
    assertEquals(await store.get(["blob", "r", "a", "d"]), { size: 1 });
    clock.time += 15 * day;
    assertEquals(await store.get(["blob", "r", "a", "d"]), undefined);
    await store.close();
  },
  "list() gives the keys that start with the parts of a prefix": async (kind) => {
    const store = await kind.open();
    for (const key of [["a"], ["a", "b"], ["a", "b", "c"], ["a", "bc"], ["ab"]]) {
      await store.set(key, key.length);
    }
    const expected = [{ key: ["a", "b"], value: 2 }, { key: ["a", "b", "c"], value: 3 }];
    assertEquals(await listOf(store, ["a", "b"]), expected);
    await store.flush();
    await store.set(["a", "b"], 20);
    assertEquals(await listOf(store, ["a", "b"]), [{ key: ["a", "b"], value: 20 }, {
      key: ["a", "b", "c"],
      value: 3,
    }]);
    assertEquals((await listOf(store, [])).length, 5);
    assertEquals(await listOf(store, ["x"]), []);
    await store.close();
  },
  "list() may be left half way": async (kind) => {
    const store = await kind.open();
    for (const part of ["a", "b", "c"]) await store.set([part], 1);
    await store.flush();
    for await (const _ of store.list([])) break;
    await store.close();
  },
  "set() makes a fact that expires": async (kind, clock) => {
    const store = await kind.open();
    await store.set(["a"], 1, { expiresIn: 1000.5 });
    await store.set(["b"], 1, { expiresIn: 5000 });
    await store.set(["c"], 1, { expiresIn: Infinity });
    await store.flush();
    clock.time += 1000;
    assertEquals((await listOf(store, [])).map(({ key }) => key), [["a"], ["b"], ["c"]]);
    clock.time += 1;
    assertEquals(await store.get(["a"]), undefined);
    assertEquals((await listOf(store, [])).map(({ key }) => key), [["b"], ["c"]]);
    const [b] = await listOf(store, ["b"]);
    assertEquals(b?.expiresAt, clock.time + 5000 - 1001);
    await store.set(["b"], 1);
    assertEquals((await listOf(store, ["b"]))[0], { key: ["b"], value: 1 });
    clock.time += 1e12;
    assertEquals((await listOf(store, [])).map(({ key }) => key), [["b"], ["c"]]);
    await store.close();
  },
  "set() tells awkward keys apart": async (kind) => {
    const store = await kind.open();
    for (const [index, key] of AWKWARD_KEYS.entries()) await store.set(key, index);
    await store.flush();
    for (const [index, key] of AWKWARD_KEYS.entries()) assertEquals(await store.get(key), index);
    assertEquals((await listOf(store, [])).length, AWKWARD_KEYS.length);
    await store.close();
  },
  "set() takes many at once": async (kind) => {
    const store = await kind.open();
    const indexes = Array.from({ length: 3000 }, (_, index) => index);
    await Promise.all(indexes.map((index) => store.set(["n", String(index)], index)));
    assertEquals((await listOf(store, ["n"])).length, 3000);
    await store.flush();
    assertEquals((await listOf(store, ["n"])).length, 3000);
    assertEquals(await store.get(["n", "2999"]), 2999);
    await store.close();
  },
  "flush() and close() may be called when there is nothing to do": async (kind) => {
    const store = await kind.open();
    await store.flush();
    await store.close();
    await store.close();
  },
};

const DURABLE_SUITE: Record<string, Test> = {
  "close() leaves what was set to the next one": async (kind, clock) => {
    const store = await kind.open();
    for (const [index, key] of AWKWARD_KEYS.entries()) await store.set(key, { index, text: "日本\n" });
    await store.set(["gone"], 1);
    await store.delete(["gone"]);
    await store.set(["expired"], 1, { expiresIn: 10_000 });
    await store.set(["kept"], 1, { expiresIn: 30_000 });
    await store.close();
    clock.time += 20_000;
    const again = await kind.open();
    for (const [index, key] of AWKWARD_KEYS.entries()) {
      assertEquals(await again.get(key), { index, text: "日本\n" });
    }
    assertEquals(await again.get(["gone"]), undefined);
    assertEquals(await again.get(["expired"]), undefined);
    assertEquals(await again.get(["kept"]), 1);
    clock.time += 10_000;
    assertEquals(await again.get(["kept"]), undefined);
    await again.close();
  },
  "flush() makes what was set durable": async (kind) => {
    const store = await kind.open();
    await store.set(["a"], 1);
    await store.flush();
    const other = await kind.open();
    assertEquals(await other.get(["a"]), 1);
    await other.close();
    await store.close();
  },
  "update() lets one of two win that have the store open": async (kind) => {
    const [one, two] = [await kind.open(), await kind.open()];
    for (let round = 0; round < 10; round++) {
      const before = await one.get(["a"]);
      const mine = await Promise.all([
        one.update(["a"], before, round),
        two.update(["a"], before, round + 100),
      ]);
      assertEquals(mine.filter((isMine) => isMine).length, 1, `round ${round}`);
      const winner = mine[0] ? one : two;
      assertEquals(await winner.get(["a"]), mine[0] ? round : round + 100);
      // Who has lost learns what is there by trying.
      assertEquals(await (mine[0] ? two : one).update(["a"], "other", 0), false);
      assertEquals(await one.get(["a"]), await two.get(["a"]));
    }
    await one.close();
    await two.close();
  },
  "delete() is seen by the next one": async (kind) => {
    const store = await kind.open();
    await store.set(["a"], 1);
    await store.close();
    const again = await kind.open();
    await again.delete(["a"]);
    await again.close();
    const last = await kind.open();
    assertEquals(await listOf(last, []), []);
    await last.close();
  },
  "set() of what is there already writes nothing": async (kind) => {
    const store = await kind.open();
    await store.set(["a"], { size: 1 });
    await store.set(["b"], 1, { expiresIn: 1000 });
    await store.close();
    const before = await kind.look?.();
    const again = await kind.open();
    await again.set(["a"], { size: 1 });
    await again.set(["b"], 1, { expiresIn: 1000 });
    await again.delete(["c"]);
    await again.close();
    assertEquals(await kind.look?.(), before);
    const last = await kind.open();
    await last.set(["b"], 1, { expiresIn: 1001 });
    await last.close();
    assert(await kind.look?.() !== before);
  },
};

async function makeSqlite(clock: Clock): Promise<Kind> {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/records.db`;
  return {
    open: () => openSqliteStore(path, { now: () => clock.time, onWarning: refuse }),
    look: async () => String(await Deno.readFile(path)),
    remove: () => Deno.remove(directory, { recursive: true }),
  };
}

const KINDS = {
  MemoryStore: makeMemory,
  FileStore: makeFile,
  SqliteStore: makeSqlite,
  "KvStore (memory)": makeKvInMemory,
  "KvStore (disk)": makeKvOnDisk,
};

for (const [name, makeKind] of Object.entries(KINDS)) {
  const suite = name === "MemoryStore" ? SUITE : { ...SUITE, ...DURABLE_SUITE };
  for (const [title, test] of Object.entries(suite)) {
    Deno.test(`${name} ${title}`, async () => {
      const clock = { time: 1_700_000_000_000 };
      const kind = await makeKind(clock);
      try {
        await test(kind, clock);
      } finally {
        await kind.remove();
      }
    });
  }
}

Deno.test("encodeKey() is different for different keys", () => {
  assertEquals(new Set(AWKWARD_KEYS.map(encodeKey)).size, AWKWARD_KEYS.length);
});

Deno.test("blobKey(), tagKey() and challengeKey() never meet", () => {
  const keys = [blobKey("r", "a", "b"), tagKey("r", "a", "b"), challengeKey("r")];
  assertEquals(keys, [["blob", "r", "a", "b"], ["tag", "r", "a", "b"], ["challenge", "r"]]);
});
