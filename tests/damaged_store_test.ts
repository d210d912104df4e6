/** Databases on disk that are damaged, missing, or used by several processes at once. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { openKv } from "../src/deno/kv_store.ts";
import { SqliteStoreError } from "../src/machine/store/sqlite_database.ts";
import { openSqliteStore } from "../src/machine/store/sqlite_store.ts";
import type { Store } from "../src/mirror/store/store.ts";
import { inDirectory } from "./store_files.ts";

const DELETABLE = "it may be deleted, for it holds nothing but what saves requests";

/** How each kind of database is opened and filled. */
const KINDS: Record<string, { open: (path: string) => Promise<{ close(): unknown }>; name: string }> = {
  "a SQLite store": { open: openSqliteStore, name: "store" },
  "a Deno KV": { open: openKv, name: "Deno KV store" },
};

async function fill(kind: string, path: string): Promise<void> {
  if (kind === "a Deno KV") {
    using kv = await Deno.openKv(path);
    for (let index = 0; index < 300; index++) await kv.set(["key", index], "v".repeat(500));
    return;
  }
  const store = await openSqliteStore(path);
  for (let index = 0; index < 300; index++) await store.set(["key", String(index)], "v".repeat(500));
  await store.close();
}

/** What may become of a file. */
const DAMAGES: Record<string, (bytes: Uint8Array) => Uint8Array> = {
  "is no database": () => new TextEncoder().encode("somebody's notes\n".repeat(100)),
  "has lost its first page": (bytes) => bytes.fill(0x55, 0, 4096),
  "has a page of noise in the middle": (bytes) => bytes.fill(0xaa, 8192, 12_288),
  "was cut off": (bytes) => bytes.slice(0, 20_000),
  "has lost all but its header": (bytes) => bytes.fill(0xff, 100),
};

for (const [kind, { open, name }] of Object.entries(KINDS)) {
  for (const [damage, spoil] of Object.entries(DAMAGES)) {
    Deno.test(`fault 35: ${kind} whose file ${damage} is refused in a sentence that says it may be deleted`, () =>
      inDirectory(async (directory) => {
        const path = `${directory}/damaged.db`;
        await fill(kind, path);
        await Deno.writeFile(path, spoil(await Deno.readFile(path)));
        for (const ending of ["-wal", "-shm"]) await Deno.remove(path + ending).catch(() => {});
        const error = await assertRejects(() => open(path), SqliteStoreError, `Cannot open ${name} "`);
        assert(error.message.endsWith(DELETABLE), error.message);
        assert(error.message.includes(path), error.message);
      }));
  }

  Deno.test(`${kind} is opened when it is whole, empty, or not there`, () =>
    inDirectory(async (directory) => {
      await fill(kind, `${directory}/whole.db`);
      await Deno.writeFile(`${directory}/empty.db`, new Uint8Array());
      for (const name of ["whole", "empty", "new"]) await (await open(`${directory}/${name}.db`)).close();
    }));
}

Deno.test("openSqliteStore() makes a file for its owner only, with the folders above it", {
  ignore: Deno.build.os === "windows",
}, () =>
  inDirectory(async (directory) => {
    const path = `${directory}/deep/er/records.db`;
    const store = await openSqliteStore(path);
    await store.set(["a"], 1);
    await store.flush();
    for (const ending of ["", "-wal", "-shm"]) {
      assertEquals(((await Deno.stat(path + ending)).mode ?? 0) & 0o777, 0o600, ending);
    }
    await store.close();
  }));

Deno.test("openSqliteStore() says what is in the way", () =>
  inDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/file`, "x");
    const error = await assertRejects(
      () => openSqliteStore(`${directory}/file/records.db`),
      SqliteStoreError,
    );
    assert(
      error.message.startsWith(`Cannot open store "sqlite:${directory}/file/records.db": `),
      error.message,
    );
  }));

Deno.test("openSqliteStore() opens a file twice, and both write side by side", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records.db`;
    const [one, two] = [await openSqliteStore(path), await openSqliteStore(path)];
    await Promise.all(Array.from({ length: 500 }, (_, index) => write(index % 2 ? one : two, index)));
    await Promise.all([one.flush(), two.flush()]);
    assertEquals((await Array.fromAsync(one.list([]))).length, 500);
    assertEquals((await Array.fromAsync(two.list([]))).length, 500);
    await Promise.all([one.close(), two.close()]);
  }));

async function write(store: Store, index: number): Promise<void> {
  await store.set(["n", String(index)], index);
  if (index % 7 === 0) await store.flush();
}

/** Adds to one number again and again, in a process of its own. */
const COUNTER = `
const [open, path, times] = Deno.args;
const store = open === "file"
  ? await (await import(${
  JSON.stringify(import.meta.resolve("../src/machine/store/file_store.ts"))
})).openFileStore(path)
  : await (await import(${
  JSON.stringify(import.meta.resolve("../src/machine/store/sqlite_store.ts"))
})).openSqliteStore(path);
let before = await store.get(["count"]);
for (let done = 0; done < Number(times);) {
  if (await store.update(["count"], before, (before ?? 0) + 1)) done++;
  before = await store.get(["count"]);
}
await store.close();
`;

for (const kind of ["file", "sqlite"]) {
  Deno.test(`update() of a ${kind} store counts right among three processes`, () =>
    inDirectory(async (directory) => {
      const script = `${directory}/count.ts`;
      await Deno.writeTextFile(script, COUNTER);
      const path = `${directory}/records`;
      const args = [
        "run",
        "-A",
        "--no-config",
        "--no-lock",
        "--quiet",
        "--no-check",
        script,
        kind,
        path,
        "60",
      ];
      const children = [1, 2, 3].map(() => new Deno.Command(Deno.execPath(), { args }).output());
      for (const { success, stderr } of await Promise.all(children)) {
        assert(success, new TextDecoder().decode(stderr));
      }
      const store = kind === "file"
        ? await (await import("../src/machine/store/file_store.ts")).openFileStore(path)
        : await openSqliteStore(path);
      assertEquals(await store.get(["count"]), 180);
      await store.close();
    }));
}
