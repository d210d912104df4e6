/** Step 6 of the walk, the copy: reads manifests at their source, once for all destinations and images that want them. */

import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import type { Content } from "../../oci/manifest.ts";
import { Once } from "../../registry/once.ts";
import type { Repository } from "../../registry/repository/repository.ts";
import { mayTrySoon, toError } from "../plan/failure.ts";
import type { CopyContext } from "./copy_context.ts";

/**
 * Bytes of manifests that are kept for the next who asks: a destination that is not far behind another finds them. One that is
 * reads them again.
 */
const KEPT_BYTES = 8 * 1024 * 1024;

/** Reads the manifests of a run. */
export class ManifestReader {
  #context: CopyContext;
  #reads = new Once<string, Content | undefined>();
  /** In the order they were asked for last. */
  #kept = new Map<string, Content>();
  #keptBytes = 0;

  /** Nothing is read yet. */
  constructor(context: CopyContext) {
    this.#context = context;
  }

  /**
   * A child of an index, or `undefined` where it is no manifest but a blob.
   *
   * @throws {RegistryError} when it is missing or the source refuses.
   * @throws {ManifestError} when it is none.
   */
  async child(source: Repository, descriptor: Descriptor): Promise<Content | undefined> {
    const { known, kept: planned, signal } = this.#context;
    const { digest } = descriptor;
    const read = planned.get(digest);
    if (read !== undefined) return read;
    const unreadable = known.unreadable(source, digest);
    if (unreadable !== undefined) throw unreadable;
    const key = `${source.registry.host}/${source.name} ${digest}`;
    const kept = this.#kept.get(key);
    const content = kept ?? await this.#reads.do(key, async () => {
      try {
        return await source.getChild(descriptor, signal);
      } catch (error) {
        // A child that is missing or corrupt at its source is so for every image that has it.
        if (!mayTrySoon(error)) known.setUnreadable(source, digest, toError(error));
        throw error;
      }
    });
    if (content !== undefined) this.#keep(key, content);
    return content;
  }

  /**
   * The root of an image, shared with other images that have it as their root or in an index.
   *
   * @param read Reads it, if nobody has.
   */
  async root(source: Repository, digest: Digest, read: () => Promise<Content>): Promise<Content> {
    const key = `${source.registry.host}/${source.name} ${digest}`;
    const content = this.#kept.get(key) ?? await this.#reads.do(key, read) ?? await read();
    if (content.descriptor.digest === digest) this.#keep(key, content);
    return content;
  }

  #keep(key: string, content: Content): void {
    if (!this.#kept.delete(key)) this.#keptBytes += content.bytes.length;
    this.#kept.set(key, content);
    for (const [oldest, { bytes }] of this.#kept) {
      if (this.#keptBytes <= KEPT_BYTES) return;
      this.#kept.delete(oldest);
      this.#keptBytes -= bytes.length;
    }
  }
}
