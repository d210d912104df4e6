/** `image-syncer plan`: says what would be copied and what that takes, and saves it for `apply`. */

import { makeFullPlan, wouldChange } from "../../../mirror/full_plan.ts";
import { planLines } from "../../terminal/plan_lines.ts";
import { logEvent } from "../../terminal/log.ts";
import {
  type Command,
  CONFIG_FLAGS,
  type ConfiguredParts,
  EXIT,
  LIMIT_FLAGS,
  withConfig,
} from "../command_setup.ts";
import { withWork } from "./mirror_command.ts";
import { IMAGE_FLAGS } from "../mirror_flags.ts";
import { type MirrorWork, registriesOf } from "../mirror_run.ts";
import { checkOutput, writeOutput } from "../output_file.ts";

/** `image-syncer plan`. */
export const COMMAND: Command = {
  usage: ["plan --config FILE [--output FILE] [flags]"],
  help:
    `Says what a run would copy, and what that takes: bytes, requests, pulls at Docker Hub, time. It reads the
manifests of what is new, and asks destinations what they have; nothing is sent. "--output" saves the plan for
"image-syncer apply". With "--check" the exit code is 3 when something would change, 1 when something failed.`,
  flags: [
    ...CONFIG_FLAGS,
    "output",
    "format",
    "check",
    ...IMAGE_FLAGS,
    "records",
    "store",
    ...LIMIT_FLAGS,
  ],
  words: [0],
  run: (call) => withConfig(call, (parts) => withWork(parts, (work) => makeIt(parts, work))),
};

async function makeIt(parts: ConfiguredParts, { rules, options }: MirrorWork): Promise<number> {
  const { flags, screen, log, signal } = parts;
  const { output } = flags;
  if (output !== undefined) await checkOutput("plan", output);
  try {
    const onEvent = (event: Parameters<typeof logEvent>[1]) => logEvent(log, event);
    const registries = registriesOf(parts, options.store, onEvent);
    const plan = await makeFullPlan(rules, { ...options, registries, onEvent });
    for (const message of plan.warnings) log.write("warn", message);
    const text = `${JSON.stringify(plan, null, 2)}\n`;
    if (flags.format === "json") screen.text(text);
    else for (const line of planLines(plan)) screen.out(line);
    const failure = output === undefined ? undefined : await writeOutput("plan", output, text);
    if (failure !== undefined) screen.err(failure);
    if (plan.failed.length > 0 || failure !== undefined) return EXIT.failed;
    return flags.check === true && wouldChange(plan) ? EXIT.changes : EXIT.done;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    throw error;
  }
}
