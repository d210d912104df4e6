/** `image-syncer completions`: what makes a shell complete commands and flags. */

import { type FlagName, flagsFor, UsageError } from "../../config/flags.ts";
import { type Command, type DescribedCommand, EXIT } from "../command_setup.ts";

/** `image-syncer completions`. */
export const COMMAND: Command = {
  usage: ["completions bash", "completions zsh", "completions fish"],
  help:
    `Prints what makes a shell complete commands and flags. Bash: source <(image-syncer completions bash). Zsh: write it
to a file _image-syncer in a directory of $fpath. Fish: image-syncer completions fish | source.`,
  flags: [],
  words: [1],
  run: async ({ words: [shell = ""], screen, commands }) => {
    const write = SHELLS[shell];
    if (write === undefined) {
      throw new UsageError(`There is no shell "${shell}" here; there are bash, zsh and fish`);
    }
    screen.text(`${write(await commands()).join("\n")}\n`);
    return EXIT.done;
  },
};

const SHELLS: Readonly<Record<string, (commands: readonly DescribedCommand[]) => string[]>> = {
  bash: bashLines,
  zsh: zshLines,
  fish: fishLines,
};

/** Words of a command that begin it: all but the last may begin others. */
function firstWords(commands: readonly DescribedCommand[]): string[] {
  return [...new Set(commands.map(({ name }) => name.split(" ")[0] ?? ""))];
}

function dashed(flags: readonly FlagName[]): string {
  return [...flags, "help"].map((flag) => `--${flag}`).join(" ");
}

function bashLines(commands: readonly DescribedCommand[]): string[] {
  const cases = commands.map(({ name, flags }) => `    "${name.split(" ")[0]}") flags="${dashed(flags)}" ;;`);
  const usual = commands.find(({ name }) => name === "mirror")?.flags ?? [];
  return [
    "_image_syncer() {",
    '  local word="${COMP_WORDS[COMP_CWORD]}" flags',
    "  COMPREPLY=()",
    '  case "${COMP_WORDS[1]}" in',
    ...cases,
    `    *) flags="${dashed(usual)}" ;;`,
    "  esac",
    '  if [[ "$word" == -* ]]; then',
    '    COMPREPLY=($(compgen -W "$flags" -- "$word"))',
    '  elif [[ "$COMP_CWORD" == 1 ]]; then',
    `    COMPREPLY=($(compgen -W "${firstWords(commands).join(" ")}" -- "$word"))`,
    "  fi",
    "}",
    "complete -o default -F _image_syncer image-syncer",
  ];
}

function zshLines(commands: readonly DescribedCommand[]): string[] {
  const described = commands.map(({ name, summary }) => `    ${quoted(`${name.split(" ")[0]}:${summary}`)}`);
  const cases = commands.map(({ name, flags }) => {
    const specs = flagsFor(flags).map(({ name, value, help }) =>
      quoted(
        `--${name}${value === "" ? "" : "="}[${help.replace(/[[\]:]/g, " ")}]${
          value === "" ? "" : ":value:_files"
        }`,
      )
    );
    return `    ${name.split(" ")[0]}) _arguments ${specs.join(" ")} '*:file:_files' ;;`;
  });
  return [
    "#compdef image-syncer",
    "_image_syncer() {",
    "  local -a commands",
    "  commands=(",
    ...described,
    "  )",
    "  if (( CURRENT == 2 )); then",
    "    _describe command commands",
    "    return",
    "  fi",
    '  case "${words[2]}" in',
    ...cases,
    "    *) _files ;;",
    "  esac",
    "}",
    '_image_syncer "$@"',
  ];
}

function fishLines(commands: readonly DescribedCommand[]): string[] {
  const names = commands.map(({ name, summary }) =>
    `complete -c image-syncer -n __fish_use_subcommand -a ${quoted(name.split(" ")[0] ?? "")} -d ${
      quoted(summary)
    }`
  );
  const flags = commands.flatMap(({ name, flags }) =>
    flagsFor(flags).map((flag) => {
      const seen = quoted(`__fish_seen_subcommand_from ${name.split(" ")[0]}`);
      const value = flag.value === "" ? "" : " -r";
      return `complete -c image-syncer -n ${seen} -l ${flag.name}${value} -d ${quoted(flag.help)}`;
    })
  );
  return [...names, ...flags];
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "’")}'`;
}
