/** The store in a file: damage, old formats, rewriting, and files that cannot be used. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { openFileStore } from "../src/machine/store/file_store.ts";
import { type FileHandle, open as openFile } from "node:fs/promises";
import type { StoreValue } from "../src/mirror/store/store.ts";
import { inDirectory, open, readAll, setOne, wastefulLines } from "./store_files.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const OTHER_DIGEST = `sha256:${"fedcba9876543210".repeat(4)}`;
const IS_LINUX = Deno.build.os === "linux";
const encoder = new TextEncoder();

Deno.test("openFileStore() creates nothing before the first write, then a file for its owner only", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/deep/er/records`;
    const store = await open(path);
    assertEquals(await Array.fromAsync(Deno.readDir(directory)), []);
    await store.set(["a"], 1);
    await store.close();
    if (Deno.build.os !== "windows") assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
    assertEquals(await Deno.readTextFile(path), '{"k":["a"],"v":1}\n');
  }));

Deno.test("openFileStore() writes facts, expiry and tombstones in one form", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const store = await openFileStore(path, { now: () => 5000 });
    await store.set(["a", "é"], { size: 1 }, { expiresIn: 10 });
    await store.delete(["a", "é"]);
    await store.close();
    const expected = '{"k":["a","é"],"v":{"size":1},"e":5010}\n{"k":["a","é"]}\n';
    assertEquals(await Deno.readTextFile(path), expected);
  }));

Deno.test("openFileStore() reads a file cut off at any byte, and appends to it", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const lines = [
      '{"k":["a"],"v":1}',
      '{"k":["é","日"],"v":{"s":"🐳"}}',
      '{"k":["b"]}',
      '{"k":["c"],"v":12}',
    ];
    const whole = encoder.encode(lines.join("\n") + "\n");
    const ends = lines.map((_, index) => encoder.encode(lines.slice(0, index + 1).join("\n")).length);
    for (let cut = 0; cut <= whole.length; cut++) {
      await Deno.writeFile(path, whole.subarray(0, cut));
      const expected = new Map<string, StoreValue>();
      if (cut >= (ends[0] ?? 0)) expected.set("a", 1);
      if (cut >= (ends[1] ?? 0)) expected.set("é/日", { s: "🐳" });
      if (cut >= (ends[3] ?? 0)) expected.set("c", 12);
      assertEquals(await readAll(path), expected, `cut at byte ${cut}`);
      await setOne(path, ["new"], cut);
      assertEquals(await readAll(path), expected.set("new", cut), `appended after a cut at byte ${cut}`);
    }
  }));

Deno.test("openFileStore() passes over garbage, NUL bytes, broken UTF-8 and lines over 1 MiB", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const huge = `{"k":["huge"],"v":"${"x".repeat(3 * 1024 * 1024)}"}\n`;
    const largest = "x".repeat(1024 * 1024 - '{"k":["large"],"v":""}'.length);
    const parts = [
      "not json\n\n{}\n[]\nnull\n42\n{\n",
      '{"k":[],"v":1}\n{"k":[1],"v":1}\n{"k":"text","v":1}\n{"k":["e"],"v":1,"e":"soon"}\n',
      '{"k":["a"],"v":1}\n',
      new Uint8Array(5000),
      '{"k":["after nul"],"v":2}\r\n',
      encoder.encode('{"k":["broken ?"],"v":1}\n').map((byte) => byte === 0x3f ? 0xff : byte),
      huge,
      `{"k":["large"],"v":"${largest}"}\n`,
      '\uFEFF{"k":["after mark"],"v":3}\n',
      huge.trimEnd(),
    ];
    await Deno.writeFile(path, new Uint8Array(await new Blob(parts).arrayBuffer()));
    const expected = new Map<string, StoreValue>([["a", 1], ["after nul", 2], ["large", largest], [
      "after mark",
      3,
    ]]);
    assertEquals(await readAll(path), expected);
    await setOne(path, ["b"], 2);
    assertEquals(await readAll(path), expected.set("b", 2));
  }));

Deno.test("set() keeps a value that is too long for a line for this run, and forgets the one before", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    await setOne(path, ["a"], "short");
    const store = await open(path);
    await store.set(["a"], "é".repeat(600 * 1024));
    await store.flush();
    assertEquals(await store.get(["a"]), "é".repeat(600 * 1024));
    await store.close();
    assertEquals(await readAll(path), new Map());
  }));

Deno.test("fault 87: openFileStore() passes over the records of image-syncer 1.0.3, which name no repository", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const old = `registry.example.com:5000,${DIGEST},1234\nquay.io,${OTHER_DIGEST},5\nghcr.io,${DIGEST},77`;
    await Deno.writeTextFile(path, old);
    assertEquals(await readAll(path), new Map());
    await setOne(path, ["a"], 1);
    assertEquals(await readAll(path), new Map([["a", 1]]));
    assertEquals(await Deno.readTextFile(path), `${old}\n{"k":["a"],"v":1}\n`);
  }));

/** Runs a test while every open file writes in another way. */
async function withWrite(write: WriteAll, test: () => Promise<void>): Promise<void> {
  const file = await openFile("/dev/null", "a");
  const prototype = Object.getPrototypeOf(file);
  await file.close();
  const real: (...parts: unknown[]) => Promise<unknown> = prototype.write;
  prototype.write = function (this: FileHandle, bytes: Uint8Array) {
    return write((some) => real.call(this, some, 0, some.length, null), bytes);
  };
  try {
    await test();
  } finally {
    prototype.write = real;
  }
}

type WriteAll = (real: (bytes: Uint8Array) => Promise<unknown>, bytes: Uint8Array) => Promise<unknown>;

Deno.test("set() writes whole lines, many with one write", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const writes: string[] = [];
    const note: WriteAll = (real, bytes) => {
      writes.push(new TextDecoder().decode(bytes));
      return real(bytes);
    };
    await withWrite(note, async () => {
      const store = await open(path);
      for (let index = 0; index < 5000; index++) await store.set(["n", String(index)], "x".repeat(30));
      await store.close();
    });
    // How many gather behind one write depends on how long a write takes, so only the order of magnitude is sure.
    assert(writes.length > 0 && writes.length < 500, `${writes.length} writes`);
    for (const text of writes) assert(text.endsWith("\n") && text.length <= 64 * 1024);
    assertEquals((await readAll(path)).size, 5000);
  }));

Deno.test("set() writes lines again that were written in part", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    let calls = 0;
    await withWrite((real, bytes) => real(calls++ === 0 ? bytes.subarray(0, 9) : bytes), async () => {
      const store = await open(path);
      await store.set(["a"], 1);
      await store.flush();
      await store.set(["b"], 2);
      await store.close();
    });
    assertEquals(await Deno.readTextFile(path), '{"k":["a"\n{"k":["a"],"v":1}\n{"k":["b"],"v":2}\n');
  }));

Deno.test("set() starts a new line after one that another process has left torn", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const store = await open(path);
    await store.set(["a"], 1);
    await store.flush();
    await Deno.writeTextFile(path, '{"k":["torn', { append: true });
    await store.set(["b"], 2);
    await store.close();
    assertEquals(await readAll(path), new Map([["a", 1], ["b", 2]]));
  }));

Deno.test("openFileStore() rewrites a file that is mostly outdated, keeping its mode", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    await Deno.symlink("target", path);
    const expired = '{"k":["expired"],"v":1}\n{"k":["expired"],"v":2,"e":10}\n';
    const deleted = '{"k":["deleted"],"v":1}\n{"k":["deleted"]}\n';
    const kept = '{"k":["kept"],"v":1,"e":99999999999999}\n';
    await Deno.writeTextFile(path, expired + deleted + kept + wastefulLines(1100, 2), { mode: 0o640 });
    await Deno.chmod(path, 0o640);
    await Deno.writeTextFile(`${path}.compact`, "left behind by a process that was killed");
    for (const left of ["target.compact", "target.lock"]) {
      await Deno.writeTextFile(`${directory}/${left}`, "left behind by a process that was killed");
      await Deno.utime(`${directory}/${left}`, new Date(0), new Date(0));
    }
    const before = await readAll(path);
    assertEquals(before, new Map<string, StoreValue>([["kept", 1], ["slot/0", 1098], ["slot/1", 1099]]));
    const lines = [
      '{"k":["kept"],"v":1,"e":99999999999999}',
      '{"k":["slot","0"],"v":1098}',
      '{"k":["slot","1"],"v":1099}',
    ];
    assertEquals(await Deno.readTextFile(path), lines.join("\n") + "\n");
    assert((await Deno.lstat(path)).isSymlink);
    assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o640);
    assertEquals(await readAll(path), before);
    const names = (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name);
    assertEquals(names.sort(), ["records", "records.compact", "target"]);
  }));

const LEFT_ALONE = {
  "is mostly live": wastefulLines(4000, 3000),
  "has few lines": wastefulLines(900, 1),
  "is mostly not a store's": "somebody's notes\n".repeat(5000) + wastefulLines(1100, 1),
};

for (const [title, text] of Object.entries(LEFT_ALONE)) {
  Deno.test(`openFileStore() leaves a file alone that ${title}`, () =>
    inDirectory(async (directory) => {
      const path = `${directory}/records`;
      await Deno.writeTextFile(path, text);
      await readAll(path);
      assertEquals(await Deno.readTextFile(path), text);
    }));
}

Deno.test("openFileStore() leaves a file alone that has two names", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const text = wastefulLines(1100, 1);
    await Deno.writeTextFile(path, text);
    await Deno.link(path, `${directory}/other`);
    assertEquals(await readAll(path), new Map([["slot/0", 1099]]));
    assertEquals(await Deno.readTextFile(path), text);
    const names = (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name);
    assertEquals(names.sort(), ["other", "records"]);
  }));

Deno.test("set() writes its facts again when another process has rewritten the file meanwhile", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    await Deno.writeTextFile(path, wastefulLines(2, 1));
    const store = await open(path);
    await Deno.writeTextFile(path, wastefulLines(1100, 1));
    await readAll(path);
    assertEquals(await Deno.readTextFile(path), '{"k":["slot","0"],"v":1099}\n');
    await store.set(["late"], 1);
    await store.flush();
    assertEquals(await readAll(path), new Map([["slot/0", 1099], ["late", 1]]));
    await Deno.remove(path);
    await store.set(["later"], 2);
    await store.close();
    assertEquals(await readAll(path), new Map([["later", 2]]));
  }));

Deno.test("set() waits while another process rewrites the file, and not for one that was killed", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const store = await open(path);
    await Deno.writeTextFile(`${path}.compact`, "");
    await store.set(["a"], 1);
    const flushed = store.flush();
    const isFlushed = await Promise.race([flushed.then(() => true), firstTurns().then(() => false)]);
    assertEquals(isFlushed, false);
    await Deno.utime(`${path}.compact`, new Date(0), new Date(0));
    await flushed;
    await store.close();
    assertEquals(await readAll(path), new Map([["a", 1]]));
  }));

/** Long enough for a file to be written, short enough for a test. */
function firstTurns(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 30));
}

Deno.test("fault 87: a file that is never opened again is rewritten when it has grown", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const store = await open(path);
    const list = "x".repeat(32 * 1024);
    for (let run = 0; run < 3000; run++) {
      await store.set(["status", "runs"], `${run}${list}`);
      if (run % 2 === 0) await store.flush();
    }
    await store.close();
    const { size } = await Deno.stat(path);
    assert(size < 3 * 1024 * 1024, `${size} bytes after 96 MB were written`);
    assertEquals((await readAll(path)).get("status/runs"), `2999${list}`);
  }));

/** Opens a store that is expected to warn, uses it, and gives the warnings. */
async function warningsOf(path: string): Promise<string[]> {
  const warnings: string[] = [];
  const store = await openFileStore(path, { onWarning: (message) => warnings.push(message) });
  await store.set(["a"], 1);
  await store.flush();
  await store.set(["b"], 2);
  await store.delete(["a"]);
  await store.flush();
  assertEquals(await Array.fromAsync(store.list([])), [{ key: ["b"], value: 2 }]);
  await store.close();
  return warnings;
}

Deno.test("openFileStore() warns once of a directory and goes on in memory", () =>
  inDirectory(async (directory) => {
    const warnings = await warningsOf(directory);
    assertEquals(warnings, [
      `Cannot write store "${directory}": it is a directory; new facts last for this run only`,
    ]);
  }));

Deno.test("openFileStore() warns once of a path below a file", () =>
  inDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/file`, "");
    const warnings = await warningsOf(`${directory}/file/records`);
    assertEquals(warnings.length, 1);
    assertMatch(warnings[0] ?? "", /not a directory/);
  }));

Deno.test(
  "openFileStore() warns once of a pipe and never waits for it",
  { ignore: !IS_LINUX },
  () =>
    inDirectory(async (directory) => {
      const path = `${directory}/pipe`;
      await new Deno.Command("mkfifo", { args: [path] }).output();
      assertEquals(await warningsOf(path), [
        `Cannot write store "${path}": it is not a regular file; new facts last for this run only`,
      ]);
    }),
);

Deno.test("set() warns once of a full disk and goes on in memory", { ignore: !IS_LINUX }, async () => {
  const warnings = await warningsOf("/dev/full");
  assertEquals(warnings.length, 1);
  assertMatch(warnings[0] ?? "", /^Cannot write store "\/dev\/full": No space left on device/);
});

Deno.test(
  "openFileStore() takes the null device for a file that forgets",
  { ignore: !IS_LINUX },
  async () => {
    assertEquals(await warningsOf("/dev/null"), []);
  },
);
