/** Step 2 of the walk, the wire: how one registry takes uploads, learned from its answers and not from its name. */

import { Once } from "./once.ts";
import { RegistryError } from "./registry_error.ts";

/**
 * Bytes of the chunks that are tried one after the other when a blob is refused as too large at once: Azure takes some 20 MB,
 * nginx 1 MiB unless told, some gateways less. Few steps, for each costs the chunk that is refused.
 */
const CHUNK_SIZES: readonly number[] = [16, 4, 1, 1 / 4, 1 / 16].map((mebibytes) => mebibytes * 1024 * 1024);

/** What of a registry's abilities is worth knowing in another run, to foretell it. */
export interface LearnedAbilities {
  /** Bytes it takes at once; `null` for any number. */
  chunk: number | null;
  /** What it answers to a mount: it mounts, opens an upload instead, or refuses outright; `null` while nobody has asked. */
  mounts: "granted" | "opened" | "refused" | null;
  /** Whether it takes a small blob with the request that opens its upload; `null` while nobody has tried. */
  postsWhole: boolean | null;
}

/** What was learned in this run about how one registry takes uploads. Everything is possible until it shows otherwise. */
export class Abilities {
  /** Bytes it takes at once. */
  chunk: number = Infinity;
  /** Whether an upload that broke off may be gone on with; GHCR keeps only the last part. */
  canResume = true;
  /** Whether mounting is worth asking for; Docker Hub refuses it outright. */
  canMount = true;
  /** What it has answered to mounts in this run; the best counts. */
  mounted: "granted" | "opened" | null = null;
  /** Whether bytes are taken in PATCH alone, and the closing PUT must have none. */
  isPatchOnly = false;
  /** Whether HEAD is worth asking; some proxies and firewalls know none. */
  canHead = true;
  /** Whether a list of tags may be asked for in pages of a size; Quay and ECR refuse sizes that are too large for them. */
  canSizeLists = true;
  /** Whether it has the referrers API; nobody knows before it was asked. */
  hasReferrers: boolean | undefined;
  #postsWhole: boolean | undefined;
  #trial = new Once<"post", void>();

  /** What was learned that is worth knowing in another run; `undefined` while nothing was. */
  get learned(): LearnedAbilities | undefined {
    const chunk = Number.isFinite(this.chunk) ? this.chunk : null;
    const mounts = this.canMount ? this.mounted : "refused";
    const postsWhole = this.#postsWhole ?? null;
    const isKnown = chunk !== null || mounts !== null || postsWhole !== null;
    return isKnown ? { chunk, mounts, postsWhole } : undefined;
  }

  /**
   * Whether a refusal means "too large at once" and smaller chunks are left to try; if so they are used from now on.
   *
   * @param atOnce Bytes of the request that was refused: several at once, refused alike, say no more than one does.
   */
  learnTooLarge(error: unknown, atOnce: number): boolean {
    if (!(error instanceof RegistryError) || error.status !== 413) return false;
    if (this.chunk < atOnce) return true;
    const next = CHUNK_SIZES.find((size) => size < atOnce);
    if (next === undefined) return false;
    this.chunk = next;
    return true;
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
    let trial = this.#trial.get("post");
    for (; trial !== undefined; trial = this.#trial.get("post")) await trial.catch(() => {});
    if (this.#postsWhole !== undefined) return await open(this.#postsWhole);
    return await new Promise<Opening>((resolve, reject) => {
      const attempt = async () => {
        const opening = await open(true);
        this.#postsWhole = opening.type !== "opened";
        resolve(opening);
      };
      this.#trial.do("post", attempt).catch(reject);
    });
  }
}
