/** The command line: which flags there are, what each one's value is, and what was given. */

import { parseArgs } from "@std/cli/parse-args";
import { SetupError } from "../../mirror/config/config.ts";
import { nearestName } from "../../mirror/config/nearest.ts";
import { parseShard, type Shard } from "../../mirror/plan/shard.ts";

/** Values of the flags that were given, by name. */
export interface Flags {
  /** Path of the config with `auth` and `images`, `-` for standard input. */
  "config"?: string;
  /** Path of the credentials, where they are in a file of their own. */
  "auth"?: string;
  /** Path of the rules, where they are in a file of their own. */
  "images"?: string;
  /** Blobs under way at once. */
  "proc"?: number;
  /** Passes over what failed. */
  "retries"?: number;
  /** Operating systems of rules that name no platforms. */
  "os"?: string[];
  /** Architectures of rules that name no platforms, with variants. */
  "arch"?: string[];
  /** Whether what BuildKit attests comes along even where `os` or `arch` is given. */
  "attestations"?: boolean;
  /** Whether what BuildKit attests stays where it is. */
  "no-attestations"?: boolean;
  /** Whether what belongs to images stays where it is. */
  "no-referrers"?: boolean;
  /** Milliseconds after which what belongs to the platforms of unchanged images is looked at again. */
  "referrers-every"?: number;
  /** Registry of empty destinations. */
  "registry"?: string;
  /** Namespace of empty destinations. */
  "namespace"?: string;
  /** Whether to stop at the plan. */
  "dry-run"?: boolean;
  /** Whether to copy what is there already. */
  "force"?: boolean;
  /** Whether what a rule or a platform selects nothing of is a failure, and so is what drifted and whatever is warned of. */
  "strict"?: boolean;
  /** Whether every blob is hashed here. */
  "verify"?: boolean;
  /** File that what was copied is remembered in. */
  "records"?: string;
  /** Where what was copied is remembered: a file, or `kv…`. */
  "store"?: string;
  /** Whether destinations are believed to have what the records say. */
  "trust-records"?: boolean;
  /** Part of the work that is this process's, for example `3/8`. */
  "shard"?: Shard;
  /** File the log goes to; standard error unless told. */
  "log"?: string;
  /** What the lines of the log look like. */
  "log-format"?: "text" | "json";
  /** File the JSON report goes to. */
  "report"?: string;
  /** Directory the reports of the last runs of `serve` go to. */
  "reports"?: string;
  /** File the images that are at their destinations go to. */
  "output-success-images"?: string;
  /** What that file looks like. */
  "output-images-format"?: "yaml" | "json";
  /** Milliseconds until a registry answers at all. */
  "connect-timeout"?: number;
  /** Milliseconds that the first contact with a registry may take, tries and waits together. */
  "contact-timeout"?: number;
  /** Milliseconds until an answer begins. */
  "header-timeout"?: number;
  /** Milliseconds until an upload is committed. */
  "commit-timeout"?: number;
  /** Milliseconds without a byte moving. */
  "stall-timeout"?: number;
  /** Bytes a second that a registry must give. */
  "minimum-rate"?: number;
  /** File the plan goes to. */
  "output"?: string;
  /** Globs or `/patterns/` of tags that are wanted. */
  "include"?: string[];
  /** Globs or `/patterns/` of tags that are not wanted. */
  "exclude"?: string[];
  /** Range of versions that are wanted. */
  "semver"?: string;
  /** Suffix of versions that is wanted. */
  "variant"?: string;
  /** Whether prereleases count. */
  "prereleases"?: boolean;
  /** How old an image may be. */
  "within"?: string;
  /** How many are wanted. */
  "newest"?: number;
  /** What newest means. */
  "by"?: "version" | "created" | "name";
  /** Fewer than so many are a failure. */
  "at-least"?: number;
  /** Registry, or namespace of one, that a converted config leads to. */
  "to"?: string;
  /** What a command prints. */
  "format"?: "text" | "json";
  /** Whether something that would change is told by the exit code. */
  "check"?: boolean;
  /** Whether what has moved since the plan is copied as it is now. */
  "accept-changes"?: boolean;
  /** When `serve` runs, as a cron expression. */
  "schedule"?: string;
  /** Where `serve` listens. */
  "port"?: number;
  /** Whether no live view is drawn. */
  "no-progress"?: boolean;
}

/** Name of a flag, without its dashes. */
export type FlagName = keyof Flags;

/** What was understood of a command line. */
export interface ParsedFlags {
  /** Values of the flags that were given. */
  flags: Flags;
  /** The flags that were given more than once although they have one value, of which the last counts. */
  repeated: FlagName[];
  /** Everything that is no flag. */
  words: string[];
  /** Whether it asks what there is. */
  asksHelp: boolean;
  /** Whether it asks which version this is. */
  asksVersion: boolean;
}

/** The command line cannot be understood, or asks for what does not go together. */
export class UsageError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "UsageError";
}

/** Turns the text of a flag into its value; throws the sentence's end: what it needs. */
type Read<Value> = (text: string) => Value extends (infer One)[] ? One : Value;

/** What there is to know of one flag. */
interface FlagKind<Value> {
  /** What stands for its value in a list of flags; nothing for a switch. */
  value: string;
  /** What it does, in a few words. */
  help: string;
  /** Reads its value. */
  read: Read<Value>;
  /** Whether it may be given several times. */
  isList?: boolean;
}

const FLAGS: { readonly [Name in FlagName]-?: FlagKind<NonNullable<Flags[Name]>> } = {
  "config": text("FILE", `"auth" and "images" as JSON or YAML; - is standard input (./image-syncer.json)`),
  "auth": text("FILE", "the credentials, where they are in a file of their own"),
  "images": text("FILE", "the rules, where they are in a file of their own"),
  "proc": whole({ least: 1 }, "blobs under way at once (5)"),
  "retries": whole({ least: 0 }, "passes over what failed (2)"),
  "os": list("NAME", "only images of this system; may be given several times"),
  "arch": list("NAME[:VARIANT]", "only images of this architecture; may be given several times"),
  "attestations": toggle("keeps provenance and SBOMs inside indexes, where --os or --arch leaves them out"),
  "no-attestations": toggle(
    "leaves out provenance and SBOMs inside indexes, for registries that refuse them",
  ),
  "no-referrers": toggle(
    "brings no signatures, SBOMs and attestations along; their tags are tags like others",
  ),
  "referrers-every": {
    value: "AGE",
    help: "how often to look for new ones of the platforms of unchanged images, as 24h or 7d (24h)",
    read: readAge,
  },
  "registry": text("HOST", "registry of empty destinations (DEFAULT_REGISTRY)"),
  "namespace": text("NAME", "namespace of empty destinations (DEFAULT_NAMESPACE)"),
  "dry-run": toggle("prints what would be copied"),
  "force": toggle("looks at everything again and puts every manifest again"),
  "strict": toggle(
    "fails when a rule selects nothing, no platform fits, a tag drifted, or something is warned of",
  ),
  "verify": toggle("hashes every blob here too, not only at the destination"),
  "records": text("FILE", "what was copied before (./records)"),
  "store": text("PLACE", "the same as file:PATH, sqlite:PATH, kv, kv:PATH or kv:URL"),
  "trust-records": toggle("does not ask a destination for what the records say it has"),
  "shard": { value: "I/N", help: "does the I-th of N parts of the work", read: parseShard },
  "log": text("FILE", "where the log goes (standard error)"),
  "log-format": choice(["text", "json"], "what its lines look like"),
  "report": outputFile("what became of every image, as JSON"),
  "reports": text("DIR", "keeps the reports of the last 30 runs, for the page to link to"),
  "output-success-images": outputFile("the images that are at their destinations"),
  "output-images-format": choice(["yaml", "json"], "what that file looks like"),
  "connect-timeout": duration("until a registry answers at all (10)"),
  "contact-timeout": duration("for the first contact with a registry, tries and waits together (30)"),
  "header-timeout": duration("until an answer begins (30)"),
  "commit-timeout": duration("until an upload is committed (300)"),
  "stall-timeout": duration("without a byte moving (30)"),
  "minimum-rate": {
    ...whole({ least: 0 }, "bytes a second that a registry must give (1024)"),
    value: "BYTES",
  },
  "output": outputFile("saves what is made (a plan for apply, or a config)"),
  "include": list("GLOB", "only tags like this, a glob or /pattern/; may be given several times"),
  "exclude": list("GLOB", "no tags like this; may be given several times"),
  "semver": text("RANGE", `only versions in this range, for example ">=1.2 <3"`),
  "variant": text("GLOB", "versions with this suffix, for example alpine"),
  "prereleases": toggle("counts prereleases like any version"),
  "within": text("AGE", "only images younger than this, for example 90d"),
  "newest": whole({ least: 1 }, "only the N newest"),
  "by": choice(["version", "created", "name"], "what newest means"),
  "at-least": whole({ least: 1 }, "fails when fewer are left"),
  "to": text("PLACE", "registry and namespace that skopeo was told to sync to"),
  "format": choice(["text", "json"], "what is printed"),
  "check": toggle("exits with 3 when something would change"),
  "accept-changes": toggle("copies source tags that have moved since the plan as they are now"),
  "schedule": text("CRON", `when to run, in UTC, for example "0 * * * *"`),
  "port": whole({ least: 1, most: 65_535 }, "port of the status page (8080)"),
  "no-progress": toggle("draws no live view"),
};

/** The flags of image-syncer's Go versions: scripts give them whether they do anything or not. */
export const LEGACY_FLAGS: readonly FlagName[] = [
  "config",
  "auth",
  "images",
  "log",
  "records",
  "registry",
  "namespace",
  "proc",
  "retries",
  "os",
  "arch",
  "force",
  "output-success-images",
  "output-images-format",
];

const ALIASES = { p: "proc", r: "retries", h: "help" };
const NAMES = Object.keys(FLAGS) as FlagName[];
const SWITCHES: readonly string[] = [...NAMES.filter((name) => FLAGS[name].value === ""), "help", "version"];
/** Switches that may be given as `--NAME` and `--no-NAME` by habit, where only one of the two changes anything. */
const NO_CHANGE: readonly string[] = ["progress"];

/**
 * Understands a command line: what is a flag, what its value is, and what is none.
 *
 * @throws {UsageError} naming the flag, and the nearest known one.
 */
export function parseFlags(args: readonly string[]): ParsedFlags {
  const parsed: Record<string, unknown> = parseArgs(joinDash(args.flatMap(plainSwitch)), {
    string: NAMES.filter((name) => !SWITCHES.includes(name)),
    boolean: SWITCHES,
    collect: NAMES.filter((name) => !SWITCHES.includes(name)),
    alias: ALIASES,
    unknown: (arg: string, key?: string) => refuseUnknown(arg, key),
  });
  const flags: Record<string, unknown> = {};
  const repeated: FlagName[] = [];
  for (const name of NAMES) {
    const given = SWITCHES.includes(name) ? [parsed[name]].filter((value) => value === true) : parsed[name];
    if (!Array.isArray(given) || given.length === 0) continue;
    const values = given.map((value) => value === true || readValue(name, String(value)));
    const isList = FLAGS[name].isList === true;
    if (!isList && values.length > 1) repeated.push(name);
    flags[name] = isList ? values.filter((value) => value !== "") : values.at(-1);
  }
  // The value of `--arch ""` ends up among the words.
  const words = (Array.isArray(parsed._) ? parsed._.map(String) : []).filter((word) => word !== "");
  return { flags, repeated, words, asksHelp: parsed.help === true, asksVersion: parsed.version === true };
}

/** What there is to know of some flags. */
export function flagsFor(names: readonly FlagName[]): { name: FlagName; value: string; help: string }[] {
  return names.map((name) => ({ name, value: FLAGS[name].value, help: FLAGS[name].help }));
}

/** A line for each of some flags: how it is written, and what it does. */
export function describeFlags(names: readonly FlagName[]): string[] {
  const rows = names.map((name) => {
    const short = Object.entries(ALIASES).find(([, long]) => long === name)?.[0];
    const { value, help } = FLAGS[name];
    return [`${short === undefined ? "    " : `-${short}, `}--${name} ${value}`.trimEnd(), help] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`);
}

function readValue(name: FlagName, value: string): unknown {
  const { isList, read } = FLAGS[name];
  if (value === "" && isList !== true) throw new UsageError(`The flag "--${name}" needs a value`);
  try {
    return read(value);
  } catch (cause) {
    if (cause instanceof SetupError) throw new UsageError(cause.message, { cause });
    const needs = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`The flag "--${name}" needs ${needs}, got "${value}"`);
  }
}

/** `--force=false` and `--no-progress=true`, as Go's flags may be written. */
function plainSwitch(arg: string): string[] {
  const [, no = "", name = "", value] = /^--(no-)?([a-z-]+?)(?:=(.*))?$/s.exec(arg) ?? [];
  if (NO_CHANGE.includes(name) && (no === "" || value !== undefined)) {
    const isOn = (value === undefined || truth(arg, value)) !== (no !== "");
    return isOn ? [] : [`--no-${name}`];
  }
  if (value === undefined || !SWITCHES.includes(no + name)) return [arg];
  return truth(`--${no}${name}`, value) ? [`--${no}${name}`] : [];
}

function truth(flag: string, value: string): boolean {
  if (/^(?:1|t|true)$/i.test(value)) return true;
  if (/^(?:0|f|false)$/i.test(value)) return false;
  throw new UsageError(`The flag "${flag.split("=")[0]}" needs true or false, got "${value}"`);
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

function refuseUnknown(arg: string, key: string | undefined): boolean {
  if (key === undefined) return true;
  const flag = key.length === 1 ? `-${key}` : `--${key}`;
  const nearest = nearestName(key, [...NAMES, "help", "version"]);
  const shown = arg.startsWith("--") || key.length === 1 ? flag : arg;
  const hint = key.length === 1 || nearest === undefined ? "" : `; did you mean "--${nearest}"?`;
  throw new UsageError(`Unknown flag "${shown}"${hint}`);
}

function text(value: string, help: string): FlagKind<string> {
  return { value, help, read: (given) => given };
}

function list(value: string, help: string): FlagKind<string[]> {
  return { value, help, read: (given) => given, isList: true };
}

function toggle(help: string): FlagKind<boolean> {
  return { value: "", help, read: () => true };
}

function readAge(given: string): number {
  const [, count, unit = ""] = /^(\d{1,6})([mhdw])$/.exec(given) ?? [];
  if (count === undefined) throw new Error("a number of minutes, hours, days or weeks as 30m, 24h, 7d or 2w");
  return Number(count) * ({ m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }[unit] ?? 0);
}

function outputFile(help: string): FlagKind<string> {
  const read = (given: string) => {
    if (given === "-") throw new Error("a file; standard output has the lines of the run");
    return given;
  };
  return { value: "FILE", help, read };
}

function choice<Choice extends string>(choices: readonly Choice[], help: string): FlagKind<Choice> {
  const read = (given: string) => {
    const found = choices.find((one) => one === given.toLowerCase());
    if (found === undefined) throw new Error(choices.join(" or "));
    return found;
  };
  return { value: choices.join("|"), help, read: read as Read<Choice> };
}

function whole({ least, most = 100_000 }: { least: number; most?: number }, help: string): FlagKind<number> {
  const read = (given: string) => {
    const number = Number(given);
    if (/^\d+$/.test(given) && number >= least && number <= most) return number;
    throw new Error(`a whole number from ${least} to ${most}`);
  };
  return { value: "N", help, read };
}

/** Milliseconds in the units that a time may have; seconds without one. */
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, "": 1000, m: 60_000, h: 3_600_000 };

function duration(help: string): FlagKind<number> {
  const read = (given: string) => {
    const [, number = "", unit = ""] = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(given) ?? [];
    const time = Number(number) * (UNITS[unit] ?? NaN);
    if (number !== "" && time >= 1 && time <= 100_000_000) return time;
    throw new Error("a time such as 30 (seconds), 500ms or 2m");
  };
  return { value: "SECONDS", help, read };
}
