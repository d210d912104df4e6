/** `image-syncer expand`: prints what rules become, and asks sources for little but their tags. */

import { expandRules } from "../../../mirror/plan/rule_check.ts";
import type { WantedPair } from "../../../mirror/plan/rule_expansion.ts";
import { TagDates } from "../../../mirror/plan/tag_dates.ts";
import { MemoryStore } from "../../../mirror/store/memory_store.ts";
import { formatReference } from "../../../oci/reference.ts";
import { Registries } from "../../../registry/registries.ts";
import {
  type Command,
  CONFIG_FLAGS,
  type ConfiguredParts,
  EXIT,
  LIMIT_FLAGS,
  withConfig,
} from "../command_setup.ts";

/** `image-syncer expand`. */
export const COMMAND: Command = {
  usage: ["expand --config FILE [flags]"],
  help:
    `Prints each image that the rules of a config become, with its source and destination. Sources are asked for their
tags, for dates where rules choose by them, and for their repositories where a rule is of a whole namespace.`,
  flags: [...CONFIG_FLAGS, "format", ...LIMIT_FLAGS],
  words: [0],
  run: (call) => withConfig(call, expand),
};

async function expand(
  { config, registries: opened, flags, screen, log, signal }: ConfiguredParts,
): Promise<number> {
  const registries = new Registries({ ...opened.options, signal });
  const found: { source: string; destination: string; platforms?: readonly string[] }[] = [];
  const onPair = ({ source, destination, platforms }: WantedPair) => {
    const names = { source: formatReference(source), destination: formatReference(destination) };
    found.push(platforms === undefined ? names : { ...names, platforms });
  };
  const dates = new TagDates({
    registries,
    store: new MemoryStore(),
    now: () => registries.clock.now(),
    signal,
  });
  const failed = await expandRules(config.rules, {
    dates,
    listRepositories: (registry, owner) => registries.listRepositories(registry, owner),
    listTags: (source) => registries.open(source, "pull").listTags(signal),
    onPair,
    onWarning: (message) => log.write("warn", message),
  });
  if (signal.aborted) return EXIT.interrupted;
  if (flags.format === "json") screen.text(`${JSON.stringify(found, null, 2)}\n`);
  else {
    for (const { source, destination, platforms = [] } of found) {
      screen.out(`${source} -> ${destination}${platforms.length === 0 ? "" : ` (${platforms.join(", ")})`}`);
    }
  }
  for (const { error } of failed) screen.err(error);
  return failed.length > 0 ? EXIT.failed : EXIT.done;
}
