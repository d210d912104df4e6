/** A store after a year of hourly runs: what is kept must not grow for ever. */

import { assert, assertEquals } from "@std/assert";
import { openFileStore } from "../src/machine/store/file_store.ts";
import { openSqliteStore } from "../src/machine/store/sqlite_store.ts";
import { blobKey, filteredKey, type Store, tagKey } from "../src/mirror/store/store.ts";
import { inDirectory } from "./store_files.ts";

const RULES = 300;
const DAYS = 365;
const RUNS_A_DAY = 24;
const HOUR = 60 * 60 * 1000;
/** Days between two new images of a rule; every day took 15 s, and three times the bytes. */
const EVERY = 3;
/** Bytes, of 50 MB where each rule has a new image a day; a database has a log of 4 MB beside it. */
const LIMIT = 50_000_000 / EVERY + 4_000_000;
const [SOURCE, DESTINATION] = ["registry.example.com", "mirror.example.com:5000"];

/** A digest of its own for each number. */
function digestOf(number: number): string {
  return `sha256:${number.toString(16).padStart(64, "0")}`;
}

/** What a run notes of a rule that has got a new image: its tag, four blobs, the index that is left of it. */
async function noteImage(store: Store, number: number, now: number): Promise<void> {
  const repository = `team/application-${number % RULES}`;
  const digest = digestOf(number * 10);
  const source = `${SOURCE}/${repository}:build-${number}`;
  await store.set(tagKey(DESTINATION, repository, `build-${number}`), { digest, source, copiedAt: now });
  const left = { mediaType: "application/vnd.oci.image.index.v1+json", digest, size: 1000 };
  await store.set(filteredKey(digest, ["linux/amd64"]), left);
  for (let blob = 1; blob <= 4; blob++) {
    const key = blobKey(DESTINATION, repository, digestOf(number * 10 + blob));
    await store.set(key, { size: 30_000_000, seenAt: now });
  }
}

/** Bytes of all files in a folder. */
async function sizeOf(directory: string): Promise<number> {
  const entries = await Array.fromAsync(Deno.readDir(directory));
  const sizes = await Promise.all(
    entries.map(async ({ name }) => (await Deno.stat(`${directory}/${name}`)).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

const KINDS = { file: openFileStore, sqlite: openSqliteStore };

for (const [kind, open] of Object.entries(KINDS)) {
  Deno.test(`a ${kind} store stays small in a year of hourly runs of 300 rules, a new image a rule every third day`, () =>
    inDirectory(async (directory) => {
      let time = Date.UTC(2026, 0, 1);
      const store = await open(`${directory}/records`, { now: () => time });
      let largest = 0;
      for (let run = 0; run < DAYS * RUNS_A_DAY; run++) {
        // Each hour some rules have got something new.
        const first = Math.floor(run * RULES / RUNS_A_DAY / EVERY);
        const end = Math.floor((run + 1) * RULES / RUNS_A_DAY / EVERY);
        for (let number = first; number < end; number++) await noteImage(store, number, time);
        await store.set(["status", "runs"], `${run}${"x".repeat(8000)}`);
        if (run % (7 * RUNS_A_DAY) === 0) await store.flush();
        if (run % 240 === 0) largest = Math.max(largest, await sizeOf(directory));
        time += HOUR;
      }
      await store.flush();
      largest = Math.max(largest, await sizeOf(directory));
      assert(largest < LIMIT, `${largest} bytes`);
      // What was copied lately is still known.
      const last = Math.floor(DAYS * RULES / EVERY) - 1;
      const repository = `team/application-${last % RULES}`;
      assert(await store.get(blobKey(DESTINATION, repository, digestOf(last * 10 + 1))) !== undefined);
      assertEquals(await store.get(blobKey(DESTINATION, "team/application-0", digestOf(1))), undefined);
      await store.close();
    }));
}
