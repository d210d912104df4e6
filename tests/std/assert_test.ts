/** Tests of the assertions, which must hold for the linked and for the genuine `@std/assert`. */

import {
  assert,
  assertAlmostEquals,
  assertArrayIncludes,
  assertEquals,
  assertExists,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertObjectMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  equal,
  fail,
} from "@std/assert";

/** Without the colours that the genuine package gives its messages unless `NO_COLOR` is set. */
function plain(message: string): string {
  // deno-lint-ignore no-control-regex
  return message.replace(/\x1b\[[0-9;]*m/g, "");
}

Deno.test("fault 90: messages of assertions are compared without their colours", () => {
  check(plain("\x1b[31m- \x1b[1mold\x1b[22m\x1b[39m") === "- old", "colours are left out");
});

/** Runs what must fail and gives the message; written without any assertion that could itself be broken. */
function failureOf(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof AssertionError) return plain(error.message);
    throw error;
  }
  throw new Error("The assertion held");
}

async function rejectionOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof AssertionError) return plain(error.message);
    throw error;
  }
  throw new Error("The assertion held");
}

function check(isFine: boolean, what: string): void {
  if (!isFine) throw new Error(`Not so: ${what}`);
}

const EQUAL: [string, unknown, unknown][] = [
  ["numbers", 1, 1],
  ["NaN", NaN, NaN],
  ["zeros of both signs", 0, -0],
  ["nested objects in another order", { a: 1, b: { c: [2] } }, { b: { c: [2] }, a: 1 }],
  ["an object without a prototype", Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  ["symbol keys", { [Symbol.for("a")]: 1 }, { [Symbol.for("a")]: 1 }],
  ["dates", new Date(5), new Date(5)],
  ["regular expressions", /a/g, /a/g],
  ["addresses", new URL("http://a/"), new URL("http://a/")],
  ["bytes", new Uint8Array([1, 2]), new Uint8Array([1, 2])],
  ["sets of objects in another order", new Set([{ a: 1 }, { a: 2 }]), new Set([{ a: 2 }, { a: 1 }])],
  ["maps with object keys", new Map([[{ a: 1 }, [1]]]), new Map([[{ a: 1 }, [1]]])],
  ["search parameters", new URLSearchParams("a=1"), new URLSearchParams("a=1")],
  ["headers", new Headers({ a: "1" }), new Headers({ a: "1" })],
];

const DIFFERENT: [string, unknown, unknown][] = [
  ["a number and its text", 1, "1"],
  ["null and undefined", null, undefined],
  ["a missing and an undefined property", {}, { a: undefined }],
  ["different keys", { a: undefined }, { b: undefined }],
  ["nested values", { a: { b: [1, 2] } }, { a: { b: [1, 3] } }],
  ["lengths", [1, 2], [1, 2, 3]],
  ["an array and an object", [], {}],
  ["symbol values", { [Symbol.for("a")]: 1 }, { [Symbol.for("a")]: 2 }],
  ["dates", new Date(5), new Date(6)],
  ["flags", /a/g, /a/i],
  ["addresses", new URL("http://a/"), new URL("http://b/")],
  ["messages of errors", new Error("a"), new Error("b")],
  ["classes of errors", new Error("a"), new TypeError("a")],
  ["bytes", new Uint8Array([1, 2]), new Uint8Array([1, 3])],
  ["numbers of bytes", new Uint8Array(1), new Uint8Array(2)],
  ["kinds of arrays", new Uint8Array([1]), new Int8Array([1])],
  ["sets", new Set([{ a: 1 }, { a: 2 }]), new Set([{ a: 1 }, { a: 3 }])],
  ["values of maps", new Map([["a", 1]]), new Map([["a", 2]])],
  ["search parameters", new URLSearchParams("a=1"), new URLSearchParams("a=2")],
  ["functions", () => 1, () => 1],
];

for (const [name, a, b] of EQUAL) {
  Deno.test(`equal() says yes to ${name}`, () => {
    check(equal(a, b) && equal(b, a), `${name} are equal`);
    assertEquals(a, b);
    failureOf(() => assertNotEquals(a, b));
  });
}

for (const [name, a, b] of DIFFERENT) {
  Deno.test(`equal() says no to ${name}`, () => {
    check(!equal(a, b) && !equal(b, a), `${name} differ`);
    assertNotEquals(a, b);
    failureOf(() => assertEquals(a, b));
  });
}

Deno.test("equal() tells a class from a plain object and looks through getters", () => {
  class Box {
    readonly #content: number;
    constructor(content: number) {
      this.#content = content;
    }
    get content(): number {
      return this.#content;
    }
  }
  check(equal(new Box(1), new Box(1)), "same content");
  check(!equal(new Box(1), new Box(2)), "other content");
  check(!equal(new Box(1), {}), "other class");
});

Deno.test("equal() comes to an end in a circle", () => {
  const circle = (end: number) => {
    const start: Record<string, unknown> = { end };
    start.self = { start };
    return start;
  };
  check(equal(circle(1), circle(1)), "same circles");
  check(!equal(circle(1), circle(2)), "other circles");
});

Deno.test("equal() forgets a pair that a set tried in vain", () => {
  const one = { n: 1 };
  const two = { n: 2 };
  const a = { set: new Set([one, { n: 2 }]), last: one };
  const b = { set: new Set([two, { n: 1 }]), last: two };
  check(!equal(a, b), "the last ones differ");
});

Deno.test("assertEquals() shows what was found and what was expected", () => {
  const message = failureOf(() => assertEquals({ a: 1, tag: "old" }, { a: 1, tag: "new" }, "tags"));
  assertMatch(message, /^Values are not equal: tags\n/);
  assertMatch(message, /^- +tag: .old./m);
  assertMatch(message, /^\+ +tag: .new./m);
  assertMatch(failureOf(() => assertEquals(1, 2)), /^Values are not equal\.\n[^]*^- +1\n\+ +2/m);
});

Deno.test("assert() passes what is truthy and throws an AssertionError otherwise", () => {
  assert("a");
  assertStrictEquals(failureOf(() => assert(0, "zero")), "zero");
  const error = new AssertionError("a", { cause: 1 });
  assertStrictEquals(error.name, "AssertionError");
  assertStrictEquals(error.cause, 1);
});

Deno.test("fail() throws its message", () => {
  assertStrictEquals(failureOf(() => fail()), "Failed assertion.");
  assertStrictEquals(failureOf(() => fail("here")), "Failed assertion: here");
});

Deno.test("assertStrictEquals() wants the same value", () => {
  const value: unknown = "a";
  assertStrictEquals(value, "a" as const);
  const narrowed: "a" = value;
  assertStrictEquals(NaN, Number(narrowed));
  failureOf(() => assertStrictEquals({ a: 1 }, { a: 1 }));
  failureOf(() => assertStrictEquals(0, -0));
});

Deno.test("assertExists() lets everything pass but null and undefined", () => {
  assertExists(0);
  assertExists("");
  failureOf(() => assertExists(null));
  failureOf(() => assertExists(undefined));
});

Deno.test("assertInstanceOf() wants the class or one below it", () => {
  const value: unknown = new RangeError("a");
  assertInstanceOf(value, Error);
  assertStrictEquals(value.message, "a");
  failureOf(() => assertInstanceOf(value, TypeError));
  failureOf(() => assertInstanceOf(null, Error));
  failureOf(() => assertInstanceOf("a", String));
});

Deno.test("assertStringIncludes() and assertMatch() look into a text", () => {
  assertStringIncludes("abc", "b");
  assertMatch("abc", /^a/);
  assertStringIncludes(failureOf(() => assertStringIncludes("abc", "d", "hint")), ": hint");
  assertStringIncludes(failureOf(() => assertMatch("abc", /^b/, "hint")), ": hint");
});

Deno.test("assertGreater() and the like compare", () => {
  assertGreater(2, 1);
  assertGreaterOrEqual(2, 2);
  assertLess(1, 2);
  assertLessOrEqual(2, 2);
  failureOf(() => assertGreater(2, 2));
  failureOf(() => assertGreaterOrEqual(1, 2));
  failureOf(() => assertLess(2, 2));
  failureOf(() => assertLessOrEqual(2, 1));
});

Deno.test("assertAlmostEquals() allows for rounding", () => {
  assertAlmostEquals(0.1 + 0.2, 0.3);
  assertAlmostEquals(10, 11, 1);
  assertAlmostEquals(Infinity, Infinity);
  failureOf(() => assertAlmostEquals(0.3, 0.31));
  failureOf(() => assertAlmostEquals(10, 12, 1));
  failureOf(() => assertAlmostEquals(NaN, 1));
});

Deno.test("assertArrayIncludes() finds equal elements and names the missing ones", () => {
  assertArrayIncludes([{ a: 1 }, { a: 2 }], [{ a: 2 }]);
  assertMatch(failureOf(() => assertArrayIncludes(["a"], ["a", "b"])), /missing: \[\s*["']b["'],?\s*\]/);
});

Deno.test("assertObjectMatch() compares what is expected and nothing else", () => {
  const actual = { a: 1, b: { c: [{ d: 1, e: 2 }, 3], f: 4 }, g: new Map([["h", { i: 1, j: 2 }]]) };
  assertObjectMatch(actual, { b: { c: [{ d: 1 }] } });
  assertObjectMatch(actual, { b: { c: [] }, g: new Map([["h", { j: 2 }]]) });
  assertObjectMatch(Object.assign(new Error("a"), { status: 404 }), { message: "a", status: 404 });
  failureOf(() => assertObjectMatch(actual, { b: { c: [{ d: 2 }] } }));
  failureOf(() => assertObjectMatch(actual, { b: { f: 4, x: undefined } }));
  failureOf(() => assertObjectMatch(actual, { b: { c: [{ d: 1 }, 3, 4] } }));
  failureOf(() => assertObjectMatch({ at: new Date(1) }, { at: new Date(2) }));
});

Deno.test("assertThrows() gives the error back and checks its class and message", () => {
  const raise = () => {
    throw new RangeError("too much");
  };
  assertStrictEquals(assertThrows(raise, RangeError, "much").message, "too much");
  assertInstanceOf(assertThrows(raise), RangeError);
  assertMatch(failureOf(() => assertThrows(() => 1)), /^Expected function to throw\.$/);
  assertMatch(failureOf(() => assertThrows(() => 1, "hint")), /: hint$/);
  assertStringIncludes(failureOf(() => assertThrows(raise, TypeError)), `"TypeError", but was "RangeError"`);
  assertStringIncludes(failureOf(() => assertThrows(raise, RangeError, "little")), `to include "little"`);
  const raiseText = () => {
    throw "text";
  };
  assertStrictEquals(assertThrows(raiseText), "text");
  assertStringIncludes(failureOf(() => assertThrows(raiseText, Error)), "A non-Error object was thrown");
});

Deno.test("assertRejects() gives the error back and checks its class and message", async () => {
  const reject = () => Promise.reject(new RangeError("too much"));
  assertStrictEquals((await assertRejects(reject, RangeError, "much")).message, "too much");
  assertInstanceOf(await assertRejects(reject), RangeError);
  assertMatch(
    await rejectionOf(() => assertRejects(() => Promise.resolve())),
    /^Expected function to reject\.$/,
  );
  assertMatch(await rejectionOf(() => assertRejects(() => Promise.resolve(), "hint")), /: hint$/);
  await rejectionOf(() => assertRejects(reject, TypeError));
  await rejectionOf(() => assertRejects(reject, RangeError, "little"));
});

Deno.test("assertRejects() is not content with a function that throws or gives no promise", async () => {
  const raise = () => {
    throw new Error("at once");
  };
  assertMatch(await rejectionOf(() => assertRejects(raise)), /^Function throws when expected to reject/);
  const give = () => 1 as unknown as Promise<number>;
  assertMatch(await rejectionOf(() => assertRejects(give)), /^Function throws when expected to reject/);
});
