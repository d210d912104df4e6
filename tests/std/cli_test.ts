/** Tests of the reader of command lines, which must hold for the linked and for the genuine `@std/cli`. */

import { assertEquals, assertInstanceOf, assertStrictEquals } from "@std/assert";
import { parseArgs } from "@std/cli/parse-args";

Deno.test("parseArgs() types what its options name", () => {
  const args = parseArgs(["--config", "a.json", "--os", "linux", "--os=windows", "-h", "rest", "3"], {
    string: ["config", "os", "log"],
    boolean: ["help", "quiet"],
    collect: ["os"],
    alias: { h: "help" },
    default: { log: "info" },
  });
  const config: string | undefined = args.config;
  const os: string[] = args.os;
  const help: boolean = args.help;
  const log: string = args.log;
  const rest: (string | number)[] = args._;
  assertEquals({ config, os, help, quiet: args.quiet, log, rest }, {
    config: "a.json",
    os: ["linux", "windows"],
    help: true,
    quiet: false,
    log: "info",
    rest: ["rest", 3],
  });
});

Deno.test("parseArgs() leaves out texts that are not given, and gives switches and lists", () => {
  const args = parseArgs([], { string: ["config", "os"], boolean: ["help", "on"], collect: ["os", "on"] });
  assertEquals({ ...args }, { _: [], help: false, os: [], on: [] });
  assertEquals({ ...parseArgs([], { collect: ["os"] }) }, { _: [] });
});

Deno.test("parseArgs() reads a value in each spelling", () => {
  for (
    const args of [["-p8"], ["-p", "8"], ["-p=8"], ["--proc=8"], ["--proc", "8"], ["-vp", "8"]]
  ) {
    assertEquals(parseArgs(args, { alias: { p: "proc" }, boolean: ["v"] }).proc, 8, args.join(" "));
  }
});

Deno.test("parseArgs() makes numbers of what looks like one, unless it is a text", () => {
  const numbers = parseArgs(["--a=1.20", "--b", "007", "--c=-3", "--d=0x1f", "--e=1e3", "1.0", "v1"]);
  assertEquals({ ...numbers }, { a: 1.2, b: 7, c: -3, d: 31, e: 1000, _: [1, "v1"] });
  const texts = parseArgs(["--tag", "1.20", "-t007", "3"], { string: ["tag", "t", "_"] });
  assertEquals({ ...texts }, { tag: "1.20", t: "007", _: ["3"] });
  assertEquals({ ...parseArgs(["--a=Infinity", "--b=1.2.3", "--c="]) }, {
    a: "Infinity",
    b: "1.2.3",
    c: "",
    _: [],
  });
});

Deno.test("parseArgs() gives an empty text or true for an option without a value", () => {
  assertStrictEquals(parseArgs(["--config"], { string: ["config"] }).config, "");
  assertStrictEquals(parseArgs(["--config", "--help"], { string: ["config"] }).config, "");
  assertStrictEquals(parseArgs(["-c"], { string: ["config"], alias: { c: "config" } }).config, "");
  assertStrictEquals(parseArgs(["--other"]).other, true);
});

Deno.test("parseArgs() takes apart a group of letters", () => {
  assertEquals({ ...parseArgs(["-abc", "x"]) }, { a: true, b: true, c: "x", _: [] });
  assertEquals({ ...parseArgs(["-abc", "x"], { boolean: ["c"] }) }, { a: true, b: true, c: true, _: ["x"] });
  assertEquals({ ...parseArgs(["-o/tmp/x"]) }, { o: "/tmp/x", _: [] });
  assertEquals({ ...parseArgs(["-o", "-"]) }, { o: "-", _: [] });
});

Deno.test("parseArgs() gives a switch no value but true and false", () => {
  const options = { boolean: ["force"] };
  assertEquals({ ...parseArgs(["--force", "file"], options) }, { force: true, _: ["file"] });
  assertEquals({ ...parseArgs(["--force", "false"], options) }, { force: false, _: [] });
  assertEquals({ ...parseArgs(["--force=false"], options) }, { force: false, _: [] });
  assertEquals({ ...parseArgs(["--force=x"], options) }, { force: true, _: [] });
});

Deno.test("parseArgs() makes every long option a switch when told so", () => {
  const args = parseArgs(["--a", "x", "--b=y", "-c", "z"], { boolean: true });
  assertEquals({ ...args }, { a: true, b: "y", c: "z", _: ["x"] });
});

Deno.test("parseArgs() keeps the last value, or all of a list", () => {
  const args = parseArgs(["--a=1", "--a=2", "--b=1", "-B", "2"], { collect: ["b"], alias: { b: "B" } });
  assertEquals({ ...args }, { a: 2, b: [1, 2], B: [1, 2], _: [] });
});

Deno.test("parseArgs() gives a value under all names", () => {
  const args = parseArgs(["-v", "--dir", "x"], {
    boolean: ["verbose"],
    alias: { v: "verbose", directory: ["dir", "d"] },
  });
  assertEquals({ ...args }, { v: true, verbose: true, directory: "x", dir: "x", d: "x", _: [] });
  assertEquals({ ...parseArgs([], { default: { a: 1 }, alias: { a: "b" } }) }, { a: 1, b: 1, _: [] });
});

Deno.test("parseArgs() negates only what may be negated", () => {
  const options = { boolean: ["color", "cache"], negatable: ["color"], default: { color: true } };
  assertEquals({ ...parseArgs([], options) }, { color: true, cache: false, _: [] });
  assertEquals({ ...parseArgs(["--no-color"], options) }, { color: false, cache: false, _: [] });
  assertEquals({ ...parseArgs(["--no-cache"], options) }, {
    color: true,
    cache: false,
    "no-cache": true,
    _: [],
  });
});

Deno.test("parseArgs() prefers what is given to the default", () => {
  const options = { string: ["a"], collect: ["a"], default: { a: ["x"], b: 1 } };
  assertEquals({ ...parseArgs([], options) }, { a: ["x"], b: 1, _: [] });
  assertEquals({ ...parseArgs(["--a=y", "--b=2"], options) }, { a: ["y"], b: 2, _: [] });
});

Deno.test("parseArgs() leaves alone what follows a double dash", () => {
  const args = ["a", "--", "--b", "3"];
  assertEquals({ ...parseArgs(args) }, { _: ["a", "--b", "3"] });
  const apart = parseArgs(args, { "--": true });
  const rest: string[] = apart["--"];
  assertEquals([apart._, rest], [["a"], ["--b", "3"]]);
});

Deno.test("parseArgs() stops at the first argument that is no option when told so", () => {
  const args = parseArgs(["--a", "--b=1", "run", "--c", "3"], { stopEarly: true });
  assertEquals({ ...args }, { a: true, b: 1, _: ["run", "--c", "3"] });
});

Deno.test("parseArgs() asks about what it does not know", () => {
  const asked: unknown[][] = [];
  const unknown = (argument: string, key?: string, value?: unknown) => {
    asked.push(key === undefined ? [argument] : [argument, key, value]);
    return false;
  };
  const options = { string: ["config"], boolean: ["help"], alias: { h: "help" }, collect: ["os"], unknown };
  const args = parseArgs(["--config=x", "-h", "--os=1", "--confg=y", "-z", "rest"], options);
  assertEquals(asked, [["--confg=y", "confg", "y"], ["-z", "z", "rest"]]);
  assertEquals({ ...args }, { config: "x", help: true, h: true, os: [1], _: [] });
});

Deno.test("parseArgs() keeps what it does not know unless told otherwise", () => {
  const args = parseArgs(["--confg=y", "rest"], { string: ["config"], unknown: () => true });
  assertEquals({ ...args }, { confg: "y", _: ["rest"] });
});

Deno.test("parseArgs() makes objects of names with dots", () => {
  assertEquals({ ...parseArgs(["--a.b=1", "--a.c", "x"]) }, { a: { b: 1, c: "x" }, _: [] });
});

Deno.test("parseArgs() changes no prototype", () => {
  parseArgs(["--__proto__.polluted=1", "--a.__proto__.polluted=1", "--constructor.prototype.polluted=1"]);
  assertStrictEquals(Reflect.get({}, "polluted"), undefined);
  assertEquals({ ...parseArgs(["--constructor=1", "--__proto__=1"]) }, { _: [] });
});

Deno.test("parseArgs() keeps the list of the rest a list", () => {
  try {
    assertEquals(parseArgs(["--_=3", "rest"])._, ["rest"]);
  } catch (error) {
    assertInstanceOf(error, TypeError);
  }
});
