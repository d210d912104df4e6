/** `image-syncer serve`: what it takes, and how it is begun. */

import { UsageError } from "../../config/flags.ts";
import { environmentOf } from "../../network/proxy.ts";
import { bothLogs, logEvent, openServiceLog } from "../../terminal/log.ts";
import { MIRROR_FLAGS, mirrorFlagOptions, platformsWanted } from "../mirror_flags.ts";
import { checkOutput } from "../output_file.ts";
import {
  type Command,
  type CommandParts,
  CONFIG_FLAGS,
  EXIT,
  LIMIT_FLAGS,
  openRegistries,
  readFlaggedConfig,
  storeText,
  withParts,
} from "../command_setup.ts";

/** The variable that holds what lets see names and start runs. */
const TOKEN = "IMAGE_SYNCER_TOKEN";

/** `image-syncer serve`. */
export const COMMAND: Command = {
  usage: [`serve --config FILE --schedule "0 * * * *" [flags]`],
  help:
    `Mirrors on a schedule (UTC) until it is stopped, and shows how it goes on a page. Names are shown, and runs
begun by hand, to who has the token in ${TOKEN}. The config is read before each run.`,
  flags: [
    ...CONFIG_FLAGS,
    "schedule",
    "port",
    ...MIRROR_FLAGS,
    ...LIMIT_FLAGS,
    "strict",
    "records",
    "store",
    "report",
    "reports",
  ],
  words: [0],
  check: (flags) => {
    if (flags.schedule === undefined && !environmentOf(TOKEN)) {
      throw new UsageError(
        `"image-syncer serve" would never run: give --schedule CRON, or ${TOKEN} to begin runs by hand`,
      );
    }
    platformsWanted(flags);
    return [];
  },
  run: (call) => withParts(call, serve),
};

async function serve(parts: CommandParts): Promise<number> {
  const { flags, screen, log, runtime, signal } = parts;
  if (flags.report !== undefined) await checkOutput("report", flags.report);
  const { runServe } = await import("../serve.ts");
  const format = flags["log-format"] ?? "text";
  // What an operator must know is on standard error in any case; a file has all the rest too.
  const onScreen = openServiceLog({ format, print: (line) => screen.err(line) });
  await runServe({
    readConfig: () => readFlaggedConfig(parts),
    openRegistries: (config) => openRegistries(config, parts),
    store: storeText(flags),
    openKv: runtime.openKv,
    schedule: flags.schedule,
    port: flags.port ?? 8080,
    mirrorOptions: await mirrorFlagOptions(flags),
    token: environmentOf(TOKEN),
    report: flags.report,
    reports: flags.reports,
    isStrict: flags.strict === true,
    onEvent: flags.log === undefined ? () => {} : (event) => logEvent(log, event),
    onListen: (url) => screen.out(`Status page at ${url}`),
    log: flags.log === undefined ? onScreen : bothLogs(onScreen, log),
    signal,
  });
  return EXIT.done;
}
