/** Tests of the command line's flags: what they mean, which command takes which, and what is said of the others. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { type FlagName, type Flags, parseFlags, UsageError } from "../src/machine/config/flags.ts";
import { SetupError } from "../src/mirror/config/config.ts";
import { idleFlags, limitsOf, storeText } from "../src/machine/doors/command_setup.ts";
import { COMMAND as MIRROR } from "../src/machine/doors/commands/mirror_command.ts";
import { openWorkspace } from "./cli_process.ts";

function flagsOf(...args: string[]): Flags {
  return parseFlags(args).flags;
}

function refusal(...args: string[]): string {
  return assertThrows(() => parseFlags(args), UsageError).message;
}

/** What a command line is refused with, by the command it is for. */
async function usageOf(...args: string[]): Promise<string> {
  await using workspace = await openWorkspace();
  const { code, stdout, stderr } = await workspace.run(args);
  assertEquals([code, stdout], [2, ""], stderr);
  const lines = stderr.trimEnd().split("\n");
  assert(lines.length <= 2, stderr);
  return lines.at(-1) ?? "";
}

Deno.test("parseFlags() gives what was given, and nothing else", () => {
  assertEquals(parseFlags([]), { flags: {}, repeated: [], words: [], asksHelp: false, asksVersion: false });
  assertEquals(flagsOf("--force", "--log", "x"), { force: true, log: "x" });
});

Deno.test("parseFlags() takes values behind a blank, an equals sign or at once", () => {
  for (const args of [["-p", "8"], ["-p8"], ["-p=8"], ["--proc", "8"], ["--proc=8"]]) {
    assertEquals(flagsOf(...args).proc, 8, args.join(" "));
  }
  assertEquals(flagsOf("--namespace", "007").namespace, "007");
  assertEquals(flagsOf("--config", "-").config, "-");
  assertEquals(flagsOf("--config=-").config, "-");
});

Deno.test("parseFlags() gives values, not texts", () => {
  assertEquals(limitsOf(flagsOf()), {});
  const times = ["--connect-timeout=10", "--stall-timeout", "500ms", "--commit-timeout", "2m"];
  assertEquals(limitsOf(flagsOf(...times, "--header-timeout=1.5s", "--contact-timeout", "9")), {
    connect: 10_000,
    contact: 9000,
    headers: 1500,
    commit: 120_000,
    stall: 500,
  });
  assertEquals(flagsOf("--shard", "3/8").shard, { index: 3, count: 8 });
  assertEquals(flagsOf("--port", "80", "--log-format", "JSON").port, 80);
});

Deno.test("parseFlags() keeps every --os and --arch, and takes no notice of empty ones", () => {
  assertEquals(flagsOf("--os", "linux", "--arch", "arm:v7", "--arch=amd64"), {
    os: ["linux"],
    arch: ["arm:v7", "amd64"],
  });
  const none = parseFlags(["--os", "", "--arch", "", "--arch="]);
  assertEquals([none.flags, none.words], [{ os: [], arch: [] }, []]);
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
  assertStringIncludes(refusal("--stall-timeout", "soon"), "30 (seconds), 500ms or 2m");
  assertStringIncludes(refusal("--shard", "9/8"), `"9/8"`);
});

Deno.test("fault 21: parseFlags() takes the least rate of a registry in bytes a second", () => {
  assertEquals(limitsOf(flagsOf("--minimum-rate", "100")), { rate: 100 });
  assertEquals(limitsOf(flagsOf("--minimum-rate=0", "--stall-timeout=9")), { rate: 0, stall: 9000 });
  assertStringIncludes(refusal("--minimum-rate", "fast"), "--minimum-rate");
});

Deno.test("fault 79: switches may say true and false, as Go's do", () => {
  for (const arg of ["--no-progress", "--no-progress=true", "--progress=false", "--no-progress=1"]) {
    assertEquals(flagsOf(arg), { "no-progress": true }, arg);
  }
  for (const arg of ["--progress", "--progress=true", "--no-progress=false", "--force=false", "--strict=F"]) {
    assertEquals(flagsOf(arg), {}, arg);
  }
  assertEquals(flagsOf("--force=true").force, true);
  assertStringIncludes(refusal("--force=maybe"), `"--force" needs true or false, got "maybe"`);
});

Deno.test("fault 79: outputs need a file, because standard output has the lines of the run", () => {
  for (const name of ["--report", "--output-success-images"]) {
    assertStringIncludes(refusal(name, "-"), `"${name}" needs a file`);
  }
});

Deno.test("fault 79: a store is a file or a place that is known", () => {
  assertEquals(storeText({}), "file:./records");
  assertEquals(storeText({ records: "kv" }), "file:kv");
  assertEquals(storeText({ store: "some/path" }), "file:some/path");
  assertEquals(storeText({ store: "C:\\records" }), "file:C:\\records");
  for (const store of ["kv", "kv:x", "file:x", "redis://x"]) assertEquals(storeText({ store }), store);
});

const IDLE: [args: string[], flag: FlagName, beside: string][] = [
  [["--config", "c", "--auth", "a"], "auth", "--config"],
  [["--config", "c", "--images", "i"], "images", "--config"],
  [["--records", "r", "--store", "kv"], "records", "--store"],
  [["s.test/a", "d.test/b", "--images", "i"], "images", "a source and a destination"],
  [["s.test/a", "d.test/b", "--config", "c", "--auth", "a"], "auth", "--config"],
  [["--output-images-format", "json"], "output-images-format", "--output-success-images"],
  [["--dry-run", "--output-success-images", "x"], "output-success-images", "--dry-run"],
];

for (const [args, flag, beside] of IDLE) {
  Deno.test(`fault 79: the mirror says that --${flag} does nothing in "${args.join(" ")}"`, () => {
    const { flags, words } = parseFlags(args);
    const idle = [...idleFlags(flags, words.length === 2), ...MIRROR.check?.(flags, words) ?? []];
    const [said = "", ...others] = idle;
    assertEquals(others, []);
    assertStringIncludes(said, `"--${flag}" does nothing`);
    assertStringIncludes(said, beside);
  });
}

Deno.test("fault 79: what cannot be meant is refused", () => {
  const check = (...args: string[]) => {
    const { flags, words } = parseFlags(args);
    return assertThrows(() => MIRROR.check?.(flags, words), SetupError).message;
  };
  assertStringIncludes(check("--dry-run", "--report", "x"), `"--report" does nothing beside "--dry-run"`);
  assertStringIncludes(check("--attestations", "--no-attestations"), "do not go together");
  assertStringIncludes(check("--store", "redis://x"), `Cannot open store "redis://x"`);
  assertStringIncludes(check("--arch", "a/b/c/d"), "platform");
  assertEquals(idleFlags({}, false), []);
});

const REFUSED: [args: string[], sentence: string][] = [
  [
    ["--schedule", "0 * * * *"],
    `"image-syncer mirror" does not take "--schedule"; it is for "image-syncer serve"`,
  ],
  [["--reports", "r"], `does not take "--reports"`],
  [["serve", "--schedule", "0 * * * *", "--dry-run"], `"image-syncer serve" does not take "--dry-run"`],
  [["serve"], `"image-syncer serve" would never run: give --schedule CRON, or IMAGE_SYNCER_TOKEN`],
  [
    ["serve", "--schedule", "0 * * * *", "--config", "a", "--config", "b"],
    `"--config" is given more than once`,
  ],
  [
    ["serve", "--schedule", "0 * * * *", "--config", "a", "--auth", "b"],
    `"--auth" does nothing beside "--config"`,
  ],
  [["plan", "--config", "a", "--auth", "b"], `"--auth" does nothing beside "--config"`],
  [["validate", "--config", "a", "--images", "b"], `"--images" does nothing beside "--config"`],
  [["records", "export", "--records", "r", "--store", "kv"], `"--records" does nothing beside "--store"`],
  [
    ["apply", "p", "--config", "a", "--output-images-format", "json"],
    `"--output-images-format" does nothing without "--output-success-images"`,
  ],
  [["convert", "x.yml", "--force"], `"--force" does nothing without "--output"`],
  [["--store", "a", "--store", "b"], `"--store" is given more than once`],
  [["serve", "now"], `"image-syncer serve" takes no argument "now"`],
  [["auth"], `"auth" is not a command; did you mean "auth check"?`],
  [["auth", "check", "r.test"], `"image-syncer auth check" takes no argument "r.test"`],
  [["serv"], `did you mean "serve"?`],
  [["a.test/b"], `Unexpected argument "a.test/b"; give a source and a destination`],
  [["a", "b", "c"], `Unexpected argument "c"`],
  [["help", "wanted"], `There is no command "wanted"; there are mirror, serve, auth check`],
];

for (const [args, sentence] of REFUSED) {
  Deno.test(`fault 80: "${args.join(" ")}" is refused in one sentence, which stands last`, async () => {
    assertStringIncludes(await usageOf(...args), sentence);
  });
}

Deno.test("help is one screen, and each command's help has every flag that it takes", async () => {
  await using workspace = await openWorkspace();
  const help = await workspace.run(["--help"]);
  assert(help.lines.length <= 30, `${help.lines.length} lines`);
  assert(help.lines.every((line) => line.length <= 110), help.stdout);
  const named = ["config", "auth", "images", "log", "records", "registry", "namespace", "proc", "retries"];
  named.push("os", "arch", "force", "output-success-images", "output-images-format", "dry-run", "strict");
  for (const name of [...named, "report", "version"]) assertStringIncludes(help.stdout, `--${name}`);
  for (const name of ["mirror", "serve", "auth check"]) assertStringIncludes(help.stdout, `  ${name} `);
  assertEquals((await workspace.run(["help"])).stdout, help.stdout);
  const serve = await workspace.run(["serve", "--help"]);
  assertEquals([serve.code, serve.stdout], [0, (await workspace.run(["help", "serve"])).stdout]);
  assertStringIncludes(serve.stdout, "--schedule CRON");
  assert(!serve.stdout.includes("--dry-run"), serve.stdout);
  const mirror = await workspace.run(["help", "mirror"]);
  for (const name of MIRROR.flags) assertStringIncludes(mirror.stdout, `--${name}`);
});

Deno.test("runCommand() takes a first word that is a command for one, and library/NAME for the image", async () => {
  await using workspace = await openWorkspace();
  const { stderr } = await workspace.run(["serve", "r.test/x"]);
  assertStringIncludes(stderr, `"image-syncer serve" takes no argument "r.test/x"`);
  const image = await workspace.run(["library/serve", "r.test/x", "--dry-run", "--retries=0"]);
  assertEquals(image.code, 1, image.stderr);
  assertStringIncludes(image.stdout, "failed  library/serve");
});
