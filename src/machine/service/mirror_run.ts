/** One run of a service: the mirror itself, its registries watched, and its end in the hands of whoever stops it. */

import type { Rule } from "../../mirror/config/config.ts";
import type { CopyEvent } from "../../mirror/copy/copy_event.ts";
import type { Report } from "../../mirror/report.ts";
import { mirror } from "../../mirror/run.ts";
import type { MirrorOptions } from "../../mirror/run_context.ts";
import { challengeMemory } from "../../mirror/store/challenge_memory.ts";
import type { Store } from "../../mirror/store/store.ts";
import type { Clock } from "../../registry/clock.ts";
import type { Fetch } from "../../registry/fetch.ts";
import { Registries } from "../../registry/registries.ts";
import type { OpenedRegistries } from "../network/config_registries.ts";
import { createVerifiers } from "../verify/verifiers.ts";
import type { Traffic } from "./traffic.ts";

/** Options of {@linkcode runMirror}. */
export interface MirrorRunOptions {
  /** The memory between runs. */
  store: Store;
  /** How images are mirrored. */
  mirrorOptions?: Partial<MirrorOptions> | undefined;
  /** Counts what goes to and comes from each registry. */
  traffic: Traffic;
  /** Ends the run at once. */
  signal: AbortSignal;
  /** Clock and dice. */
  clock: Clock;
  /** Milliseconds since 1970 from which on nothing new is begun; asked again and again. */
  stopAt: () => number;
  /** Called with everything that happens. */
  onEvent: (event: CopyEvent) => void;
}

/** Mirrors rules once; failures are in the report. */
export async function runMirror(
  rules: readonly Rule[],
  { options }: OpenedRegistries,
  wanted: MirrorRunOptions,
): Promise<Report> {
  const { store, traffic, signal, clock, onEvent } = wanted;
  const plainFetch: Fetch = (url, init) => fetch(url, init);
  const fetchFor = (registry: string) => traffic.watch(registry, options.fetchFor?.(registry) ?? plainFetch);
  const challenges = challengeMemory(store);
  const registries = new Registries({ ...options, fetchFor, challenges, signal, clock, onEvent });
  return await mirror(rules, {
    ...wanted.mirrorOptions,
    registries,
    store,
    createVerifier: createVerifiers(),
    onEvent,
    get stopAt() {
      return wanted.stopAt();
    },
  });
}
