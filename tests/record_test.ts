/** One line of a records file: the fast way to read most of them agrees with the careful way to read all of them. */

import { assertEquals, assertNotEquals } from "@std/assert";
import {
  formatFact,
  formatRecord,
  parsePlainFact,
  parseRecord,
  type StoreRecord,
} from "../src/machine/store/record.ts";
import { Facts } from "../src/mirror/store/memory_store.ts";
import { blobKey, encodeKey, tagKey } from "../src/mirror/store/store.ts";
import { fuzz } from "./faults/fuzzer.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const BLOB = formatFact({
  key: blobKey("registry.test:5000", "team/app", DIGEST),
  text: `{"size":1234,"seenAt":1764000000000}`,
});
const TAG = formatFact({
  key: tagKey("registry.test", "app", "v1.0"),
  text: `{"digest":"${DIGEST}","source":"a.test/b:v1","copiedAt":0}`,
});
const EXPIRING = formatFact({
  key: blobKey("registry.test", "a@b/c@5", DIGEST),
  text: `{"size":1}`,
  expiresAt: 1764000000000,
});

/** A line as the file store reads it, without its newline. */
function bytesOf(line: string): Uint8Array {
  return new TextEncoder().encode(line.replace(/\n$/, ""));
}

/** What the fast way says, in the words of the careful one. */
function plain(line: string): StoreRecord | undefined {
  const fact = parsePlainFact(bytesOf(line));
  if (fact === undefined) return undefined;
  const facts = new Facts(() => 0);
  facts.load(fact.group, fact.last, fact.kept);
  return facts.get([...JSON.parse(fact.group), fact.last]);
}

/** Two texts may mean the same: of a name that stands twice in an object the last counts. */
function meaningOf(record: StoreRecord | undefined): unknown {
  return record && { ...record, text: record.text && JSON.parse(record.text) };
}

Deno.test("parsePlainFact() reads the lines that blobs and tags are kept in as parseRecord() does", () => {
  for (const line of [BLOB, TAG, EXPIRING]) {
    assertNotEquals(plain(line), undefined);
    assertEquals(plain(line), parseRecord(bytesOf(line)));
  }
  assertEquals(parsePlainFact(bytesOf(BLOB))?.group, encodeKey(["blob", "registry.test:5000", "team/app"]));
});

Deno.test("parsePlainFact() leaves every other line to parseRecord()", () => {
  const value = `{"size":1}`;
  const others = [
    formatFact({ key: ["a", "b"], text: value, expiresAt: 5.5 }),
    formatFact({ key: ["a"], text: value }),
    formatFact({ key: ["a", 'quote"'], text: value }),
    formatFact({ key: ["a", "back\\slash"], text: value }),
    formatFact({ key: ["a", "ü"], text: value }),
    formatFact({ key: ["a", "b"], text: "null" }),
    formatFact({ key: ["a", "b"], text: `{"deep":{"size":1}}` }),
    formatFact({ key: ["a", "b"], text: `{"size":1.5}` }),
    formatRecord({ key: ["a", "b"] }),
    `{"k":["a","b"],"v":{"size":01}}`,
    `\0\0${BLOB}`,
    `${BLOB.trimEnd()} `,
    BLOB.trimEnd().slice(0, -1),
    BLOB.slice(1),
    `registry.test,${DIGEST},12`,
    "",
  ];
  for (const line of others) assertEquals(plain(line), undefined, line);
});

Deno.test("parsePlainFact() never reads a damaged line in another way than parseRecord() does", async () => {
  await fuzz({
    name: "lines of a records file",
    seeds: [BLOB, TAG, EXPIRING].map((line) => line.trimEnd()),
    words: ['"', "\\", "]", "}", '"],"v":{', "0", ",", `{"k":["`, "\u0000", "ü", " "],
    take: (line) => {
      const fast = plain(line);
      if (fast !== undefined) assertEquals(meaningOf(fast), meaningOf(parseRecord(bytesOf(line))));
    },
    allowed: [],
  });
});
