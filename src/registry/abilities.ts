/** Step 2 of the walk, the wire: what a registry can do, learned from its answers and not from its name. */

import { defer, type Deferred } from "./deferred.ts";
import { RegistryError } from "./registry_error.ts";

/** Bytes of a chunk when a registry has refused a blob as too large (Azure takes some 20 MB at once). */
const FIRST_CHUNK = 16 * 1024 * 1024;
/** Bytes of the smallest chunk that is tried. */
const SMALLEST_CHUNK = 1024 * 1024;

/** What one registry has shown in this run of how it takes uploads. */
export class Abilities {
  #chunk = Infinity;
  #canResume = true;
  #canMount = true;
  #postsWhole: boolean | Deferred<void> | undefined;

  /** Bytes the registry takes at once; no limit until it has shown one. */
  get chunk(): number {
    return this.#chunk;
  }

  /**
   * Whether a refusal means "too large at once" and smaller chunks are left to try; if so they are used from now on.
   *
   * @param atOnce Bytes of the request that was refused: several at once, refused alike, say no more than one does.
   */
  learnTooLarge(error: unknown, atOnce: number): boolean {
    if (!(error instanceof RegistryError) || error.status !== 413) return false;
    if (this.#chunk < atOnce) return true;
    const next = Math.min(FIRST_CHUNK, Math.floor(atOnce / 2));
    if (next < SMALLEST_CHUNK) return false;
    this.#chunk = next;
    return true;
  }

  /** Whether an upload that broke off may be gone on with. */
  get canResume(): boolean {
    return this.#canResume;
  }

  /** A resumed upload came to nothing (GHCR keeps only the last part): it is not tried there again. */
  learnNoResume(): void {
    this.#canResume = false;
  }

  /**
   * Opens an upload with a small blob in the same request where the registry takes that. The first one tries it, and the
   * others wait for what becomes of it: distribution ignores the bytes, and they would all be sent twice.
   *
   * @param open Opens the upload, with the blob where it may; it waits for nothing but the registry.
   */
  async tryPostWhole<Opening extends { type: string }>(
    open: (mayPost: boolean) => Promise<Opening>,
  ): Promise<Opening> {
    while (typeof this.#postsWhole === "object") await this.#postsWhole.promise;
    if (this.#postsWhole !== undefined) return await open(this.#postsWhole);
    const trial = defer<void>();
    this.#postsWhole = trial;
    try {
      const opening = await open(true);
      this.#postsWhole = opening.type !== "opened";
      return opening;
    } catch (error) {
      this.#postsWhole = undefined;
      throw error;
    } finally {
      trial.resolve();
    }
  }

  /** Whether mounting is worth asking for. */
  get canMount(): boolean {
    return this.#canMount;
  }

  /** A mount was refused outright (Docker Hub: 400): it is not asked for again. */
  learnNoMount(): void {
    this.#canMount = false;
  }
}
