/** Tests of whole namespaces: which repositories are of one, and where they go. */

import { assertEquals, assertThrows } from "@std/assert";
import {
  checkNamespaces,
  isNamespace,
  mapRepository,
  matchNamespace,
  parseNamespace,
  prefixOf,
} from "../src/mirror/rules/namespace.ts";
import { RuleError } from "../src/mirror/rules/rules.ts";
import { InvalidReferenceError } from "../src/oci/reference.ts";

Deno.test("isNamespace() knows a wildcard in a name from one in a pattern of tags", () => {
  for (const text of ["h.test/team/*", "h.test/**", "team/app-*:v1", "h.test:5000/*/app"]) {
    assertEquals(isNamespace(text), true, text);
  }
  for (const text of ["h.test/team/app", "h.test/app:/v.*/", "nginx:/.*/", "a/b@sha256:x*"]) {
    assertEquals(isNamespace(text), false, text);
  }
});

Deno.test("parseNamespace() splits registry, name and tags", () => {
  const { registry, pattern, rest } = parseNamespace("H.test:5000/team/**:v1,v2");
  assertEquals([registry, pattern, rest], ["h.test:5000", "team/**", ":v1,v2"]);
  assertEquals(parseNamespace("library/*:/^v/").rest, ":/^v/");
  assertEquals(parseNamespace("library/*").registry, "docker.io");
});

const MISTAKES: readonly (readonly [string, string])[] = [
  ["*.test/team/app", "cannot stand in it"],
  ["h.test/app*:v*", 'tags are chosen by "tags"'],
  ["h.test/te**am", '"**" stands for whole parts'],
  ["h.test/Team/*", "repository must be lowercase"],
  ["https://h.test/*", "must not have a scheme"],
];

for (const [text, message] of MISTAKES) {
  Deno.test(`parseNamespace() refuses ${text}`, () => {
    assertThrows(() => parseNamespace(text), InvalidReferenceError, message);
  });
}

Deno.test("matchNamespace() takes one part for a star, and any number for two", () => {
  const match = (pattern: string, repository: string) => matchNamespace({ pattern }, repository);
  assertEquals(match("team/*", "team/app"), ["app"]);
  assertEquals(match("team/*", "team/app/web"), undefined);
  assertEquals(match("team/*", "steam/app"), undefined);
  assertEquals(match("team/**", "team/app/web"), ["app/web"]);
  assertEquals(match("**", "a"), ["a"]);
  assertEquals(match("*/app-*/x", "team/app-web/x"), ["team", "web"]);
  assertEquals(match("a.b/*", "axb/app"), undefined);
});

Deno.test("prefixOf() is what a listing can be narrowed to", () => {
  const prefixes = ["team/*", "team/app-*", "**", "a/b/**"].map((pattern) => prefixOf({ pattern }));
  assertEquals(prefixes, ["team/", "team/", "", "a/b/"]);
});

Deno.test("mapRepository() puts the parts where the destinations have them", () => {
  const source = parseNamespace("h.test/*/app-*:v1");
  const to = ["d.test/mirror/*/x/*", "e.test/*/all-*"].map((one) => checkNamespaces(source, one));
  assertEquals(mapRepository(source, to, "team/app-web"), {
    source: "h.test/team/app-web:v1",
    destinations: ["d.test/mirror/team/x/web", "e.test/team/all-web"],
  });
  assertEquals(mapRepository(source, to, "team/other"), undefined);
});

Deno.test("a namespace and its destination have the same wildcards, and no tags behind them", () => {
  const source = parseNamespace("h.test/team/*");
  assertThrows(() => checkNamespaces(source, "d.test/team/app"), RuleError, "on one side only");
  assertThrows(
    () => checkNamespaces(source, "d.test/team/**"),
    RuleError,
    "the same wildcards in the same order (* and **)",
  );
  assertThrows(() => checkNamespaces(source, "d.test/*/*"), RuleError, "(* and * *)");
  assertThrows(() => checkNamespaces(source, "d.test/*:v1"), RuleError, "names repositories, not tags");
});

Deno.test("mapRepository() refuses a name that breaks the grammar", () => {
  const source = parseNamespace("h.test/team/app*");
  const to = [checkNamespaces(source, "d.test/x/*")];
  assertThrows(
    () => mapRepository(source, to, "team/app-web"),
    RuleError,
    '"x/-web" is not a repository name',
  );
});
