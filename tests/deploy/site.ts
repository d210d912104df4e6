/** A status site over a mirror in memory, for tests that ask it without a socket. */

import { openConfigRegistries } from "../../src/machine/network/config_registries.ts";
import { parseSchedule } from "../../src/machine/service/schedule.ts";
import { MirrorService, type MirrorServiceOptions } from "../../src/machine/service/service.ts";
import { createStatusSite, type StatusSiteOptions } from "../../src/machine/site/status_site.ts";
import type { Config } from "../../src/mirror/config/config.ts";
import { MemoryStore } from "../../src/mirror/store/memory_store.ts";
import { FakeClock } from "../fake_clock.ts";
import type { TestRegistry } from "../registry.ts";

/** A token as an operator may choose it. */
export const TOKEN = "correct-horse-battery-staple";

/** The headers of who has it. */
export const OPERATOR = { authorization: `Bearer ${TOKEN}` };

/** A config of rules as they stand in `images`. */
export function configOf(images: Record<string, string>): Config {
  const rules = Object.entries(images).map(([source, destination]) => ({
    source,
    destinations: [destination],
  }));
  return { auth: {}, rules, warnings: [] };
}

/** A service whose every registry is one in memory. */
export function serviceOf(
  registry: TestRegistry,
  config: Config,
  options: Partial<MirrorServiceOptions> = {},
): MirrorService {
  return new MirrorService({
    readConfig: () => Promise.resolve(config),
    openRegistries: (config) => {
      const opened = openConfigRegistries(config);
      return { ...opened, options: { ...opened.options, fetchFor: () => registry.fetch } };
    },
    store: new MemoryStore(),
    ...options,
  });
}

/** Asks a site over a service, as a browser or a script would. */
export function siteOf(
  service: MirrorService,
  options: Partial<StatusSiteOptions> = {},
): (path: string, init?: RequestInit) => Promise<Response> {
  const clock = new FakeClock();
  const site = createStatusSite({ service, schedule: parseSchedule("0 * * * *"), clock, ...options });
  return (path, init) => site(new Request(`http://mirror.test${path}`, init));
}
