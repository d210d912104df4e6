/** Tests of what other tools' configs become: each result is a config of ours, and holds no secret. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseYaml } from "../src/machine/config/yaml_source.ts";
import { parseConfig } from "../src/mirror/config/config_text.ts";
import { ConversionError, type Converted } from "../src/mirror/convert/conversion.ts";
import { convertConfig } from "../src/mirror/convert/convert.ts";
import { checkRules } from "../src/mirror/plan/rule_check.ts";
import { openWorkspace } from "./cli_process.ts";

const REGSYNC = `
version: 1
creds:
  - registry: registry.example.com
    user: robot
    pass: geheim-1
    tls: disabled
  - registry: quay.io
    user: '{{env "QUAY_USER"}}'
    pass: '{{env "QUAY_PASS"}}'
defaults:
  interval: 60m
  parallel: 4
sync:
  - source: quay.io/coreos/etcd
    target: registry.example.com/mirror/etcd
    type: repository
    tags:
      allow: ["v3\\\\..*", "latest"]
      deny: [".*-rc.*"]
    platforms: [linux/amd64]
  - source: quay.io/coreos/flannel:v1
    target: registry.example.com/mirror/flannel:v1
    type: image
    backup: old-{{.Ref.Tag}}
  - source: docker.io
    target: registry.example.com/hub
    type: registry
`;

const SKOPEO = `
quay.io:
  tls-verify: false
  credentials: {username: me, password: geheim-1}
  images:
    coreos/etcd: [v3.5.0, "sha256:${"a".repeat(64)}"]
    coreos/flannel: []
  images-by-tag-regex:
    coreos/dex: ^v2\\.
  images-by-semver:
    coreos/clair: ">= 4.0.0"
  cert-dir: /certs
`;

const DREGSY = `
relay: skopeo
tasks:
  - name: nightly
    interval: 3600
    source: {registry: quay.io, auth: ${btoa('{"username":"me","password":"geheim-1"}')}}
    target: {registry: registry.example.com, skip-tls-verify: true}
    mappings:
      - {from: coreos/etcd, to: mirror/etcd, tags: [v3.5.0, "semver: >=3.4", "regex: ^v2"], platform: linux/arm64}
      - {from: coreos/flannel}
      - {from: "regex:coreos/.*", to: "regex:coreos,mirror"}
`;

const OCYNC = `
registries:
  hub: {url: docker.io, auth_type: basic, credentials: {username: me, password: geheim-1}}
  one: {url: registry.example.com}
  two: {url: other.example.com, token: "\${TOKEN}"}
target_groups:
  both: [one, two]
defaults:
  source: hub
  targets: both
  tags: {semver: ">=1.0, <3", sort: semver, latest: 5, include: [latest], min_tags: 2, immutable_tags: "v*"}
mappings:
  - {from: library/nginx, to: nginx, platforms: [linux/amd64], artifacts: {enabled: false}}
  - {from: library/redis, targets: [one], tags: {glob: "7.*", exclude: "*-debug"}}
`;

function convert(text: string, to?: string): Converted {
  return convertConfig(parseYaml(text).value, { to });
}

const CASES: [tool: string, text: string, to: string | undefined, images: unknown, notes: string[]][] = [
  ["regsync", REGSYNC, undefined, {
    "quay.io/coreos/etcd": {
      to: "registry.example.com/mirror/etcd",
      platforms: ["linux/amd64"],
      tags: { include: ["/^(?:v3\\..*)$/", "/^(?:latest)$/"], exclude: ["/^(?:.*-rc.*)$/"] },
    },
    "quay.io/coreos/flannel:v1": "registry.example.com/mirror/flannel:v1",
  }, [
    "whole registry",
    '"backup" of',
    '"parallel" of defaults',
    "--schedule",
    "REGISTRY_EXAMPLE_COM_PASSWORD",
  ]],
  ["skopeo sync", SKOPEO, "registry.example.com/mirror/", {
    "quay.io/coreos/etcd:v3.5.0": "registry.example.com/mirror/etcd",
    [`quay.io/coreos/etcd@sha256:${"a".repeat(64)}`]: "registry.example.com/mirror/etcd",
    "quay.io/coreos/flannel": "registry.example.com/mirror/flannel",
    "quay.io/coreos/dex:/^v2\\./": "registry.example.com/mirror/dex",
    "quay.io/coreos/clair": { to: "registry.example.com/mirror/clair", tags: { semver: ">= 4.0.0" } },
  }, ['"cert-dir"', "QUAY_IO_PASSWORD", "--scoped"]],
  ["dregsy", DREGSY, undefined, {
    "quay.io/coreos/etcd": [
      { to: "registry.example.com/mirror/etcd", platforms: ["linux/arm64"], tags: { semver: ">=3.4" } },
      { to: "registry.example.com/mirror/etcd", platforms: ["linux/arm64"], tags: { include: ["/^v2/"] } },
    ],
    "quay.io/coreos/etcd:v3.5.0": { to: "registry.example.com/mirror/etcd", platforms: ["linux/arm64"] },
    "quay.io/coreos/flannel": "registry.example.com/coreos/flannel",
  }, ["is a pattern", "--schedule", "QUAY_IO_PASSWORD"]],
  ["ocync", OCYNC, undefined, {
    "docker.io/library/nginx": [
      {
        to: ["registry.example.com/nginx", "other.example.com/nginx"],
        platforms: ["linux/amd64"],
        referrers: false,
        tags: {
          exclude: ["*-rc*", "*-alpha*", "*-beta*", "*-pre*", "*-snapshot*", "*-nightly*"],
          semver: ">=1.0 <3",
          immutable: ["v*"],
          newest: 5,
          by: "version",
          atLeast: 2,
        },
      },
      {
        to: ["registry.example.com/nginx", "other.example.com/nginx"],
        platforms: ["linux/amd64"],
        referrers: false,
        tags: { include: ["latest"] },
      },
    ],
    "docker.io/library/redis": {
      to: "registry.example.com/library/redis",
      tags: {
        include: ["7.*"],
        exclude: ["*-debug", "*-rc*", "*-alpha*", "*-beta*", "*-pre*", "*-snapshot*", "*-nightly*"],
      },
    },
  }, ["DOCKER_IO_PASSWORD", "-alpine"]],
];

for (const [tool, text, to, images, notes] of CASES) {
  Deno.test(`convertConfig() turns a config of ${tool} into one of ours, and says what it could not carry over`, async () => {
    const converted = convert(text, to);
    assertEquals(JSON.parse(JSON.stringify(converted.config.images)), images as Record<string, unknown>);
    const said = converted.notes.join("\n");
    for (const note of notes) assertStringIncludes(said, note);
    const written = JSON.stringify(converted.config);
    assert(!written.includes("geheim-1") && !said.includes("geheim-1"), "a secret is written");
    const { rules } = parseConfig(written, { environment: () => "value" });
    assertEquals((await checkRules(rules)).failures, []);
  });
}

Deno.test("convertConfig() keeps variables of the environment, and insecure registries", () => {
  assertEquals(convert(REGSYNC).config.auth, {
    "registry.example.com": {
      username: "robot",
      password: "${REGISTRY_EXAMPLE_COM_PASSWORD}",
      insecure: true,
    },
    "quay.io": { username: "${QUAY_USER}", password: "${QUAY_PASS}" },
  });
  assertEquals(convert(OCYNC).config.auth?.["other.example.com"], { registryToken: "${TOKEN}" });
});

Deno.test("convertConfig() refuses what it does not know, and skopeo's without a destination", () => {
  for (const value of [{}, [], "text", null, { images: { a: "b" } }]) {
    assertThrows(() => convertConfig(value), ConversionError, "it is none of");
  }
  assertThrows(() => convert(SKOPEO), ConversionError, "--to");
});

Deno.test("convert writes a file for its owner alone, and replaces none without --force", async () => {
  await using workspace = await openWorkspace();
  await Deno.writeTextFile(workspace.path("regsync.yml"), REGSYNC);
  const args = ["convert", workspace.path("regsync.yml"), "--output", workspace.path("ours.json")];
  const first = await workspace.run(args);
  assertEquals(first.code, 0, first.stderr);
  assertStringIncludes(first.stderr, "is not carried over");
  assertEquals(((await Deno.stat(workspace.path("ours.json"))).mode ?? 0) & 0o777, 0o600);
  await Deno.writeTextFile(workspace.path("ours.json"), "mine");
  const second = await workspace.run(args);
  assertEquals([second.code, await workspace.read("ours.json")], [2, "mine"]);
  assertStringIncludes(second.stderr, "--force");
  assertEquals((await workspace.run([...args, "--force"])).code, 0);
  assert((await workspace.read("ours.json")).includes("mirror/etcd"));
  const missing = await workspace.run(["convert", workspace.path("missing.yml")]);
  assertEquals(missing.code, 2);
  assertStringIncludes(missing.stderr, `missing.yml": there is no such file\n`);
});
