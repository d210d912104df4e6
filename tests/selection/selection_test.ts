/** Tests of which tags a rule's filters leave. */

import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import semver from "semver";
import { NamePatternError } from "../../src/mirror/rules/name_pattern.ts";
import {
  isBelongingTag,
  SelectionError,
  type TagSelection,
  TagSelector,
} from "../../src/mirror/rules/selection.ts";
import { parseTagVersion } from "../../src/mirror/rules/tag_version.ts";
import { SELECTIONS } from "./selections.ts";
import { BELONGINGS, createdOf, digestOf, NOW, TAGS } from "./tags.ts";

async function select(selection: TagSelection, tags: readonly string[] = TAGS) {
  const selector = await TagSelector.compile(selection);
  const started = selector.start(tags);
  const dated = started.selected.map((one) => ({
    ...one,
    digest: digestOf(one.tag),
    created: createdOf(one.tag),
  }));
  const { selected, dropped } = selector.finish(dated, NOW);
  return { tags: selected.map(({ tag }) => tag), dropped: [...started.dropped, ...dropped] };
}

for (const [selection, expected, drops] of SELECTIONS) {
  Deno.test(`TagSelector selects by ${JSON.stringify(selection)}`, async () => {
    const { tags, dropped } = await select(selection);
    assertEquals(tags.join(" "), expected);
    assertEquals(dropped.map(({ filter, count }) => `${filter} ${count}`).join(", "), drops);
    const sum = dropped.reduce((total, { count }) => total + count, tags.length);
    assertEquals(sum, TAGS.length);
  });
}

Deno.test("there are 60 selections and more, over 400 tags and more", () => {
  assert(SELECTIONS.length >= 60);
  assert(TAGS.length >= 400);
});

Deno.test("TagSelector agrees with npm's semver over all tags that name a version", async () => {
  const named = TAGS.map((tag) => ({ tag, named: parseTagVersion(tag) })).filter(({ named }) =>
    named?.variant === ""
  );
  assert(named.length > 80);
  for (
    const range of [
      "*",
      "17",
      "^1.27",
      "~1.27.2",
      ">=1.2 <3",
      "18 || 20",
      "<1000",
      ">=23.0.0-rc.1",
      "1.26 - 1.28",
    ]
  ) {
    for (const prereleases of [false, true]) {
      const { tags } = await select({ semver: range, prereleases });
      const expected = named.filter(({ named }) =>
        semver.satisfies(named?.version ?? "", range, { includePrerelease: prereleases })
      );
      assertEquals(tags, expected.map(({ tag }) => tag), range);
    }
  }
});

Deno.test("parseTagVersion() writes versions as npm's semver does", () => {
  const expected: Record<string, string> = {
    "1": "1.0.0 ",
    "v1.2": "1.2.0 ",
    "1.02.003": "1.2.3 ",
    "2026.01.05": "2026.1.5 ",
    "16beta2": "16.0.0-beta2 ",
    "16-beta.02": "16.0.0-beta.2 ",
    "16rc1-alpine3.20": "16.0.0-rc1 alpine3.20",
    "1.2.3-a1": "1.2.3-a1 ",
    "1.2.3-alpine": "1.2.3 alpine",
    "1.2.3-bookworm-slim": "1.2.3 bookworm-slim",
    "1.2.3-preview": "1.2.3 preview",
    "1.2.3-pre": "1.2.3-pre ",
    "1.2.3-dev-20240101-slim": "1.2.3-dev-20240101 slim",
    "v1.0.0-RC1": "1.0.0-RC1 ",
  };
  for (const [tag, text] of Object.entries(expected)) {
    const { version, variant } = parseTagVersion(tag) ?? { version: "none", variant: "none" };
    assertEquals(`${version} ${variant}`, text, tag);
    assertStrictEquals(semver.valid(version), version);
  }
  for (const tag of ["latest", "1.2.3.4", "1.27perl", "v", "", "1.", "9".repeat(16), "_1", "1..2"]) {
    assertEquals(parseTagVersion(tag), undefined, tag);
  }
});

Deno.test("TagSelector sets apart what belongs to images, unless told that nothing does", async () => {
  for (const tag of BELONGINGS) assert(isBelongingTag(tag), tag);
  for (const tag of ["sha256-ab", "sha256-" + "a".repeat(64) + ".txt", "latest"]) {
    assert(!isBelongingTag(tag));
  }
  const selector = await TagSelector.compile({ include: ["sha256-*"] });
  assertEquals(selector.start(TAGS).selected, []);
  const { selected } = selector.start(TAGS, { hasBelongings: false });
  assertEquals(selected.map(({ tag }) => tag), [...BELONGINGS].sort());
});

Deno.test("TagSelector says which tags never change, and what it must know", async () => {
  const selector = await TagSelector.compile({ immutable: ["v*", "/^1\\./"], within: "9d" });
  assertEquals(["v1", "1.2", "latest"].map((tag) => selector.isImmutable(tag)), [true, true, false]);
  assertEquals([selector.needsDates, selector.needsAll], [true, false]);
  const newest = await TagSelector.compile({ newest: 1, by: "created" });
  assertEquals([newest.needsDates, newest.needsAll], [true, true]);
});

Deno.test("TagSelector fails where fewer are left than must be", async () => {
  const selector = await TagSelector.compile({ atLeast: 2 });
  selector.check(2);
  assertThrows(
    () => selector.check(1),
    SelectionError,
    'Cannot select tags by "atLeast": 1 tag is left, 2 are wanted',
  );
});

const MISTAKES: readonly (readonly [TagSelection, string])[] = [
  [{ semver: "not a range" }, 'Cannot select tags by "semver": "not a range" is no range'],
  [{ within: "90" }, '"90" is no age; write for example "90d"'],
  [{ within: "0d" }, '"0d" is no age'],
  [{ newest: 0, by: "name" }, 'Cannot select tags by "newest": it must be a whole number above 0'],
  [{ newest: 1.5, by: "name" }, "it must be a whole number above 0"],
  [{ atLeast: -1 }, 'Cannot select tags by "atLeast"'],
  [{ newest: 3 }, 'say by what: "by": "version", "created" or "name"'],
  [{ by: "name" }, '"newest" says how many; it is missing'],
  [{ variant: "alpine" }, 'it belongs to versions; "semver" or "by": "version" is missing'],
  [{ prereleases: true }, 'Cannot select tags by "prereleases"'],
  [{ newest: 2, by: "name", atLeast: 3 }, '3 are wanted, and "newest" leaves 2 at the most'],
  [{ include: ["a*"], exclude: ["a*"] }, 'it leaves out all that "include" selects (a*)'],
];

for (const [selection, message] of MISTAKES) {
  Deno.test(`TagSelector refuses ${JSON.stringify(selection)}`, async () => {
    await assertRejects(() => TagSelector.compile(selection), SelectionError, message);
  });
}

Deno.test("compileNames() refuses what is neither a glob nor a pattern", async () => {
  for (const text of ["a b", "[ab", "{a,b", "", "/(/", "é*", "/(?=a)/"]) {
    const error = await assertRejects(() => TagSelector.compile({ include: [text] }), NamePatternError);
    assert(error instanceof Error && error.message.startsWith(`Cannot read the pattern "${text}": `), text);
  }
});
