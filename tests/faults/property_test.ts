/** Property tests: random image graphs under random faults. `FAULT_SEED` runs one seed again, `FAULT_RUNS` makes more runs. */

import { faultSeed } from "./fuzzer.ts";
import { CUTS_ALONE, HOPELESS, randomRun, ROUGH, type Weather } from "./random_run.ts";

const RUNS = Number(Deno.env.get("FAULT_RUNS") ?? "12");

async function runMany(name: string, weather: Weather): Promise<void> {
  const first = faultSeed();
  const sum = { copied: 0, failed: 0 };
  for (let index = 0; index < RUNS; index++) {
    try {
      const { copied, failed } = await randomRun(first + index, weather);
      sum.copied += copied;
      sum.failed += failed;
    } catch (cause) {
      throw new Error(`FAULT_SEED=${first + index} FAULT_RUNS=1: ${name}: ${cause}`, { cause });
    }
  }
  console.log(
    `property: ${RUNS} runs, ${name}, FAULT_SEED=${first}: ${sum.copied} copied, ${sum.failed} failed`,
  );
}

Deno.test("mirror() copies everything under single cuts, with hardly a byte more than needed", async () => {
  await runMany("single cuts", CUTS_ALONE);
});

Deno.test("mirror() copies everything when no fault strikes more than three times in a row", async () => {
  await runMany("rough weather", ROUGH);
});

Deno.test("mirror() leaves nothing wrong or incomplete when nothing works for long", async () => {
  await runMany("hopeless weather", HOPELESS);
});
