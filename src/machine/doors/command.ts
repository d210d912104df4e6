/** Which command a command line asks for, and what becomes of one that cannot be understood. */

import process from "node:process";
import { SetupError } from "../../mirror/config/config.ts";
import { nearestName } from "../../mirror/config/nearest.ts";
import { type FlagName, LEGACY_FLAGS, type ParsedFlags, parseFlags, UsageError } from "../config/flags.ts";
import { environmentOf } from "../network/proxy.ts";
import { Screen } from "../terminal/screen.ts";
import { VERSION } from "../version.ts";
import { COMMANDS } from "./command_table.ts";
import { type Command, type DescribedCommand, EXIT, idleFlags, type Runtime } from "./command_setup.ts";

/** What is understood without a word that names a command. */
const DEFAULT = "mirror";

/**
 * Runs the command line.
 *
 * @param args Arguments without the program's name.
 * @param runtime What only some runtimes have.
 * @returns The exit code.
 */
export async function runCommand(args: readonly string[], runtime: Runtime = {}): Promise<number> {
  const screen = new Screen({ environment: environmentOf });
  let name: string | undefined;
  try {
    const parsed = parseFlags(args);
    if (parsed.asksVersion) {
      screen.out(`image-syncer ${VERSION} (${runtimeName()})`);
      return EXIT.done;
    }
    const asked = splitCommand(parsed.words);
    name = asked.name;
    if (parsed.asksHelp || parsed.words[0] === "help") return await showHelp(parsed.words, screen);
    const command = await load(name);
    const warnings = await checkCall(name, command, { ...parsed, words: asked.words });
    return await command.run({
      flags: parsed.flags,
      words: asked.words,
      screen,
      runtime,
      warnings,
      commands: describeAll,
    });
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    // What is wrong stands last, where a person looks.
    if (error instanceof UsageError) {
      const topic = name === undefined || name === DEFAULT ? "" : ` ${name}`;
      screen.err(`Usage: image-syncer --config FILE [flags] ("image-syncer help${topic}" says more)`);
    }
    screen.err(error.message);
    return EXIT.usage;
  }
}

async function describeAll(): Promise<DescribedCommand[]> {
  return await Promise.all(
    Object.entries(COMMANDS).map(async ([name, { summary, load }]) => {
      const { COMMAND: { flags } } = await load();
      return { name, summary, flags };
    }),
  );
}

/** Which runtime this is; Bun and Deno say that they are some version of Node as well. */
function runtimeName(): string {
  return ["deno", "bun"].find((name) => process.versions[name] !== undefined) ?? "node";
}

async function load(name: string): Promise<Command> {
  const entry = COMMANDS[name];
  if (entry === undefined) throw new UsageError(`There is no command "${name}"`);
  return (await entry.load()).COMMAND;
}

/** A first word that names a command is one; an image of that name is `library/NAME`. */
function splitCommand(words: readonly string[]): { name: string; words: string[] } {
  for (const length of [2, 1]) {
    const name = words.slice(0, length).join(" ");
    if (words.length >= length && COMMANDS[name] !== undefined) return { name, words: words.slice(length) };
  }
  return { name: DEFAULT, words: [...words] };
}

async function checkCall(
  name: string,
  { flags: taken, isLenient = false, words: counts, check }: Command,
  { flags, repeated, words }: ParsedFlags,
): Promise<string[]> {
  if (!counts.includes(words.length)) throw unexpectedWords(name, words);
  for (const flag of Object.keys(flags) as FlagName[]) {
    if (!taken.includes(flag)) throw new UsageError(await whyNotTaken(name, flag));
  }
  const isPair = name === DEFAULT && words.length === 2;
  const idle = [...idleFlags(flags, isPair), ...check?.(flags, words) ?? []];
  const twice = repeated.map((flag) => ({ flag, why: `"--${flag}" is given more than once` }));
  const refused = twice.filter(({ flag }) => !isLenient || !LEGACY_FLAGS.includes(flag)).map(({ why }) =>
    why
  );
  if (!isLenient) refused.push(...idle);
  if (refused[0] !== undefined) throw new UsageError(refused[0]);
  return [...idle, ...twice.map(({ why }) => `${why}; the last one counts`)];
}

/** Commands of two words of which this is the first. */
function commandsOf(first: string): string[] {
  return Object.keys(COMMANDS).filter((one) => one.startsWith(`${first} `));
}

function unexpectedWords(name: string, words: readonly string[]): UsageError {
  const [first = "", second] = words;
  if (name !== DEFAULT) return new UsageError(`"image-syncer ${name}" takes no argument "${first}"`);
  const begun = commandsOf(first);
  if (begun.length > 0) {
    return new UsageError(`"${first}" is not a command; did you mean "${begun.join(" or ")}"?`);
  }
  const nearest = second === undefined ? nearestName(first, [...Object.keys(COMMANDS), "help"]) : undefined;
  const hint = nearest === undefined
    ? "give a source and a destination, or no argument and --config FILE"
    : `did you mean "${nearest}"?`;
  return new UsageError(`Unexpected argument "${words.at(2) ?? first}"; ${hint}`);
}

async function whyNotTaken(name: string, flag: FlagName): Promise<string> {
  const takers: string[] = [];
  for (const other of Object.keys(COMMANDS)) {
    if ((await load(other)).flags.includes(flag)) takers.push(`"image-syncer ${other}"`);
  }
  return `"image-syncer ${name}" does not take "--${flag}"; it is for ${takers.join(" and ")}`;
}

async function showHelp(words: readonly string[], screen: Screen): Promise<number> {
  const { overview, helpOf } = await import("./command_help.ts");
  const topic = words[0] === "help" ? words.slice(1) : words;
  const { name, words: rest } = splitCommand(topic);
  if (topic.length === 0) {
    screen.text(overview(Object.entries(COMMANDS).map(([one, { summary }]) => [one, summary])));
  } else if (words[0] === "help" && rest.length > 0 && commandsOf(topic[0] ?? "").length === 0) {
    throw new UsageError(
      `There is no command "${topic.join(" ")}"; there are ${Object.keys(COMMANDS).join(", ")}`,
    );
  } else {
    const whole = rest.length === topic.length ? commandsOf(topic[0] ?? "")[0] ?? name : name;
    screen.text(helpOf(whole, await load(whole)));
  }
  return EXIT.done;
}
