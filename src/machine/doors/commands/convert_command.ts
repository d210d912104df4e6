/** `image-syncer convert`: writes a config of ours out of one of regsync, skopeo sync, dregsy or ocync. */

import { chmod, readFile, writeFile } from "node:fs/promises";
import { SetupError } from "../../../mirror/config/config.ts";
import { ConversionError, type Converted } from "../../../mirror/convert/conversion.ts";
import { convertConfig } from "../../../mirror/convert/convert.ts";
import { type Flags, UsageError } from "../../config/flags.ts";
import { whyNotRead, whyNotWritten } from "../../system_error.ts";
import { type Command, type CommandCall, EXIT } from "../command_setup.ts";

/** `image-syncer convert`. */
export const COMMAND: Command = {
  usage: ["convert FILE [--output FILE] [flags]"],
  help:
    `Reads the config of regsync, skopeo sync, dregsy or ocync and prints ours, or writes it to a file that only its
owner reads. Passwords are not written: the config names variables of the environment. What could not be carried over is
said. A file that is there is left alone without --force. skopeo's config does not say where to: give --to.`,
  flags: ["output", "force", "to"],
  words: [1],
  check: ({ force, output }) => {
    if (!force || output !== undefined) return [];
    throw new UsageError(`"--force" does nothing without "--output"`);
  },
  run,
};

async function run({ words: [path = ""], flags, screen }: CommandCall): Promise<number> {
  const { config, notes } = await readForeign(path, flags);
  const text = `${JSON.stringify(config, null, 2)}\n`;
  if (flags.output === undefined) screen.text(text);
  else await write(flags.output, text, flags.force === true);
  for (const note of notes) screen.err(note);
  return EXIT.done;
}

async function readForeign(path: string, { to }: Flags): Promise<Converted> {
  try {
    const { parseYaml } = await import("../../config/yaml_source.ts");
    // JSON is YAML as well.
    return convertConfig(parseYaml(await readFile(path, "utf8"), path).value, { to });
  } catch (cause) {
    if (cause instanceof SetupError) throw cause;
    const why = cause instanceof ConversionError
      ? cause.message
      : `Cannot read "${path}": ${whyNotRead(cause)}`;
    throw new SetupError(why, { cause });
  }
}

async function write(path: string, text: string, isForced: boolean): Promise<void> {
  try {
    await writeFile(path, text, { mode: 0o600, flag: isForced ? "w" : "wx" });
    // One that was there keeps its mode.
    if (isForced) await chmod(path, 0o600);
  } catch (cause) {
    const isThere = Object(cause).code === "EEXIST";
    const why = isThere ? "it is there already; --force replaces it" : whyNotWritten(cause);
    throw new SetupError(`Cannot write "${path}": ${why}`, { cause });
  }
}
