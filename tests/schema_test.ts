/** The JSON Schema and the parser say the same of every config here. */

import { assertEquals } from "@std/assert";
import { Ajv2020 } from "ajv/dist/2020.js";
import schema from "../src/mirror/config/config.schema.json" with { type: "json" };
import { AUTH_KEYS, parseConfig, TOP_KEYS } from "../src/mirror/config/config_text.ts";
import { DEFAULTS_KEYS, DESTINATION_KEYS } from "../src/mirror/config/rule_reader.ts";
import { SELECTION_KEYS } from "../src/mirror/config/selection_keys.ts";

const GOOD: unknown[] = [
  { images: {} },
  { images: { "a/b": "r.test/c" } },
  { $schema: "./config.schema.json", auth: {}, images: { "a/b:v1": ["r.test/c", "r.test/d:v2"] } },
  { auth: { "r.test": { username: "u", password: "p", insecure: true } }, images: { "a/b": "r.test/c" } },
  { auth: { "r.test": { insecure: null, caFile: "ca.pem", proxy: "http://p.test:3128" } }, images: {} },
  { auth: { "r.test": { identityToken: "t" }, "s.test": { registryToken: "t" } }, images: {} },
  { images: { "a/b": { to: "r.test/c", platforms: ["linux/amd64", "linux/arm/v7", "*/arm64"] } } },
  { images: { "a/b": { to: ["r.test/c"] } } },
  { auth: { "r.test": null, "s.test": { certFile: "a.pem", keyFile: "a.key" } }, images: {} },
  { other: 1, images: { "a/b": "r.test/c" } },
  { images: { "a/b": { to: "r.test/c", referrers: false } } },
  { images: { "a/b": { to: "r.test/c", referrers: true } } },
  { images: { "a/b": { to: "r.test/c", referrers: { include: "application/*", exclude: ["/sbom/"] } } } },
  { images: { "a/b": { to: "r.test/c", referrers: { require: ["application/spdx+json"] } } } },
  { images: { "a/b": { to: "r.test/c", verify: { key: "cosign.pub", transparencyLog: false } } } },
  { images: { "a/b": { to: "r.test/c", tags: { semver: ">=1", newest: 5 }, rename: "{tag}-x" } } },
  {
    images: {
      "a/b": { to: "r.test/c", tags: { include: "v*", exclude: ["*-rc*", "/x$/"], immutable: ["v?"] } },
    },
  },
  { images: { "a/b": { to: "r.test/c", tags: { within: "90d", by: "created", newest: 3, atLeast: 1 } } } },
  { images: { "a/b": { to: "r.test/c", tags: null } } },
  {
    images: {
      "a/b": ["r.test/c", { to: "r.test/d", tags: { semver: "1", variant: "alpine", prereleases: true } }],
    },
  },
  { defaults: {}, images: {} },
  { defaults: { overwrite: "never" }, images: { "a/b": { to: "r.test/c", overwrite: "always" } } },
  {
    defaults: { tags: { semver: "*" }, platforms: ["linux/amd64"], attestations: false, referrers: false },
    images: {},
  },
  { defaults: { tags: { semver: "*" } }, images: { "a/b": { to: "r.test/c", tags: { semver: null } } } },
];

const BAD: unknown[] = [
  [],
  "text",
  {},
  { images: [] },
  { images: { "": "r.test/c" } },
  { images: { "  ": "r.test/c" } },
  { images: { "a/b": 1 } },
  { images: { "a/b": null } },
  { images: { "a/b": [] } },
  { images: { "a/b": ["r.test/c", 1] } },
  { images: { "a/b": {} } },
  { images: { "a/b": { to: [] } } },
  { images: { "a/b": { to: "r.test/c", platforms: [] } } },
  { images: { "a/b": { to: "r.test/c", platforms: ["amd64"] } } },
  { images: { "a/b": { to: "r.test/c", platforms: "linux/amd64" } } },
  { images: { "a/b": { to: "r.test/c", referrers: "all" } } },
  { images: { "a/b": { to: "r.test/c", referrers: { require: ["sbom"] } } } },
  { images: { "a/b": { to: "r.test/c", referrers: { require: [] } } } },
  { images: { "a/b": { to: "r.test/c", referrers: { include: [1] } } } },
  { images: { "a/b": { to: "r.test/c", referrers: { exclude: ["sbom"] } } } },
  { images: { "a/b": { to: "r.test/c", referrers: { only: ["a/b"] } } } },
  { images: { "a/b": { to: "r.test/c", verify: {} } } },
  { images: { "a/b": { to: "r.test/c", verify: { key: 1 } } } },
  { images: { "a/b": { to: "r.test/c", verify: { transparencyLog: "no" } } } },
  { images: { "a/b": { to: "r.test/c", verify: { keys: "k" } } } },
  { images: { "a/b": { to: "r.test/c", tags: [] } } },
  { images: { "a/b": { to: "r.test/c", tags: { includes: "v*" } } } },
  { images: { "a/b": { to: "r.test/c", tags: { include: [] } } } },
  { images: { "a/b": { to: "r.test/c", tags: { semver: 1 } } } },
  { images: { "a/b": { to: "r.test/c", tags: { newest: 0, by: "name" } } } },
  { images: { "a/b": { to: "r.test/c", tags: { newest: 1.5, by: "name" } } } },
  { images: { "a/b": { to: "r.test/c", tags: { newest: 1, by: "age" } } } },
  { images: { "a/b": { to: "r.test/c", rename: "x" } } },
  { images: { "a/b": { to: "r.test/c", rename: "{tag}{tag}" } } },
  { images: { "a/b": { to: "r.test/c", rename: "{tag} x" } } },
  { images: { "a/b": [{ tags: {} }] } },
  { images: { "a/b": ["r.test/c", { to: "r.test/d" }, 1] } },
  { defaults: [], images: {} },
  { images: { "a/b": { to: "r.test/c", overwrite: false } } },
  { defaults: { to: "r.test" }, images: {} },
  { defaults: { tags: { newer: 1 } }, images: {} },
  { auth: [], images: {} },
  { auth: { "r.test": "password" }, images: {} },
  { auth: { "": {} }, images: {} },
  { auth: { "r.test": { insecure: "yes" } }, images: {} },
  { auth: { "r.test": { username: 1 } }, images: {} },
  { auth: { "r.test": { password: "p" } }, images: {} },
  { auth: { "r.test": { certFile: "a.pem" } }, images: {} },
  { auth: { "r.test": { keyFile: "a.key" } }, images: {} },
];

function parses(value: unknown): boolean {
  try {
    parseConfig(JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

Deno.test("config.schema.json accepts what parseConfig() accepts, and nothing else", () => {
  const validate = new Ajv2020({ allowUnionTypes: true }).compile(schema);
  for (const value of [...GOOD, ...BAD]) {
    const isGood = GOOD.includes(value);
    assertEquals(parses(value), isGood, `parser: ${JSON.stringify(value)}`);
    assertEquals(validate(value), isGood, `schema: ${JSON.stringify(value)}`);
  }
});

Deno.test("config.schema.json names every key that parseConfig() knows", () => {
  assertEquals(Object.keys(schema.properties).sort(), [...TOP_KEYS].sort());
  assertEquals(Object.keys(schema.$defs.auth.properties).sort(), [...AUTH_KEYS].sort());
  assertEquals(Object.keys(schema.$defs.rule.properties).sort(), [...DESTINATION_KEYS].sort());
  assertEquals(Object.keys(schema.properties.defaults.properties).sort(), [...DEFAULTS_KEYS].sort());
  assertEquals(Object.keys(schema.$defs.tags.properties).sort(), [...SELECTION_KEYS].sort());
});
