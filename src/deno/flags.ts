/** The command line: which flags there are, and what was given. */

import { parseArgs } from "@std/cli/parse-args";
import { nearestName } from "../mirror/nearest.ts";

/** What was asked for on the command line. */
export interface Flags {
  /** Path of the config, `-` for standard input; the default name unless told. */
  config: string | undefined;
  /** File the log goes to; standard error unless told. */
  log: string | undefined;
  /** File of the records. */
  records: string;
  /** Registry of empty destinations. */
  registry: string | undefined;
  /** Namespace of empty destinations. */
  namespace: string | undefined;
  /** Blobs under way at once. */
  proc: number;
  /** Passes over what failed. */
  retries: number;
  /** File the JSON report goes to. */
  report: string | undefined;
  /** Whether to stop at the plan. */
  isDryRun: boolean;
  /** Whether to copy what is there already. */
  force: boolean;
  /** Whether a rule that selects nothing is a failure. */
  strict: boolean;
  /** Whether a live view may be drawn. */
  progress: boolean;
}

/** What the command line asks for. */
export type Command = { type: "help" } | { type: "version" } | { type: "mirror"; flags: Flags };

/** The command line cannot be understood. */
export class UsageError extends Error {
  /** Says what is wrong with it. */
  constructor(why: string) {
    super(why);
    this.name = "UsageError";
  }
}

/** What `--help` prints. */
export const HELP = `Copies container images between registries.

Usage: image-syncer --config FILE [flags]

  --config FILE      JSON with comments: "auth" and "images"; - reads standard input
                     (default ./image-syncer.json)
  -p, --proc N       blobs under way at once (default 5)
  -r, --retries N    passes over what failed (default 2)
  --registry HOST    registry of empty destinations (or DEFAULT_REGISTRY)
  --namespace NAME   namespace of empty destinations (or DEFAULT_NAMESPACE)
  --records FILE     what was copied before (default ./records)
  --log FILE         where the log goes (default standard error)
  --report FILE      writes what became of every image as JSON
  --dry-run          prints what would be copied and stops
  --force            copies what the destination has already
  --strict           fails when a rule selects no tag
  --no-progress      draws no live view on a terminal
  -h, --help         prints this
  --version          prints the version

Exit codes: 0 all done or unchanged, 1 something failed, 2 wrong config or usage, 130 interrupted.
`;

const TEXTS = ["config", "log", "records", "registry", "namespace", "proc", "retries", "report"] as const;
const SWITCHES = ["dry-run", "force", "strict", "progress", "help", "version"] as const;
const ALIASES = { p: "proc", r: "retries", h: "help" };

/**
 * Understands a command line.
 *
 * @param environment Looks up an environment variable.
 * @throws {UsageError} naming the flag, and the nearest known one.
 */
export function parseFlags(
  args: readonly string[],
  environment: (name: string) => string | undefined,
): Command {
  const parsed: Record<string, unknown> = parseArgs([...args], {
    string: TEXTS,
    boolean: SWITCHES,
    negatable: ["progress"],
    alias: ALIASES,
    default: { progress: true },
    unknown: (arg: string, key?: string) => refuseUnknown(arg, key),
  });
  if (parsed.help) return { type: "help" };
  if (parsed.version) return { type: "version" };
  const text = (name: string) => textOf(name, parsed[name]);
  return {
    type: "mirror",
    flags: {
      config: text("config"),
      log: text("log"),
      records: text("records") ?? "./records",
      registry: text("registry") ?? (environment("DEFAULT_REGISTRY") || undefined),
      namespace: text("namespace") ?? (environment("DEFAULT_NAMESPACE") || undefined),
      proc: numberOf("proc", text("proc"), { least: 1, otherwise: 5 }),
      retries: numberOf("retries", text("retries"), { least: 0, otherwise: 2 }),
      report: text("report"),
      isDryRun: parsed["dry-run"] === true,
      force: parsed.force === true,
      strict: parsed.strict === true,
      progress: parsed.progress !== false,
    },
  };
}

function refuseUnknown(arg: string, key: string | undefined): boolean {
  if (key === undefined) throw new UsageError(`Unexpected argument "${arg}"`);
  const nearest = nearestName(key, [...TEXTS, ...SWITCHES]);
  const flag = key.length === 1 ? `-${key}` : `--${key}`;
  throw new UsageError(
    `Unknown flag "${flag}"${nearest === undefined ? "" : `; did you mean "--${nearest}"?`}`,
  );
}

function textOf(name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (value === "") throw new UsageError(`The flag "--${name}" needs a value`);
  return String(value);
}

function numberOf(
  name: string,
  value: string | undefined,
  { least, otherwise }: { least: number; otherwise: number },
): number {
  if (value === undefined) return otherwise;
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < least || number > 10_000) {
    throw new UsageError(`The flag "--${name}" needs a whole number from ${least} to 10000, got "${value}"`);
  }
  return number;
}
