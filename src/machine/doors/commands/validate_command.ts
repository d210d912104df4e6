/** `image-syncer validate`: looks at the whole config without a request. */

import { checkRules } from "../../../mirror/plan/rule_check.ts";
import { checkConnections } from "../../network/config_registries.ts";
import { createVerifiers, prepareVerifiers } from "../../verify/verifiers.ts";
import { type Command, CONFIG_FLAGS, EXIT, readFlaggedConfig, withParts } from "../command_setup.ts";

/** `image-syncer validate`. */
export const COMMAND: Command = {
  usage: ["validate --config FILE [flags]"],
  help:
    `Looks at the whole config without asking any registry: every rule, pattern, platform, certificate and key. The
exit code is 0 when it can be used, else 2.`,
  flags: CONFIG_FLAGS,
  words: [0],
  run: (call) =>
    withParts(call, async ({ screen, log }) => {
      const config = await readFlaggedConfig(call);
      await checkConnections(config);
      await prepareVerifiers(config.rules, createVerifiers());
      const { failures, warnings } = await checkRules(config.rules);
      for (const warning of [...config.warnings, ...warnings]) log.write("warn", warning);
      for (const failure of failures) screen.err(failure);
      if (failures.length > 0) return EXIT.usage;
      const { length } = config.rules;
      screen.out(`The config can be used: ${length} ${length === 1 ? "rule" : "rules"}`);
      return EXIT.done;
    }),
};
