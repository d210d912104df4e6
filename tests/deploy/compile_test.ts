/** The program as one file: what goes into it, and what is said where it cannot be made. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { argumentsFor, explainFailure, fileOf, TARGETS } from "../../src/deno/compile.ts";
import { VERSION } from "../../src/machine/version.ts";

/** The runtime's place is taken by any program at all: everything but running is done as ever. */
const RUNTIME = "/bin/true";

/** What `deno compile` notes in the program, from the first byte of the note to the end. */
function metadataOf(program: string): string {
  return program.slice(program.indexOf('{"argv":'));
}

Deno.test("argumentsFor() makes a program that holds the features, the permissions and the version", async () => {
  if (Deno.build.os !== "linux") return;
  const directory = await Deno.makeTempDir();
  try {
    for (const target of TARGETS.filter((name) => name.includes("linux"))) {
      const command = new Deno.Command(Deno.execPath(), {
        args: argumentsFor(target, directory),
        env: { DENORT_BIN: RUNTIME },
      });
      const { success, stderr } = await command.output();
      assert(success, new TextDecoder().decode(stderr));
      const bytes = await Deno.readFile(`${directory}/${fileOf(target)}`);
      const metadata = metadataOf(new TextDecoder("latin1").decode(bytes));
      for (
        const part of [
          '"features":["kv","cron"]',
          `"app_name":"image-syncer","app_version":"${VERSION}"`,
          '"allow_env":[]',
          '"allow_net":[]',
          '"allow_read":[]',
          '"allow_write":[]',
          '"allow_ffi":null',
          '"allow_sys":null',
          '"allow_run":["docker-credential-acr-env",',
          '"deny_import":[]',
          '"prompt":false',
          '"unsafely_ignore_certificate_errors":null',
        ]
      ) assertStringIncludes(metadata, part);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("fileOf() names the version and the system", () => {
  assertEquals(TARGETS.length, 5);
  assertEquals(fileOf("aarch64-apple-darwin"), `image-syncer-${VERSION}-aarch64-apple-darwin`);
  assertEquals(fileOf("x86_64-pc-windows-msvc"), `image-syncer-${VERSION}-x86_64-pc-windows-msvc.exe`);
});

Deno.test("explainFailure() says plainly that the runtime cannot be downloaded", () => {
  const said = `\x1b[1m\x1b[31merror\x1b[0m: Writing deno compile executable to temporary file 'x'

Caused by:
    0: Setting up base binary.
    1: error sending request for url (https://example.com/denort.zip): client error (Connect): dns error: no address
    2: client error (Connect)`;
  assertEquals(
    explainFailure("aarch64-apple-darwin", said),
    'Cannot compile for "aarch64-apple-darwin": the runtime that goes into it cannot be downloaded from ' +
      "https://example.com/denort.zip (client error (Connect): dns error: no address). Where that is not allowed, " +
      "get the file another way and name it with DENORT_BIN",
  );
  assertEquals(
    explainFailure("x", "\x1b[31merror: no space left\n"),
    'Cannot compile for "x": error: no space left',
  );
});
