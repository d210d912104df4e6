/** The store in a file among processes: two that write at once, some that are killed, some that may do little. */

import { assert, assertEquals } from "@std/assert";
import { inDirectory, readAll, setOne, wastefulLines } from "./store_files.ts";

const encoder = new TextEncoder();

/** Starts `tests/store_child.ts`, with permissions of its own. */
function startChild(permissions: string[], args: string[]): Deno.ChildProcess {
  const script = new URL("store_child.ts", import.meta.url).href;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "--no-lock", "--no-prompt", "--quiet", ...permissions, script, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  });
  return command.spawn();
}

/** Reads lines a process says, up to `count` of them. */
async function hear(reader: ReadableStreamDefaultReader<string>, count: number): Promise<string[]> {
  let text = "";
  while (text.split("\n").length <= count) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  return text.split("\n").slice(0, -1);
}

/** Starts a child, kills it as soon as it has said `count` lines, and gives the last of them. */
async function killAfter(count: number, args: string[]): Promise<string> {
  const child = startChild(["--allow-read", "--allow-write"], args);
  await child.stdin.close();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const lines = await hear(reader, count);
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  return lines.at(-1) ?? "";
}

Deno.test("set() of two processes never mixes their lines", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const permissions = [`--allow-read=${directory}`, `--allow-write=${directory}`];
    const children = ["left", "right"].map((name) => startChild(permissions, ["append", path, name, "2000"]));
    const readers = children.map(({ stdout }) => stdout.pipeThrough(new TextDecoderStream()).getReader());
    const said = await Promise.all(readers.map((reader) => hear(reader, 1)));
    assertEquals(said, [["ready"], ["ready"]]);
    for (const child of children) {
      const writer = child.stdin.getWriter();
      await writer.write(encoder.encode("!"));
      await writer.close();
    }
    assertEquals(await Promise.all(readers.map((reader) => hear(reader, 1))), [[], []]);
    for (const child of children) assert((await child.status).success);
    const lines = (await Deno.readTextFile(path)).split("\n").filter((line) => line !== "");
    assertEquals(lines.length, 4000);
    for (const line of lines) JSON.parse(line);
    assertEquals((await readAll(path)).size, 4000);
  }));

Deno.test("flush() has kept its word when the process is killed while it writes", () =>
  inDirectory(async (directory) => {
    for (let round = 0; round < 6; round++) {
      const path = `${directory}/records-${round}`;
      const said = Number(await killAfter(1 + Math.floor(Math.random() * 200), ["write", path]));
      const found = await readAll(path);
      for (let index = Math.max(said - 99, 0); index <= said; index++) {
        const value = found.get(`slot/${index % 100}`) as { index: number } | undefined;
        assert((value?.index ?? -1) >= index, `slot ${index % 100} is ${value?.index} after ${said}`);
      }
      await setOne(path, ["after"], 1);
      assertEquals((await readAll(path)).get("after"), 1);
    }
  }));

Deno.test("openFileStore() finds every fact when a process is killed while it rewrites the file", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const base = Array.from({ length: 300 }, (_, index) => `{"k":["base","${index}"],"v":${index}}\n`).join(
      "",
    );
    await Deno.writeTextFile(path, base + wastefulLines(1100, 3));
    for (let round = 0; round < 10; round++) {
      const said = Number(await killAfter(1 + Math.floor(Math.random() * 8), ["compact", path]));
      const found = await readAll(path);
      for (let index = 0; index < 300; index++) assertEquals(found.get(`base/${index}`), index);
      for (const slot of ["slot/0", "slot/1", "slot/2"]) {
        const value = found.get(slot) as { round: number };
        assert(value.round >= said, `${slot} is of round ${value.round} after ${said}`);
      }
    }
  }));

Deno.test("openFileStore() needs no more than to read and write its directory", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    await Deno.writeTextFile(path, wastefulLines(1100, 1));
    const permissions = [`--allow-read=${directory}`, `--allow-write=${directory}`];
    assertEquals(await appendThrough(permissions, path), ["ready"]);
    const lines = ['{"k":["slot","0"],"v":1099}', '{"k":["mine","0"],"v":{"index":0,"padding":""}}'];
    assertEquals(await Deno.readTextFile(path), lines.join("\n") + "\n");
  }));

Deno.test("openFileStore() manages with its file alone, and then does not rewrite it", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    const text = wastefulLines(1100, 1);
    await Deno.writeTextFile(path, text);
    assertEquals(await appendThrough([`--allow-read=${path}`, `--allow-write=${path}`], path), ["ready"]);
    assertEquals(await Deno.readTextFile(path), `${text}{"k":["mine","0"],"v":{"index":0,"padding":""}}\n`);
    assertEquals((await Array.fromAsync(Deno.readDir(directory))).length, 1);
  }));

Deno.test("openFileStore() warns once when it may not write, or may do nothing", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/records`;
    await Deno.writeTextFile(path, '{"k":["a"],"v":1}\n');
    for (const permissions of [[`--allow-read=${path}`], []]) {
      const [warning, ...others] = await appendThrough(permissions, path);
      const why = "it is not allowed; add it to --allow-read and --allow-write";
      assertEquals(warning, `Cannot write store "${path}": ${why}; new facts last for this run only`);
      assertEquals(others, ["ready"]);
    }
    assertEquals(await Deno.readTextFile(path), '{"k":["a"],"v":1}\n');
  }));

/** Sets one fact in a child with permissions of its own, and gives what it says. */
async function appendThrough(permissions: string[], path: string): Promise<string[]> {
  const child = startChild(permissions, ["append", path, "mine", "1"]);
  await child.stdin.close();
  const { stdout, success } = await child.output();
  assert(success);
  return new TextDecoder().decode(stdout).trimEnd().split("\n");
}
