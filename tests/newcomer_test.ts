/**
 * What a newcomer gets wrong, and the sentence that each mistake gets: configs, references and rules, without a request. The
 * mistakes of the command line are in tests/cli/newcomer_test.ts.
 */

import { assert, assertStringIncludes } from "@std/assert";
import { parseYaml } from "../src/machine/config/yaml_source.ts";
import { parseAuthFile } from "../src/machine/login/auth_file.ts";
import { parseConfig, readConfig } from "../src/mirror/config/config_text.ts";
import { expandRule, parseRuleSource } from "../src/mirror/rules/rules.ts";
import { parseShard } from "../src/mirror/plan/shard.ts";
import { parsePlatformSelector } from "../src/oci/platform.ts";
import { parseReference } from "../src/oci/reference.ts";

const SECRET = "hunter2";

/** The sentence that something gets: of an error, or of the first warning. */
function sentenceOf(work: () => unknown): string {
  try {
    const result = work();
    const { warnings = [] } = (result ?? {}) as { warnings?: string[] };
    return warnings[0] ?? "nothing is said";
  } catch (error) {
    assert(error instanceof Error);
    return error.message;
  }
}

const json = (text: string) => () => parseConfig(text, { environment: () => undefined });
const images = (rules: string) => json(`{ "images": {\n${rules}\n} }`);
const auth = (entry: string) =>
  json(`{ "auth": { "r.test": ${entry} },\n"images": { "r.test/a": "r.test/b" } }`);
const yaml = (text: string) => () => readConfig(parseYaml(text, "c.yaml"), { environment: () => undefined });
const source = (text: string) => () => parseRuleSource(text);
const pair = (from: string, to: string, tags: string[] = []) => () =>
  expandRule(parseRuleSource(from), to, tags);
const DIGEST = `sha256:${"a".repeat(64)}`;

/** A mistake, and what its sentence says. */
const MISTAKES: readonly (readonly [string, () => unknown, string])[] = [
  // JSON
  ["an empty file", json(""), "it is empty"],
  ["a file of blanks", json(" \n\t\n"), "it is empty"],
  [
    "a missing comma between keys",
    json(`{ "auth": {}\n  "images": {} }`),
    "(line 2): it is not valid JSON at column 3: a comma is missing before it",
  ],
  [
    "a missing comma before a comment",
    json(`{ "a": 1 // one\n "images": {} }`),
    "a comma is missing before it",
  ],
  ["two commas", json(`{ "auth": {},, "images": {} }`), "at column 14: there is a comma too many"],
  ["a brace too many", json(`{ "images": {} }}`), "there is a bracket or brace too many"],
  [
    "a brace that is not closed",
    json(`{ "images": { "a": "b"`),
    "it ends too early: a bracket, a brace or a comment is not closed",
  ],
  ["a comment that is not closed", json(`{ "images": {} } /* so`), "it ends too early"],
  ["single quotes", json(`{ 'images': {} }`), "texts and keys stand between double quotes"],
  ["keys without quotes", json(`{ images: {} }`), "texts and keys stand between double quotes"],
  ["typographic quotes", json(`{ “images”: {} }`), "texts and keys stand between double quotes"],
  [
    "a value without quotes",
    json(`{ "images": { "a/b": r.test/b } }`),
    "stand between double quotes; only numbers, true, false and null do not",
  ],
  [
    "True as Python has it",
    json(`{ "auth": { "r.test": { "insecure": True } } }`),
    "only numbers, true, false and null do not",
  ],
  [
    "a backslash in a pattern",
    json(String.raw`{ "images": { "a/b:/v\d/": "r.test/b" } }`),
    String.raw`"\d" is no escape; a backslash is written "\\"`,
  ],
  [
    "a Windows path",
    json(String.raw`{ "auth": { "r.test": { "caFile": "C:\certs\ca.pem" } } }`),
    String.raw`"\c" is no escape`,
  ],
  ["a text over two lines", json(`{ "images": { "a/b": "r.test\n/b" } }`), "a text does not end on its line"],
  ["a quote that is missing", json(`{ "images": { "a/b": "r.test/b } }`), "a text does not end on its line"],
  ["a colon too many", json(`{ "images":: {} }`), "there is a colon too many"],
  ["a colon that is missing", json(`{ "images" {} }`), "at column 12"],
  ["a number with a leading zero", json(`{ "images": {}, "proc": 05 }`), "it is no number as JSON writes it"],
  ["UTF-16", json('\uFFFD\uFFFD{\u0000"\u0000'), "it is not UTF-8 but UTF-16; save it as UTF-8"],
  ["YAML in a file called .json", json("images:\n  a/b: r.test/b\n"), "it is not valid JSON"],
  ["an HTML page", json("<!DOCTYPE html><html></html>"), "it is not valid JSON at column 1"],
  [
    "a secret in broken JSON",
    json(`{ "auth": { "r.test": { "password": "${SECRET}" "x" } } }`),
    "a comma is missing before it",
  ],
  // Forms
  ["a list at the top", json("[]"), "expected an object, got an array"],
  ["a text at the top", json(`"images"`), "expected an object, got a string"],
  ["no images", json(`{ "auth": {} }`), `there are no "images", so there is nothing to copy`],
  ["Images in capitals", json(`{ "Images": {} }`), `there are no "images"`],
  ["images that are a list", json(`{ "images": ["a/b"] }`), "expected an object, got an array"],
  ["auth that is a list", json(`{ "auth": [], "images": {} }`), "expected an object, got an array"],
  [
    "a mistyped top key",
    json(`{ "images": {}, "atuh": {} }`),
    `Unknown key "atuh" (line 1); did you mean "auth"?`,
  ],
  [
    "the same source twice",
    images(`"a/b": "r.test/b",\n"a/b": "r.test/c"`),
    "(line 3): the key stands twice, first on line 2",
  ],
  ["an empty source", images(`"": "r.test/b"`), "expected a source, got an empty key"],
  ["a number as destination", images(`"a/b": 5`), "(line 2): expected a string, an array of strings"],
  ["null as destination", images(`"a/b": null`), "expected a string, an array of strings"],
  ["no destination", images(`"a/b": []`), "expected a string, an array of strings"],
  ["a list in a list", images(`"a/b": [["r.test/b"]]`), "expected a string, an array of strings"],
  [
    "an empty destination without a default",
    images(`"a/b": ""`),
    "its destination is empty and there is no default registry",
  ],
  ["an object without to", images(`"a/b": { "platforms": ["linux/amd64"] }`), `an object needs "to"`],
  [
    "platform for platforms",
    images(`"a/b": { "to": "r.test/b", "platform": ["linux/amd64"] }`),
    `did you mean "platforms"?`,
  ],
  [
    "destination for to",
    images(`"a/b": { "destination": "r.test/b" }`),
    `an object with "to" has no such key`,
  ],
  [
    "platforms as a text",
    images(`"a/b": { "to": "r.test/b", "platforms": "linux/amd64" }`),
    "expected an array of platforms such as linux/amd64",
  ],
  [
    "a platform that is an architecture",
    images(`"a/b": { "to": "r.test/b", "platforms": ["amd64"] }`),
    `Cannot parse platform "amd64": expected os/architecture`,
  ],
  [
    "no platform at all",
    images(`"a/b": { "to": "r.test/b", "platforms": [] }`),
    "expected an array of platforms",
  ],
  [
    "attestations as a text",
    images(`"a/b": { "to": "r.test/b", "attestations": "no" }`),
    "expected a boolean, got a string",
  ],
  ["an unset variable in a destination", images(`"a/b": "r.test/\${TEAM}/b"`), "TEAM"],
  // Credentials
  [
    "a password without a user",
    auth(`{ "password": "${SECRET}" }`),
    `there is a password without a "username"`,
  ],
  ["a user that is a number", auth(`{ "username": 5, "password": "x" }`), "expected a string, got a number"],
  [
    "a password that is a list",
    auth(`{ "username": "u", "password": ["${SECRET}"] }`),
    "expected a string, got an array",
  ],
  ["user for username", auth(`{ "user": "u" }`), `Unknown key "auth.r.test.user"`],
  ["pasword for password", auth(`{ "username": "u", "pasword": "${SECRET}" }`), `did you mean "password"?`],
  ["insecure as a text", auth(`{ "insecure": "true" }`), "expected a boolean, got a string"],
  ["an entry that is a text", auth(`"u:${SECRET}"`), "expected an object, got a string"],
  ["a certificate without its key", auth(`{ "certFile": "c.pem" }`), `"certFile" and "keyFile" go together`],
  ["a key without its certificate", auth(`{ "keyFile": "k.pem" }`), `"certFile" and "keyFile" go together`],
  [
    "an empty registry",
    json(`{ "auth": { "": {} }, "images": { "a/b": "r.test/b" } }`),
    "expected a registry or registry/namespace as the key",
  ],
  [
    "one registry under two names",
    json(
      `{ "auth": { "docker.io": { "username": "a", "password": "x" }, "index.docker.io": {} }, "images": { "a/b": "r.test/b" } }`,
    ),
    `another key names "docker.io" too`,
  ],
  // YAML
  ["a tab in YAML", yaml("images:\n\ta/b: r.test/b\n"), "it is not valid YAML"],
  ["a brace in YAML that is not closed", yaml("images: { a/b: r.test/b\n"), "it is not valid YAML"],
  [
    "indentation that does not fit",
    yaml("images:\n  a/b: r.test/b\n c/d: r.test/d\n"),
    "it is not valid YAML",
  ],
  [
    "the same source twice in YAML",
    yaml("images:\n  a/b: r.test/b\n  a/b: r.test/c\n"),
    "(line 3): the key stands twice, first on line 2",
  ],
  ["an alias without an anchor", yaml("images: *nowhere\n"), "a YAML alias in it has no anchor"],
  ["two documents", yaml("images: {}\n---\nimages: {}\n"), "it is not valid YAML"],
  ["an omap", yaml("images: !!omap [a: b]\n"), `a YAML "!!omap" is no map`],
  ["a set", yaml("images: !!set {a}\n"), `a YAML "!!set" is no map`],
  ["a list of rules in YAML", yaml("images:\n  - a/b: r.test/b\n"), "expected an object, got an array"],
  ["a file of regsync", yaml("version: 1\nsync:\n  - source: a\n"), "it looks like a file of regsync"],
  ["a file of dregsy", yaml("relay: skopeo\ntasks: []\n"), "it looks like a file of dregsy"],
  ["a file of skopeo sync", yaml("r.test:\n  images:\n    a: []\n"), "it looks like a file of skopeo"],
  ["docker's config.json", json(`{ "auths": {} }`), "docker's own credentials"],
  ["a YAML key without a value", yaml("images:\n"), "expected an object, got null"],
  // References
  ["an address", source("https://r.test/a/b"), "must not have a scheme such as https://"],
  ["docker:// as skopeo has it", source("docker://r.test/a/b"), "must not have a scheme"],
  ["capitals", source("R.test/Team/App"), "repository must be lowercase"],
  ["a blank in a name", source("r.test/a b"), `"a b" is not a repository name`],
  ["two slashes", source("r.test/a//b"), "is not a repository name"],
  ["a slash at the end", source("r.test/a/"), "is not a repository name"],
  ["a slash at the start", source("/a/b"), "is not a repository name"],
  ["no repository", source("r.test/"), "repository is empty"],
  ["nothing", source(""), "it is empty"],
  ["blanks", source("   "), "it is empty"],
  ["a colon and no tag", source("r.test/a:"), `"" is not a tag`],
  ["a tag with a slash", source("r.test/a:v1/x"), "is not a tag"],
  ["a tag with a blank", source("r.test/a:v 1"), `"v 1" is not a tag`],
  ["a tag with a star", source("r.test/a:v1*"), `a pattern between slashes, for example ":/^v1/"`],
  ["a tag that begins with a dot", source("r.test/a:.v1"), `".v1" is not a tag`],
  ["a tag of 129 characters", source(`r.test/a:${"v".repeat(129)}`), "is not a tag"],
  ["a pattern without its second slash", source("r.test/a:/^v"), 'a regex must start and end with "/"'],
  ["a digest that is short", source("r.test/a@sha256:abc"), `"sha256:abc" is not a digest`],
  ["a digest in capitals", source(`r.test/a@sha256:${"A".repeat(64)}`), "is not a digest"],
  ["a digest without its algorithm", source(`r.test/a@${"a".repeat(64)}`), "is not a digest"],
  [
    "a variable in a source",
    source("r.test/${TEAM}/a"),
    "variables count in destinations and credentials alone",
  ],
  ["a variable in a tag", source("r.test/a:$TAG"), "variables count in destinations and credentials alone"],
  ["a port that is none", source("r.test:port/a"), "is not a registry host"],
  ["a port of six digits", source("r.test:500000/a"), "is not a registry host"],
  ["IPv6 without brackets", source("::1/a"), "is not"],
  ["IPv6 that is not closed", source("[::1/a"), "is not a registry host"],
  ["a user in the address", source("user@r.test/a"), "is not a"],
  [
    "a name of 300 characters",
    source(`r.test/${"a".repeat(300)}`),
    "repository is longer than 255 characters",
  ],
  ["an underscore at the start", source("r.test/_a"), "is not a repository name"],
  ["a reference of nothing", () => parseReference("r.test/"), "repository is empty"],
  // Rules
  [
    "two tags to one",
    pair("r.test/a:v1,v2", "r.test/b:x"),
    "the number of tags of source and destination is not matched (2 and 1)",
  ],
  ["one tag to two", pair("r.test/a:v1", "r.test/b:x,y"), "is not matched (1 and 2)"],
  ["all tags to one", pair("r.test/a", "r.test/b:x", ["v1", "v2"]), "is not matched (2 and 1)"],
  ["a tag to a digest", pair("r.test/a:v1", `r.test/b@${DIGEST}`), "a tag cannot be copied to a digest"],
  [
    "one digest to another",
    pair(`r.test/a@${DIGEST}`, `r.test/b@sha256:${"b".repeat(64)}`),
    "source and destination name different digests",
  ],
  ["two tags of a digest", source(`r.test/a:v1,v2@${DIGEST}`), "is not a tag"],
  ["a destination in capitals", pair("r.test/a:v1", "r.test/B"), "repository must be lowercase"],
  ["an address as destination", pair("r.test/a:v1", "https://r.test/b"), "must not have a scheme"],
  ["a pattern as destination tag", pair("r.test/a", "r.test/b:/x/", ["v1"]), "is not a tag"],
  // What else is written by hand
  ["a shard of nothing", () => parseShard("3"), "expected INDEX/COUNT"],
  ["a shard beyond the last", () => parseShard("9/8"), "from 1/COUNT to COUNT/COUNT"],
  ["a shard from zero", () => parseShard("0/8"), "for example 3/8"],
  ["a platform with a colon", () => parsePlatformSelector("linux:amd64"), "expected os/architecture"],
  [
    "credentials that are no JSON",
    () => parseAuthFile("user:password", "config.json"),
    'Cannot read credentials "config.json": it is not JSON',
  ],
  ["credentials that are a list", () => parseAuthFile("[]", "config.json"), "the file must be an object"],
  ["auths that are a list", () => parseAuthFile(`{"auths": []}`, "config.json"), `"auths" must be an object`],
];

for (const [mistake, work, sentence] of MISTAKES) {
  Deno.test(`a newcomer's mistake, ${mistake}, gets its sentence`, () => {
    const said = sentenceOf(work);
    assertStringIncludes(said, sentence);
    assert(!said.includes(SECRET), said);
    assert(!said.includes("\n"), said);
  });
}

Deno.test("there are a hundred mistakes and more", () =>
  assert(MISTAKES.length >= 100, `${MISTAKES.length}`));
