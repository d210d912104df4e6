/** Step 2 of the walk, the wire: memory that bytes are read into, again and again. */

/** Bytes of unused memory that are kept in all. */
const FREE_LIMIT = 32 * 1024 * 1024;

/**
 * Buffers that come back, for all blobs of a run: each new one costs a page fault every 4 KiB, and without coming back 8 blobs at
 * once leave 100 MB for the collector to find.
 */
export class BufferPool {
  #free = new Map<number, ArrayBuffer[]>();
  #freeBytes = 0;

  /** A buffer of so many bytes; what is in it is of no meaning. */
  take(size: number): ArrayBuffer {
    let free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, free = []);
    const buffer = free.pop();
    if (buffer === undefined) return new ArrayBuffer(size);
    this.#freeBytes -= size;
    return buffer;
  }

  /** Takes back a buffer that nobody looks at any more; one of another size than those taken, or that a runtime has taken, is let go. */
  give(buffer: ArrayBuffer): void {
    const size = buffer.byteLength;
    const free = this.#free.get(size);
    if (free === undefined || this.#freeBytes + size > FREE_LIMIT) return;
    this.#freeBytes += size;
    free.push(buffer);
  }
}
