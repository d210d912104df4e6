/** Step 6 of the walk, the copy: how registries take uploads, learned from their answers and not from their names. */

import { defer, type Deferred } from "../registry/deferred.ts";
import { RegistryError } from "../registry/registry_error.ts";

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
   * Whether a small blob may be sent with the request that would open its upload. The first one tries it, and the others
   * wait for what becomes of it: distribution ignores the bytes, and they would all be sent twice.
   *
   * @returns `trial` to the one that tries, which must say what became of it by {@linkcode settlePostWhole}.
   */
  async claimPostWhole(registry: string): Promise<"yes" | "no" | "trial"> {
    for (;;) {
      const known = this.#postsWhole.get(registry);
      if (typeof known === "boolean") return known ? "yes" : "no";
      if (known === undefined) {
        this.#postsWhole.set(registry, defer<void>());
        return "trial";
      }
      await known.promise;
    }
  }

  /** A registry took a small blob at once, or opened an upload all the same; `undefined` when the trial came to nothing. */
  settlePostWhole(registry: string, isTaken: boolean | undefined): void {
    const known = this.#postsWhole.get(registry);
    if (isTaken === undefined) this.#postsWhole.delete(registry);
    else this.#postsWhole.set(registry, isTaken);
    if (typeof known === "object") known.resolve();
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
