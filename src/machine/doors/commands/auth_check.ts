/** `image-syncer auth check`: for every repository of a config, who asks, whether that works, and whether pushing is allowed. */

import type { Config } from "../../../mirror/config/config.ts";
import { messageOf } from "../../../mirror/plan/failure.ts";
import { parseRuleSource } from "../../../mirror/rules/rules.ts";
import { splitReference } from "../../../oci/reference.ts";
import { RegistryError } from "../../../registry/registry_error.ts";
import { Registries } from "../../../registry/registries.ts";
import type { OpenedRegistries } from "../../network/config_registries.ts";
import {
  type Command,
  CONFIG_FLAGS,
  type ConfiguredParts,
  EXIT,
  LIMIT_FLAGS,
  withConfig,
} from "../command_setup.ts";

/** `image-syncer auth check`. */
export const COMMAND: Command = {
  usage: ["auth check --config FILE [flags]"],
  help:
    `Says for every repository of a config who logs in with which credential, found where, whether that works, and
whether pushing is allowed. Nothing is copied.`,
  flags: [...CONFIG_FLAGS, ...LIMIT_FLAGS],
  words: [0],
  run: (call) => withConfig(call, printFindings),
};

async function printFindings(
  { config, registries, screen, signal }: ConfiguredParts,
): Promise<number> {
  const through = new Registries({ ...registries.options, signal });
  const findings = await checkAuth(config, registries, through);
  for (const line of findings.flatMap((one) => one.line.split("\n"))) screen.out(line);
  return findings.every(({ isGood }) => isGood) ? EXIT.done : EXIT.failed;
}

/** One repository of a config, in one role. */
interface Use {
  registry: string;
  repository: string;
  role: "source" | "destination";
}

/** What was found out about one repository. */
interface AuthFinding {
  /** What to print. */
  line: string;
  /** Whether it is as it must be for the mirror to work. */
  isGood: boolean;
}

/** A digest that nothing has: an upload opened for it is given up at once. */
const NOTHING = `sha256:${"0".repeat(64)}`;

/** Checks every repository that a config names, one finding each, sources first. */
async function checkAuth(
  config: Config,
  opened: Pick<OpenedRegistries, "find">,
  registries: Registries,
): Promise<AuthFinding[]> {
  return await Promise.all(usesOf(config).map((use) => checkUse(use, opened, registries)));
}

function usesOf(config: Config): Use[] {
  const uses = new Map<string, Use>();
  const add = (role: Use["role"], parse: () => { registry: string; repository: string }) => {
    try {
      const { registry, repository } = parse();
      uses.set(`${role} ${registry}/${repository}`, { registry, repository, role });
    } catch {
      // A malformed reference fails its own rule in a run; there is nobody to log in to.
    }
  };
  for (const rule of config.rules) add("source", () => parseRuleSource(rule.source));
  for (const rule of config.rules) {
    for (const one of rule.destinations) {
      add("destination", () => splitReference(one));
    }
  }
  return [...uses.values()];
}

async function checkUse(
  use: Use,
  opened: Pick<OpenedRegistries, "find">,
  registries: Registries,
): Promise<AuthFinding> {
  const name = `${use.role} ${use.registry}/${use.repository}`;
  let who = "";
  try {
    const found = await opened.find(use.registry, use.repository);
    who = found === undefined ? "anonymous (no credentials found)" : describe(found);
    const result = use.role === "source"
      ? await checkPull(use, registries)
      : await checkPush(use, registries);
    return { line: `ok      ${name}\n        ${who}; ${result}`, isGood: true };
  } catch (error) {
    const account = who === "" ? "" : `        ${who}\n`;
    return { line: `failed  ${name}\n${account}        ${messageOf(error)}`, isGood: false };
  }
}

function describe(
  { credential, origin }: NonNullable<Awaited<ReturnType<OpenedRegistries["find"]>>>,
): string {
  const who = credential.username === undefined ? "a token" : `user "${credential.username}"`;
  return `${who} from ${origin}`;
}

/** A repository that is not there is no matter of logging in. */
async function checkPull(use: Use, registries: Registries): Promise<string> {
  const source = registries.open(use, "pull");
  try {
    for await (const _ of source.listTags()) break;
    return "pull is allowed";
  } catch (error) {
    if (error instanceof RegistryError && error.status === 404) {
      return "login works, the repository is not there";
    }
    throw error;
  }
}

async function checkPush(use: Use, registries: Registries): Promise<string> {
  const destination = registries.open(use, "pull,push");
  const opening = await openUpload(destination);
  if (opening.type !== "opened") return "push is allowed";
  try {
    await destination.cancelUpload(opening.session);
    return "push is allowed";
  } catch {
    return "push is allowed (the upload that was opened to find out could not be cancelled; it expires)";
  }
}

/** The blob that nothing has is no news to anybody. */
async function openUpload(
  destination: ReturnType<Registries["open"]>,
): ReturnType<typeof destination.openUpload> {
  try {
    return await destination.openUpload(NOTHING);
  } catch (error) {
    const why = messageOf(error).replace(`push blob "${NOTHING}"`, "push");
    throw new Error(why, { cause: error });
  }
}
