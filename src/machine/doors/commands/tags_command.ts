/** `image-syncer tags`: prints the tags of a repository that filters leave, as a rule would choose them. */

import type { Rule } from "../../../mirror/config/config.ts";
import { expandRules } from "../../../mirror/plan/rule_check.ts";
import { TagDates } from "../../../mirror/plan/tag_dates.ts";
import { checkSelection, type DroppedTags, type TagSelection } from "../../../mirror/rules/selection.ts";
import { MemoryStore } from "../../../mirror/store/memory_store.ts";
import { Registries } from "../../../registry/registries.ts";
import { messageOf } from "../../../mirror/plan/failure.ts";
import { type Flags, UsageError } from "../../config/flags.ts";
import {
  type Command,
  type CommandCall,
  type CommandParts,
  EXIT,
  LIMIT_FLAGS,
  openRegistries,
  readFlaggedConfig,
  withParts,
} from "../command_setup.ts";

/** `image-syncer tags`. */
export const COMMAND: Command = {
  usage: ["tags REPOSITORY [flags]"],
  help:
    `Prints the tags of a repository that filters leave, in the words of a rule's "tags": with them one can try out what a
rule would choose. What each filter left out is said on standard error.`,
  flags: [
    "auth",
    "include",
    "exclude",
    "semver",
    "variant",
    "prereleases",
    "within",
    "newest",
    "by",
    "at-least",
    "format",
    "log",
    "log-format",
    ...LIMIT_FLAGS,
  ],
  words: [1],
  check: (flags) => {
    try {
      checkSelection(selectionOf(flags));
    } catch (cause) {
      throw new UsageError(messageOf(cause), { cause });
    }
    return [];
  },
  run: (call: CommandCall) => withParts(call, printTags),
};

function selectionOf(flags: Flags): TagSelection {
  const { include, exclude, semver, variant, prereleases, within, newest, by, "at-least": atLeast } = flags;
  const given = { include, exclude, semver, variant, prereleases, within, newest, by, atLeast };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

async function printTags(parts: CommandParts): Promise<number> {
  const { flags, words: [repository = ""], screen, log, signal } = parts;
  // Where to does not matter, and nothing goes there.
  const rule: Rule = { source: repository, destinations: ["tags.invalid/tags"], tags: selectionOf(flags) };
  const opened = openRegistries(
    await readFlaggedConfig({ flags, words: [repository, "tags.invalid/tags"] }),
    parts,
  );
  try {
    const registries = new Registries({ ...opened.options, signal });
    const store = new MemoryStore();
    const tags: string[] = [];
    const dropped: DroppedTags[] = [];
    const failed = await expandRules([rule], {
      listRepositories: (registry, owner) => registries.listRepositories(registry, owner),
      listTags: (source) => registries.open(source, "pull").listTags(signal),
      dates: new TagDates({ registries, store, now: () => registries.clock.now(), signal }),
      onPair: ({ source: { tag = "" } }) => tags.push(tag),
      onDropped: (some) => dropped.push(...some),
      onWarning: (message) => log.write("warn", message),
    });
    if (signal.aborted) return EXIT.interrupted;
    if (flags.format === "json") screen.text(`${JSON.stringify({ tags, dropped }, null, 2)}\n`);
    else for (const tag of tags) screen.out(tag);
    for (const { filter, count, examples } of flags.format === "json" ? [] : dropped) {
      screen.err(`${count} left out by ${filter}, for example ${examples.join(", ")}`);
    }
    for (const { error } of failed) screen.err(error);
    return failed.length > 0 ? EXIT.failed : EXIT.done;
  } finally {
    opened.close();
  }
}
