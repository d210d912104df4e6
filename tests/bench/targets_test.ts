/** Tests of the benchmark's table: which peers are compared with, and which say nothing. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { rowName } from "./mirror_rows.ts";
import { Samples } from "./samples.ts";
import { findTargets } from "./targets.ts";
import { OURS } from "./tools.ts";

const OPTIONS = { latency: 50, layerSize: 1024, tags: [100, 1000] } as unknown as Parameters<
  typeof findTargets
>[1];

function samplesOf(tools: Record<string, { requests: number; wall: number; fault?: string }>): Samples {
  const samples = new Samples();
  for (const [tool, { fault, ...values }] of Object.entries(tools)) {
    samples.add({ row: rowName("cold 10×4", 0), tool, values, ...(fault === undefined ? {} : { fault }) });
  }
  return samples;
}

Deno.test("fault 15: a peer that failed is out of the ranking, with its fault shown", () => {
  const samples = samplesOf({
    [OURS]: { requests: 380, wall: 1 },
    ocync: { requests: 0, wall: 0.1, fault: "exit code 1" },
    crane: { requests: 500, wall: 2 },
  });
  const [requests] = findTargets(samples, OPTIONS);
  assert(requests !== undefined);
  assertStringIncludes(requests.peers, "crane 500");
  assert(!requests.peers.startsWith("ocync"));
  assertStringIncludes(requests.peers, "(out of the ranking: ocync: exit code 1)");
});

Deno.test("fault 15: nothing is compared with a peer whose copy is wrong", () => {
  const wrong = samplesOf({
    [OURS]: { requests: 380, wall: 1 },
    crane: { requests: 500, wall: 2, fault: "tag t1 has another digest" },
  });
  const measures = findTargets(wrong, OPTIONS).map(({ measure }) => measure);
  assertEquals(measures.filter((measure) => measure.startsWith("wall seconds")), []);
  const right = samplesOf({ [OURS]: { requests: 380, wall: 1 }, crane: { requests: 500, wall: 2 } });
  assert(findTargets(right, OPTIONS).some(({ measure }) => measure.startsWith("wall seconds")));
});
