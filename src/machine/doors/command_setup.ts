/** What the commands of the command line have in common: how one is described, and how what it needs is opened. */

import type { Config } from "../../mirror/config/config.ts";
import { readConfigFiles } from "../config/config_file.ts";
import type { FlagName, Flags } from "../config/flags.ts";
import {
  checkConnections,
  openConfigRegistries,
  type OpenedRegistries,
} from "../network/config_registries.ts";
import { environmentOf } from "../network/proxy.ts";
import type { NativeNetwork } from "../network/tls.ts";
import type { StartProgram } from "../login/helper_process.ts";
import type { OpenKv } from "../store/store_location.ts";
import { type Log, openLog } from "../terminal/log.ts";
import type { Screen } from "../terminal/screen.ts";
import { onInterrupt } from "./interrupt.ts";
import type { Limits } from "../../registry/request.ts";

/** Exit codes; README, "Exit codes". */
export const EXIT = { done: 0, failed: 1, usage: 2, changes: 3, interrupted: 130 } as const;

/** What only some runtimes have, as their doors hand it in. */
export interface Runtime {
  /** Opens `kv` stores. */
  openKv?: OpenKv;
  /** What it does better on the network than `node:` builtins. */
  network?: NativeNetwork;
  /** Starts programs without a look at the whole environment. */
  startProgram?: StartProgram;
}

/** What a person may want to know of a command. */
export interface DescribedCommand extends Pick<Command, "flags"> {
  /** Its words. */
  name: string;
  /** What it does, in a few words. */
  summary: string;
}

/** What a command is called with. */
export interface CommandCall {
  /** The flags that were given, all of which the command takes. */
  flags: Flags;
  /** What else was given. */
  words: readonly string[];
  /** What it prints to. */
  screen: Screen;
  /** What only some runtimes have. */
  runtime: Runtime;
  /** What is odd about the command line but does no harm. */
  warnings: readonly string[];
  /** All commands there are. */
  commands: () => Promise<DescribedCommand[]>;
}

/** One command of the command line. */
export interface Command {
  /** How it is called, without flags, one form a line. */
  usage: readonly string[];
  /** What it does, in a paragraph. */
  help: string;
  /** The flags it takes. */
  flags: readonly FlagName[];
  /** Whether image-syncer's own flags are accepted, with a warning, where they do nothing. */
  isLenient?: boolean;
  /** How many words it may be given besides its name. */
  words: readonly number[];
  /**
   * Looks for flags that do not go together, besides those that {@linkcode idleFlags} finds with every command.
   *
   * @returns What does nothing, in a sentence each.
   * @throws {UsageError} where that cannot be meant.
   */
  check?(flags: Flags, words: readonly string[]): string[];
  /**
   * Does its work.
   *
   * @returns The exit code.
   * @throws {SetupError} when something is wrong before anything has moved.
   */
  run(call: CommandCall): Promise<number>;
}

/** What a command works with. */
export interface CommandParts extends CommandCall {
  /** The log. */
  log: Log;
  /** Aborted by the first signal that asks the process to end. */
  signal: AbortSignal;
}

/** With a config that was read and checked, and the way to its registries. */
export interface ConfiguredParts extends CommandParts {
  /** The config. */
  config: Config;
  /** The way to its registries. */
  registries: OpenedRegistries;
}

/** Flags that every command with a config takes. */
export const CONFIG_FLAGS: readonly FlagName[] = [
  "config",
  "auth",
  "images",
  "registry",
  "namespace",
  "log",
  "log-format",
];

/** Flags that every command takes which asks registries. */
export const LIMIT_FLAGS: readonly FlagName[] = [
  "connect-timeout",
  "contact-timeout",
  "header-timeout",
  "commit-timeout",
  "stall-timeout",
  "minimum-rate",
];

/** Opens the log and watches for signals while a command works. */
export async function withParts(
  call: CommandCall,
  run: (parts: CommandParts) => Promise<number>,
): Promise<number> {
  const { flags, screen, warnings } = call;
  const format = flags["log-format"] ?? "text";
  const log = openLog(flags.log, { format, print: (line) => screen.err(line) });
  const interrupt = onInterrupt(() => screen.hide());
  try {
    for (const warning of warnings) log.write("warn", warning);
    return await run({ ...call, log, signal: interrupt.signal });
  } finally {
    interrupt.stop();
    log.close();
  }
}

/** The same with a config and the way to its registries. */
export async function withConfig(
  call: CommandCall,
  run: (parts: ConfiguredParts) => Promise<number>,
): Promise<number> {
  return await withParts(call, async (parts) => {
    const config = await readFlaggedConfig(parts);
    for (const warning of config.warnings) parts.log.write("warn", warning);
    await checkConnections(config);
    const registries = openRegistries(config, parts);
    try {
      return await run({ ...parts, config, registries });
    } finally {
      registries.close();
    }
  });
}

/** Reads the config that the flags name. */
export async function readFlaggedConfig(
  { flags, words }: Pick<CommandCall, "flags" | "words">,
): Promise<Config> {
  const defaults = {
    registry: flags.registry ?? (environmentOf("DEFAULT_REGISTRY") || undefined),
    namespace: flags.namespace ?? (environmentOf("DEFAULT_NAMESPACE") || undefined),
  };
  const [source, destination] = words;
  const pair = source === undefined || destination === undefined ? undefined : [source, destination] as const;
  const { config, auth, images } = flags;
  return await readConfigFiles({ config, auth, images, pair }, { defaults, environment: environmentOf });
}

/** Opens the way to the registries of a config. */
export function openRegistries(
  config: Config,
  { flags, log, runtime: { network, startProgram } }: Pick<CommandParts, "flags" | "log" | "runtime">,
): OpenedRegistries {
  const opened = openConfigRegistries(config, {
    ...(network !== undefined && { network }),
    startProgram,
    environment: environmentOf,
    usesMachine: true,
    onWarning: (message) => log.write("warn", message),
    onInfo: (message) => log.write("info", message),
  });
  return { ...opened, options: { ...opened.options, limits: limitsOf(flags) } };
}

/** The limits that flags change. */
export function limitsOf(flags: Flags): Partial<Limits> {
  const limits = {
    connect: flags["connect-timeout"],
    contact: flags["contact-timeout"],
    headers: flags["header-timeout"],
    commit: flags["commit-timeout"],
    stall: flags["stall-timeout"],
    rate: flags["minimum-rate"],
  };
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}

/** The store that flags name, as `openStore` reads it; a plain path is a file. */
export function storeText({ store, records }: Flags): string {
  if (store === undefined) return `file:${records ?? "./records"}`;
  // A letter and a colon begin a path of Windows.
  return /^[a-z][a-z0-9+.-]+:|^kv$/i.test(store) ? store : `file:${store}`;
}

/**
 * Finds flags beside which others do nothing.
 *
 * @param isPair Whether a source and a destination are named on the command line.
 * @returns A sentence for each flag that does nothing.
 */
export function idleFlags(flags: Flags, isPair: boolean): string[] {
  const idle = (beside: string, names: readonly FlagName[]) =>
    names.filter((name) => flags[name] !== undefined).map((name) =>
      `"--${name}" does nothing beside ${beside}`
    );
  const found: string[] = [];
  if (isPair) found.push(...idle("a source and a destination", ["images"]));
  if (flags.config !== undefined) {
    found.push(...idle(`"--config"`, isPair ? ["auth"] : ["auth", "images"]));
  }
  if (flags.store !== undefined) found.push(...idle(`"--store"`, ["records"]));
  if (flags["output-images-format"] !== undefined && flags["output-success-images"] === undefined) {
    found.push(`"--output-images-format" does nothing without "--output-success-images"`);
  }
  return found;
}
