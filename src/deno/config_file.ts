/** Where the config comes from: a file, or standard input. */

import { type Config, ConfigError, parseConfig } from "../mirror/config.ts";
import type { RuleDefaults } from "../mirror/rules.ts";
import { toText } from "@std/streams/to-text";
import { UsageError } from "./flags.ts";

/** The config that is read when none is named, as image-syncer v1.0.3 did. */
const DEFAULT_CONFIG = "./image-syncer.json";

/**
 * Reads and checks the config.
 *
 * @param path Path of the file, `-` for standard input, `undefined` for the default name.
 * @throws {UsageError} when there is none.
 * @throws {ConfigError} when it cannot be read or is wrong.
 */
export async function readConfigFile(path: string | undefined, defaults: RuleDefaults): Promise<Config> {
  const text = path === "-" ? await toText(Deno.stdin.readable) : await readFile(path);
  return parseConfig(text, { defaults });
}

async function readFile(path: string | undefined): Promise<string> {
  try {
    return await Deno.readTextFile(path ?? DEFAULT_CONFIG);
  } catch (cause) {
    if (path === undefined && cause instanceof Deno.errors.NotFound) {
      throw new UsageError(`Give a config with --config FILE: there is no ${DEFAULT_CONFIG} either`);
    }
    const why = cause instanceof Deno.errors.NotFound ? "there is no such file" : causeOf(cause);
    throw new ConfigError([], undefined, `"${path ?? DEFAULT_CONFIG}": ${why}`, { cause });
  }
}

function causeOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.replace(/:? ?readfile '.*'$/, "") : String(cause);
}
