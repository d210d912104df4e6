/** Tests of references: which registry, which repository, which tag or digest. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  canonicalRegistry,
  formatReference,
  InvalidReferenceError,
  isRepository,
  isTag,
  parseReference,
  type Reference,
  registryHost,
  splitReference,
} from "../src/oci/reference.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

Deno.test("parseReference() reads each form of a reference", () => {
  const cases: [string, Reference][] = [
    ["nginx", { registry: "docker.io", repository: "library/nginx" }],
    ["nginx:1.27", { registry: "docker.io", repository: "library/nginx", tag: "1.27" }],
    ["acme/app", { registry: "docker.io", repository: "acme/app" }],
    ["docker.io/nginx", { registry: "docker.io", repository: "library/nginx" }],
    ["index.docker.io/acme/app:1", { registry: "docker.io", repository: "acme/app", tag: "1" }],
    ["registry-1.docker.io/nginx", { registry: "docker.io", repository: "library/nginx" }],
    ["GHCR.io/acme/app:V1", { registry: "ghcr.io", repository: "acme/app", tag: "V1" }],
    ["localhost/app", { registry: "localhost", repository: "app" }],
    ["localhost:5000/app:1", { registry: "localhost:5000", repository: "app", tag: "1" }],
    ["registry:5000/app", { registry: "registry:5000", repository: "app" }],
    ["[::1]:5000/app:1", { registry: "[::1]:5000", repository: "app", tag: "1" }],
    ["127.0.0.1/a/b/c", { registry: "127.0.0.1", repository: "a/b/c" }],
    [`quay.io/a@${DIGEST}`, { registry: "quay.io", repository: "a", digest: DIGEST }],
    [`quay.io/a:1@${DIGEST}`, { registry: "quay.io", repository: "a", tag: "1", digest: DIGEST }],
    [`nginx@${DIGEST}`, { registry: "docker.io", repository: "library/nginx", digest: DIGEST }],
    ["quay.io/a__b/c--d/e.f_g", { registry: "quay.io", repository: "a__b/c--d/e.f_g" }],
  ];
  for (const [text, expected] of cases) assertEquals(parseReference(text), expected, text);
});

Deno.test("parseReference() refuses what is malformed and says why", () => {
  const cases: [string, string][] = [
    ["", "repository is empty"],
    ["quay.io/", "repository is empty"],
    [":1", "repository is empty"],
    ["https://quay.io/a", "must not have a scheme such as https://"],
    ["Docker.io/Nginx", "repository must be lowercase"],
    ["Nginx", "repository must be lowercase"],
    ["quay.io/a//b", "is not a repository name"],
    ["quay.io/a/../b", "is not a repository name"],
    ["quay.io/-a", "is not a repository name"],
    ["quay.io/a___b", "is not a repository name"],
    ["quay.io/a b", "is not a repository name"],
    [`quay.io/${"a".repeat(256)}`, "repository is longer than 255 characters"],
    ["quay.io/a:", `"" is not a tag`],
    ["quay.io/a:.x", `".x" is not a tag`],
    [`quay.io/a:${"x".repeat(129)}`, "is not a tag"],
    ["quay.io/a:1:2", `"1:2" is not a tag`],
    ["quay.io/a@", `"" is not a digest`],
    ["quay.io/a@sha256:abc", `"sha256:abc" is not a digest`],
    [`quay.io/a@${DIGEST}:1`, "is not a digest"],
    ["user@quay.io/a", "is not a digest"],
    ["qu_ay..io:x/a", "is not a registry host"],
    ["quay.io:99999/a", "is not a registry host"],
    [".io/a", "is not a registry host"],
  ];
  for (const [text, why] of cases) {
    const error = assertThrows(() => parseReference(text), InvalidReferenceError, why, text);
    assert(error.message.startsWith(`Cannot parse reference "${text}": `));
  }
});

Deno.test("parseReference() gives registries that a URL can be made of", () => {
  for (const host of ["a.b", "a.b:1", "a.b:65535", "[::1]", "a-b.c:80", "10.0.0.1:5000"]) {
    const { registry } = parseReference(`${host}/x`);
    assertEquals(new URL(`https://${registry}/v2/`).pathname, "/v2/");
  }
});

Deno.test("splitReference() leaves tag and digest for the grammar of rules", () => {
  assertEquals(splitReference("nginx:/^v1/"), {
    registry: "docker.io",
    repository: "library/nginx",
    rest: ":/^v1/",
  });
  assertEquals(splitReference("quay.io/a:1,2").rest, ":1,2");
  assertEquals(splitReference(`quay.io/a@${DIGEST}`).rest, `@${DIGEST}`);
});

Deno.test("formatReference() writes what parseReference() reads", () => {
  for (
    const text of [
      "docker.io/library/nginx:1.27",
      `quay.io/a/b@${DIGEST}`,
      `localhost:5000/a:1@${DIGEST}`,
      "[::1]:5000/a",
    ]
  ) assertEquals(formatReference(parseReference(text)), text);
});

Deno.test("canonicalRegistry() knows Docker Hub under all its names, registryHost() the one that serves", () => {
  for (const name of ["docker.io", "Index.Docker.io", "registry-1.docker.io", "registry.hub.docker.com"]) {
    assertEquals(canonicalRegistry(name), "docker.io");
  }
  assertEquals(canonicalRegistry("Quay.IO:443"), "quay.io:443");
  assertEquals(registryHost("docker.io"), "registry-1.docker.io");
  assertEquals(registryHost("quay.io"), "quay.io");
});

Deno.test("isTag() and isRepository() keep to the lengths of the distribution-spec", () => {
  assert(isTag("x".repeat(128)) && !isTag("x".repeat(129)) && !isTag("") && isTag("_1"));
  assert(isRepository("a".repeat(255)) && !isRepository("a".repeat(256)) && !isRepository("a/"));
});

Deno.test("parseReference() reads hostile names in no time", () => {
  const hostile = [`${"a-".repeat(20_000)}!`, `${"a.".repeat(20_000)}/!`, `quay.io/${"a/".repeat(20_000)}`];
  const startedAt = performance.now();
  for (const text of hostile) assertThrows(() => parseReference(text), InvalidReferenceError);
  assert(performance.now() - startedAt < 1000);
});
