/** Tests of rules that choose tags in whole runs: several destinations, platforms, renames, dates, and what never changes. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Rule } from "../src/mirror/config/config.ts";
import { parseConfig } from "../src/mirror/config/config_text.ts";
import { checkSelections } from "../src/mirror/config/selection_keys.ts";
import { planOnly } from "../src/mirror/run.ts";
import { buildImage, buildIndex, buildMultiPlatform, pushImage } from "./images.ts";
import { assertHolds, DESTINATION, type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";
import { createRegistry } from "./registry.ts";
import type { RegistryOptions } from "./registry.ts";

const FROM = `${SOURCE}/from/image`;
const TO = `${DESTINATION}/to/image`;
const DAY = 86_400_000;

function rule(more: Partial<Rule>): Rule {
  return { source: FROM, destinations: [TO], ...more };
}

function withTags(tags: readonly string[], source: RegistryOptions = {}): MirrorSetup {
  const setup = setUpMirror({ source });
  const image = buildImage({ layers: 1 });
  for (const tag of tags) pushImage(setup.source, "from/image", tag, image);
  return setup;
}

/** An image that was made so many days before the clock of the tests began. */
function agedImage(setup: MirrorSetup, seed: number, days: number) {
  const created = new Date(setup.clock.now() - days * DAY).toISOString();
  return buildImage({ seed, layers: 1, created });
}

function tagsAt({ destination }: MirrorSetup, repository = "to/image"): string[] {
  return [...destination.state.repository(repository).tags.keys()].sort();
}

Deno.test("a rule with tags copies the newest versions, to several destinations and renamed", async () => {
  const other = createRegistry();
  const setup = setUpMirror({ others: { "other.test": other } });
  for (const [seed, tag] of ["1.0", "1.1", "1.2", "1.10", "2.0-rc1", "latest"].entries()) {
    pushImage(setup.source, "from/image", tag, buildImage({ seed, layers: 1 }));
  }
  const destinations = [TO, "other.test/to/image"];
  const report = await setup.run([
    rule({ destinations, tags: { semver: "*", newest: 2 }, rename: "{tag}-mirrored" }),
  ]);
  assertEquals(report.totals.copied, 4);
  assertEquals(tagsAt(setup), ["1.10-mirrored", "1.2-mirrored"]);
  assertEquals([...other.state.repository("to/image").tags.keys()].sort(), tagsAt(setup));
  assertEquals(report.dropped, [
    { source: FROM, filter: "semver", count: 2, examples: ["2.0-rc1", "latest"] },
    { source: FROM, filter: "newest", count: 2, examples: ["1.0", "1.1"] },
  ]);
});

Deno.test("filters by name alone flow page by page", async () => {
  const setup = withTags(["a1", "a2", "b1", "b2", "c1"], { quirks: { pageSize: 2 } });
  const report = await setup.run([rule({ tags: { include: ["a*", "b*"], exclude: ["/2$/"] } })]);
  assertEquals(tagsAt(setup), ["a1", "b1"]);
  assertEquals(report.dropped?.map(({ filter, count }) => [filter, count]), [["include", 1], ["exclude", 2]]);
});

Deno.test("names of what belongs to images match no filter, but where it is not wanted", async () => {
  const tag = `sha256-${"0".repeat(64)}.sig`;
  const setup = withTags(["v1", tag]);
  await setup.run([rule({ tags: { include: ["*"] } })]);
  assertEquals(tagsAt(setup), ["v1"]);
  const alone = withTags(["v1", tag]);
  await alone.run([rule({ tags: { include: ["*"] }, referrers: false })]);
  assertEquals(tagsAt(alone), [tag, "v1"]);
});

Deno.test("dates are read once a digest, and only of tags that cheaper filters leave", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "young", agedImage(setup, 1, 10));
  pushImage(setup.source, "from/image", "old", agedImage(setup, 2, 100));
  for (const tag of ["x1", "x2", "x3"]) pushImage(setup.source, "from/image", tag, agedImage(setup, 3, 1));
  const rules = [rule({ referrers: false, tags: { exclude: ["x*"], within: "90d" } })];
  await setup.run(rules);
  assertEquals(tagsAt(setup), ["young"]);
  const read = () => setup.source.count({ kind: "manifest", method: "GET" });
  const first = read();
  const blobs = setup.source.count({ kind: "blob" });
  // Two configs for the dates, config and layer of the one that is copied.
  assertEquals(blobs, 4);
  await setup.run(rules);
  assertEquals([read(), setup.source.count({ kind: "blob" })], [first, blobs]);
  // One HEAD a tag: what choosing has asked, planning does not ask again.
  assertEquals(setup.source.count({ kind: "manifest", method: "HEAD" }), 4);
});

Deno.test("the newest by date count digests, and an index is as new as its newest wanted image", async () => {
  const setup = setUpMirror();
  const [amd, arm] = ["amd64", "arm64"].map((architecture, index) =>
    buildImage({
      seed: index,
      layers: 1,
      platform: { os: "linux", architecture },
      created: new Date(setup.clock.now() - (index === 0 ? 50 : 1) * DAY).toISOString(),
    })
  );
  assert(amd !== undefined && arm !== undefined);
  pushImage(setup.source, "from/image", "index", buildIndex([amd, arm]));
  pushImage(setup.source, "from/image", "index-again", buildIndex([amd, arm]));
  pushImage(setup.source, "from/image", "single", agedImage(setup, 7, 10));
  const newest = { newest: 1, by: "created" as const };
  const all = await planOnly([rule({ tags: newest })], { registries: setup.registries() });
  assertEquals(all.tasks.map(({ source }) => source.tag).sort(), ["index", "index-again"]);
  const some = await planOnly([rule({ tags: newest, platforms: ["linux/amd64"] })], {
    registries: setup.registries(),
  });
  assertEquals(some.tasks.map(({ source }) => source.tag), ["single"]);
});

Deno.test("dates that nobody can say are kept by within and come last among the newest, with one warning", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "epoch", buildImage({ seed: 1, created: "1970-01-01T00:00:00Z" }));
  pushImage(setup.source, "from/image", "zero", buildImage({ seed: 2, created: "0001-01-01T00:00:00Z" }));
  pushImage(setup.source, "from/image", "odd", buildImage({ seed: 3, created: "yesterday" }));
  pushImage(setup.source, "from/image", "old", agedImage(setup, 4, 80));
  const annotations = { "org.opencontainers.image.created": new Date(setup.clock.now()).toISOString() };
  pushImage(setup.source, "from/image", "noted", buildImage({ seed: 5, created: "", annotations }));
  const within = await planOnly([rule({ tags: { within: "90d" } })], { registries: setup.registries() });
  assertEquals(within.tasks.length, 5);
  assertEquals(within.warnings.length, 1);
  assertStringIncludes(within.warnings[0] ?? "", `3 of the images of "${FROM}"`);
  const newest = await planOnly([rule({ tags: { newest: 2, by: "created" } })], {
    registries: setup.registries(),
  });
  assertEquals(newest.tasks.map(({ source }) => source.tag).sort(), ["noted", "old"]);
});

Deno.test("a source that refuses the dates fails the rule, and chooses nothing wrong", async () => {
  const setup = setUpMirror({
    source: { intercept: (_, { kind }) => kind === "blob" ? new Response(null, { status: 403 }) : undefined },
  });
  pushImage(setup.source, "from/image", "v1", agedImage(setup, 1, 10));
  const report = await setup.run([rule({ tags: { newest: 1, by: "created" } })]);
  assertEquals([report.totals.rulesFailed, report.tasks.length], [1, 0]);
});

Deno.test("fewer tags than atLeast fail the rule, and those of its source that want less go on", async () => {
  const setup = withTags(["v1", "v2"]);
  const report = await setup.run([
    rule({ tags: { include: ["v*"], atLeast: 3 } }),
    rule({ destinations: [`${DESTINATION}/to/other`], tags: { include: ["v*"], atLeast: 2 } }),
  ]);
  assertEquals(report.totals.rulesFailed, 1);
  assertStringIncludes(report.rules[0]?.error ?? "", "2 tags are left, 3 are wanted");
  assertEquals(tagsAt(setup, "to/other"), ["v1", "v2"]);
  assertEquals(setup.source.count({ kind: "tags" }), 1);
});

Deno.test("a list that ends in a failure chooses no newest", async () => {
  let pages = 0;
  const setup = withTags(["v1", "v2", "v3"], {
    quirks: { pageSize: 2 },
    intercept: (_, { kind }) =>
      kind === "tags" && ++pages > 1 ? new Response(null, { status: 403 }) : undefined,
  });
  const report = await setup.run([rule({ tags: { newest: 1, by: "name" } })]);
  assertEquals([report.totals.rulesFailed, report.tasks.length], [1, 0]);
});

Deno.test("nothing changes for 2,000 tags of which 1,990 never change: 30 requests at the most", async () => {
  const setup = setUpMirror();
  const image = buildMultiPlatform(["amd64"]);
  for (let number = 0; number < 1990; number++) pushImage(setup.source, "from/image", `1.${number}.0`, image);
  for (let number = 0; number < 10; number++) pushImage(setup.source, "from/image", `edge-${number}`, image);
  for (const [referrers, most] of [[false, 30], [true, 40]] as const) {
    const rules = [rule({ tags: { immutable: ["1.*"] } })];
    await setup.run(rules, { referrers });
    const before = setup.source.count() + setup.destination.count();
    const report = await setup.run(rules, { referrers });
    const count = setup.source.count() + setup.destination.count() - before;
    assertEquals([report.totals.unchanged, report.totals.copied], [2000, 0]);
    assert(count <= most, `${count} requests`);
  }
  assertHolds(setup.destination, "to/image", "1.1989.0", image);
});

Deno.test("what never changes is asked for where a destination, its platforms or its name are new, and by force", async () => {
  const setup = setUpMirror({ others: { "other.test": createRegistry() } });
  pushImage(setup.source, "from/image", "v1", buildMultiPlatform(["amd64", "arm64"]));
  const tags = { immutable: ["v*"] };
  const heads = () => setup.source.count({ kind: "manifest", method: "HEAD" });
  const steps: [Partial<Rule>, boolean][] = [
    [{ tags }, false],
    [{ tags, destinations: [TO, "other.test/to/image"] }, false],
    [{ tags, platforms: ["linux/amd64"], destinations: [`${DESTINATION}/to/some`] }, false],
    [{ tags, platforms: ["linux/arm64"], destinations: [`${DESTINATION}/to/some`] }, false],
    [{ tags, rename: "{tag}-x" }, false],
    [{ tags }, true],
  ];
  for (const [more, force] of steps) {
    const before = heads();
    await setup.run([rule(more)], { force });
    assert(heads() > before, JSON.stringify(more));
    if (force) continue;
    const after = heads();
    const { totals } = await setup.run([rule(more)]);
    assertEquals([heads(), totals.copied, totals.failed], [after, 0, 0], JSON.stringify(more));
  }
});

Deno.test("what never changes need not be dated again", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", agedImage(setup, 1, 10));
  const rules = [rule({ tags: { immutable: ["v*"], newest: 1, by: "created" }, platforms: ["linux/amd64"] })];
  await setup.run(rules);
  await setup.run(rules);
  const heads = setup.source.count({ kind: "manifest" });
  const { totals } = await setup.run(rules);
  assertEquals([setup.source.count({ kind: "manifest" }), totals.unchanged], [heads, 1]);
});

const CONFIGS: readonly (readonly [string, unknown, string])[] = [
  [
    "tags that the source names",
    { "a/b:v1,v2": { to: "r.test/c", tags: { include: ["v*"] } } },
    "says itself",
  ],
  [
    "tags beside a pattern",
    { "a/b:/v/": { to: "r.test/c", tags: { newest: 1, by: "name" } } },
    "says itself",
  ],
  ["tags beside a digest", { [`a/b@sha256:${"0".repeat(64)}`]: { to: "r.test/c", tags: {} } }, "says itself"],
  ["a tag at the destination", { "a/b": { to: "r.test/c:v1", tags: { semver: "*" } } }, "names a tag"],
  ["newest without an order", { "a/b": { to: "r.test/c", tags: { newest: 5 } } }, "say by what"],
  ["an order without newest", { "a/b": { to: "r.test/c", tags: { by: "name" } } }, '"newest" says how many'],
  ["an age that is none", { "a/b": { to: "r.test/c", tags: { within: "90 days" } } }, "is no age"],
  ["filters that exclude each other", {
    "a/b": { to: "r.test/c", tags: { include: ["v*"], exclude: ["v*"] } },
  }, "leaves out all"],
  ["more than the newest", {
    "a/b": { to: "r.test/c", tags: { semver: "*", newest: 2, atLeast: 3 } },
  }, "leaves 2 at the most"],
  ["a key that is misspelt", { "a/b": { to: "r.test/c", tags: { semvar: "*" } } }, 'did you mean "semver"?'],
  ["a number as text", { "a/b": { to: "r.test/c", tags: { newest: "5" } } }, "expected a number"],
  ["a range that is none", { "a/b": { to: "r.test/c", tags: { semver: ">>1" } } }, "is no range"],
  [
    "a pattern that is none",
    { "a/b": { to: "r.test/c", tags: { include: ["/(/"] } } },
    "Cannot read the pattern",
  ],
  ["a glob that is none", { "a/b": { to: "r.test/c", tags: { exclude: ["v[1"] } } }, "is not closed"],
  ["a new name without the old", { "a/b": { to: "r.test/c", rename: "x" } }, 'with "{tag}" in it'],
  ["a new name for a digest", {
    [`a/b@sha256:${"0".repeat(64)}`]: { to: "r.test/c", rename: "{tag}-x" },
  }, "has no tag to rename"],
];

for (const [what, images, why] of CONFIGS) {
  Deno.test(`a config with ${what} is refused with its line`, async () => {
    const error = await failureOf(async () => {
      await checkSelections(parseConfig(JSON.stringify({ images }, null, 2)).rules);
    });
    assertStringIncludes(error, why);
    assert(/Cannot read config at ".+" \(line [3-9]\)/.test(error), error);
  });
}

async function failureOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  throw new Error("nothing failed");
}

Deno.test("defaults are overridden key by key, and reach no rule that names its tags", () => {
  const { rules } = parseConfig(JSON.stringify({
    defaults: { tags: { semver: ">=1", newest: 5 }, platforms: ["linux/amd64"], attestations: false },
    images: {
      "a/one": "r.test/one",
      "a/two": {
        to: "r.test/two",
        tags: { newest: 2, semver: null, by: "name" },
        platforms: ["linux/arm64"],
      },
      "a/three:v1": "r.test/three:v2",
      "a/four": { to: "r.test/four", tags: null, attestations: true },
      "a/five": ["r.test/five", { to: "r.test/six", tags: { newest: 1 } }],
    },
  }));
  const [one, two, three, four, five, six] = rules;
  assertEquals(rules.length, 6);
  assertEquals([one?.tags, one?.platforms, one?.attestations], [
    { semver: ">=1", newest: 5 },
    ["linux/amd64"],
    false,
  ]);
  assertEquals([two?.tags, two?.platforms], [{ newest: 2, by: "name" }, ["linux/arm64"]]);
  assertEquals([three?.tags, three?.platforms], [undefined, ["linux/amd64"]]);
  assertEquals([four?.tags, four?.attestations], [undefined, true]);
  assertEquals([five?.source, five?.tags, six?.source, six?.destinations, six?.tags], [
    "a/five",
    { semver: ">=1", newest: 5 },
    "a/five",
    ["r.test/six"],
    { semver: ">=1", newest: 1 },
  ]);
});

/** Two runs, the second of which is late enough to delete what the first saw missing. */
async function pruneTwice(setup: MirrorSetup, rules: readonly Rule[]): Promise<void> {
  await setup.run(rules);
  setup.clock.time += 8 * DAY;
  await setup.run(rules);
}

Deno.test("prune knows renamed tags by their names at the source", async () => {
  const setup = withTags(["1.0", "1.1", "2.0"]);
  const first = rule({ rename: "{tag}-x", tags: { semver: "*" } });
  await setup.run([first]);
  setup.source.state.repository("from/image").tags.delete("1.0");
  await pruneTwice(setup, [{ ...first, tags: { semver: ">=2" }, prune: { when: "gone" } }]);
  assertEquals(tagsAt(setup), ["1.1-x", "2.0-x"]);
  await pruneTwice(setup, [{ ...first, tags: { semver: ">=2" }, prune: { when: "unselected" } }]);
  assertEquals(tagsAt(setup), ["2.0-x"]);
});

Deno.test("prune deletes nothing for a rule whose dates nobody can say", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "known", agedImage(setup, 1, 1));
  pushImage(setup.source, "from/image", "unknown", buildImage({ seed: 2, created: "never" }));
  await setup.run([rule({})]);
  await pruneTwice(setup, [rule({ tags: { newest: 1, by: "created" }, prune: { when: "unselected" } })]);
  assertEquals(tagsAt(setup), ["known", "unknown"]);
  setup.source.state.repository("from/image").tags.delete("unknown");
  await pruneTwice(setup, [rule({ tags: { newest: 1, by: "created" }, prune: { when: "unselected" } })]);
  assertEquals(tagsAt(setup), ["known"]);
});
