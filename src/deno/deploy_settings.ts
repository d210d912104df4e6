/** What Deno Deploy's environment values say: the config, the schedule, the budget, the token, where it runs. */

import { type Config, ConfigError, SetupError } from "../mirror/config/config.ts";
import { parseConfig } from "../mirror/config/config_text.ts";
import type { Environment } from "../mirror/config/environment_values.ts";
import { checkSelections } from "../mirror/config/selection_keys.ts";
import { readConfigFile } from "../machine/config/config_file.ts";
import { faultOf } from "../machine/system_error.ts";
import { parseSchedule, type Schedule } from "../machine/service/schedule.ts";

/** What the environment says. */
export interface DeploySettings {
  /** When the mirror runs. */
  schedule: Schedule;
  /** Milliseconds a run may take. */
  budget: number;
  /** Whether what `shortcomingsOf` finds makes a run one with failures: a rule that selects nothing, a tag that drifted. */
  isStrict: boolean;
  /** Where the memory between runs is kept. */
  store: string;
  /** What lets see names and start runs. */
  token: string | undefined;
  /** Why nothing runs here. */
  refusal: string | undefined;
}

/** An environment value cannot be used. */
export class SettingsError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "SettingsError";

  /** Names the variable. Its value is not repeated: it may hold a secret. */
  constructor(variable: string, why: string, options?: ErrorOptions) {
    super(`Cannot use ${variable}: ${why}`, options);
  }
}

const HOURLY = "0 * * * *";
/** Well below what is known to be cut off, and more than most runs need. */
const BUDGET_SECONDS = 480;
/** Deno Deploy takes no larger environment values, in bytes. */
const VALUE_LIMIT = 16 * 1024;
/** The config that is read when the environment has none. */
const CONFIG_FILE = "image-syncer.json";

/**
 * Reads the settings.
 *
 * @throws {ScheduleError} when `IMAGE_SYNCER_SCHEDULE` is no cron expression.
 * @throws {SettingsError} when another value cannot be used.
 */
export function readSettings(environment: Environment): DeploySettings {
  return {
    schedule: parseSchedule(environment("IMAGE_SYNCER_SCHEDULE") || HOURLY),
    budget: 1000 * readBudget(environment("IMAGE_SYNCER_BUDGET")),
    isStrict: readSwitch("IMAGE_SYNCER_STRICT", environment),
    store: environment("IMAGE_SYNCER_STORE") || "kv",
    token: environment("IMAGE_SYNCER_TOKEN"),
    refusal: refusalOf(environment),
  };
}

function readBudget(text: string | undefined): number {
  if (text === undefined || text === "") return BUDGET_SECONDS;
  const seconds = Number(text);
  if (seconds > 0 && seconds < Infinity) return seconds;
  throw new SettingsError("IMAGE_SYNCER_BUDGET", `expected a number of seconds above 0, got "${text}"`);
}

function readSwitch(name: string, environment: Environment): boolean {
  const text = environment(name)?.trim().toLowerCase() ?? "";
  if (["", "0", "false", "no"].includes(text)) return false;
  if (["1", "true", "yes"].includes(text)) return true;
  throw new SettingsError(name, `expected true or false, got "${text}"`);
}

/** Each git branch has its own cron on Deno Deploy, and its own database, so that no lease keeps branches apart. */
function refusalOf(environment: Environment): string | undefined {
  const timeline = environment("DENO_TIMELINE") || "production";
  const allowed = (environment("IMAGE_SYNCER_TIMELINES") || "production").split(",").map((one) => one.trim());
  if (allowed.includes(timeline) || allowed.includes("*")) return undefined;
  return `this is the timeline "${timeline}", and only ${
    allowed.join(", ")
  } may run (IMAGE_SYNCER_TIMELINES)`;
}

/**
 * Reads the config: the text in `IMAGE_SYNCER_CONFIG`, else the file of the deployment that `IMAGE_SYNCER_CONFIG_FILE` names,
 * `image-syncer.json` unless it does. Credentials may be `${NAME}`, and stand in the environment then.
 *
 * @throws {ConfigError} when it cannot be used.
 * @throws {SettingsError} when there is none.
 */
export async function readDeployConfig(environment: Environment): Promise<Config> {
  const text = environment("IMAGE_SYNCER_CONFIG");
  if (text !== undefined && text.trim() !== "") return await parseValue(text, environment);
  const path = environment("IMAGE_SYNCER_CONFIG_FILE") || CONFIG_FILE;
  try {
    return await readConfigFile(path, { environment });
  } catch (cause) {
    if (!(cause instanceof ConfigError) || faultOf(cause.cause) !== "missing") throw cause;
    throw new SettingsError("IMAGE_SYNCER_CONFIG", `it is not set, and there is no file "${path}"`, {
      cause,
    });
  }
}

async function parseValue(text: string, environment: Environment): Promise<Config> {
  try {
    const config = parseConfig(text, { environment });
    await checkSelections(config.rules);
    return config;
  } catch (cause) {
    const size = new TextEncoder().encode(text).length;
    if (!(cause instanceof ConfigError) || size < VALUE_LIMIT - 64) throw cause;
    const why =
      `${cause.message}. With ${size} bytes it may have been cut off, for Deno Deploy takes ${VALUE_LIMIT}; ` +
      `put the config into a file "${CONFIG_FILE}" of the deployment instead`;
    throw new SettingsError("IMAGE_SYNCER_CONFIG", why, { cause });
  }
}
