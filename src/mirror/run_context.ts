/** Step 7 of the walk, the run: what a run is told, and what planning and copying are given of it. */

import type { Digest } from "../oci/descriptor.ts";
import type { Content } from "../oci/manifest.ts";
import { TransferSlots } from "../registry/transfer_slots.ts";
import type { CreateHasher } from "../registry/hasher.ts";
import type { Registries } from "../registry/registries.ts";
import type { CopyContext } from "./copy/copy_context.ts";
import type { CopyEvent } from "./copy/copy_event.ts";
import { KnownBlobs } from "./copy/known_blobs.ts";
import { Belongings } from "./plan/belongings.ts";
import type { CreateVerifier } from "./plan/verification.ts";
import type { CopyTask, Plan } from "./plan/plan.ts";
import type { PlanContext } from "./plan/image_planner.ts";
import { GuardedStore } from "./store/guarded_store.ts";
import { MemoryStore } from "./store/memory_store.ts";
import type { Store } from "./store/store.ts";

/** Options of {@linkcode mirror}. */
export interface MirrorOptions {
  /** The registries of the run: shared connections, tokens and limits. */
  registries: Registries;
  /** The memory between runs; none unless told. */
  store?: Store;
  /** Blobs under way at once, in all; 5 unless told. */
  concurrency?: number;
  /** Passes over what failed, after everything was tried once; 2 unless told. */
  retries?: number;
  /** Whether to copy what the destination has already. */
  force?: boolean;
  /**
   * Manifests that were read before, by digest: they are not read again.
   *
   * @internal
   */
  manifests?: ReadonlyMap<Digest, Content>;
  /**
   * Destination repositories that are known to have no tags: nothing is asked before they are pushed to.
   *
   * @internal
   */
  emptyRepositories?: readonly { registry: string; repository: string }[];
  /** Whether to believe the store that a tag it remembers is still at its destination, which saves a request each. */
  trustRecords?: boolean;
  /** Hashes every blob as it passes; without it blobs above 1 MiB are checked by their destinations alone. */
  createHasher?: CreateHasher;
  /**
   * Whether what belongs to images comes with them (signatures, SBOMs, attestations), as their rules say; `false` brings none of
   * it, whatever rules say. What rules demand of it is demanded all the same.
   */
  referrers?: boolean;
  /** Milliseconds after which what belongs to the children of unchanged images is looked at again; a day unless told. */
  referrersEvery?: number;
  /** Makes the checks of signatures that rules ask for; a rule that asks for one lets nothing in without it. */
  createVerifier?: CreateVerifier;
  /** Platforms wanted of rules that name none, for example `linux/arm64`; all of them unless told. */
  platforms?: readonly string[];
  /**
   * Milliseconds since 1970 from which on nothing new is begun; what is under way then ends, the rest stays `pending`. A run
   * that has copied nothing by then goes on until it has, for at most ten times the time it was given: else a time shorter
   * than finding the first image takes would never mirror anything.
   */
  stopAt?: number;
  /** Milliseconds after which a destination that stands still is left to follow alone; 1000 unless told. */
  patience?: number;
  /**
   * Asked before an image is copied, where several workers share the work. It resolves to what gives the image back, or to
   * `undefined` when somebody else has it; the run then comes back to it at its end.
   */
  claim?: (task: CopyTask) => Promise<(() => Promise<void>) | undefined>;
  /**
   * Asked at the end of a run, again and again, less and less often, what has become of images that somebody else had: those that
   * are copied by now, those that nobody has any more (the run looks at them, and claims what is missing), and milliseconds after
   * which one of the others may be free. Without it the run looks at all of them each second.
   */
  revisit?: (tasks: readonly CopyTask[]) => Promise<{
    copied: readonly CopyTask[];
    free: readonly CopyTask[];
    wait: number;
  }>;
  /** Leaves out part of a plan, where several workers share the work without knowing of each other. */
  select?: (plan: Plan) => Plan;
  /** Called with everything that happens. */
  onEvent?: (event: CopyEvent) => void;
}

/** What planning and copying are given of a run. */
export type RunContext = CopyContext & PlanContext;

/** Blobs under way at once, in all, unless told otherwise. */
export const DEFAULT_CONCURRENCY = 5;

const DAY = 86_400_000;

/** Makes what planning and copying are given of a run. */
export function createContext(
  options: MirrorOptions,
  { isStopping, emit }: Pick<RunContext, "isStopping" | "emit">,
): RunContext {
  const { registries, patience = 1000, concurrency = DEFAULT_CONCURRENCY } = options;
  const { referrersEvery: every = DAY, createVerifier } = options;
  const store = guard(options.store);
  const onWarning = (message: string) => emit({ type: "warning", message });
  const known = new KnownBlobs();
  for (const place of options.emptyRepositories ?? []) known.setEmpty(registries.open(place, "pull,push"));
  return {
    registries,
    known,
    slots: new TransferSlots(concurrency),
    store,
    belongings: new Belongings({ registries, store, every, onWarning }),
    createVerifier,
    now: () => registries.clock.now(),
    force: options.force ?? false,
    kept: options.manifests ?? new Map(),
    pass: 0,
    trustRecords: options.trustRecords ?? false,
    createHasher: options.createHasher,
    platforms: options.platforms ?? [],
    patience,
    isStopping,
    emit,
    signal: registries.signal,
  };
}

/** A store may fail or hang; the one that lasts as long as the run does neither. */
function guard(store: Store | undefined): Store {
  if (store === undefined || store instanceof GuardedStore) return store ?? new MemoryStore();
  return new GuardedStore(store);
}
