/** Tests of deleting at destinations: what goes, what stays, and that nothing goes when anything is in doubt. */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { applyPlan } from "../src/mirror/apply.ts";
import { parseConfig } from "../src/mirror/config/config_text.ts";
import type { Rule } from "../src/mirror/config/config.ts";
import { makeFullPlan, wouldChange } from "../src/mirror/full_plan.ts";
import { hashPlan, PlanFileError } from "../src/mirror/plan/saved_plan.ts";
import { chooseDeletions } from "../src/mirror/plan/prune.ts";
import { groupRules } from "../src/mirror/plan/rule_group.ts";
import { RuleLedger } from "../src/mirror/plan/rule_ledger.ts";
import type { DeletionOutcome } from "../src/mirror/plan/tag_deletion.ts";
import type { Report } from "../src/mirror/report.ts";
import { mostOf, type PrunePolicy } from "../src/mirror/rules/prune_policy.ts";
import { buildImage, buildIndex, createRandom, type Image, pushImage } from "./images.ts";
import { DESTINATION, type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";
import type { Intercept, RegistryOptions } from "./registry.ts";

const DAY = 24 * 60 * 60 * 1000;

function rulesWith(prune: PrunePolicy, source = `${SOURCE}/a`, destination = `${DESTINATION}/b`): Rule[] {
  return [{ source, destinations: [destination], prune, referrers: false }];
}

function tagsAt(setup: MirrorSetup, repository = "b"): string[] {
  return [...setup.destination.state.repository(repository).tags.keys()].sort();
}

function removeTag(setup: MirrorSetup, tag: string, repository = "a"): void {
  setup.source.state.repository(repository).tags.delete(tag);
}

/** A mirror that has copied some tags, one of which is then gone at the source. */
async function setUpGone(
  destination: RegistryOptions = {},
  { tags = ["v1", "v2", "v3"], rules = rulesWith({ when: "gone" }), source = {} }: {
    tags?: readonly string[];
    rules?: readonly Rule[];
    source?: RegistryOptions;
  } = {},
): Promise<MirrorSetup> {
  const setup = setUpMirror({ destination, source });
  for (const [seed, tag] of tags.entries()) pushImage(setup.source, "a", tag, buildImage({ seed: seed + 1 }));
  await setup.run(rules);
  removeTag(setup, "v1");
  return setup;
}

function pass(setup: MirrorSetup, milliseconds: number): void {
  setup.clock.time += milliseconds;
}

function outcomesOf({ deletions = [] }: Report): [string, DeletionOutcome["status"]][] {
  return deletions.map(({ reference, status }) => [reference, status]);
}

function warningsOf(setup: MirrorSetup): string {
  return setup.eventsOf("warning").map(({ message }) => message).join("\n");
}

Deno.test("a tag that is gone at the source is deleted once the grace is over, and said in report and events", async () => {
  const rules = rulesWith({ when: "gone" });
  const setup = await setUpGone();
  await setup.run(rules);
  assertEquals(tagsAt(setup), ["v1", "v2", "v3"]);
  pass(setup, 6 * DAY);
  await setup.run(rules);
  assertEquals(tagsAt(setup), ["v1", "v2", "v3"]);
  pass(setup, 2 * DAY);
  const report = await setup.run(rules);
  assertEquals(tagsAt(setup), ["v2", "v3"]);
  assertEquals(outcomesOf(report), [[`${DESTINATION}/b:v1`, "deleted"]]);
  assertEquals(setup.eventsOf("tag-deletion").map(({ by }) => by), ["tag"]);
  assertEquals(outcomesOf(await setup.run(rules)), []);
});

Deno.test("a tag that comes back has its grace from the start again", async () => {
  const rules = rulesWith({ when: "gone" });
  const setup = await setUpGone();
  await setup.run(rules);
  pass(setup, 6 * DAY);
  pushImage(setup.source, "a", "v1", buildImage({ seed: 1 }));
  await setup.run(rules);
  removeTag(setup, "v1");
  await setup.run(rules);
  pass(setup, 3 * DAY);
  await setup.run(rules);
  assertEquals(tagsAt(setup), ["v1", "v2", "v3"]);
});

Deno.test("without prune nothing is deleted, and the destination is not listed", async () => {
  const rules = rulesWith({ when: "gone" }).map(({ prune: _, ...rule }) => rule);
  const setup = await setUpGone({}, { rules });
  pass(setup, 100 * DAY);
  await setup.run(rules);
  assertEquals(tagsAt(setup), ["v1", "v2", "v3"]);
});

/** What keeps tags: a policy, or what has become of something. */
const KEPT: [
  why: string,
  prune: PrunePolicy,
  change: (setup: MirrorSetup) => void | Promise<void>,
  sentence?: string,
][] = [
  ["keep names it", { when: "gone", keep: ["v[12]"] }, () => {}],
  [
    "the source lists nothing",
    { when: "gone" },
    (setup) => ["v2", "v3"].forEach((tag) => removeTag(setup, tag)),
    "has listed nothing",
  ],
  ["the store was lost", { when: "gone" }, async (setup) => {
    for await (const { key } of setup.store.list(["tag"])) await setup.store.delete(key);
  }],
  [
    "it stands for something else by now",
    { when: "gone" },
    (setup) => pushImage(setup.destination, "b", "v1", buildImage({ seed: 9 })),
  ],
  ["keep is no glob", { when: "gone", keep: ["/(/"] }, () => {}, "Nothing is deleted"],
  ["most allows none", { when: "gone", most: "10%" }, () => {}, 'because "most" allows no more'],
  ["an image could not be copied", { when: "gone" }, (setup) => {
    const image = buildImage({ seed: 30 });
    pushImage(setup.source, "a", "v9", image);
    setup.source.state.repository("a").deleteManifest(image.digest);
    setup.source.state.repository("a").tags.set("v9", image.digest);
  }],
];

for (const [why, prune, change, sentence] of KEPT) {
  Deno.test(`a tag that is gone is kept when ${why}`, async () => {
    const rules = rulesWith({ ...prune, grace: "0h" });
    const setup = await setUpGone();
    await change(setup);
    await setup.run(rules);
    assert(tagsAt(setup).includes("v1"));
    assertStringIncludes(warningsOf(setup), sentence ?? "");
    assertEquals(setup.destination.requests.filter(({ method }) => method === "DELETE"), []);
  });
}

Deno.test("a tag that was never ours goes only with foreign", async () => {
  const setup = await setUpGone();
  pushImage(setup.destination, "b", "theirs", buildImage({ seed: 40 }));
  await setup.run(rulesWith({ when: "gone", grace: "0h" }));
  assertEquals(tagsAt(setup), ["theirs", "v2", "v3"]);
  await setup.run(rulesWith({ when: "gone", grace: "0h", foreign: true }));
  assertEquals(tagsAt(setup), ["v2", "v3"]);
});

Deno.test("unselected deletes what a rule no longer selects, gone does not", async () => {
  const setup = await setUpGone();
  const narrow = (when: PrunePolicy["when"]) => rulesWith({ when, grace: "0h" }, `${SOURCE}/a:/^v3$/`);
  await setup.run(narrow("gone"));
  assertEquals(tagsAt(setup), ["v2", "v3"]);
  await setup.run(narrow("unselected"));
  assertEquals(tagsAt(setup), ["v3"]);
});

Deno.test("what another rule writes to the same destination stays, and nothing goes while that rule has failed", async () => {
  const setup = await setUpGone();
  pushImage(setup.source, "other", "w1", buildImage({ seed: 50 }));
  const other: Rule = { source: `${SOURCE}/other`, destinations: [`${DESTINATION}/b`], referrers: false };
  const rules = [...rulesWith({ when: "gone", grace: "0h", foreign: true }), other];
  await setup.run([...rules, { ...other, source: `${SOURCE}/missing` }]);
  assertEquals(tagsAt(setup), ["v1", "v2", "v3", "w1"]);
  await setup.run(rules);
  assertEquals(tagsAt(setup), ["v2", "v3", "w1"]);
});

Deno.test("a run deletes no more than most, those that have been missing longest first", async () => {
  const rules = rulesWith({ when: "gone", grace: "0h", most: 1 });
  const setup = await setUpGone();
  removeTag(setup, "v2");
  await setup.run(rules);
  assertEquals(tagsAt(setup), ["v2", "v3"]);
  await setup.run(rules);
  assertEquals(tagsAt(setup), ["v3"]);
  assertEquals([mostOf({}, 5), mostOf({ most: "50%" }, 5), mostOf({ most: 3 }, 100)], [20, 2, 3]);
});

Deno.test("where only digests can be deleted, one that no other tag and no index has goes", async () => {
  const rules = rulesWith({ when: "gone", grace: "0h" });
  const setup = await setUpGone({ quirks: { refuseTagDelete: true } });
  const report = await setup.run(rules);
  assertEquals(outcomesOf(report), [[`${DESTINATION}/b:v1`, "deleted"]]);
  assertEquals(setup.eventsOf("tag-deletion").at(-1)?.by, "digest");
  assertEquals(setup.destination.state.repository("b").findManifest("v1"), undefined);
});

/** Other names of what is to be deleted. */
const NEEDED: [why: string, name: (setup: MirrorSetup, image: Image) => void][] = [
  ["another tag", (setup, image) => pushImage(setup.destination, "b", "too", image)],
  [
    "an index",
    (setup, image) =>
      pushImage(setup.destination, "b", "index", buildIndex([image, buildImage({ seed: 60 })])),
  ],
  [
    "an index in an index",
    (setup, image) => pushImage(setup.destination, "b", "deep", buildIndex([buildIndex([image])])),
  ],
];

for (const [why, name] of NEEDED) {
  Deno.test(`where only digests can be deleted, one that ${why} has stays`, async () => {
    const setup = await setUpGone({ quirks: { refuseTagDelete: true } });
    name(setup, buildImage({ seed: 1 }));
    const report = await setup.run(rulesWith({ when: "gone", grace: "0h" }));
    assertEquals(outcomesOf(report), [[`${DESTINATION}/b:v1`, "kept"]]);
    assert(setup.destination.state.repository("b").findManifest("v1") !== undefined);
  });
}

Deno.test("where only digests can be deleted, one tag that cannot be looked at keeps everything", async () => {
  const intercept: Intercept = (request, { kind, reference }) =>
    kind === "manifest" && reference === "odd" && request.method !== "PUT"
      ? new Response(null, { status: 403 })
      : undefined;
  const setup = await setUpGone({ quirks: { refuseTagDelete: true }, intercept });
  pushImage(setup.destination, "b", "odd", buildImage({ seed: 70 }));
  const report = await setup.run(rulesWith({ when: "gone", grace: "0h" }));
  assertEquals(outcomesOf(report), [[`${DESTINATION}/b:v1`, "failed"]]);
  assertEquals(report.totals.failed, 1);
  const [outcome] = setup.eventsOf("tag-deletion");
  assertStringIncludes(outcome?.why ?? "", `"${DESTINATION}/b:odd": 403`);
  assert(tagsAt(setup).includes("v1"));
});

/** Puts a signature under cosign's tag of an image. */
function sign(setup: MirrorSetup, { digest }: Image): string {
  const tag = `${digest.replace(":", "-")}.sig`;
  pushImage(setup.destination, "b", tag, buildImage({ seed: 90 }));
  return tag;
}

for (const refuseTagDelete of [false, true]) {
  const how = refuseTagDelete ? "digest" : "tag";
  Deno.test(`a signature goes with its image and not before, where a ${how} is deleted`, async () => {
    const rules = rulesWith({ when: "gone", grace: "1d", foreign: true });
    const setup = await setUpGone({ quirks: { refuseTagDelete } });
    const [gone, stays] = [sign(setup, buildImage({ seed: 1 })), buildImage({ seed: 2 })];
    const other = sign(setup, stays);
    await setup.run(rules);
    assertEquals(tagsAt(setup), [gone, other, "v1", "v2", "v3"].sort());
    pass(setup, 2 * DAY);
    await setup.run(rules);
    // Both signatures of this test have the same bytes: where only digests can be deleted, the other one keeps them.
    assertEquals(tagsAt(setup), (refuseTagDelete ? [gone, other] : [other]).concat("v2", "v3").sort());
  });
}

Deno.test("a signature stays while another tag has its image", async () => {
  const setup = await setUpGone();
  const signature = sign(setup, buildImage({ seed: 1 }));
  pushImage(setup.source, "a", "v2", buildImage({ seed: 1 }));
  await setup.run(rulesWith({ when: "gone", grace: "0h" }));
  assertEquals(tagsAt(setup), [signature, "v2", "v3"].sort());
});

Deno.test("a list that breaks off in the middle deletes nothing", async () => {
  let isBroken = false;
  const intercept: Intercept = (request, { kind }) =>
    isBroken && kind === "tags" && request.url.includes("last=")
      ? new Response(null, { status: 500 })
      : undefined;
  const rules = rulesWith({ when: "gone", grace: "0h" });
  const setup = await setUpGone({}, { source: { intercept, quirks: { pageSize: 1 } }, rules });
  isBroken = true;
  await setup.run(rules, { retries: 0 });
  assertEquals(tagsAt(setup), ["v1", "v2", "v3"]);
});

/** What puts everything in doubt by itself: of what there was trouble, and whether the list came to its end. */
const DOUBTS: [why: string, troubled: readonly string[], isWhole: boolean, sentence: string][] = [
  [
    "something that goes to the destination has failed",
    [`${DESTINATION}/b`],
    true,
    "not everything that goes there",
  ],
  ["something of the source has failed", [`${SOURCE}/a`], true, "not everything of"],
  ["the list was left off in the middle", [], false, "has listed nothing, or not everything"],
];

for (const [why, troubled, isWhole, sentence] of DOUBTS) {
  Deno.test(`chooseDeletions() chooses nothing when ${why}`, async () => {
    const rules = rulesWith({ when: "gone", grace: "0h" });
    const setup = await setUpGone();
    const choose = async (names: readonly string[], isListed: boolean): Promise<[string[], string]> => {
      const ledger = new RuleLedger();
      const [group] = groupRules(rules.map((rule, position) => ({ rule, position })), () => {});
      assert(group !== undefined);
      for await (const page of ledger.watch(group, pagesOf(["v2"], ["v3"]))) {
        if (!isListed && page.includes("v3")) break;
      }
      const said: string[] = [];
      const warn = (message: string) => said.push(message);
      const chosen = await chooseDeletions(rules, {
        ...setup.context(),
        ledger,
        troubled: new Set(names),
        warn,
      });
      return [chosen.map(({ reference }) => reference.tag ?? ""), said.join("\n")];
    };
    assertEquals(await choose([], true), [["v1"], ""]);
    const [chosen, said] = await choose(troubled, isWhole);
    assertEquals(chosen, []);
    assertStringIncludes(said, sentence);
  });
}

async function* pagesOf(...pages: string[][]): AsyncIterable<readonly string[]> {
  for (const page of pages) yield await Promise.resolve(page);
}

Deno.test("a run that shares its work deletes nothing", async () => {
  const setup = await setUpGone();
  await setup.run(rulesWith({ when: "gone", grace: "0h" }), { select: (plan) => plan });
  assertEquals(tagsAt(setup), ["v1", "v2", "v3"]);
  assertStringIncludes(warningsOf(setup), "several workers");
});

Deno.test("a plan shows deletions, and apply does those and no others", async () => {
  const rules = rulesWith({ when: "gone", grace: "0h" });
  const setup = await setUpGone();
  const options = () => ({ registries: setup.registries(), store: setup.store, patience: Infinity });
  const plan = await makeFullPlan(rules, options());
  assertEquals(plan.deletions?.map(({ reference, reason }) => [reference.tag, reason]), [["v1", "gone"]]);
  assertEquals(plan.rules[0]?.pruned, 1);
  assert(wouldChange(plan));
  removeTag(setup, "v2");
  assertEquals(outcomesOf(await applyPlan(plan, rules, options())), [[`${DESTINATION}/b:v1`, "deleted"]]);
  assertEquals(tagsAt(setup), ["v2", "v3"]);
});

Deno.test("apply keeps a tag that is back at the source, and refuses deletions that no rule makes", async () => {
  const rules = rulesWith({ when: "gone", grace: "0h" });
  const setup = await setUpGone();
  const options = () => ({ registries: setup.registries(), store: setup.store, patience: Infinity });
  const plan = await makeFullPlan(rules, options());
  const other = structuredClone(plan);
  for (const { reference } of other.deletions ?? []) reference.repository = "c";
  other.hash = await hashPlan(other);
  await assertRejects(() => applyPlan(other, rules, options()), PlanFileError, "no rule deletes");
  pushImage(setup.source, "a", "v1", buildImage({ seed: 1 }));
  assertEquals(outcomesOf(await applyPlan(plan, rules, options())), [[`${DESTINATION}/b:v1`, "kept"]]);
  assertEquals(tagsAt(setup), ["v1", "v2", "v3"]);
});

Deno.test("200 random histories: no tag outside the rule, none that is at the source and no digest in use is deleted", async () => {
  for (let seed = 1; seed <= 200; seed++) await new History(seed).run();
});

/** A source and a destination that change from run to run, some of which fail. */
class History {
  readonly #random: () => number;
  readonly #setup: MirrorSetup;
  readonly #rules: Rule[];
  readonly #seed: number;
  #isFaulty = false;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = createRandom(seed);
    const when = this.#chance(0.5) ? "gone" : "unselected";
    const prune: PrunePolicy = { when, grace: "1d", most: this.#chance(0.5) ? 2 : "60%", keep: ["v0"] };
    if (this.#chance(0.2)) prune.foreign = true;
    const pattern = this.#chance(0.5) ? ":/^v/" : "";
    this.#rules = rulesWith(prune, `${SOURCE}/a${pattern}`);
    if (this.#chance(0.3)) {
      this.#rules.push({ source: `${SOURCE}/c`, destinations: [`${DESTINATION}/b`], referrers: false });
    }
    const intercept: Intercept = (request) => {
      const isHit = this.#isFaulty && request.method !== "DELETE" && this.#chance(0.05);
      return isHit ? new Response(null, { status: this.#chance(0.5) ? 500 : 404 }) : undefined;
    };
    this.#setup = setUpMirror({
      source: { intercept, quirks: { pageSize: 3 } },
      destination: { intercept, quirks: { refuseTagDelete: this.#chance(0.4) } },
    });
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #number(below: number): number {
    return Math.floor(this.#random() * below);
  }

  #change(): void {
    const { source, destination } = this.#setup;
    for (let count = this.#number(4); count >= 0; count--) {
      const image = this.#chance(0.3)
        ? buildIndex([buildImage({ seed: this.#number(6) }), buildImage({ seed: this.#number(6) + 10 })])
        : buildImage({ seed: this.#number(6) });
      pushImage(source, "a", `${this.#chance(0.8) ? "v" : "w"}${this.#number(6)}`, image);
      if (this.#chance(0.3)) pushImage(source, "c", `c${this.#number(3)}`, image);
      if (this.#chance(0.2)) {
        pushImage(destination, "b", `${this.#chance(0.5) ? "mine" : "v"}${this.#number(6)}`, image);
      }
      if (this.#chance(0.2)) pushImage(destination, "elsewhere", `v${this.#number(6)}`, image);
    }
    for (const tag of [...source.state.repository("a").tags.keys()]) {
      if (this.#chance(0.3)) removeTag(this.#setup, tag);
    }
  }

  async run(): Promise<void> {
    for (let round = 0; round < 6; round++) {
      this.#change();
      pass(this.#setup, DAY * 2 * this.#random());
      this.#isFaulty = this.#chance(0.4);
      const before = this.#snapshot();
      const report = await this.#setup.run(this.#rules, { retries: 0 });
      this.#isFaulty = false;
      this.#check(before, report);
    }
  }

  #snapshot(): Map<string, string> {
    const { tags } = this.#setup.destination.state.repository("b");
    return new Map([...tags].map(([tag, digest]) => [tag, String(digest)]));
  }

  #check(before: Map<string, string>, { deletions = [] }: Report): void {
    const { source, destination } = this.#setup;
    const now = destination.state.repository("b");
    const [rule] = this.#rules;
    const said = new Set(
      deletions.filter(({ status }) => status === "deleted").map(({ reference }) => reference),
    );
    const lost = [...before.keys()].filter((tag) => !now.tags.has(tag));
    const name = `seed ${this.#seed}`;
    for (const tag of lost) {
      assert(said.has(`${DESTINATION}/b:${tag}`), `${name}: "${tag}" is lost and nobody says so`);
      assert(tag !== "v0", `${name}: "${tag}" was to be kept`);
      const isThere = source.state.repository("a").tags.has(tag);
      const isSelected = isThere && (!rule?.source.includes(":/^v/") || tag.startsWith("v"));
      assert(
        rule?.prune?.when === "unselected" ? !isSelected : !isThere,
        `${name}: "${tag}" is at the source`,
      );
      assert(rule?.prune?.foreign === true || !tag.startsWith("mine"), `${name}: "${tag}" is not ours`);
      const isOthers = this.#rules.length > 1 && source.state.repository("c").tags.has(tag);
      assert(!isOthers, `${name}: "${tag}" is another rule's`);
    }
    for (const digest of now.tags.values()) this.#assertWhole(digest, name);
    assert(
      !this.#setup.destination.requests.some(({ method, repository }) =>
        method === "DELETE" && repository !== "b"
      ),
    );
  }

  #assertWhole(digest: string, name: string): void {
    const found = this.#setup.destination.state.repository("b").findManifest(digest);
    assert(found !== undefined, `${name}: "${digest}" is in use and gone`);
    const { manifests = [] } = JSON.parse(new TextDecoder().decode(found.bytes));
    for (const child of manifests) this.#assertWhole(child.digest, name);
  }
}

Deno.test("parseConfig() reads prune, and says what of it makes no sense", () => {
  const config = (prune: unknown) => JSON.stringify({ images: { "a.test/b": { to: "c.test/d", prune } } });
  const prune = { when: "gone", keep: ["1.*"], grace: "12h", most: "10%", foreign: true };
  assertEquals(parseConfig(config(prune)).rules[0]?.prune, prune as PrunePolicy);
  const bad: [unknown, string][] = [
    ["gone", "expected an object"],
    [{}, 'it must be "gone" or "unselected"'],
    [{ when: "gone", keep: "1.*" }, "expected an array"],
    [{ when: "gone", grace: "soon" }, "expected a time"],
    [{ when: "gone", most: 0 }, "expected a whole number"],
    [{ when: "gone", most: "0%" }, "expected a whole number"],
    [{ when: "gone", most: "200%" }, "expected a whole number"],
    [{ when: "gone", most: true }, "expected a whole number"],
    [{ when: "gone", foreign: "yes" }, "expected a boolean"],
    [{ when: "gone", kep: [] }, "there is no such key"],
  ];
  for (const [value, why] of bad) {
    assertStringIncludes(assertThrows(() => parseConfig(config(value)), Error).message, why);
  }
});
