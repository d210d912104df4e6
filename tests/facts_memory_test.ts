/** What facts cost in memory: there may be one for every blob of a mirror. Exact enough for a limit, because garbage is collected first. */

import { assert } from "@std/assert";

const FACTS = 20_000;
/** Bytes a fact may take on the heap; as an object with a key of its own it took 510. */
const LIMIT = 300;

const SCRIPT = `
import { openFileStore } from ${JSON.stringify(import.meta.resolve("../src/machine/store/file_store.ts"))};
import { blobKey } from ${JSON.stringify(import.meta.resolve("../src/mirror/store/store.ts"))};
const [path, count] = Deno.args;
const digest = (index) => "sha256:" + index.toString(16).padStart(64, "0");
const writer = await openFileStore(path);
for (let index = 0; index < Number(count); index++) {
  await writer.set(blobKey("registry.test:5000", "team/app", digest(index)), { size: 1234, seenAt: 1764000000000 });
}
await writer.close();
gc();
const before = Deno.memoryUsage().heapUsed;
const store = await openFileStore(path);
gc();
const used = Deno.memoryUsage().heapUsed - before;
const last = await store.get(blobKey("registry.test:5000", "team/app", digest(Number(count) - 1)));
await store.close();
console.log(JSON.stringify({ used, last }));
`;

Deno.test("openFileStore() keeps a fact in 300 bytes", async () => {
  const path = await Deno.makeTempFile();
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, SCRIPT);
    const config = new URL("../deno.json", import.meta.url).pathname;
    const args = ["run", "-A", "--no-check", "--quiet", "--v8-flags=--expose-gc", "--config", config, script];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...args, path, String(FACTS)],
    })
      .output();
    const text = new TextDecoder().decode(stdout);
    assert(text !== "", new TextDecoder().decode(stderr));
    const { used, last }: { used: number; last: { size: number } } = JSON.parse(text);
    assert(last.size === 1234);
    assert(used < FACTS * LIMIT, `${Math.round(used / FACTS)} bytes a fact`);
  } finally {
    await Promise.all([path, script].map((one) => Deno.remove(one)));
  }
});
