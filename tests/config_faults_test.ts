/** Tests of configs as people write them: YAML like Go's, files of other tools, deep and odd texts. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseYaml } from "../src/machine/config/yaml_source.ts";
import { type Config, ConfigError } from "../src/mirror/config/config.ts";
import { parseConfig, readConfig } from "../src/mirror/config/config_text.ts";
import { findLines } from "../src/mirror/config/json_lines.ts";
import { parseRuleSource } from "../src/mirror/rules/rules.ts";

function yaml(text: string): Config {
  return readConfig(parseYaml(text, "cfg.yaml"), {});
}

const WORDS = [
  "y",
  "Y",
  "n",
  "N",
  "yes",
  "Yes",
  "no",
  "on",
  "off",
  "OFF",
  "true",
  "false",
  "~",
  "null",
  "0x1F",
  "1_000",
  "1:30",
  "2001-01-01",
  "1.20",
  "1e3",
  ".inf",
];

for (const word of WORDS) {
  Deno.test(`fault 13: in YAML ${word} is the text that it is, as a key and as a password`, () => {
    const { auth, rules } = yaml(
      `auth:\n  r.test:\n    username: u\n    password: ${word}\nimages:\n  r.test/a/${
        word.toLowerCase().replace(/[^a-z0-9]/g, "")
      }: r.test/b\n`,
    );
    const isNothing = word === "~" || word === "null";
    assertEquals(auth["r.test"]?.password, isNothing ? undefined : word);
    assertEquals(rules.length, 1);
  });
}

Deno.test("fault 13: keys of YAML that are words for true and false are keys", () => {
  const { rules } = yaml("images:\n  y: r.test/y\n  on: r.test/on\n  no: r.test/no\n  123: r.test/n\n");
  assertEquals(rules.map(({ source }) => source), ["123", "y", "on", "no"]);
});

Deno.test("fault 13: what is true or false in YAML may be written in its words", () => {
  for (
    const [word, expected] of [["yes", true], ["on", true], ["true", true], ["no", false], [
      "off",
      false,
    ]] as const
  ) {
    const { auth } = yaml(`auth:\n  r.test:\n    insecure: ${word}\nimages:\n  r.test/a: r.test/b\n`);
    assertEquals(auth["r.test"]?.insecure, expected, word);
  }
});

for (const kind of ["omap", "set", "pairs"] as const) {
  Deno.test(`fault 13: a YAML !!${kind} is refused, on its line`, () => {
    const entry = kind === "set" ? "{ r.test/a }" : "[ r.test/a: r.test/b ]";
    const error = assertThrows(() => yaml(`auth: {}\nimages: !!${kind} ${entry}\n`), ConfigError);
    assert(error instanceof ConfigError);
    assertStringIncludes(error.message, `"!!${kind}"`);
    assertEquals(error.line, 2);
  });
}

Deno.test("fault 13: a mark at the end of YAML is no second document, and a second one is refused", () => {
  for (const end of ["---", "---\n", "...\n", "--- # generated\n", "...\n---\n\n"]) {
    assertEquals(yaml(`images:\n  r.test/a: r.test/b\n${end}`).rules.length, 1, end);
  }
  assertThrows(() => yaml("images:\n  r.test/a: r.test/b\n---\nimages: {}\n"), ConfigError, "not valid YAML");
});

Deno.test("fault 13: keys of maps inside a list are no duplicates, keys of one map are", () => {
  const source = parseYaml(
    "notify:\n  - url: https://a.test\n    on: x\n  - url: https://b.test\n    on: y\nimages: {}\n",
  );
  assertEquals(source.lines.duplicates, []);
  const twice = parseYaml("list:\n  - a: 1\n    a: 2\n");
  assertEquals(twice.lines.duplicates, [{ path: ["list", 0, "a"], lines: [2, 3] }]);
  assertEquals(twice.lines.lineOf(["list", 0, "a"]), 2);
});

Deno.test("fault 28: findLines() is through with 100,000 brackets, nested or not", () => {
  for (
    const text of [
      "[".repeat(100_000) + "]".repeat(100_000),
      '{"a":'.repeat(50_000) + "1" + "}".repeat(50_000),
    ]
  ) {
    assertEquals(findLines(text).duplicates, []);
  }
  const wide = `[${"[],".repeat(100_000)}[]]`;
  assertEquals(findLines(wide).lineOf([99_999]), 1);
});

Deno.test("fault 28: a config of 100,000 nested brackets is refused in a sentence", () => {
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]] as const) {
    const text = `{"images": ${open.repeat(100_000)}1${close.repeat(100_000)}}`;
    assertThrows(() => parseConfig(text), ConfigError);
  }
});

Deno.test("fault 9: an unknown key beside the one called to is an error with the key that was meant, and its line", () => {
  const text = `{\n  "images": {\n    "r.test/a": { "to": "r.test/b", "platform": ["linux/amd64"] }\n  }\n}`;
  const error = assertThrows(() => parseConfig(text), ConfigError);
  assert(error instanceof ConfigError);
  assertStringIncludes(
    error.message,
    '(line 3): an object with "to" has no such key; did you mean "platforms"?',
  );
  // Outside, image-syncer's users have keys of its other versions.
  assertEquals(parseConfig(`{"images": {"r.test/a": "r.test/b"}, "proc": 5}`).warnings.length, 1);
});

const FOREIGN: Record<string, string> = {
  regsync:
    "version: 1\ncreds:\n  - registry: r.test\nsync:\n  - source: r.test/a\n    target: r.test/b\n    type: repository\n",
  dregsy: "relay: skopeo\ntasks:\n  - name: t\n    source: { registry: r.test }\n",
  skopeo: "r.test:\n  images:\n    a: [v1]\nquay.test:\n  images-by-tag-regex:\n    b: ^v1\n",
  ocync: "registries:\n  hub: { url: docker.io }\nmappings:\n  - from: a\n    to: b\n",
};

for (const [tool, text] of Object.entries(FOREIGN)) {
  Deno.test(`fault 84: a file of ${tool} is known by its keys`, () => {
    const error = assertThrows(() => yaml(text), ConfigError);
    assert(error instanceof ConfigError);
    assertStringIncludes(
      error.message,
      `it looks like a file of ${tool}: here "images" maps a source to its destination`,
    );
  });
}

Deno.test("fault 84: docker's own credentials are known by their keys", () => {
  const error = assertThrows(
    () => parseConfig(`{"auths": {"r.test": {"auth": "dTpw"}}, "credsStore": "x"}`),
    ConfigError,
  );
  assert(error instanceof ConfigError);
  assertStringIncludes(error.message, "docker's own credentials, which are found without being named");
  assert(!error.message.includes("dTpw"));
});

Deno.test("fault 84: a star in a tag and a variable in a source say how it is done here", () => {
  assertThrows(
    () => parseRuleSource("r.test/a:v1*"),
    Error,
    'by a pattern between slashes, for example ":/^v1/"',
  );
  assertThrows(
    () => parseRuleSource("r.test/${TEAM}/a:v1"),
    Error,
    "variables count in destinations and credentials alone",
  );
  assertThrows(
    () => parseRuleSource("r.test/a:${TAG}"),
    Error,
    "variables count in destinations and credentials alone",
  );
});
