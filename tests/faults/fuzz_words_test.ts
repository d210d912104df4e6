/** Fuzz tests of what users write and registries store: configs, references, manifests. */

import { assert, assertEquals } from "@std/assert";
import { ConfigError, parseConfig } from "../../mod.ts";
import { compilePattern } from "../../src/mirror/rules/pattern.ts";
import { defaultDestination, expandRule, parseRuleSource, RuleError } from "../../src/mirror/rules/rules.ts";
import { DigestError, isDigest } from "../../src/oci/descriptor.ts";
import { childrenOf, ManifestError, parseContent } from "../../src/oci/manifest.ts";
import { formatReference, InvalidReferenceError, parseReference } from "../../src/oci/reference.ts";
import { buildArtifact, buildImage, buildIndex, buildMultiPlatform, buildSchema1 } from "../images.ts";
import { fuzz } from "./fuzzer.ts";

const DIGEST = `sha256:${"a1".repeat(32)}`;

const REFERENCES = [
  "alpine",
  "alpine:3.20",
  "library/nginx@" + DIGEST,
  "localhost:5000/a/b-c__d.e:v1.2_3",
  "registry.example.com:443/team/app:v1@" + DIGEST,
  "[::1]:5000/app:latest",
  `quay.io/ns/app@sha512:${"0f".repeat(64)}`,
];

Deno.test("parseReference() takes or refuses whatever it is given, and formats what it took", async () => {
  await fuzz({
    name: "references",
    seeds: REFERENCES,
    words: [":", "/", "@", "sha256:", "..", "//", "-", "_", "docker.io", "[", "]", "%2f", "A", "?", "#"],
    allowed: [InvalidReferenceError],
    take: (text) => {
      const reference = parseReference(text);
      assertEquals(parseReference(formatReference(reference)), reference);
    },
  });
});

Deno.test("parseRuleSource() and expandRule() take or refuse whatever they are given", async () => {
  await fuzz({
    name: "rules",
    seeds: [...REFERENCES, "quay.io/ns/app:v1,v2,v3", "quay.io/ns/app:/^v1\\..*$/", "a/b:/x/"],
    words: [":", "/", "@", ",", ":/", "/:", "(?i)", "[", "*", "{2,9999}", "sha256:", "\\z"],
    allowed: [InvalidReferenceError, RuleError],
    take: async (text) => {
      const source = parseRuleSource(text);
      const { selection } = source;
      if (selection.type === "pattern") (await compilePattern(selection.pattern))("v1.".repeat(40));
      const destination = defaultDestination(source, { registry: "mirror.test", namespace: "/all/" });
      for (const pair of expandRule(source, destination ?? text, ["v1", "v2"])) {
        formatReference(pair.destination);
      }
    },
  });
});

const CONFIGS = [
  `{
    // registries
    "auth": { "quay.io": { "username": "u", "password": "$PW", "insecure": true, }, "a.b/c": { "identityToken": "t" } },
    "images": { "quay.io/a/b:v1,v2": ["r.test/x", "r.test/y:z"], "alpine": "", "c:/^v/": { "to": "r.test/c" } },
  }`,
  `{ "$schema": "https://x.test/s.json", "images": { "a@${DIGEST}": "r.test/a" } }`,
  `{ "images": { "a:v1": "r.test/\u0062" }, /* none */ "auth": {} }`,
  `{ "images": { "a/b": { "to": ["r.test/x"], "platforms": ["linux/arm64/v8", "linux/*"] } } } // end`,
];
const CONFIG_OPTIONS = { environment: () => "value", defaults: { registry: "mirror.test" } };

Deno.test("parseConfig() takes or refuses whatever it is given, with no stack trace", async () => {
  for (const text of CONFIGS) parseConfig(text, CONFIG_OPTIONS);
  await fuzz({
    name: "configs",
    seeds: CONFIGS,
    words: [
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      '"',
      "//",
      "/*",
      "*/",
      "null",
      "true",
      "1e999",
      '"__proto__"',
      "\\u0000",
    ],
    allowed: [ConfigError],
    take: (text) => {
      const { rules, auth } = parseConfig(text, CONFIG_OPTIONS);
      assert(Array.isArray(rules));
      assertEquals(Object.getPrototypeOf(JSON.parse(JSON.stringify(auth))), Object.prototype);
    },
  });
});

const MANIFESTS = [
  buildImage(),
  buildImage({ format: "docker" }),
  buildMultiPlatform(["amd64", "arm/v7"], { attestations: true }),
  buildIndex([buildImage()], { format: "docker", withoutPlatforms: true }),
  buildArtifact({ artifactType: "application/vnd.test" }),
  buildSchema1(),
].map(({ bytes, mediaType }) => ({ text: new TextDecoder().decode(bytes), mediaType }));

Deno.test("parseContent() and childrenOf() take or refuse whatever they are given", async () => {
  const words = [
    "{",
    "}",
    "[",
    "]",
    ",",
    '"',
    "null",
    "-1",
    "1e999",
    "sha256:",
    "../",
    '"size":',
    '"manifests":[]',
  ];
  let index = 0;
  await fuzz({
    name: "manifests",
    seeds: MANIFESTS.map(({ text }) => text),
    words: [...words, ...MANIFESTS.map(({ mediaType }) => mediaType)],
    allowed: [ManifestError, DigestError],
    take: async (text) => {
      const type = MANIFESTS[index++ % (MANIFESTS.length + 1)]?.mediaType;
      const content = await parseContent(new TextEncoder().encode(text), type);
      const { manifests, blobs } = childrenOf(content);
      for (const { digest, size } of [...manifests, ...blobs]) {
        assert(isDigest(digest));
        assert(Number.isSafeInteger(size));
      }
    },
  });
});
