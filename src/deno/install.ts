/** Makes the command `image-syncer` of a checkout: `deno task install`, or `deno task install DIRECTORY`. */

import { PERMISSIONS } from "./compile.ts";

/** `deno install` copies deno.json without the packages it links to, so the command is a script that runs the checkout. */
const CHECKOUT = new URL("../../", import.meta.url);

/** Where `deno install` would put commands: `DENO_INSTALL_ROOT`, or `.deno` in the user's directory. */
function defaultDirectory(): string {
  const home = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE") ?? ".";
  return `${Deno.env.get("DENO_INSTALL_ROOT") || `${home}/.deno`}/bin`;
}

/**
 * The script that is the command.
 *
 * @param system What `Deno.build.os` says: Windows gets a batch file, every other system one for its shell.
 */
export function scriptFor(system: typeof Deno.build.os): { name: string; text: string } {
  const path = (name: string) => pathOf(new URL(name, CHECKOUT), system);
  const options = ["run", "--quiet", ...PERMISSIONS, "--config", path("deno.json"), path("cli.ts")];
  const words = [Deno.execPath(), ...options];
  if (system === "windows") {
    const line = words.map((word) => `"${word}"`).join(" ");
    return { name: "image-syncer.cmd", text: `@${line} %*\r\n` };
  }
  const line = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  return { name: "image-syncer", text: `#!/bin/sh\nexec ${line} "$@"\n` };
}

function pathOf(url: URL, system: typeof Deno.build.os): string {
  const path = decodeURIComponent(url.pathname);
  return system === "windows" ? path.replace(/^\/(?=[A-Za-z]:)/, "") : path;
}

/**
 * Writes the command into a directory.
 *
 * @returns Its path.
 */
export async function install(directory: string = defaultDirectory()): Promise<string> {
  const { name, text } = scriptFor(Deno.build.os);
  const path = `${directory}/${name}`;
  await Deno.mkdir(directory, { recursive: true });
  await Deno.writeTextFile(path, text);
  if (Deno.build.os !== "windows") await Deno.chmod(path, 0o755);
  return path;
}

if (import.meta.main) {
  const path = await install(Deno.args[0]);
  console.log(`${path} runs this checkout; see that its directory is in your PATH`);
}
