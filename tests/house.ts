/** Measures the house: files, functions and imports of `src`, as `deno task house` prints them and house_test.ts holds them. */

import ts from "typescript";

/** One function, arrow of more than one line, or method. */
export interface MeasuredFunction {
  /** Its name, or that of what it is assigned or passed to. */
  name: string;
  /** Its file, from the top of the project. */
  path: string;
  /** Line on which it begins, from 1. */
  line: number;
  /** Lines from its first to its last, comments inside included. */
  lines: number;
  /** Parameters it takes. */
  parameters: number;
}

/** One file. */
export interface MeasuredFile {
  /** From the top of the project. */
  path: string;
  /** Lines in it. */
  lines: number;
  /** Files of ours that it imports, types included. */
  imports: string[];
}

/** What was measured. */
export interface House {
  files: MeasuredFile[];
  functions: MeasuredFunction[];
}

const TOP = new URL("../", import.meta.url);

/** Measures every file of `src`, the stand-ins for `@std` left out, with `mod.ts` and `cli.ts`. */
export async function measureHouse(): Promise<House> {
  const house: House = { files: [], functions: [] };
  for (const path of ["mod.ts", "cli.ts", ...await listSources("src/")]) {
    const text = await Deno.readTextFile(new URL(path, TOP));
    const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    house.files.push({ path, lines: text.split("\n").length - 1, imports: importsOf(source, path) });
    collectFunctions(source, path, house.functions);
  }
  return house;
}

/** The value below which a share of some numbers lies. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((left, right) => left - right);
  return sorted[Math.ceil(sorted.length * share) - 1] ?? 0;
}

/** Files that one other file imports, and no more. */
export function importersOf({ files }: House): Map<string, string[]> {
  const importers = new Map<string, string[]>();
  for (const { path, imports } of files) {
    for (const target of imports) importers.set(target, [...importers.get(target) ?? [], path]);
  }
  return importers;
}

async function listSources(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(directory, TOP))) {
    const path = directory + name;
    if (isDirectory && path !== "src/std") found.push(...await listSources(`${path}/`));
    else if (name.endsWith(".ts")) found.push(path);
  }
  return found.sort();
}

function importsOf(source: ts.SourceFile, path: string): string[] {
  const specifiers = source.statements.flatMap((one) =>
    (ts.isImportDeclaration(one) || ts.isExportDeclaration(one)) && one.moduleSpecifier !== undefined &&
      ts.isStringLiteral(one.moduleSpecifier)
      ? [one.moduleSpecifier.text]
      : []
  );
  const dynamic = [...source.text.matchAll(/\bimport\("(\.[^"]+)"\)/g)].map((match) => match[1] ?? "");
  const local = [...specifiers, ...dynamic].filter((one) => one.startsWith("."));
  return [...new Set(local.map((one) => new URL(one, `file:///${path}`).pathname.slice(1)))];
}

function collectFunctions(source: ts.SourceFile, path: string, found: MeasuredFunction[]): void {
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1;
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) {
      const line = lineAt(node.getStart(source));
      const lines = lineAt(node.getEnd()) - line + 1;
      const isSmall = ts.isArrowFunction(node) && lines === 1;
      const { length: parameters } = node.parameters;
      if (!isSmall) found.push({ name: nameOf(node, source), path, line, lines, parameters });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
}

function nameOf(node: ts.SignatureDeclaration, source: ts.SourceFile): string {
  if (node.name !== undefined) return node.name.getText(source);
  const { parent } = node;
  if (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)) return parent.name.getText(source);
  return ts.isConstructorDeclaration(node) ? "constructor" : "(function)";
}

function printHouse(house: House): void {
  const lengths = house.functions.map(({ lines }) => lines);
  const lines = house.files.reduce((sum, one) => sum + one.lines, 0);
  console.log(`${house.files.length} files, ${house.functions.length} functions, ${lines} lines`);
  console.log(
    `functions: median ${percentile(lengths, 0.5)}, p95 ${percentile(lengths, 0.95)}, longest ${
      Math.max(...lengths)
    } lines`,
  );
  const longest = [...house.functions].sort((left, right) => right.lines - left.lines).slice(0, 15);
  for (const { path, line, name, lines } of longest) {
    console.log(`  ${lines} lines: ${name} (${path}:${line})`);
  }
  const many = house.functions.filter(({ parameters }) => parameters > 3);
  console.log(`functions of more than 3 parameters: ${many.length}`);
  for (const { path, line, name, parameters } of many) {
    console.log(`  ${parameters}: ${name} (${path}:${line})`);
  }
  console.log("files that import more than 15 others:");
  for (const { path, imports } of house.files.filter((one) => one.imports.length > 15)) {
    console.log(`  ${imports.length}: ${path}`);
  }
  const importers = importersOf(house);
  console.log("files of under 25 lines that one other file imports, and files over 400:");
  for (const { path, lines } of house.files) {
    const count = importers.get(path)?.length ?? 0;
    if (lines < 25 && count === 1 || lines > 400) {
      console.log(`  ${lines} lines, ${count} importers: ${path}`);
    }
  }
}

if (import.meta.main) printHouse(await measureHouse());
