/** Step 6 of the walk, the copy: how registries take uploads, learned from their answers and not from their names. */

import { defer, type Deferred } from "../../registry/deferred.ts";
import { RegistryError } from "../../registry/registry_error.ts";

/** Bytes of a chunk when a registry has refused a blob as too large (Azure takes some 20 MB at once). */
const FIRST_CHUNK = 16 * 1024 * 1024;
/** Bytes of the smallest chunk that is tried. */
const SMALLEST_CHUNK = 1024 * 1024;

/** What was learned in this run about uploads, by registry. */
export class UploadHabits {
  #chunks = new Map<string, number>();
  #cannotResume = new Set<string>();
  #cannotMount = new Set<string>();
  #postsWhole = new Map<string, boolean | Deferred<void>>();

  /** Bytes a registry takes at once; no limit until it has shown one. */
  chunkOf(registry: string): number {
    return this.#chunks.get(registry) ?? Infinity;
  }

  /**
   * Whether a refusal means "too large at once" and smaller chunks are left to try; if so they are used from now on.
   *
   * @param atOnce Bytes of the request that was refused: several at once, refused alike, say no more than one does.
   */
  learnTooLarge(registry: string, error: unknown, atOnce: number): boolean {
    if (!(error instanceof RegistryError) || error.status !== 413) return false;
    if (this.chunkOf(registry) < atOnce) return true;
    const next = Math.min(FIRST_CHUNK, Math.floor(atOnce / 2));
    if (next < SMALLEST_CHUNK) return false;
    this.#chunks.set(registry, next);
    return true;
  }

  /** Whether an upload that broke off may be gone on with. */
  canResume(registry: string): boolean {
    return !this.#cannotResume.has(registry);
  }

  /** A resumed upload came to nothing (GHCR keeps only the last part): it is not tried there again. */
  learnNoResume(registry: string): void {
    this.#cannotResume.add(registry);
  }

  /**
   * Opens an upload with a small blob in the same request where the registry takes that. The first one tries it, and the
   * others wait for what becomes of it: distribution ignores the bytes, and they would all be sent twice.
   *
   * @param open Opens the upload, with the blob where it may; it waits for nothing but the registry.
   */
  async tryPostWhole<Opening extends { type: string }>(
    registry: string,
    open: (mayPost: boolean) => Promise<Opening>,
  ): Promise<Opening> {
    let known = this.#postsWhole.get(registry);
    for (; typeof known === "object"; known = this.#postsWhole.get(registry)) await known.promise;
    if (known !== undefined) return await open(known);
    const trial = defer<void>();
    this.#postsWhole.set(registry, trial);
    try {
      const opening = await open(true);
      this.#postsWhole.set(registry, opening.type !== "opened");
      return opening;
    } catch (error) {
      this.#postsWhole.delete(registry);
      throw error;
    } finally {
      trial.resolve();
    }
  }

  /** Whether mounting is worth asking for. */
  canMount(registry: string): boolean {
    return !this.#cannotMount.has(registry);
  }

  /** A mount was refused outright (Docker Hub: 400): it is not asked for again. */
  learnNoMount(registry: string): void {
    this.#cannotMount.add(registry);
  }
}
