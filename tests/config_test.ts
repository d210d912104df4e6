/** Tests of the config: what it means in JSONC and in YAML, and which place a problem is named by. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseYaml } from "../src/machine/config/yaml_source.ts";
import { type Config, ConfigError, connectionOf } from "../src/mirror/config/config.ts";
import {
  parseConfig,
  type ParseConfigOptions,
  parseJsonc,
  readConfig,
  readConfigParts,
} from "../src/mirror/config/config_text.ts";

const ENVIRONMENT: Readonly<Record<string, string>> = { USER: "robot", EMPTY: "", NS: "team" };
const environment = (name: string): string | undefined => ENVIRONMENT[name];

/** The message a config is refused with. */
function refusal(read: () => unknown): string {
  return assertThrows(read, ConfigError).message;
}

function fromYaml(text: string, options: ParseConfigOptions = {}): Config {
  return readConfig(parseYaml(text, "c.yaml"), options);
}

Deno.test("parseConfig() reads every form of a destination", () => {
  const { rules } = parseConfig(`{ "images": {
    "a/b": "r.test/b",
    "a/c": ["r.test/c", "s.test/c", "r.test/c"],
    "a/d": { "to": ["r.test/d"], "platforms": ["linux/arm/v7"] },
    "a/e": { "to": "r.test/e" }
  } }`);
  assertEquals(rules, [
    { source: "a/b", destinations: ["r.test/b"], line: 2 },
    { source: "a/c", destinations: ["r.test/c", "s.test/c"], line: 3 },
    { source: "a/d", destinations: ["r.test/d"], platforms: ["linux/arm/v7"], line: 4 },
    { source: "a/e", destinations: ["r.test/e"], line: 5 },
  ]);
});

Deno.test("parseConfig() refuses a platform that is none, and names its rule", () => {
  const text = `{ "images": {\n  "a/b": { "to": "r.test/b", "platforms": ["linux/amd64", "arm64"] } } }`;
  const message = refusal(() => parseConfig(text));
  for (const part of ["images.a/b.platforms", "line 2", `"arm64"`]) assertStringIncludes(message, part);
});

Deno.test("parseConfig() takes two names of one registry when they say the same, and refuses them when they differ", () => {
  const text = (password: string) =>
    `{ "auth": { "docker.io": { "username": "u", "password": "p" },
      "registry.hub.docker.com": { "username": "u", "password": "${password}" } }, "images": {} }`;
  assertEquals(Object.keys(parseConfig(text("p")).auth), ["docker.io"]);
  assertStringIncludes(refusal(() => parseConfig(text("q"))), `another key names "docker.io" too`);
});

Deno.test("fault 72: parseConfig() takes v2 for the API's root where it is all of the path, and for a namespace where it is not", () => {
  const entry = { username: "u", password: "p" };
  for (
    const [key, name] of [
      ["https://r.test/v2/", "r.test"],
      ["r.test/v2", "r.test"],
      ["r.test/team/v2", "r.test/team/v2"],
      ["r.test/v2/team", "r.test/v2/team"],
    ] as const
  ) {
    assertEquals(Object.keys(parseConfig(JSON.stringify({ auth: { [key]: entry }, images: {} })).auth), [
      name,
    ]);
  }
});

Deno.test("parseConfig() refuses a client's certificate without its key", () => {
  const text = `{ "auth": { "r.test": { "certFile": "c.pem" } }, "images": {} }`;
  assertStringIncludes(refusal(() => parseConfig(text)), `auth.r.test" (line 1): "certFile" and "keyFile"`);
});

Deno.test("parseConfig() expands credentials that are a variable as a whole, and no others", () => {
  const read = (password: string) => {
    const auth = { "r.test": { username: "$USER", password } };
    return parseConfig(JSON.stringify({ auth, images: {} }), { environment }).auth["r.test"];
  };
  assertEquals(read("${USER}"), { username: "robot", password: "robot" });
  for (const text of ["pa$$word", "$USER!", "x$USER", "${USER}x", "$1", "$"]) {
    assertEquals(read(text)?.password, text);
  }
  assertEquals(read("$$USER")?.password, "$USER");
});

Deno.test("parseConfig() names a variable that is not set, but not a text that may be a password", () => {
  const message = (password: string) =>
    refusal(() =>
      parseConfig(
        JSON.stringify({
          auth: { "r.test": { username: "u", password } },
          images: { "r.test/a": "s.test/a" },
        }),
        {
          environment,
        },
      )
    );
  for (const text of ["$ABSENT", "${ABSENT}", "${absent}"]) {
    assert(/"absent" is not set/i.test(message(text)), text);
  }
  const secret = message("$ecretHunter2");
  assertStringIncludes(secret, "auth.r.test.password");
  assert(!secret.includes("Hunter2"), secret);
});

Deno.test("parseConfig() expands variables anywhere in a destination", () => {
  const images = { "a/b": "r.test/${NS}/$NS", "a/c": "${EMPTY}" };
  const options = { environment, defaults: { registry: "d.test" } };
  const { rules } = parseConfig(JSON.stringify({ images }), options);
  assertEquals(rules.map(({ destinations }) => destinations), [["r.test/team/team"], ["d.test/c"]]);
});

Deno.test("readConfigParts() reads two files, and names the one with the problem", () => {
  const auth = parseJsonc(`{ "r.test": { "insecure": true } }`, "auth.json");
  const images = parseYaml("a/b: r.test/b\n", "images.yaml");
  const config = readConfigParts(auth, images);
  assertEquals(config.auth["r.test"], { insecure: true });
  assertEquals(config.rules, [{ source: "a/b", destinations: ["r.test/b"], line: 1 }]);
  const bad = parseYaml("a/b: r.test/b\na/c: 5\na/d: [x, [y]]\n", "images.yaml");
  assertEquals(
    refusal(() => readConfigParts(auth, bad)).slice(0, 56),
    `Cannot read config "images.yaml" at "a/d" (line 3): expe`,
  );
});

Deno.test("connectionOf() takes what any entry of a registry says, its own first", () => {
  const { auth } = parseConfig(`{ "auth": {
    "r.test/team": { "insecure": true, "proxy": "http://team.test" },
    "r.test": { "proxy": "http://all.test" },
    "r.test.other": { "caFile": "x" } }, "images": {} }`);
  const { insecure, proxy, caFile } = connectionOf(auth, "r.test");
  assertEquals([insecure, proxy, caFile], [true, "http://all.test", undefined]);
});

Deno.test("parseYaml() reads what image-syncer's own parser reads: yes, digits as texts, merges, empty entries", () => {
  const { auth } = fromYaml(`
.base: &base
  insecure: yes
auth:
  r.test:
    <<: *base
    username: 007
    password: 2024-01-02
  s.test:
images: {}
`);
  assertEquals({ ...auth }, {
    "r.test": { username: "007", password: "2024-01-02", insecure: true },
    "s.test": {},
  });
});

Deno.test("parseYaml() shares anchors among as many rules as there are", () => {
  const lines = Array.from({ length: 500 }, (_, index) => `  a/b${index}: *to\n`).join("");
  const { rules } = fromYaml(`.to: &to [r.test/b, s.test/b]\nimages:\n${lines}`);
  assertEquals(rules.length, 500);
  assertEquals(rules[499]?.destinations, ["r.test/b", "s.test/b"]);
});

const LAUGHS = ["a: &a [x, x, x, x, x, x, x, x, x, x]"];
for (const [name, next] of ["ab", "bc", "cd", "de", "ef", "fg"].map((pair) => [...pair])) {
  LAUGHS.push(`${next}: &${next} [${Array(10).fill(`*${name}`).join(", ")}]`);
}

const BAD_YAML: Record<string, [text: string, message: RegExp]> = {
  "a tab": ["images:\n\ta: b\n", /"c\.yaml" \(line 2\).*YAML.*column 1.*tab as indent/],
  "an open bracket": ["images: [\n", /"c\.yaml" \(line \d\).*YAML.*column/],
  "two documents": ["images: {}\n---\nimages: {}\n", /\(line 2\).*multiple docs/],
  "a key twice": ["images:\n  a/b: r.test/b\n  a/b: r.test/c\n", /images\.a\/b" \(line 3\).*twice.*line 2/],
  "an alias without an anchor": ["images: *none\n", /alias in it has no anchor/],
  "a billion laughs": [LAUGHS.join("\n"), /aliases come to too much/],
  "thousands of brackets": ["[".repeat(20_000), /not valid YAML/],
};

for (const [name, [text, message]] of Object.entries(BAD_YAML)) {
  Deno.test(`parseYaml() names the place of ${name}`, () => {
    const said = refusal(() => fromYaml(text));
    assert(message.test(said), said);
  });
}

Deno.test("parseYaml() repeats nothing of a text it cannot read", () => {
  const said = refusal(() => fromYaml(`auth:\n  r.test:\n    password: "hunter2" hunter2\n`));
  assert(!said.includes("hunter2"), said);
});

Deno.test("fault 78: parseConfig() names entries of auth that no image uses, and needs no variable for them", () => {
  const auth = {
    "quay.io": { username: "u", password: "$ABSENT" },
    "r.test/team": { username: "u", password: "p" },
    "r.test/tea": { username: "u", password: "p" },
    "docker.io": { username: "u", password: "p" },
    "s.test": { insecure: true },
  };
  const images = { "r.test/team/app:/^v/": ["s.test/a:v1", "nginx"], "bad//name": "t.test/x" };
  const { warnings } = parseConfig(JSON.stringify({ auth, images }, null, 1), { environment });
  assertEquals(warnings, [
    `No image uses "auth.quay.io" (line 3)`,
    `No image uses "auth.r.test/tea" (line 11)`,
  ]);
  const used = { auth, images: { "quay.io/a": "s.test/a" } };
  assertStringIncludes(
    refusal(() => parseConfig(JSON.stringify(used), { environment })),
    `"ABSENT" is not set`,
  );
});

Deno.test("fault 77: parseConfig() says which variable is empty", () => {
  const config = {
    auth: { "r.test": { username: "u", password: "$EMPTY" } },
    images: { "r.test/a": "s.test/a" },
  };
  const { warnings } = parseConfig(JSON.stringify(config), { environment });
  assertEquals(warnings, [`The variable that "auth.r.test.password" (line 1) names is empty`]);
});
