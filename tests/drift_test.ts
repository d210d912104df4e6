/** Tests of tags that are not overwritten: drift is its own outcome in plan, events and report, and whoever refuses has not failed. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { dryRunLines, summaryLines } from "../src/machine/terminal/printer.ts";
import { planLines } from "../src/machine/terminal/plan_lines.ts";
import type { Rule } from "../src/mirror/config/config.ts";
import { makeFullPlan } from "../src/mirror/full_plan.ts";
import { planOnly } from "../src/mirror/run.ts";
import { buildImage, buildMultiPlatform, pushImage } from "./images.ts";
import { assertHolds, DESTINATION, type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";
import type { RegistryOptions } from "./registry.ts";

const FROM = `${SOURCE}/from/image`;
const TO = `${DESTINATION}/to/image`;
const OLD = buildImage({ seed: 1 });
const NEW = buildImage({ seed: 2 });

function rule(more: Partial<Rule> = {}): Rule {
  return { source: FROM, destinations: [TO], overwrite: "never", ...more };
}

/** A mirror whose tag `v1` has moved at the source, and whose `v2` is new there. */
async function setUpMoved(destination: RegistryOptions = {}): Promise<MirrorSetup> {
  const setup = setUpMirror({ destination });
  pushImage(setup.source, "from/image", "v1", OLD);
  await setup.run([rule()]);
  pushImage(setup.source, "from/image", "v1", NEW);
  pushImage(setup.source, "from/image", "v2", NEW);
  return setup;
}

Deno.test("a tag that has moved is drifted where it is never overwritten, and what is new is copied", async () => {
  const setup = await setUpMoved();
  for (const force of [false, true]) {
    const report = await setup.run([rule()], { force });
    assertEquals([report.totals.drifted, report.totals.failed, report.totals.pending], [1, 0, 0]);
    assertEquals(report.tasks.find(({ source }) => source.endsWith(":v1"))?.status, "drifted");
    assertStringIncludes(summaryLines(report).join("\n"), "1 drifted");
  }
  assertHolds(setup.destination, "to/image", "v1", OLD);
  assertHolds(setup.destination, "to/image", "v2", NEW);
  const always = await setup.run([rule({ overwrite: "always" })]);
  assertEquals([always.totals.drifted, always.totals.copied], [undefined, 1]);
  assertHolds(setup.destination, "to/image", "v1", NEW);
});

Deno.test("plans say what has drifted", async () => {
  const setup = await setUpMoved();
  const plan = await planOnly([rule()], { registries: setup.registries(), store: setup.store });
  assertEquals(plan.tasks.map(({ destinations }) => destinations[0]?.action).sort(), ["copy", "drifted"]);
  const lines = dryRunLines(plan).join("\n");
  assertStringIncludes(lines, "1 image to copy, 0 unchanged, 1 drifted");
  assertStringIncludes(lines, `drifted ${FROM}:v1 -> ${TO}:v1 stands for something else there`);
  const full = await makeFullPlan([rule()], { registries: setup.registries(), store: setup.store });
  assertStringIncludes(
    planLines(full).join("\n"),
    `drifted ${FROM}:v1 -> ${TO}:v1 stands for something else`,
  );
  assertEquals([full.rules[0]?.drifted, full.rules[0]?.new, full.rules[0]?.changed], [1, 1, 0]);
});

Deno.test("drift is measured by what the platforms wanted leave", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", buildMultiPlatform(["amd64", "arm64"]));
  const some = [rule({ platforms: ["linux/amd64"] })];
  await setup.run(some);
  const report = await setup.run(some);
  assertEquals([report.totals.unchanged, report.totals.drifted], [1, undefined]);
});

for (
  const [registry, status, body] of [
    ["ECR", 400, {
      code: "TAG_INVALID",
      message: "The image tag 'v1' already exists and cannot be overwritten because the tag is immutable.",
    }],
    ["Harbor", 412, {
      code: "PRECONDITION",
      message: "Failed to process request due to 'image:v1' configured as immutable.",
    }],
    ["Quay", 409, { code: "TAG_IMMUTABLE", message: "tag is immutable" }],
  ] as const
) {
  Deno.test(`a tag that ${registry} does not move is drifted where that is meant, else failed`, async () => {
    const refuse: RegistryOptions = {
      intercept: (request, { kind }) => {
        if (kind !== "manifest" || !new URL(request.url).pathname.endsWith("/v1")) return undefined;
        // Who may not look at a tag finds out when it is put.
        if (request.method === "HEAD") return new Response(null, { status: 403 });
        return request.method === "PUT" ? Response.json({ errors: [body] }, { status }) : undefined;
      },
    };
    for (const [overwrite, drifted, failed] of [["never", 1, 0], ["always", undefined, 1]] as const) {
      const setup = setUpMirror({ destination: refuse });
      pushImage(setup.source, "from/image", "v1", OLD);
      const { totals } = await setup.run([rule({ overwrite })], { retries: 0 });
      assertEquals([totals.drifted, totals.failed, totals.copied], [drifted, failed, 0]);
    }
  });
}
