/** How the registries of a config are reached: with its credentials, without HTTP/2, and closed when the run is over. */

import { type Config, findAuth, isInsecureRegistry } from "../mirror/config.ts";
import type { TransportOptions } from "../registry/request.ts";
import { createRegistryFetch } from "./tls.ts";

/** The way to the registries of one run. */
export interface OpenedRegistries {
  /** For the run's `Transport`. */
  options: TransportOptions;
  /** Closes the connections. */
  close(): void;
}

/** Opens the way to the registries of a config; nothing is connected before it is asked for. */
export function openConfigRegistries(config: Config): OpenedRegistries {
  const fetches = new Map<string, ReturnType<typeof createRegistryFetch>>();
  const fetchFor = (registry: string) => {
    let opened = fetches.get(registry);
    if (opened === undefined) {
      const insecure = isInsecureRegistry(config.auth, registry);
      fetches.set(registry, opened = createRegistryFetch({ registry, insecure }));
    }
    return opened.fetch;
  };
  const options: TransportOptions = {
    fetchFor,
    isInsecure: (registry) => isInsecureRegistry(config.auth, registry),
    credentials: (registry, repository) =>
      Promise.resolve(findAuth(config.auth, registry, repository)?.entry),
  };
  return { options, close: () => fetches.values().forEach((opened) => opened.close()) };
}
