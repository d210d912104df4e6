/** Every fault that can strike a blob, with blobs over sockets of our own: both sides, at each URL and mid-blob. */

import { allCases } from "./cases.ts";
import { runCase } from "./case_run.ts";
import { openMemoryRegistry } from "./workbench.ts";

for (const line of allCases(["once", "three times"]).filter(({ target }) => target !== "first request")) {
  const { name, side, target, repeat, outcome } = line;
  Deno.test(`mirror() over sockets with ${name} at the ${side}, ${target}, ${repeat}: ${outcome}`, async () => {
    await using source = await openMemoryRegistry();
    await using destination = await openMemoryRegistry();
    await runCase(line, { source, destination, usesSockets: true });
  });
}
