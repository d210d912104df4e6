/** Every fault against the registry in memory: both sides, at the first request, at each URL, mid-blob; once, thrice, for ever. */

import { allCases } from "./cases.ts";
import { runCase } from "./case_run.ts";
import { openMemoryRegistry } from "./workbench.ts";

for (const line of allCases()) {
  const { name, side, target, repeat, outcome } = line;
  Deno.test(`mirror() with ${name} at the ${side}, ${target}, ${repeat}: ${outcome}`, async () => {
    await using source = await openMemoryRegistry();
    await using destination = await openMemoryRegistry();
    await runCase(line, { source, destination });
  });
}
