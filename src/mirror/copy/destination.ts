/** Step 6 of the walk, the copy: one place an image goes to, and what copying needs. */

import type { DigestOf } from "../../oci/descriptor.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import type { TransferSlots } from "../../registry/gate.ts";
import type { CreateHasher } from "../../registry/hasher.ts";
import type { Registries } from "../../registry/registries.ts";
import type { Repository } from "../../registry/repository.ts";
import { toError } from "../plan/failure.ts";
import type { Presence } from "./presence.ts";
import type { CopyEvent } from "../report.ts";
import type { Store } from "../store/store.ts";

/** What copying needs. */
export interface CopyContext {
  /** The registries of the run. */
  registries: Registries;
  /** What is known to be where. */
  presence: Presence;
  /** Hashes every blob as it passes; without it large blobs are checked by their destinations alone. */
  createHasher: CreateHasher | undefined;
  /** Finds the digest of bytes in memory. */
  digestOf: DigestOf;
  /** Blobs under way at once. */
  slots: TransferSlots;
  /** The memory between runs. */
  store: Store;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Tells whoever watches. */
  emit: (event: CopyEvent) => void;
  /** Whether manifests are put again although the destination has them. */
  force: boolean;
  /** Whether nothing new is to be begun; what is under way may end. */
  isStopping: () => boolean;
  /** Ends everything. */
  signal?: AbortSignal | undefined;
}

/** The run's time is up, so something was not begun. */
export class StoppedError extends Error {
  /** Says so. */
  constructor() {
    super("Cannot go on: the time for this run is up");
    this.name = "StoppedError";
  }
}

/** One place that an image goes to. It leaves the work when something fails there; the others go on. */
export class Destination {
  /** The reference in full. */
  readonly reference: Reference;
  /** The reference as users write it. */
  readonly name: string;
  /** Its repository. */
  readonly repository: Repository;
  /** Why nothing more is done for it. */
  failure: Error | undefined;

  /** Nothing has failed yet. */
  constructor(reference: Reference, repository: Repository) {
    this.reference = reference;
    this.name = formatReference(reference);
    this.repository = repository;
  }

  /** Notes a failure; the first one counts. */
  fail(error: unknown): void {
    this.failure ??= toError(error);
  }
}

/** Destinations that have not failed. */
export function live(destinations: readonly Destination[]): Destination[] {
  return destinations.filter((one) => one.failure === undefined);
}
