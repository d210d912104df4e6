/** Tests of the rule grammar: what a rule selects, and which pairs it becomes. */

import { assertEquals, assertThrows } from "@std/assert";
import {
  defaultDestination,
  expandRule,
  formatRuleSource,
  needsTags,
  parseRuleSource,
  RuleError,
} from "../src/mirror/rules/rules.ts";
import { formatReference, InvalidReferenceError } from "../src/oci/reference.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const OTHER_DIGEST = `sha256:${"b".repeat(64)}`;

/** The pairs of a rule, written `source > destination`. */
function expand(source: string, destination: string, tags: readonly string[] = []): string[] {
  return expandRule(parseRuleSource(source), destination, tags)
    .map((pair) => `${formatReference(pair.source)} > ${formatReference(pair.destination)}`);
}

Deno.test("parseRuleSource() reads what is selected", () => {
  const selectionOf = (text: string) => parseRuleSource(text).selection;
  assertEquals(selectionOf("r.test/a"), { type: "all" });
  assertEquals(selectionOf("r.test/a:v1"), { type: "tags", tags: ["v1"] });
  assertEquals(selectionOf("r.test/a:v1, v2,v1"), { type: "tags", tags: ["v1", "v2"] });
  assertEquals(selectionOf("r.test/a:/^v[0-9]/"), { type: "pattern", pattern: "^v[0-9]" });
  assertEquals(selectionOf("r.test/a://"), { type: "pattern", pattern: "" });
  assertEquals(selectionOf("r.test/a:/a/b:c@d/"), { type: "pattern", pattern: "a/b:c@d" });
  assertEquals(selectionOf(`r.test/a@${DIGEST}`), { type: "digest", digest: DIGEST });
});

Deno.test("fault 8: parseRuleSource() lets the digest count where there is a tag too, and keeps the tag as its name", () => {
  const source = parseRuleSource(`r.test/a:v1@${DIGEST}`);
  assertEquals(source.selection, { type: "digest", digest: DIGEST, tag: "v1" });
  assertEquals(formatRuleSource(source), `r.test/a:v1@${DIGEST}`);
  assertThrows(
    () => parseRuleSource(`r.test/a:v1,v2@${DIGEST}`),
    InvalidReferenceError,
    '"v1,v2" is not a tag',
  );
});

for (
  const [destination, expected] of [
    ["d.test/b", "d.test/b:v1"],
    ["d.test/b:x", "d.test/b:x"],
    [`d.test/b@${DIGEST}`, `d.test/b@${DIGEST}`],
    [`d.test/b:x@${DIGEST}`, "d.test/b:x"],
  ] as const
) {
  Deno.test(`fault 8: a pinned tag goes to ${expected.slice(0, 16)} where the destination is ${destination.slice(0, 16)}`, () => {
    const [pair] = expandRule(parseRuleSource(`r.test/a:v1@${DIGEST}`), destination);
    assertEquals(pair?.source, { registry: "r.test", repository: "a", digest: DIGEST });
    assertEquals(formatReference(pair?.destination ?? { registry: "", repository: "" }), expected);
  });
}

Deno.test("parseRuleSource() knows Docker Hub by its names", () => {
  const place = (text: string) => {
    const { registry, repository } = parseRuleSource(text);
    return `${registry}/${repository}`;
  };
  assertEquals(place("nginx:1.27"), "docker.io/library/nginx");
  assertEquals(place("bitnami/redis"), "docker.io/bitnami/redis");
  assertEquals(place("registry.hub.docker.com/library/nginx"), "docker.io/library/nginx");
  assertEquals(place("localhost/nginx"), "localhost/nginx");
  assertEquals(place("r.test:5000/a/b/c/d:v1"), "r.test:5000/a/b/c/d");
});

Deno.test("parseRuleSource() refuses what is malformed", () => {
  const wrong = [
    "",
    " ",
    "r.test/a:",
    "r.test/a:v1,",
    "r.test/a:/v",
    "r.test/a:/",
    "r.test/A",
    "r.test/a:v 1",
  ];
  for (const text of [...wrong, "r.test/a@sha256:12", `r.test/a:-x@${DIGEST}`, "r.test/a:v1,-v2"]) {
    assertThrows(() => parseRuleSource(text), InvalidReferenceError, "Cannot parse reference");
  }
});

Deno.test("needsTags() is whether the source must be listed", () => {
  assertEquals(needsTags(parseRuleSource("r.test/a")), true);
  assertEquals(needsTags(parseRuleSource("r.test/a:/v/")), true);
  assertEquals(needsTags(parseRuleSource("r.test/a:v1,v2")), false);
  assertEquals(needsTags(parseRuleSource(`r.test/a@${DIGEST}`)), false);
});

Deno.test("expandRule() keeps the tags when the destination has none", () => {
  assertEquals(expand("r.test/a:v1", "d.test/b"), ["r.test/a:v1 > d.test/b:v1"]);
  assertEquals(expand("r.test/a:v1,v2", "d.test/b"), [
    "r.test/a:v1 > d.test/b:v1",
    "r.test/a:v2 > d.test/b:v2",
  ]);
  assertEquals(expand("r.test/a", "d.test/b", ["x", "y"]), [
    "r.test/a:x > d.test/b:x",
    "r.test/a:y > d.test/b:y",
  ]);
});

Deno.test("expandRule() pairs tags by their place", () => {
  assertEquals(expand("r.test/a:v1", "d.test/b:x"), ["r.test/a:v1 > d.test/b:x"]);
  assertEquals(expand("r.test/a:v1,v2", "d.test/b:x,y"), [
    "r.test/a:v1 > d.test/b:x",
    "r.test/a:v2 > d.test/b:y",
  ]);
  assertEquals(expand("r.test/a", "d.test/b:x", ["only"]), ["r.test/a:only > d.test/b:x"]);
});

Deno.test("expandRule() refuses numbers of tags that do not match", () => {
  const why = "the number of tags of source and destination is not matched";
  for (const destination of ["d.test/b:x", "d.test/b:x,y,z"]) {
    assertThrows(() => expand("r.test/a:v1,v2", destination), RuleError, why);
  }
  assertThrows(() => expand("r.test/a", "d.test/b:x", ["v1", "v2"]), RuleError, why);
  assertThrows(() => expand("r.test/a", "d.test/b:x", []), RuleError, why);
});

Deno.test("expandRule() becomes nothing where no tag is selected", () => {
  assertEquals(expand("r.test/a:/v/", "d.test/b", []), []);
});

Deno.test("expandRule() copies a digest to itself or under a tag", () => {
  const source = `r.test/a@${DIGEST}`;
  assertEquals(expand(source, "d.test/b"), [`r.test/a@${DIGEST} > d.test/b@${DIGEST}`]);
  assertEquals(expand(source, `d.test/b@${DIGEST}`), [`r.test/a@${DIGEST} > d.test/b@${DIGEST}`]);
  assertEquals(expand(source, "d.test/b:x"), [`r.test/a@${DIGEST} > d.test/b:x`]);
  assertEquals(expand(source, `d.test/b:x@${DIGEST}`), [`r.test/a@${DIGEST} > d.test/b:x`]);
});

Deno.test("expandRule() refuses digests that cannot be", () => {
  assertThrows(
    () => expand(`r.test/a@${DIGEST}`, `d.test/b@${OTHER_DIGEST}`),
    RuleError,
    "different digests",
  );
  assertThrows(
    () => expand("r.test/a:v1", `d.test/b@${DIGEST}`),
    InvalidReferenceError,
    "a tag cannot be copied",
  );
  assertThrows(() => expand(`r.test/a@${DIGEST}`, "d.test/b:x,y"), InvalidReferenceError);
  assertThrows(() => expand("r.test/a:v1", "d.test/B"), InvalidReferenceError);
});

Deno.test("RuleError names both sides", () => {
  const error = assertThrows(() => expand("nginx:1,2", "d.test/b:x"), RuleError);
  assertEquals(error.message.startsWith('Cannot copy "docker.io/library/nginx:1,2" to "d.test/b:x": '), true);
});

Deno.test("defaultDestination() is default registry, namespace and the last part of the source", () => {
  const source = parseRuleSource("quay.io/coreos/deep/etcd:v1");
  assertEquals(defaultDestination(source, { registry: "d.test", namespace: "n" }), "d.test/n/etcd");
  assertEquals(defaultDestination(source, { registry: "d.test", namespace: "/n/m/" }), "d.test/n/m/etcd");
  assertEquals(defaultDestination(source, { registry: "d.test" }), "d.test/etcd");
  assertEquals(defaultDestination(source, { namespace: "n" }), undefined);
  assertEquals(defaultDestination(source, { registry: "" }), undefined);
});

Deno.test("formatRuleSource() writes what parseRuleSource() reads", () => {
  for (const text of ["r.test/a", "r.test/a:v1", "r.test/a:v1,v2", "r.test/a:/^v/", `r.test/a@${DIGEST}`]) {
    assertEquals(formatRuleSource(parseRuleSource(text)), text);
  }
});
