/** Step 6 of the walk, the copy: what copying needs of the run it is part of. */

import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import type { Content } from "../../oci/manifest.ts";
import type { TransferSlots } from "../../registry/transfer_slots.ts";
import type { CreateHasher } from "../../registry/hasher.ts";
import type { Registries } from "../../registry/registries.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import type { Belongings } from "../plan/belongings.ts";
import type { CreateVerifier } from "../plan/verification.ts";
import type { CopyEvent } from "./copy_event.ts";
import type { Store } from "../store/store.ts";
import type { KnownBlobs } from "./known_blobs.ts";

/** What copying needs. */
export interface CopyContext {
  /** The registries of the run. */
  registries: Registries;
  /** What is known to be where. */
  known: KnownBlobs;
  /** Hashes every blob as it passes; without it large blobs are checked by their destinations alone. */
  createHasher: CreateHasher | undefined;
  /** Blobs under way at once. */
  slots: TransferSlots;
  /** The memory between runs. */
  store: Store;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Tells whoever watches. */
  emit: (event: CopyEvent) => void;
  /** Finds what belongs to images; without it they come alone. */
  belongings?: Belongings | undefined;
  /** Makes the checks of signatures that rules ask for. */
  createVerifier?: CreateVerifier | undefined;
  /** Manifests that a plan has read, by digest: they are not read again. */
  kept: ReadonlyMap<Digest, Content>;
  /** Passes that were made before over what had failed. */
  pass: number;
  /** Whether manifests are put again although the destination has them. */
  force: boolean;
  /** Whether nothing new is to be begun; what is under way may end. */
  isStopping: () => boolean;
  /** Ends everything. */
  signal?: AbortSignal | undefined;
}

/** One place that an image goes to. */
export interface Destination {
  /** Its repository. */
  repository: Repository;
  /** The reference as users write it. */
  name: string;
}

/** One blob to bring to one place. */
export interface BlobOrder {
  /** Task the blob belongs to, for events. */
  task: string;
  /** Where it is. */
  source: Repository;
  /** What it is. */
  blob: Descriptor;
  /** Where it goes. */
  destination: Destination;
}

/** The run's time is up, so something was not begun. */
export class StoppedError extends Error {
  /** Says so. */
  constructor() {
    super("Cannot go on: the time for this run is up");
    this.name = "StoppedError";
  }
}
