/** Makes the program one file for each system: `deno task compile`, or `deno task compile TARGET…`. */

import { stripVTControlCharacters } from "node:util";
import { VERSION } from "../machine/version.ts";

/** The systems that Deno makes programs for. */
export const TARGETS: readonly string[] = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

/** Credential helpers that the program may run; no other program. */
const HELPERS = [
  "acr-env",
  "desktop",
  "ecr-login",
  "gcloud",
  "gcr",
  "ghcr-login",
  "osxkeychain",
  "pass",
  "secretservice",
  "wincred",
];

/** What the program may do: which registries, files and variables it needs is known only when it runs. */
export const PERMISSIONS: readonly string[] = [
  "--no-prompt",
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  `--allow-run=${HELPERS.map((name) => `docker-credential-${name}`).join(",")}`,
  "--deny-import",
];

/** Name of the program's file for a target. */
export function fileOf(target: string): string {
  return `image-syncer-${VERSION}-${target}${target.includes("windows") ? ".exe" : ""}`;
}

/** Arguments of `deno` that make the program for a target; unstable features come from deno.json. */
export function argumentsFor(target: string, directory: string): string[] {
  // Quiet, so that the program does not tell which helpers there are not each time it starts.
  const options = ["--quiet", "--app-name", "image-syncer", "--exclude-unused-npm", "--target", target];
  const entry = new URL("../../cli.ts", import.meta.url).pathname;
  return ["compile", ...options, ...PERMISSIONS, "--output", `${directory}/${fileOf(target)}`, entry];
}

/** Why a target could not be made, for a person: what Deno says of the download it needs, or all that it says. */
export function explainFailure(target: string, said: string): string {
  const plain = stripVTControlCharacters(said).trim();
  const [, url, why] = /error sending request for url \(([^)]*)\):? *(.*)/.exec(plain) ?? [];
  const reason = url === undefined
    ? plain
    : `the runtime that goes into it cannot be downloaded from ${url} (${why}). Where that is not allowed, get the file another ` +
      `way and name it with DENORT_BIN`;
  return `Cannot compile for "${target}": ${reason}`;
}

/** Makes the program for some targets and says how each went; whether all went well. */
export async function compileAll(targets: readonly string[], directory: string): Promise<boolean> {
  await Deno.mkdir(directory, { recursive: true });
  let isWhole = true;
  for (const target of targets) {
    const command = new Deno.Command(Deno.execPath(), { args: argumentsFor(target, directory) });
    const { success, stderr } = await command.output();
    if (success) console.log(`${directory}/${fileOf(target)}`);
    else console.error(explainFailure(target, new TextDecoder().decode(stderr)));
    isWhole &&= success;
  }
  return isWhole;
}

if (import.meta.main) {
  const wrong = Deno.args.find((target) => !TARGETS.includes(target));
  if (wrong !== undefined) {
    console.error(`Cannot compile for "${wrong}": expected one of ${TARGETS.join(", ")}`);
    Deno.exit(2);
  }
  const targets = Deno.args.length === 0 ? TARGETS : Deno.args;
  Deno.exit(await compileAll(targets, "dist") ? 0 : 1);
}
