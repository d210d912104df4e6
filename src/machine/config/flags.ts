/** The command line: which flags there are, and what was given. */

import { parseArgs } from "@std/cli/parse-args";
import { nearestName } from "../../mirror/config/nearest.ts";
import { platformsOf } from "../../oci/platform.ts";

/** What was asked for on the command line. */
export interface Flags {
  /** Path of the config with `auth` and `images`, `-` for standard input. */
  config: string | undefined;
  /** Path of the credentials, where they are in a file of their own. */
  auth: string | undefined;
  /** Path of the rules, where they are in a file of their own. */
  images: string | undefined;
  /** A source and a destination, instead of rules. */
  pair: readonly [string, string] | undefined;
  /** File the log goes to; standard error unless told. */
  log: string | undefined;
  /** What the lines of the log look like. */
  logFormat: "text" | "json";
  /** Where what was copied is remembered: a file, or `kv…`. */
  store: string;
  /** Registry of empty destinations. */
  registry: string | undefined;
  /** Namespace of empty destinations. */
  namespace: string | undefined;
  /** Blobs under way at once. */
  proc: number;
  /** Passes over what failed. */
  retries: number;
  /** Platforms of rules that name none. */
  platforms: string[];
  /** Part of the work that is this process's, for example `3/8`. */
  shard: string | undefined;
  /** File the JSON report goes to. */
  report: string | undefined;
  /** Directory the reports of the last runs of `serve` go to. */
  reports: string | undefined;
  /** File the images that are at their destinations go to. */
  outputSuccess: string | undefined;
  /** What that file looks like. */
  outputFormat: "yaml" | "json";
  /** Whether to stop at the plan. */
  isDryRun: boolean;
  /** Whether to copy what is there already. */
  force: boolean;
  /** Whether a rule that selects nothing is a failure. */
  strict: boolean;
  /** Whether every blob is hashed here. */
  verify: boolean;
  /** Whether destinations are believed to have what the records say. */
  trustRecords: boolean;
  /** Whether a live view may be drawn. */
  progress: boolean;
  /** Time limits in milliseconds, and the least rate in bytes a second, that differ from the usual ones. */
  limits: { connect?: number; headers?: number; commit?: number; stall?: number; rate?: number };
  /** When `serve` runs, as a cron expression. */
  schedule: string | undefined;
  /** Where `serve` listens. */
  port: number | undefined;
}

/** What the command line asks for. */
export type Command = { type: "help" } | { type: "version" } | {
  type: "mirror" | "auth-check" | "serve";
  flags: Flags;
};

/** The command line cannot be understood. */
export class UsageError extends Error {
  /** Says what is wrong with it. */
  constructor(why: string) {
    super(why);
    this.name = "UsageError";
  }
}

const TEXTS = [
  "config",
  "auth",
  "images",
  "log",
  "log-format",
  "records",
  "store",
  "registry",
  "namespace",
  "proc",
  "retries",
  "os",
  "arch",
  "shard",
  "report",
  "reports",
  "output-success-images",
  "output-images-format",
  "connect-timeout",
  "header-timeout",
  "commit-timeout",
  "stall-timeout",
  "minimum-rate",
  "schedule",
  "port",
] as const;
const SWITCHES = [
  "dry-run",
  "force",
  "strict",
  "verify",
  "trust-records",
  "progress",
  "help",
  "version",
] as const;
const ALIASES = { p: "proc", r: "retries", h: "help" };

type Values = Record<string, unknown>;

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
  const parsed: Values = parseArgs(joinDash(args), {
    string: TEXTS,
    boolean: SWITCHES,
    collect: ["os", "arch"],
    negatable: ["progress"],
    alias: ALIASES,
    default: { progress: true },
    unknown: (arg: string, key?: string) => refuseUnknown(arg, key),
  });
  if (parsed.help) return { type: "help" };
  if (parsed.version) return { type: "version" };
  const { type, pair } = readPositional(parsed._);
  return { type, flags: readFlags(parsed, pair, environment) };
}

function readFlags(
  parsed: Values,
  pair: readonly [string, string] | undefined,
  environment: (name: string) => string | undefined,
): Flags {
  const text = (name: string) => textOf(name, parsed[name]);
  return {
    ...readOutputs(parsed),
    config: text("config"),
    auth: text("auth"),
    images: text("images"),
    pair,
    store: text("store") ?? text("records") ?? "./records",
    registry: text("registry") ?? (environment("DEFAULT_REGISTRY") || undefined),
    namespace: text("namespace") ?? (environment("DEFAULT_NAMESPACE") || undefined),
    proc: numberOf("proc", parsed.proc, { least: 1 }) ?? 5,
    retries: numberOf("retries", parsed.retries, { least: 0 }) ?? 2,
    platforms: readPlatforms(parsed),
    shard: text("shard"),
    isDryRun: parsed["dry-run"] === true,
    force: parsed.force === true,
    strict: parsed.strict === true,
    verify: parsed.verify === true,
    trustRecords: parsed["trust-records"] === true,
    progress: parsed.progress !== false,
    limits: readLimits(parsed),
    schedule: text("schedule"),
    port: numberOf("port", parsed.port, { least: 1, most: 65_535 }),
  };
}

function readOutputs(
  parsed: Values,
): Pick<Flags, "log" | "logFormat" | "report" | "reports" | "outputSuccess" | "outputFormat"> {
  const text = (name: string) => textOf(name, parsed[name]);
  return {
    log: text("log"),
    logFormat: choiceOf("log-format", text("log-format"), ["text", "json"]),
    report: text("report"),
    reports: text("reports"),
    outputSuccess: text("output-success-images"),
    outputFormat: choiceOf("output-images-format", text("output-images-format"), ["yaml", "json"]),
  };
}

function readPlatforms(parsed: Values): string[] {
  const list = (name: string) => (Array.isArray(parsed[name]) ? parsed[name] : []).map(String);
  try {
    return platformsOf(list("os"), list("arch"));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function readLimits(parsed: Values): Flags["limits"] {
  const limits: Flags["limits"] = {};
  for (const name of ["connect", "headers", "commit", "stall"] as const) {
    const flag = name === "headers" ? "header-timeout" : `${name}-timeout`;
    const seconds = numberOf(flag, parsed[flag], { least: 1 });
    if (seconds !== undefined) limits[name] = seconds * 1000;
  }
  const rate = numberOf("minimum-rate", parsed["minimum-rate"], { least: 0 });
  if (rate !== undefined) limits.rate = rate;
  return limits;
}

/** `-` is a value, but one that begins like a flag. */
function joinDash(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const last = joined.at(-1);
    if (arg === "-" && last?.startsWith("--") && !last.includes("=")) joined[joined.length - 1] = `${last}=-`;
    else joined.push(arg);
  }
  return joined;
}

function readPositional(words: unknown): { type: "mirror" | "auth-check" | "serve"; pair: Flags["pair"] } {
  // The value of `--arch ""` ends up here.
  const [first, second, ...rest] = (Array.isArray(words) ? words.map(String) : []).filter((word) =>
    word !== ""
  );
  if (first === undefined) return { type: "mirror", pair: undefined };
  if (first === "auth" && second === "check" && rest.length === 0) {
    return { type: "auth-check", pair: undefined };
  }
  if (first === "serve" && second === undefined) return { type: "serve", pair: undefined };
  if (second !== undefined && rest.length === 0 && first !== "auth") {
    return { type: "mirror", pair: [first, second] };
  }
  const extra = rest[0] ?? first;
  throw new UsageError(
    `Unexpected argument "${extra}"; give a source and a destination, "auth check" or "serve"`,
  );
}

function refuseUnknown(arg: string, key: string | undefined): boolean {
  if (key === undefined) return true;
  const flag = key.length === 1 ? `-${key}` : `--${key}`;
  const nearest = nearestName(key, [...TEXTS, ...SWITCHES]);
  const shown = arg.startsWith("--") || key.length === 1 ? flag : arg;
  throw new UsageError(
    `Unknown flag "${shown}"${nearest === undefined ? "" : `; did you mean "--${nearest}"?`}`,
  );
}

function textOf(name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (value === "") throw new UsageError(`The flag "--${name}" needs a value`);
  return String(value);
}

function choiceOf<Choice extends string>(
  name: string,
  value: string | undefined,
  choices: readonly [Choice, ...Choice[]],
): Choice {
  if (value === undefined) return choices[0];
  const found = choices.find((choice) => choice === value.toLowerCase());
  if (found === undefined) {
    throw new UsageError(`The flag "--${name}" needs ${choices.join(" or ")}, got "${value}"`);
  }
  return found;
}

function numberOf(
  name: string,
  value: unknown,
  { least, most = 100_000 }: { least: number; most?: number },
): number | undefined {
  const text = textOf(name, value);
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < least || number > most) {
    throw new UsageError(`The flag "--${name}" needs a whole number from ${least} to ${most}, got "${text}"`);
  }
  return number;
}
