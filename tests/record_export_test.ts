/** Records from one store to another: whole, in a form that says what it is. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { openKvLocation } from "../src/deno/kv_location.ts";
import { moveRecords, type MoveRecordsOptions } from "../src/machine/doors/commands/records.ts";
import { exportRecords, importRecords, RecordsError } from "../src/machine/store/record_export.ts";
import { openStore } from "../src/machine/store/store_location.ts";
import { MemoryStore } from "../src/mirror/store/memory_store.ts";
import { blobKey, type StoreEntry } from "../src/mirror/store/store.ts";
import { inDirectory } from "./store_files.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

async function* each(lines: Iterable<string>): AsyncGenerator<string> {
  for (const line of lines) yield await Promise.resolve(line);
}

/** The entries of a store, in one order. */
async function entriesOf(location: string): Promise<StoreEntry[]> {
  const { store, close } = await openStore(location, { openKv: openKvLocation });
  const entries = await Array.fromAsync(store.list([]));
  await close();
  return entries.sort((left, right) => left.key.join() < right.key.join() ? -1 : 1);
}

function move(action: "export" | "import", options: Omit<MoveRecordsOptions, "action" | "openKv">) {
  return moveRecords({ action, openKv: openKvLocation, ...options });
}

Deno.test("moveRecords() carries everything from each kind of store to the next, expiry included", () =>
  inDirectory(async (directory) => {
    const places = ["file:records", "sqlite:records.db", "kv:kv.db", "file:again"]
      .map((place) => place.replace(":", `:${directory}/`));
    const first = await openStore(places[0] ?? "");
    await first.store.set(blobKey("r.test", "a/b", DIGEST), { size: 1 });
    await first.store.set(["status", "live"], ["é", null, { n: 1.5 }], { expiresIn: 600_000 });
    await first.store.set(["status", "runs"], []);
    await first.close();
    const expected = await entriesOf(places[0] ?? "");
    assertEquals(expected.map(({ expiresAt }) => expiresAt !== undefined), [true, true, false]);
    for (const [index, place] of places.slice(1).entries()) {
      const before = places[index] ?? "";
      const file = `${directory}/lines-${index}`;
      assertEquals(await move("export", { store: before, file }), `3 records of ${before}`);
      if (Deno.build.os !== "windows") assertEquals(((await Deno.stat(file)).mode ?? 0) & 0o777, 0o600);
      assertEquals(await move("import", { store: place, file }), `3 records taken into ${place}`);
      const found = await entriesOf(place);
      assertEquals(
        found.map(({ key, value }) => ({ key, value })),
        expected.map(({ key, value }) => ({ key, value })),
      );
      for (const [at, { expiresAt }] of found.entries()) {
        const apart = (expiresAt ?? 0) - (expected[at]?.expiresAt ?? 0);
        assert(Math.abs(apart) < 5000, `${apart} ms`);
      }
    }
  }));

Deno.test("importRecords() leaves out what has expired, and sets the rest over what is there", async () => {
  let time = 1000;
  const from = new MemoryStore({ now: () => time });
  await from.set(["short"], 1, { expiresIn: 10 });
  await from.set(["long"], 2, { expiresIn: 1000 });
  const lines = (await Array.fromAsync(exportRecords(from))).map((line) => line.trimEnd());
  time += 10;
  const to = new MemoryStore({ now: () => time });
  await to.set(["long"], 0);
  await to.set(["other"], 3);
  assertEquals(await importRecords(to, each(lines), { now: () => time }), 1);
  assertEquals(await Array.fromAsync(to.list([])), [
    { key: ["long"], value: 2, expiresAt: 2000 },
    { key: ["other"], value: 3 },
  ]);
});

/** What is no export, and what is said of it. */
const WRONG: Record<string, [lines: string[], why: string]> = {
  nothing: [[], "there are none"],
  "a later form": [
    ['{"imageSyncerRecords":2}'],
    "they are of form 2, and this program reads form 1; use a newer one",
  ],
  "the file of a store": [
    ['{"k":["a"],"v":1}'],
    "this is the file of a store itself, to be used as --store file:PATH",
  ],
  "a database": [["SQLite format 3\0\x10"], "this is a database itself"],
  "records of image-syncer 1.0.3": [
    [`quay.io,${DIGEST},5`],
    "these are of image-syncer 1.0.3, and name no repository",
  ],
  "something else": [["<!DOCTYPE html>"], "they do not begin as records do"],
  "a file that is cut off": [
    ['{"imageSyncerRecords":1}', '{"k":["a"],"v":1}'],
    "they are cut off after line 2; what came before was taken in",
  ],
  "a file that lacks a line": [
    ['{"imageSyncerRecords":1}', '{"k":["a"],"v":1}', '{"count":2}'],
    "they are cut off after line 3",
  ],
  "a damaged line": [['{"imageSyncerRecords":1}', '{"k":["a"],"v'], "line 2 is no record"],
  "two files in one": [
    ['{"imageSyncerRecords":1}', '{"count":0}', '{"count":0}'],
    "line 3 comes after the end",
  ],
};

for (const [title, [lines, why]] of Object.entries(WRONG)) {
  Deno.test(`importRecords() says what is wrong with ${title}`, async () => {
    const error = await assertRejects(() => importRecords(new MemoryStore(), each(lines)), RecordsError);
    assert(error.message.startsWith(`Cannot import records: ${why}`), error.message);
  });
}

Deno.test("moveRecords() says what is in the way of a file or a store", () =>
  inDirectory(async (directory) => {
    const store = `file:${directory}/records`;
    for (const action of ["export", "import"] as const) {
      const file = `${directory}/none/lines`;
      const error = await assertRejects(() => move(action, { store, file }), RecordsError);
      assert(error.message.startsWith(`Cannot ${action} records: `), error.message);
      assert(error.message.includes(file), error.message);
    }
    const error = await assertRejects(
      () => move("export", { store: `file:${directory}`, file: `${directory}/lines` }),
      RecordsError,
    );
    assert(
      error.message.startsWith(`Cannot export records: Cannot write store "${directory}": `),
      error.message,
    );
  }));
