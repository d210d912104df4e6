/** `image-syncer apply`: runs a saved plan, exactly that. */

import { readFile } from "node:fs/promises";
import { applyPlan } from "../../../mirror/apply.ts";
import { PlanFileError, readSavedPlan, type SavedPlan } from "../../../mirror/plan/saved_plan.ts";
import {
  type Command,
  type CommandCall,
  CONFIG_FLAGS,
  type ConfiguredParts,
  LIMIT_FLAGS,
  withConfig,
} from "../command_setup.ts";
import { whyNotRead } from "../../system_error.ts";
import { withWork } from "./mirror_command.ts";
import { IMAGE_FLAGS } from "../mirror_flags.ts";
import { mirrorOnce } from "../mirror_run.ts";

/** `image-syncer apply`. */
export const COMMAND: Command = {
  usage: ["apply PLAN --config FILE [flags]"],
  help:
    `Runs a plan that "image-syncer plan --output" has saved, with the same config: copies what it says and nothing
else. A plan that was edited, or is of another config, is refused. Source tags that have moved since are refused
unless "--accept-changes" is given; destination tags that are not what the plan saw are left as they are.`,
  flags: [
    ...CONFIG_FLAGS,
    "accept-changes",
    ...IMAGE_FLAGS,
    "proc",
    "retries",
    "strict",
    "verify",
    "records",
    "store",
    "report",
    "output-success-images",
    "output-images-format",
    ...LIMIT_FLAGS,
    "no-progress",
  ],
  words: [1],
  run,
};

async function run(call: CommandCall): Promise<number> {
  const saved = await readPlanFile(call.words[0] ?? "");
  return await withConfig({ ...call, words: [] }, (parts) => applyIt(parts, saved));
}

async function readPlanFile(path: string): Promise<SavedPlan> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new PlanFileError(`"${path}" cannot be read (${whyNotRead(cause)})`, { cause });
  }
  return await readSavedPlan(text);
}

async function applyIt(parts: ConfiguredParts, saved: SavedPlan): Promise<number> {
  const acceptsChanges = parts.flags["accept-changes"] === true;
  return await withWork(parts, (work) =>
    mirrorOnce(parts, {
      ...work,
      mirror: (rules, options) => applyPlan(saved, rules, { ...options, acceptsChanges }),
    }));
}
