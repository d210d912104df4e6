/** A stream of bytes that ends before it grows too long. */

/** Options of {@linkcode LimitedBytesTransformStream}. */
export interface LimitedBytesTransformStreamOptions {
  /**
   * Whether too many bytes are an error; otherwise the stream just ends.
   *
   * @default {false}
   */
  error?: boolean;
}

/**
 * Passes on chunks as long as they are no more than `size` bytes together. The chunk that would be too much is
 * dropped as a whole, so fewer than `size` bytes may come through.
 *
 * With `error: true` such a chunk errors the stream with a `RangeError`.
 */
export class LimitedBytesTransformStream extends TransformStream<Uint8Array, Uint8Array> {
  /** Makes a stream for at most `size` bytes. */
  constructor(size: number, options: LimitedBytesTransformStreamOptions = {}) {
    const { error = false } = options;
    let passed = 0;
    super({
      transform(chunk, controller) {
        passed += chunk.byteLength;
        if (passed <= size) controller.enqueue(chunk);
        else if (error) throw new RangeError(`Exceeded byte size limit of '${size}'`);
        else controller.terminate();
      },
    });
  }
}
