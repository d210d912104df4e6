/** Tests of the command line's flags. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { type Flags, parseFlags, UsageError } from "../src/machine/config/flags.ts";
import { HELP } from "../src/machine/config/help.ts";

function flagsOf(...args: string[]): Flags {
  const command = parseFlags(args, () => undefined);
  assert("flags" in command, "it is not about help");
  return command.flags;
}

function refusal(...args: string[]): string {
  return assertThrows(() => parseFlags(args, () => undefined), UsageError).message;
}

Deno.test("parseFlags() has image-syncer's defaults", () => {
  const { config, proc, retries, store, logFormat, outputFormat, platforms, progress } = flagsOf();
  assertEquals([config, proc, retries, store], [undefined, 5, 2, "./records"]);
  assertEquals([logFormat, outputFormat, platforms, progress], ["text", "yaml", [], true]);
});

Deno.test("parseFlags() takes values behind a blank, an equals sign or at once", () => {
  for (const args of [["-p", "8"], ["-p8"], ["-p=8"], ["--proc", "8"], ["--proc=8"]]) {
    assertEquals(flagsOf(...args).proc, 8, args.join(" "));
  }
  assertEquals(flagsOf("--namespace", "007").namespace, "007");
  assertEquals(flagsOf("--config", "-").config, "-");
  assertEquals(flagsOf("--config=-").config, "-");
});

Deno.test("parseFlags() makes platforms of --os and --arch, and takes no notice of empty ones", () => {
  assertEquals(flagsOf("--os", "linux", "--arch", "arm:v7", "--arch=amd64").platforms, [
    "linux/arm/v7",
    "linux/amd64",
  ]);
  assertEquals(flagsOf("--arch", "arm64").platforms, ["*/arm64"]);
  const none = flagsOf("--os", "", "--arch", "", "--arch=");
  assertEquals([none.platforms, none.pair], [[], undefined]);
});

Deno.test("parseFlags() tells a pair, auth check and serve apart", () => {
  assertEquals(flagsOf("a.test/b", "c.test/d").pair, ["a.test/b", "c.test/d"]);
  const typeOf = (...args: string[]) => parseFlags(args, () => undefined).type;
  assertEquals(typeOf("auth", "check", "--config", "c"), "auth-check");
  assertEquals(typeOf("serve", "--port", "80"), "serve");
  assertEquals([typeOf("--config", "c", "-h"), typeOf("--version")], ["help", "version"]);
  for (const args of [["a.test/b"], ["auth"], ["auth", "chek"], ["a", "b", "c"]]) {
    assertStringIncludes(refusal(...args), "Unexpected argument");
  }
});

Deno.test("parseFlags() has defaults in the environment, which a flag wins over", () => {
  const environment = (name: string) => `${name} of the environment`;
  const command = parseFlags(["--registry", "r.test"], environment);
  assert("flags" in command);
  assertEquals(command.flags.registry, "r.test");
  assertEquals(command.flags.namespace, "DEFAULT_NAMESPACE of the environment");
});

Deno.test("parseFlags() names what it cannot understand, and what is near", () => {
  assertEquals(refusal("--confg", "x"), `Unknown flag "--confg"; did you mean "--config"?`);
  assertStringIncludes(refusal("--zzzzzzzz"), `Unknown flag "--zzzzzzzz"`);
  assertStringIncludes(refusal("-z"), `"-z"`);
  assertStringIncludes(refusal("--proc", "0"), `"--proc" needs a whole number from 1`);
  assertStringIncludes(refusal("--proc", "1e2"), `got "1e2"`);
  assertStringIncludes(refusal("--config"), `"--config" needs a value`);
  assertStringIncludes(refusal("--log-format", "xml"), "text or json");
  assertStringIncludes(refusal("--output-images-format", "xml"), "yaml or json");
  assertStringIncludes(refusal("--arch", "a/b/c/d"), "platform");
});

Deno.test("HELP fits one screen and names the flags of image-syncer", () => {
  const lines = HELP.split("\n");
  assert(lines.length <= 24, `${lines.length} lines`);
  assert(lines.every((line) => line.length <= 110), "a line is too long");
  const names = [
    "config",
    "auth",
    "images",
    "log",
    "records",
    "registry",
    "namespace",
    "proc",
    "retries",
    "os",
    "arch",
  ];
  names.push(
    "force",
    "output-success-images",
    "output-images-format",
    "dry-run",
    "strict",
    "report",
    "reports",
    "version",
  );
  for (const name of names) assertStringIncludes(HELP, `--${name}`);
});

Deno.test("fault 21: parseFlags() takes the least rate of a registry in bytes a second", () => {
  assertEquals(flagsOf().limits, {});
  assertEquals(flagsOf("--minimum-rate", "100").limits, { rate: 100 });
  assertEquals(flagsOf("--minimum-rate=0", "--stall-timeout=9").limits, { rate: 0, stall: 9000 });
  assertStringIncludes(refusal("--minimum-rate", "fast"), "--minimum-rate");
  assertStringIncludes(HELP, "--minimum-rate");
});
