/** Tests of whole namespaces: their repositories are listed by pages, mapped, and copied like any others. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Rule } from "../src/mirror/config/config.ts";
import { parseConfig } from "../src/mirror/config/config_text.ts";
import { makeFullPlan } from "../src/mirror/full_plan.ts";
import { applyPlan } from "../src/mirror/apply.ts";
import type { RegistriesOptions } from "../src/registry/request.ts";
import { buildImage, pushImage } from "./images.ts";
import { DESTINATION, type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";

const TEAM: Rule = { source: `${SOURCE}/team/*`, destinations: [`${DESTINATION}/mirror/team/*`] };

/** How a registry lists its repositories. */
interface CatalogOptions {
  /** How the registries are reached besides. */
  registries?: RegistriesOptions;
  /** Names on one page. */
  pageSize?: number;
  /** What it answers instead. */
  answer?: (page: number) => Response | undefined;
}

/** A mirror whose source lists its repositories, and counts how often it was asked. */
function withRepositories(
  names: readonly string[],
  { pageSize = 1000, answer, registries = {} }: CatalogOptions = {},
): { setup: MirrorSetup; pages: () => number } {
  let pages = 0;
  const sorted = [...names].sort();
  const list = (url: URL): Response => {
    pages++;
    const special = answer?.(pages);
    if (special !== undefined) return special;
    const last = url.searchParams.get("last") ?? "";
    const rest = sorted.filter((name) => name > last);
    const repositories = rest.slice(0, pageSize);
    const next = `</v2/_catalog?n=${pageSize}&last=${
      encodeURIComponent(repositories.at(-1) ?? "")
    }>; rel="next"`;
    return Response.json({ repositories }, { headers: rest.length > pageSize ? { link: next } : {} });
  };
  const setup = setUpMirror({
    registries,
    wrap: {
      [SOURCE]: (handler) => (request) => {
        const url = new URL(request.url);
        return url.pathname === "/v2/_catalog" ? Promise.resolve(list(url)) : handler(request);
      },
    },
  });
  const image = buildImage({ layers: 1 });
  for (const name of names) pushImage(setup.source, name, "v1", image);
  return { setup, pages: () => pages };
}

function copiedTo({ destination }: MirrorSetup, name: string): boolean {
  return destination.state.repository(name).tags.has("v1");
}

Deno.test("a namespace of 200 repositories is listed by pages, and each costs no more than its tags", async () => {
  const names = Array.from({ length: 200 }, (_, number) => `team/app-${number}`);
  const { setup, pages } = withRepositories([...names, "other/app", "team/deep/app", "team"], {
    pageSize: 50,
  });
  const report = await setup.run([{ ...TEAM, referrers: false }]);
  assertEquals([report.totals.copied, report.totals.rulesFailed], [200, 0]);
  for (const name of names) assert(copiedTo(setup, `mirror/${name}`), name);
  assertEquals([copiedTo(setup, "mirror/other/app"), copiedTo(setup, "mirror/team/deep/app")], [
    false,
    false,
  ]);
  assertEquals([pages(), setup.source.count({ kind: "tags" })], [5, 200]);
});

Deno.test("two asterisks are any depth, tags are chosen in each repository, and some are left out", async () => {
  const { setup } = withRepositories(["team/a", "team/b/c", "team/old/x", "team/b/d"]);
  pushImage(setup.source, "team/a", "v2", buildImage({ seed: 2, layers: 1 }));
  const rule: Rule = {
    source: `${SOURCE}/team/**`,
    destinations: [`${DESTINATION}/all/**`],
    repositories: { exclude: ["team/old/**", "/d$/"] },
    tags: { include: ["v1"] },
  };
  const report = await setup.run([rule]);
  assertEquals(report.totals.copied, 2);
  assertEquals([copiedTo(setup, "all/a"), copiedTo(setup, "all/b/c")], [true, true]);
});

for (
  const [what, answer, why] of [
    ["that refuses its list", () => new Response(null, { status: 403 }), "name its repositories one by one"],
    [
      "without a list",
      () => new Response("404 page not found", { status: 404 }),
      "name its repositories one by one",
    ],
    [
      "whose list is cut",
      (page: number) => page > 1 ? new Response("{", { status: 200 }) : undefined,
      "list the repo",
    ],
    [
      "that lists what can be no repository",
      () => Response.json({ repositories: ["team/a", "../b"] }),
      "no repository",
    ],
    ["that lists something else", () => Response.json({ results: [] }), "no list of repositories"],
    [
      "whose list does not end",
      () =>
        Response.json({ repositories: ["team/a"] }, {
          headers: { link: '</v2/_catalog?n=1000>; rel="next"' },
        }),
      "does not end",
    ],
  ] as const
) {
  Deno.test(`a namespace of a registry ${what} fails its rule alone`, async () => {
    const { setup } = withRepositories(["team/a", "team/b", "single/c"], { pageSize: 1, answer });
    const single = { source: `${SOURCE}/single/c`, destinations: [`${DESTINATION}/single/c`] };
    const report = await setup.run([TEAM, single]);
    assertEquals([report.totals.rulesFailed, report.totals.copied], [1, 1]);
    assertStringIncludes(report.rules[0]?.error ?? "", why);
  });
}

Deno.test("a list that fails for a moment is asked for again in another pass", async () => {
  const { setup } = withRepositories(["team/a"], {
    answer: (page) => page <= 6 ? new Response(null, { status: 503 }) : undefined,
  });
  const report = await setup.run([TEAM]);
  assertEquals([report.totals.rulesFailed, report.totals.copied], [0, 1]);
});

Deno.test("two rules that write one repository are refused where one is a namespace", async () => {
  const { setup } = withRepositories(["team/a", "other/a"]);
  const single = { source: `${SOURCE}/other/a`, destinations: [`${DESTINATION}/mirror/team/a`] };
  const report = await setup.run([TEAM, single]);
  assertStringIncludes(
    report.rules[0]?.error ?? "",
    `"${SOURCE}/other/a" is copied there too; leave one of them out`,
  );
  const both = { source: `${SOURCE}/other/*`, destinations: [`${DESTINATION}/mirror/team/*`] };
  assertEquals((await setup.run([TEAM, both])).totals.rulesFailed, 1);
});

Deno.test("a namespace without a repository is warned of", async () => {
  const { setup } = withRepositories(["other/a"]);
  const report = await setup.run([TEAM]);
  assertEquals([report.emptyRules.length, report.totals.rulesFailed], [1, 0]);
});

Deno.test("a plan of a namespace is applied", async () => {
  const { setup } = withRepositories(["team/a", "team/b"]);
  const options = { registries: setup.registries(), store: setup.store };
  const plan = await makeFullPlan([TEAM], options);
  assertEquals(plan.tasks.length, 2);
  const report = await applyPlan(plan, [TEAM], { ...options, registries: setup.registries() });
  assertEquals(report.totals.copied, 2);
});

for (
  const [what, rule, why] of [
    ["on the left only", { "h.test/a/*": "r.test/b" }, "wildcard stands on one side only"],
    ["on the right only", { "h.test/a": "r.test/b/*" }, "has a wildcard"],
    ["of another kind", { "h.test/a/*": "r.test/b/**" }, "same wildcards in the same order"],
    ["in the registry", { "*.test/a": "r.test/*" }, "a registry is one host"],
    ["with a tag at the destination", { "h.test/a/*": "r.test/b/*:v1" }, "names repositories, not tags"],
    ["with exclusions of one repository", {
      "h.test/a": { to: "r.test/a", repositories: { exclude: ["x"] } },
    }, "is one repository"],
    ["with exclusions that are none", {
      "h.test/a/*": { to: "r.test/a/*", repositories: { only: ["x"] } },
    }, 'expected { "exclude"'],
    [
      "that is to be pruned",
      { "h.test/a/*": { to: "r.test/a/*", prune: { when: "gone" } } },
      "are not pruned",
    ],
  ] as const
) {
  Deno.test(`a config with a wildcard ${what} is refused with its line`, () => {
    let message = "";
    try {
      parseConfig(JSON.stringify({ images: rule }, null, 2));
    } catch (error) {
      message = error instanceof Error ? error.message : "";
    }
    assertStringIncludes(message, why);
    assertStringIncludes(message, "(line ");
  });
}

Deno.test("where a registry does not list its repositories, its vendor is asked for those of the owner", async () => {
  const asked: string[] = [];
  const { setup } = withRepositories(["team/a", "team/b"], {
    answer: () => new Response(null, { status: 401 }),
    registries: {
      listOwned: ({ registry, owner, origin }) => {
        asked.push(`${origin} ${registry} ${owner}`);
        return Promise.resolve([["team/a"], ["team/b"]]);
      },
    },
  });
  const report = await setup.run([TEAM]);
  assertEquals([report.totals.copied, asked], [2, [`https://${SOURCE} ${SOURCE} team`]]);
});
