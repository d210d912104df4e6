/** Flags that say how images are mirrored, whichever command does it, and what they come to. */

import { messageOf } from "../../mirror/plan/failure.ts";
import { NO_ATTESTATIONS } from "../../mirror/plan/platform_filter.ts";
import type { MirrorOptions } from "../../mirror/run_context.ts";
import { platformsOf } from "../../oci/platform.ts";
import { type FlagName, type Flags, UsageError } from "../config/flags.ts";
import { loadMachineHasher } from "../network/hasher.ts";

/** Flags that say which images are wanted, and what of them: a plan knows them as well as what runs it. */
export const IMAGE_FLAGS: readonly FlagName[] = [
  "os",
  "arch",
  "attestations",
  "no-attestations",
  "no-referrers",
  "force",
];

/** All of them. */
export const MIRROR_FLAGS: readonly FlagName[] = [
  "proc",
  "retries",
  ...IMAGE_FLAGS,
  "referrers-every",
  "verify",
  "trust-records",
];

/** What the flags come to. */
export type FlaggedOptions = Pick<
  MirrorOptions,
  | "concurrency"
  | "retries"
  | "platforms"
  | "referrers"
  | "referrersEvery"
  | "force"
  | "trustRecords"
  | "createHasher"
>;

/**
 * Turns the flags into options.
 *
 * @throws {UsageError} when a platform is none, or two flags do not go together.
 */
export async function mirrorFlagOptions(flags: Flags): Promise<FlaggedOptions> {
  const options: FlaggedOptions = {
    concurrency: flags.proc ?? 5,
    retries: flags.retries ?? 2,
    force: flags.force === true,
    trustRecords: flags["trust-records"] === true,
    platforms: platformsWanted(flags),
    referrers: flags["no-referrers"] !== true,
  };
  if (flags["referrers-every"] !== undefined) options.referrersEvery = flags["referrers-every"];
  if (flags.verify) options.createHasher = await loadMachineHasher();
  return options;
}

/**
 * The platforms that flags want. As image-syncer's, `--os` and `--arch` leave out what BuildKit attests of a platform.
 *
 * @throws {UsageError} when a platform is none, or two flags do not go together.
 */
export function platformsWanted(flags: Flags): string[] {
  if (flags.attestations && flags["no-attestations"]) {
    throw new UsageError(`"--attestations" and "--no-attestations" do not go together`);
  }
  try {
    const platforms = platformsOf(flags.os ?? [], flags.arch ?? []);
    const isBare = flags["no-attestations"] === true || platforms.length > 0 && flags.attestations !== true;
    return isBare ? [...platforms, NO_ATTESTATIONS] : platforms;
  } catch (cause) {
    throw new UsageError(messageOf(cause), { cause });
  }
}
