/** `image-syncer`: mirrors once what a config says, or prints what it would copy. */

import type { Config } from "../../../mirror/config/config.ts";
import { shardPlan, shardRules } from "../../../mirror/plan/shard.ts";
import type { Store } from "../../../mirror/store/store.ts";
import { type Flags, UsageError } from "../../config/flags.ts";
import { openStore, parseLocation } from "../../store/store_location.ts";
import { createVerifiers, prepareVerifiers } from "../../verify/verifiers.ts";
import type { Leases } from "../../workers/leases.ts";
import {
  type Command,
  CONFIG_FLAGS,
  type ConfiguredParts,
  LIMIT_FLAGS,
  storeText,
  withConfig,
} from "../command_setup.ts";
import { MIRROR_FLAGS, mirrorFlagOptions, platformsWanted } from "../mirror_flags.ts";
import { mirrorOnce, type MirrorWork, printPlan } from "../mirror_run.ts";

/** `image-syncer`, and `image-syncer mirror`. */
export const COMMAND: Command = {
  usage: ["--config FILE [flags]", "--auth FILE --images FILE [flags]", "SOURCE DESTINATION [flags]"],
  help: `Copies what the config says from registry to registry, once. The last line on standard output is
always "Finished, N sync tasks failed, M tasks generate failed".`,
  flags: [
    ...CONFIG_FLAGS,
    ...MIRROR_FLAGS,
    "dry-run",
    "strict",
    "records",
    "store",
    "shard",
    "report",
    "output-success-images",
    "output-images-format",
    ...LIMIT_FLAGS,
    "no-progress",
  ],
  isLenient: true,
  words: [0, 2],
  check: checkFlags,
  run: (call) => withConfig(call, run),
};

function checkFlags(flags: Flags): string[] {
  if (flags["dry-run"] && flags.report !== undefined) {
    throw new UsageError(`"--report" does nothing beside "--dry-run", which copies nothing to report`);
  }
  platformsWanted(flags);
  parseLocation(storeText(flags));
  const isIdle = flags["dry-run"] && flags["output-success-images"] !== undefined;
  return isIdle ? [`"--output-success-images" does nothing beside "--dry-run"`] : [];
}

async function run(parts: ConfiguredParts): Promise<number> {
  const isDry = parts.flags["dry-run"] === true;
  return await withWork(parts, (work) => isDry ? printPlan(parts, work) : mirrorOnce(parts, work));
}

/** Opens what mirroring needs, as flags want it, and closes it afterwards. */
export async function withWork(
  parts: ConfiguredParts,
  use: (work: MirrorWork) => Promise<number>,
): Promise<number> {
  const { flags, log, runtime, signal } = parts;
  const onWarning = (message: string) => log.write("warn", message);
  const { store, leases: openLeases, close } = await openStore(storeText(flags), { onWarning, ...runtime });
  try {
    const leases = openLeases?.();
    const code = await use({ rules: rulesOf(parts), options: await mirrorOptions(parts, store, leases) });
    if (leases !== undefined && !signal.aborted && !flags["dry-run"]) await clearDead(leases, signal);
    return code;
  } finally {
    await close();
  }
}

/** What cannot be cleared now expires by itself. */
async function clearDead(leases: Leases, signal: AbortSignal): Promise<void> {
  const { IMAGE_LEASE } = await import("../../workers/shared_work.ts");
  await leases.clearDead(IMAGE_LEASE, signal).catch(() => {});
}

function rulesOf({ config, flags: { shard } }: ConfiguredParts): Config["rules"] {
  return shard === undefined ? config.rules : shardRules(config.rules, shard);
}

async function mirrorOptions(
  { flags, log, config }: ConfiguredParts,
  store: Store,
  leases: Leases | undefined,
): Promise<MirrorWork["options"]> {
  const { shard } = flags;
  const createVerifier = createVerifiers();
  await prepareVerifiers(config.rules, createVerifier);
  const options: MirrorWork["options"] = {
    ...await mirrorFlagOptions(flags),
    store,
    createVerifier,
  };
  if (shard !== undefined) options.select = (plan) => shardPlan(plan, shard);
  if (leases !== undefined) {
    const { shareWork } = await import("../../workers/shared_work.ts");
    Object.assign(options, shareWork(leases, { store, onWarning: (message) => log.write("warn", message) }));
  }
  return options;
}
