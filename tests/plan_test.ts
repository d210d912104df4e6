/** Tests of the plan: what there is to copy, what is left out, what could not be planned, and what is asked for it. */

import { assertEquals, assertRejects } from "@std/assert";
import { addToPlan, type Plan, startPlan } from "../src/mirror/plan/plan.ts";
import { makePlan, Planner } from "../src/mirror/plan/planner.ts";
import { formatReference } from "../src/oci/reference.ts";
import type { RunContext } from "../src/mirror/run_context.ts";
import type { Rule } from "../src/mirror/config/config.ts";
import { tagKey } from "../src/mirror/store/store.ts";
import { buildImage, buildMultiPlatform, type Image, pushImage } from "./images.ts";
import { DESTINATION, type MirrorSetup, rulesOf, setUpMirror, SOURCE } from "./mirror_setup.ts";
import type { RegistryOptions, TestRegistry } from "./registry.ts";

const IMAGE = buildImage();
const FROM = `${SOURCE}/from/image`;
const TO = `${DESTINATION}/to/image`;

function withTags(tags: readonly string[], source: RegistryOptions = {}, image: Image = IMAGE): MirrorSetup {
  const setup = setUpMirror({ source });
  for (const tag of tags) pushImage(setup.source, "from/image", tag, image);
  return setup;
}

/** What a plan does, written `source > destination action`. */
function stepsOf(plan: Plan): string[] {
  return plan.tasks.flatMap(({ source, destinations }) =>
    destinations.map(({ reference, action }) =>
      `${formatReference(source)} > ${formatReference(reference)} ${action}`
    )
  );
}

async function planOf(
  setup: MirrorSetup,
  images: Record<string, string | string[]>,
  options: Partial<RunContext> = {},
): Promise<Plan> {
  return await makePlan(rulesOf(images), setup.context(options));
}

function requestsOf(registry: TestRegistry): string[] {
  return registry.requests.filter(({ kind }) => kind !== "ping").map(({ method, kind }) =>
    `${method} ${kind}`
  );
}

Deno.test("makePlan() copies a tag that the destination lacks, by one HEAD on each side", async () => {
  const setup = withTags(["v1"]);
  const plan = await planOf(setup, { [`${FROM}:v1`]: TO });
  assertEquals(stepsOf(plan), [`${FROM}:v1 > ${TO}:v1 copy`]);
  assertEquals([plan.skipped, plan.failed, plan.warnings], [[], [], []]);
  assertEquals(plan.tasks[0]?.root.digest, IMAGE.digest);
  assertEquals(plan.createdAt, new Date(setup.clock.now()).toISOString());
  assertEquals(requestsOf(setup.source), ["HEAD manifest"]);
  assertEquals(requestsOf(setup.destination), ["HEAD manifest"]);
});

Deno.test("makePlan() is plain JSON", async () => {
  const plan = await planOf(withTags(["v1"]), { [`${FROM}:v1,v2`]: TO });
  assertEquals(JSON.parse(JSON.stringify(plan)), plan);
});

Deno.test("makePlan() leaves unchanged what the destination has, unless forced", async () => {
  const setup = withTags(["v1"]);
  pushImage(setup.destination, "to/image", "v1", IMAGE);
  assertEquals(stepsOf(await planOf(setup, { [`${FROM}:v1`]: TO })), [`${FROM}:v1 > ${TO}:v1 unchanged`]);
  const forced = await planOf(setup, { [`${FROM}:v1`]: TO }, { force: true });
  assertEquals(stepsOf(forced), [`${FROM}:v1 > ${TO}:v1 copy`]);
});

Deno.test("makePlan() copies a tag that stands for something else at the destination", async () => {
  const setup = withTags(["v1"]);
  pushImage(setup.destination, "to/image", "v1", buildImage({ seed: 2 }));
  assertEquals(stepsOf(await planOf(setup, { [`${FROM}:v1`]: TO })), [`${FROM}:v1 > ${TO}:v1 copy`]);
});

Deno.test("makePlan() lists all tags, page by page, and each once", async () => {
  const tags = Array.from({ length: 25 }, (_, index) => `v${100 + index}`);
  for (
    const quirks of [{ pageSize: 7 }, { pageSize: 7, locationAbsolute: true }, { maxPageParameter: 1000 }]
  ) {
    const plan = await planOf(withTags(tags, { quirks }), { [FROM]: TO });
    assertEquals(stepsOf(plan), tags.map((tag) => `${FROM}:${tag} > ${TO}:${tag} copy`));
  }
});

Deno.test("makePlan() selects tags by a pattern and lists them once for all destinations", async () => {
  const setup = withTags(["v1", "v2", "latest"]);
  const plan = await planOf(setup, { [`${FROM}:/^v/`]: [TO, `${DESTINATION}/to/other`] });
  assertEquals(plan.tasks.map(({ id }) => id), [`${FROM}:v1`, `${FROM}:v2`]);
  assertEquals(plan.tasks.map(({ destinations }) => destinations.length), [2, 2]);
  assertEquals(setup.source.count({ kind: "tags" }), 1);
});

Deno.test("makePlan() warns where no tag is selected", async () => {
  const plan = await planOf(withTags(["v1"]), { [`${FROM}:/^x/`]: TO });
  assertEquals([plan.tasks, plan.failed], [[], []]);
  assertEquals(plan.warnings, [`No tag of "${FROM}:/^x/" is selected`]);
});

Deno.test("makePlan() fails a pattern for good that does not compile, and asks nothing for it", async () => {
  const setup = withTags(["v1"]);
  const plan = await planOf(setup, { [`${FROM}:/(/`]: TO });
  assertEquals(plan.failed.map(({ kind, isPermanent }) => [kind, isPermanent]), [["rule", true]]);
  assertEquals(setup.source.requests, []);
});

Deno.test("makePlan() fails what is not there, and goes on with the rest", async () => {
  const plan = await planOf(withTags(["v1"]), { [`${FROM}:v0,v1`]: TO, [`${SOURCE}/not/there`]: TO });
  assertEquals(stepsOf(plan), [`${FROM}:v1 > ${TO}:v1 copy`]);
  const failed = plan.failed.map(({ kind, source, destination, isPermanent }) => ({
    kind,
    source,
    destination,
    isPermanent,
  }));
  assertEquals(failed, [
    { kind: "rule", source: `${SOURCE}/not/there`, destination: undefined, isPermanent: false },
    { kind: "image", source: `${FROM}:v0`, destination: `${TO}:v0`, isPermanent: false },
  ]);
});

Deno.test("makePlan() fails a destination that does not fit, and goes on with the others", async () => {
  const plan = await planOf(withTags(["v1", "v2"]), { [`${FROM}:v1,v2`]: [`${TO}:x`, TO] });
  assertEquals(stepsOf(plan), [`${FROM}:v1 > ${TO}:v1 copy`, `${FROM}:v2 > ${TO}:v2 copy`]);
  assertEquals(plan.failed.map(({ destination, isPermanent }) => [destination, isPermanent]), [[
    `${TO}:x`,
    true,
  ]]);
});

Deno.test("makePlan() fails a malformed rule alone", async () => {
  const plan = await planOf(withTags(["v1"]), { [`${SOURCE}/From`]: TO, [`${FROM}:v1`]: TO });
  assertEquals(stepsOf(plan), [`${FROM}:v1 > ${TO}:v1 copy`]);
  assertEquals(plan.failed.map(({ kind, isPermanent }) => [kind, isPermanent]), [["rule", true]]);
});

Deno.test("makePlan() refuses the second of two sources for one destination", async () => {
  const setup = withTags(["v1", "v2"]);
  const plan = await planOf(setup, { [`${FROM}:v1`]: `${TO}:x`, [`${FROM}:v2`]: `${TO}:x` });
  assertEquals(stepsOf(plan), [`${FROM}:v1 > ${TO}:x copy`]);
  const [failure] = plan.failed;
  assertEquals(
    failure?.error,
    `Cannot copy "${FROM}:v2" to "${TO}:x": another rule copies "${FROM}:v1" there`,
  );
  assertEquals(failure?.isPermanent, true);
});

Deno.test("makePlan() refuses the second of two choices of platforms for one destination", async () => {
  const setup = withTags(["v1"], {}, buildMultiPlatform(["amd64", "arm64"]));
  const rules: Rule[] = ["linux/amd64", "linux/arm64"].map((platform) => ({
    source: `${FROM}:v1`,
    destinations: [TO],
    platforms: [platform],
  }));
  const plan = await makePlan(rules, setup.context());
  assertEquals([plan.tasks.length, plan.failed.length], [1, 1]);
});

Deno.test("makePlan() takes a pair once that several rules name, and one source for several rules", async () => {
  const rules = [TO, TO, `${DESTINATION}/to/other`].map((destination) => ({
    source: `${FROM}:v1`,
    destinations: [destination],
  }));
  const setup = withTags(["v1"]);
  const plan = await makePlan(rules, setup.context());
  assertEquals(stepsOf(plan), [`${FROM}:v1 > ${TO}:v1 copy`, `${FROM}:v1 > ${DESTINATION}/to/other:v1 copy`]);
  assertEquals(plan.tasks.length, 1);
  assertEquals(setup.source.count({ method: "HEAD" }), 1);
});

Deno.test("makePlan() lists a destination that many tags go to, instead of asking for each", async () => {
  const setup = withTags(["v1", "v2", "v3"]);
  pushImage(setup.destination, "to/image", "v2", IMAGE);
  const plan = await planOf(setup, { [FROM]: TO });
  assertEquals(plan.tasks.map(({ destinations }) => destinations[0]?.action), ["copy", "unchanged", "copy"]);
  assertEquals(requestsOf(setup.destination).sort(), ["GET tags", "HEAD manifest"]);
});

Deno.test("makePlan() asks for each tag where the records know the destination", async () => {
  const setup = withTags(["v1", "v2", "v3"]);
  await setup.store.set(tagKey(DESTINATION, "to/image", "v1"), { digest: IMAGE.digest });
  await planOf(setup, { [FROM]: TO });
  assertEquals(setup.destination.count({ kind: "tags" }), 0);
  assertEquals(setup.destination.count({ method: "HEAD", kind: "manifest" }), 3);
});

Deno.test("makePlan() asks for each tag where the destination cannot be listed", async () => {
  const setup = setUpMirror({
    destination: {
      intercept: (_, { kind }) => kind === "tags" ? new Response(null, { status: 403 }) : undefined,
    },
  });
  for (const tag of ["v1", "v2", "v3"]) pushImage(setup.source, "from/image", tag, IMAGE);
  assertEquals(stepsOf(await planOf(setup, { [FROM]: TO })).length, 3);
  assertEquals(setup.destination.count({ method: "HEAD", kind: "manifest" }), 3);
});

Deno.test("makePlan() remembers what it finds unchanged", async () => {
  const setup = withTags(["v1"]);
  pushImage(setup.destination, "to/image", "v1", IMAGE);
  await planOf(setup, { [`${FROM}:v1`]: TO });
  const value = await setup.store.get(tagKey(DESTINATION, "to/image", "v1"));
  assertEquals(value, { digest: IMAGE.digest, source: `${FROM}:v1`, copiedAt: setup.clock.now() });
});

Deno.test("makePlan() believes the records when told, as long as the source has not changed", async () => {
  const setup = withTags(["v1", "v2"]);
  pushImage(setup.source, "from/image", "v2", buildImage({ seed: 2 }));
  for (const tag of ["v1", "v2"]) {
    await setup.store.set(tagKey(DESTINATION, "to/image", tag), { digest: IMAGE.digest });
  }
  const plan = await planOf(setup, { [`${FROM}:v1,v2`]: TO }, { trustRecords: true });
  assertEquals(plan.tasks.map(({ destinations }) => destinations[0]?.action), ["unchanged", "copy"]);
  assertEquals(requestsOf(setup.destination), ["HEAD manifest"]);
});

Deno.test("makePlan() skips an image none of whose platforms is wanted", async () => {
  const setup = withTags(["v1"], {}, buildMultiPlatform(["amd64", "arm64"]));
  const plan = await planOf(setup, { [`${FROM}:v1`]: TO }, { platforms: ["linux/s390x"] });
  const reason =
    "skip synchronization because no manifest fits platform filters (it has linux/amd64, linux/arm64)";
  const skip = { source: `${FROM}:v1`, destination: `${TO}:v1`, platforms: ["linux/s390x"], reason };
  assertEquals(plan.skipped, [skip]);
  assertEquals([plan.tasks, plan.failed], [[], []]);
});

Deno.test("makePlan() leaves a filtered image unchanged that is there, and prefers a rule's own platforms", async () => {
  const index = buildMultiPlatform(["amd64", "arm64"]);
  const setup = withTags(["v1"], {}, index);
  await setup.run({ [`${FROM}:v1`]: TO }, { platforms: ["linux/arm64"] });
  const rule = { source: `${FROM}:v1`, destinations: [TO] };
  const actionOf = async (rules: Rule[], platforms: string[]) =>
    (await makePlan(rules, setup.context({ platforms }))).tasks[0]?.destinations[0]?.action;
  assertEquals(await actionOf([rule], ["linux/arm64"]), "unchanged");
  assertEquals(await actionOf([rule], ["linux/amd64"]), "copy");
  assertEquals(await actionOf([{ ...rule, platforms: ["linux/arm64"] }], ["linux/amd64"]), "unchanged");
  assertEquals(await actionOf([{ ...rule, platforms: [] }], ["linux/arm64"]), "copy");
});

Deno.test("makePlan() throws nothing but an abort", async () => {
  const setup = withTags(["v1"]);
  const signal = AbortSignal.abort(new Error("enough"));
  await assertRejects(
    () => makePlan(rulesOf({ [`${FROM}:v1`]: TO }), setup.context({ signal })),
    Error,
    "enough",
  );
});

/** A source that fails until it is told to be well. */
function ailing(kind: "tags" | "manifest"): { setup: MirrorSetup; heal: () => void } {
  let isIll = true;
  const setup = setUpMirror({
    source: {
      intercept: (_, context) =>
        isIll && context.kind === kind ? new Response(null, { status: 500 }) : undefined,
    },
  });
  pushImage(setup.source, "from/image", "v1", IMAGE);
  return { setup, heal: () => isIll = false };
}

/** Plans rules, heals the source, and looks again at what failed: both plans. */
async function planTwice(
  setup: MirrorSetup,
  rules: readonly Rule[],
  heal: () => void,
): Promise<{ first: Plan; second: Plan }> {
  const plans = [startPlan(0), startPlan(0)] as const;
  let [plan] = plans;
  const planner = new Planner(setup.context(), (piece) => addToPlan(plan, piece));
  await planner.planRules(rules);
  heal();
  [, plan] = plans;
  await planner.planAgain();
  return { first: plans[0], second: plans[1] };
}

for (const kind of ["tags", "manifest"] as const) {
  Deno.test(`Planner.planAgain() looks again at what failed for want of ${kind}`, async () => {
    const { setup, heal } = ailing(kind);
    const rules = rulesOf({ [FROM]: TO, [`${SOURCE}/Bad`]: TO });
    const { first, second } = await planTwice(setup, rules, heal);
    assertEquals(first.failed.map(({ isPermanent }) => isPermanent).sort(), [false, true]);
    assertEquals(stepsOf(second), [`${FROM}:v1 > ${TO}:v1 copy`]);
    assertEquals(second.failed, []);
  });
}

Deno.test("Planner.planAgain() looks again at every rule of one source, and lists it once", async () => {
  const { setup, heal } = ailing("tags");
  const rules = [TO, `${DESTINATION}/to/other`].map((to) => ({ source: FROM, destinations: [to] }));
  const { first, second } = await planTwice(setup, rules, () => {
    heal();
    setup.source.requests.length = 0;
  });
  assertEquals(first.failed.length, 2);
  assertEquals(second.tasks.map(({ destinations }) => destinations.length), [2]);
  assertEquals(setup.source.count({ kind: "tags" }), 1);
});

Deno.test("Planner.planAgain() refuses a source for a destination that another rule already has", async () => {
  const { setup, heal } = ailing("tags");
  pushImage(setup.source, "from/other", "v1", IMAGE);
  const rules = rulesOf({ [FROM]: TO, [`${SOURCE}/from/other:v1`]: TO });
  const { first, second } = await planTwice(setup, rules, heal);
  assertEquals(stepsOf(first), [`${SOURCE}/from/other:v1 > ${TO}:v1 copy`]);
  assertEquals(second.tasks, []);
  assertEquals(second.failed.map(({ isPermanent }) => isPermanent), [true]);
});

Deno.test("Planner.planAgain() keeps the platforms that were wanted", async () => {
  const { setup, heal } = ailing("manifest");
  pushImage(setup.source, "from/image", "v1", buildMultiPlatform(["amd64", "arm64"]));
  const rules: Rule[] = [{ source: `${FROM}:v1`, destinations: [TO], platforms: ["linux/arm64"] }];
  const { second } = await planTwice(setup, rules, heal);
  assertEquals(second.tasks[0]?.platforms, ["linux/arm64"]);
});

Deno.test("Planner.planImages() looks at images again and says nothing of the rules", async () => {
  const setup = withTags(["v1", "v2"]);
  const plan = await planOf(setup, { [FROM]: TO });
  pushImage(setup.destination, "to/image", "v1", IMAGE);
  const next = startPlan(0);
  await new Planner(setup.context(), (piece) => addToPlan(next, piece)).planImages(plan.tasks);
  assertEquals(stepsOf(next).sort(), [`${FROM}:v1 > ${TO}:v1 unchanged`, `${FROM}:v2 > ${TO}:v2 copy`]);
  assertEquals(next.failed, []);
});
