/** What `--help` and `help COMMAND` print. */

import { describeFlags } from "../config/flags.ts";
import type { Command } from "./command_setup.ts";

/** What every help ends with. */
const EXIT_CODES =
  "Exit codes: 0 done or unchanged, 1 something failed, 2 wrong config or usage, 130 interrupted";

/**
 * What there is, on one screen.
 *
 * @param commands Each command's name, and what it does.
 */
export function overview(commands: readonly (readonly [name: string, summary: string])[]): string {
  const width = Math.max(...commands.map(([name]) => name.length));
  return [
    "Copies container images between registries.",
    "",
    "  image-syncer --config FILE [flags]            image-syncer SOURCE DESTINATION [flags]",
    "  image-syncer COMMAND [flags]                  image-syncer help COMMAND lists all of its flags",
    "",
    ...commands.map(([name, summary]) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "  --config FILE (./image-syncer.json), or --auth FILE --images FILE",
    "  -p, --proc N (5), -r, --retries N (2), --os NAME, --arch NAME[:VARIANT]",
    "  --registry HOST, --namespace NAME for empty destinations",
    "  --dry-run, --force, --strict, --log FILE, --records FILE, --report FILE",
    "  --output-success-images FILE, --output-images-format yaml|json, --version, -h, --help",
    "",
    EXIT_CODES,
  ].join("\n");
}

/** How one command is called, what it does and every flag it takes. */
export function helpOf(name: string, { usage, help, flags }: Command): string {
  return [
    ...usage.map((line) => `  image-syncer ${line}`.trimEnd()),
    "",
    help,
    "",
    ...describeFlags(flags),
    "",
    EXIT_CODES,
  ].join("\n").replace(/^/, `image-syncer ${name}\n\n`);
}
