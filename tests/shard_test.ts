/** Shards: every destination in exactly one, whatever its tags, and about as many in each. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Rule } from "../src/mirror/config/config.ts";
import { formatReference, parseReference } from "../src/oci/reference.ts";
import type { Plan } from "../src/mirror/plan/plan.ts";
import {
  isInShard,
  parseShard,
  type Shard,
  ShardError,
  shardPlan,
  shardRules,
} from "../src/mirror/plan/shard.ts";

const shardsOf = (count: number): Shard[] =>
  Array.from({ length: count }, (_, index) => ({ index: index + 1, count }));

Deno.test("parseShard() counts from one", () => {
  assertEquals(parseShard("3/8"), { index: 3, count: 8 });
  assertEquals(parseShard(" 1/1 "), { index: 1, count: 1 });
  for (const text of ["", "0/8", "9/8", "3", "3/", "/8", "-1/8", "1.5/8", "3/8/9", "a/b", "1/9999999"]) {
    assertThrows(() => parseShard(text), ShardError, `Cannot use shard "${text}": expected INDEX/COUNT`);
  }
});

Deno.test("isInShard() puts each destination into one shard, about as many into each", () => {
  const counts = shardsOf(8).map(() => 0);
  for (let number = 0; number < 8000; number++) {
    const name = `registry.example.com/mirror/app-${number}`;
    const mine = shardsOf(8).filter((shard) => isInShard(shard, name));
    assertEquals(mine.length, 1);
    const at = (mine[0]?.index ?? 0) - 1;
    counts[at] = (counts[at] ?? 0) + 1;
  }
  for (const count of counts) assert(count > 850 && count < 1150, `${counts}`);
});

Deno.test("isInShard() never looks at a tag or digest, nor at which of its names a registry goes by", () => {
  for (const shard of shardsOf(5)) {
    const expected = isInShard(shard, "docker.io/library/nginx");
    const digest = `sha256:${"a".repeat(64)}`;
    for (const rest of ["", ":1.27", ":1.26,1.27", `@${digest}`, `:1.27@${digest}`]) {
      assertEquals(isInShard(shard, `nginx${rest}`), expected);
      assertEquals(isInShard(shard, `index.docker.io/library/nginx${rest}`), expected);
    }
  }
});

Deno.test("isInShard() stays as it is: workers of different versions share a mirror", () => {
  const shards = ["a", "b", "c", "d"].map((name) =>
    shardsOf(8).findIndex((shard) => isInShard(shard, `r.io/${name}`)) + 1
  );
  assertEquals(shards, [1, 4, 7, 7]);
});

Deno.test("shardRules() leaves each shard its destinations, and what is malformed to one of them", () => {
  const destinations = ["r.io/a", "r.io/b", "r.io/c:v1", "not a reference"];
  const rules: Rule[] = [{ source: "alpine", destinations }, {
    source: "busybox",
    destinations: ["r.io/a"],
    platforms: ["linux/arm64"],
  }];
  const parts = shardsOf(4).map((shard) => shardRules(rules, shard));
  const found = parts.flatMap((part) => part.filter(({ source }) => source === "alpine"));
  assertEquals(found.flatMap((rule) => rule.destinations).sort(), destinations.toSorted());
  const others = parts.flatMap((part) => part.filter(({ source }) => source === "busybox"));
  assertEquals(others, [{ source: "busybox", destinations: ["r.io/a"], platforms: ["linux/arm64"] }]);
});

Deno.test("shardPlan() divides a plan as shardRules() divides its rules", () => {
  const tasks = ["a", "b", "c"].map((name) => ({
    id: name,
    source: parseReference(`${name}:v1`),
    root: { mediaType: "", digest: "", size: 0 },
    destinations: ["x", "y"].map((to) => ({
      reference: parseReference(`r.io/${to}/${name}:v1`),
      action: "copy" as const,
    })),
  }));
  const plan: Plan = { createdAt: "", tasks, skipped: [], failed: [], warnings: [], empty: [], dropped: [] };
  const parts = shardsOf(4).map((shard) => shardPlan(plan, shard));
  const references = parts.flatMap((part) => part.tasks).flatMap((task) => task.destinations);
  assertEquals(references.length, 6);
  assertEquals(new Set(references.map(({ reference }) => formatReference(reference))).size, 6);
  for (const [at, part] of parts.entries()) {
    for (const { reference } of part.tasks.flatMap((task) => task.destinations)) {
      assert(isInShard({ index: at + 1, count: 4 }, formatReference({ ...reference, tag: "v2" })));
    }
  }
});
