/** Tests of the house itself: which file may import which, and where the machine may be touched. */

import { assert, assertEquals } from "@std/assert";

/** Texts of source files by path from the top of the project. */
type Sources = ReadonlyMap<string, string>;

const FLOORS = [
  "src/oci/",
  "src/registry/",
  "src/mirror/",
  "src/clouds/",
  "src/machine/",
  "src/deno/",
  "cli.ts",
];
/** Packages that floors 1 to 3 may import: they run wherever fetch and WHATWG streams exist. */
const CORE_PACKAGES = /^(?:@std\/(?:async|jsonc|streams)\/[a-z-]+|re2js|picomatch|semver)$/;
const LINE_LIMIT = 400;

async function readSources(directory = "", found = new Map<string, string>()): Promise<Map<string, string>> {
  const root = new URL(`../${directory}`, import.meta.url);
  for await (const { name, isDirectory } of Deno.readDir(root)) {
    const path = directory + name;
    if (isDirectory && /^(?:src|tests)\b/.test(path)) await readSources(`${path}/`, found);
    else if (name.endsWith(".ts")) found.set(path, await Deno.readTextFile(new URL(name, root)));
  }
  return found;
}

/** The code without comments; strings stay. */
function codeOf(text: string): string {
  return text.replace(
    /("(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|(?<![:\\\[/])\/\/[^\n]*/g,
    "$1",
  );
}

function specifiersOf(text: string): string[] {
  const pattern =
    /(?:^|\n)(?:import|export)\b[^;"'`=()]*?\bfrom\s*["']([^"']+)["']|(?:\nimport\s+|\bimport\(\s*)["']([^"']+)["']/g;
  return [...codeOf(text).matchAll(pattern)].map((match) => match[1] ?? match[2] ?? "");
}

function importsOf(sources: Sources, path: string): string[] {
  const local = specifiersOf(sources.get(path) ?? "").filter((specifier) => specifier.startsWith("."));
  return local.map((specifier) => new URL(specifier, `file:///${path}`).pathname.slice(1));
}

function floorOf(path: string): number {
  return FLOORS.findIndex((floor) => path.startsWith(floor));
}

function upwardImports(sources: Sources): string[] {
  return [...sources.keys()].filter((path) => floorOf(path) >= 0).flatMap((path) =>
    importsOf(sources, path)
      .filter((target) => floorOf(target) > floorOf(path) || target === "mod.ts" && path !== "cli.ts")
      .map((target) => `${path} imports ${target}`)
  );
}

/** One import cycle, or nothing; `import type` counts. */
function findCycle(sources: Sources): string[] {
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): string[] => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return [];
    for (const target of importsOf(sources, path)) {
      const cycle = visit(target, [...trail, path]);
      if (cycle.length > 0) return cycle;
    }
    done.add(path);
    return [];
  };
  return [...sources.keys()].map((path) => visit(path, [])).find((cycle) => cycle.length > 0) ?? [];
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** Folders that import each other, neither of which lies in the other. */
function circularFolders(sources: Sources): string[] {
  const edges = new Set<string>();
  for (const path of [...sources.keys()].filter((one) => one.startsWith("src/"))) {
    for (const target of importsOf(sources, path).filter((one) => one.startsWith("src/"))) {
      const [from, to] = [folderOf(path), folderOf(target)];
      const isNested = `${from}/`.startsWith(`${to}/`) || `${to}/`.startsWith(`${from}/`);
      if (!isNested) edges.add(`${from} <-> ${to}`);
    }
  }
  const circular = [...edges].filter((edge) => edges.has(edge.split(" <-> ").reverse().join(" <-> ")));
  return circular.filter((edge) => edge < edge.split(" <-> ").reverse().join(" <-> ")).sort();
}

function speaksDeno(text: string): boolean {
  return /\bDeno\s*[.?[]/.test(codeOf(text));
}

function touchesMachine(text: string): boolean {
  const code = codeOf(text);
  return /\bDeno\s*[.?[]|\bconsole\s*[.[]|\bprocess\s*\./.test(code) ||
    specifiersOf(text).some((specifier) => /^(?:node|npm|jsr|https?|file):/.test(specifier));
}

function outsideStd(sources: Sources): string[] {
  return [...sources.keys()].filter((path) => !path.startsWith("src/std/"));
}

function isCore(path: string): boolean {
  return path === "mod.ts" || floorOf(path) >= 0 && floorOf(path) < FLOORS.indexOf("src/machine/");
}

const SOURCES = await readSources();

Deno.test("the sources are all there to be checked", () => {
  const paths = [...SOURCES.keys()];
  for (const floor of FLOORS) assert(paths.some((path) => path.startsWith(floor)), `nothing in ${floor}`);
  assert(importsOf(SOURCES, "mod.ts").length > 10);
  const src = paths.filter((path) => path.startsWith("src/") && !path.startsWith("src/std/"));
  assertEquals(src.filter((path) => floorOf(path) < 0), []);
});

Deno.test("a file imports from its own floor or a lower one", () => {
  assertEquals(upwardImports(SOURCES), []);
});

Deno.test("there is no import cycle", () => {
  assertEquals(findCycle(SOURCES), []);
});

Deno.test("no two folders import each other", () => {
  assertEquals(circularFolders(SOURCES), []);
});

Deno.test("the machine speaks of no single runtime", () => {
  const machine = [...SOURCES.keys()].filter((path) => path.startsWith("src/machine/"));
  assertEquals(machine.filter((path) => speaksDeno(SOURCES.get(path) ?? "")), []);
});

Deno.test("only the command line, src/machine and src/deno touch the machine", () => {
  const touching = outsideStd(SOURCES).filter((path) => !/^(?:tests|src\/(?:machine|deno))\//.test(path));
  const allowed = ["cli.ts"];
  assertEquals(
    touching.filter((path) => touchesMachine(SOURCES.get(path) ?? "") && !allowed.includes(path)),
    [],
  );
});

Deno.test("floors 1 to 3 import no package but those named", () => {
  const bare = [...SOURCES.keys()].filter(isCore).flatMap((path) =>
    specifiersOf(SOURCES.get(path) ?? "")
      .filter((specifier) => !specifier.startsWith(".") && !CORE_PACKAGES.test(specifier))
      .map((specifier) => `${path} imports ${specifier}`)
  );
  assertEquals(bare, []);
});

Deno.test("mod.ts re-exports floors 1 to 3 by name, no more than 50 of them, and holds no code", () => {
  assertEquals(importsOf(SOURCES, "mod.ts").filter((path) => !isCore(path)), []);
  const code = codeOf(SOURCES.get("mod.ts") ?? "");
  const exported = /export (?:type )?\{([^}]*)\} from "\.\/src\/(?:[a-z_]+\/)+[a-z0-9_]+\.ts";/g;
  assertEquals(code.replace(exported, "").trim(), "");
  const names = [...code.matchAll(exported)].flatMap(([, list = ""]) =>
    list.split(",").map((one) => one.trim())
  );
  assert(names.filter((name) => name !== "").length <= 50, `${names.length}`);
});

Deno.test("src/std is imported only by its package names", () => {
  const relative = outsideStd(SOURCES).flatMap((path) =>
    importsOf(SOURCES, path).filter((target) => target.startsWith("src/std/"))
      .map((target) => `${path} imports ${target}`)
  );
  assertEquals(relative, []);
  const upward = [...SOURCES.keys()].filter((path) => path.startsWith("src/std/")).filter((path) =>
    importsOf(SOURCES, path).some((target) => !target.startsWith("src/std/"))
  );
  assertEquals(upward, []);
});

Deno.test("no implementation file imports the assertions or a test", () => {
  const paths = outsideStd(SOURCES).filter((path) => !path.startsWith("tests/"));
  const wrong = paths.filter((path) =>
    specifiersOf(SOURCES.get(path) ?? "").some((one) =>
      one.startsWith("@std/assert") || /\btests\//.test(one)
    )
  );
  assertEquals(wrong, []);
});

Deno.test("no file in src is longer than 400 lines", () => {
  const long = [...SOURCES].filter(([path]) => path.startsWith("src/"))
    .map(([path, text]) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ lines }) => lines > LINE_LIMIT);
  assertEquals(long, []);
});

Deno.test("every file is a snake_case noun and opens by saying what it is", () => {
  const paths = outsideStd(SOURCES);
  assertEquals(paths.filter((path) => !/(?:^|\/)[a-z0-9]+(?:_[a-z0-9]+)*\.ts$/.test(path)), []);
  assertEquals(paths.filter((path) => !/^(?:#![^\n]*\n)?\/\*\*/.test(SOURCES.get(path) ?? "")), []);
});

Deno.test("the rules of the house catch what breaks them", () => {
  const broken = new Map([
    ["src/oci/a.ts", `import type { B } from "../registry/b.ts";`],
    ["src/registry/b.ts", `export {\n  a,\n} from "../oci/a.ts";\nimport("../../mod.ts");`],
    ["mod.ts", `export * from "./src/oci/a.ts";`],
  ]);
  assertEquals(upwardImports(broken), [
    "src/oci/a.ts imports src/registry/b.ts",
    "src/registry/b.ts imports mod.ts",
  ]);
  assertEquals(findCycle(broken), ["src/oci/a.ts", "src/registry/b.ts", "src/oci/a.ts"]);
  assert(touchesMachine(`const text = Deno.readTextFileSync("x");`));
  assert(touchesMachine(`import { join } from "node:path";`));
  assert(touchesMachine("console.log(`x`);"));
  assert(!touchesMachine(`/** Deno.x */\n// console.log\nconst name = "Deno/2";`));
});
