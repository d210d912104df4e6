/** Tests of JSON with comments, which must hold for the linked and for the genuine `@std/jsonc`. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type JsonValue, parse } from "@std/jsonc";

const VALID: [string, JsonValue][] = [
  ["1", 1],
  [" -0.5e+2 ", -50],
  ["null", null],
  ["true // yes", true],
  [`"a\\n\\u0041\\"\\\\"`, 'a\nA"\\'],
  [`"// no comment /* none */"`, "// no comment /* none */"],
  ["[]", []],
  ["[1, [2], {}]", [1, [2], {}]],
  ["[1, 2, ]", [1, 2]],
  [`{"a": 1, }`, { a: 1 }],
  [`{"a": {"b": [true, false, null]}}`, { a: { b: [true, false, null] } }],
  ["/* a */ [ // b\n 1 /**/ , /* c\n */ 2 // d\r\n, ] //", [1, 2]],
  ["\t\r\n[]\n", []],
  [`{"a": 1, "b": 2, "a": 3}`, { a: 3, b: 2 }],
];

for (const [text, value] of VALID) {
  Deno.test(`parse() reads ${JSON.stringify(text)}`, () => assertEquals(parse(text), value));
}

const INVALID: [string, string][] = [
  ["", "unexpected end of JSONC input"],
  ["// only a comment", "unexpected end of JSONC input"],
  ["/* no end", "unexpected end of JSONC input"],
  ["/*/ 1", "unexpected end of JSONC input"],
  ["[1", "unexpected end of JSONC input"],
  [`{"a": 1`, "unexpected end of JSONC input"],
  [`{"a":`, "unexpected end of JSONC input"],
  ["\uFEFF{}", "at position 0"],
  ["{'a': 1}", `unexpected token "'a'" in JSONC at position 1`],
  ["[1,,2]", `unexpected token "," in JSONC at position 3`],
  ["[1,,]", `unexpected token "," in JSONC at position 3`],
  ["[,]", `unexpected token "," in JSONC at position 1`],
  ["{,}", `unexpected token "," in JSONC at position 1`],
  [`{"a" 1}`, `unexpected token "1" in JSONC at position 5`],
  [`{"a":}`, `unexpected token "}" in JSONC at position 5`],
  [`{"a": 1 "b": 2}`, `in JSONC at position 8`],
  ["{a: 1}", `unexpected token "a" in JSONC at position 1`],
  ["{1: 2}", `unexpected token "1" in JSONC at position 1`],
  ["[1}", `unexpected token "}" in JSONC at position 2`],
  ["[1]]", `unexpected token "]" in JSONC at position 3`],
  ["1 2", `unexpected token "2" in JSONC at position 2`],
  ["01", `unexpected token "01" in JSONC at position 0`],
  ["NaN", `unexpected token "NaN" in JSONC at position 0`],
  [`"a\nb"`, "in JSONC at position 0"],
  [`"\\x"`, "in JSONC at position 0"],
  [`"no end`, "in JSONC at position 0"],
  ["tr/**/ue", `unexpected token "tr" in JSONC at position 0`],
  ["x".repeat(40), `unexpected token "${"x".repeat(30)}..." in JSONC at position 0`],
];

for (const [text, message] of INVALID) {
  Deno.test(`parse() refuses ${JSON.stringify(text)}`, () => {
    assertThrows(() => parse(text), SyntaxError, message);
  });
}

Deno.test('parse() makes "__proto__" a property of its own', () => {
  const value = parse(`{"__proto__": {"polluted": true}, "a": 1}`);
  assert(typeof value === "object" && value !== null);
  assertEquals(Object.keys(value), ["__proto__", "a"]);
  assertEquals(Object.getPrototypeOf(value), Object.prototype);
  assert(!("polluted" in value));
});

Deno.test("parse() gives a value or an error for a text nested 10,000 deep", () => {
  const text = "[".repeat(10_000) + "]".repeat(10_000);
  try {
    assert(Array.isArray(parse(text)));
  } catch (error) {
    assert(error instanceof SyntaxError || error instanceof RangeError);
  }
});

Deno.test("parse() reads a text of many elements", () => {
  const text = `[${`{"a": "b", /* c */ "d": [1, 2, ]},\n`.repeat(10_000)}]`;
  const value = parse(text);
  assert(Array.isArray(value));
  assertEquals(value.length, 10_000);
  assertEquals(value.at(-1), { a: "b", d: [1, 2] });
});
