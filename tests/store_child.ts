/** A process that uses a file store, for the tests that need several processes or that kill one. */

import { openFileStore } from "../src/machine/store/file_store.ts";

const [mode, path = "", name = "", count = "0"] = Deno.args;

/** Says a line to the test, and has said it once the promise resolves. */
async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
}

/** Waits for the test to say anything, then sets `count` facts of its own. */
async function append(): Promise<void> {
  const store = await openFileStore(path, { onWarning: (message) => console.log(message) });
  await say("ready");
  await Deno.stdin.read(new Uint8Array(1));
  for (let index = 0; index < Number(count); index++) {
    await store.set([name, String(index)], { index, padding: "x".repeat(index % 97) });
    // Every so often wait, so that there are batches of many sizes.
    if (index % 7 === 0) await store.flush();
  }
  await store.close();
}

/** Sets numbers for ever and says each that is flushed. */
async function write(): Promise<void> {
  const store = await openFileStore(path);
  for (let index = 0;; index++) {
    await store.set(["slot", String(index % 100)], { index, padding: "é".repeat(index % 1000) });
    if (index % 10 !== 9) continue;
    await store.flush();
    await say(String(index));
  }
}

/** Makes the file wasteful and opens it again, for ever, so that it is rewritten each time. */
async function compact(): Promise<void> {
  for (let round = 0;; round++) {
    const store = await openFileStore(path);
    for (let index = 0; index < 1100; index++) await store.set(["slot", String(index % 3)], { round, index });
    await store.close();
    await say(String(round));
  }
}

if (mode === "append") await append();
if (mode === "write") await write();
if (mode === "compact") await compact();
