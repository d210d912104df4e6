/** Every passing fault against docker-registry, on either side, and the lies; a pair of registries for each group of cases. */

import { allCases, type FaultCase } from "./cases.ts";
import { runCase } from "./case_run.ts";
import { realTest } from "../real/binaries.ts";
import { openRealRegistry } from "./workbench.ts";

for (const [group, lines] of Map.groupBy(allCases(["once", "three times"]).filter(isQuick), groupOf)) {
  realTest(
    `mirror() between two docker-registry with every fault at the ${group}`,
    ["docker-registry"],
    async () => {
      await using source = await openRealRegistry();
      await using destination = await openRealRegistry();
      for (const [index, line] of lines.entries()) {
        source.proxy.setPlan([]);
        destination.proxy.setPlan([]);
        try {
          await runCase(line, { source, destination, repository: `case/${index}` });
        } catch (cause) {
          throw new Error(`Cannot survive ${line.name}, ${line.repeat}`, { cause });
        }
      }
    },
  );
}

function groupOf({ side, target }: FaultCase): string {
  return `${side}, ${target}`;
}

/** What only time shows is waited for once here; three times it is against the registry in memory. */
function isQuick({ isSilent, repeat }: FaultCase): boolean {
  return isSilent !== true || repeat === "once";
}
