/** Step 2 of the walk, the wire: bytes on their way from one registry to others, counted, stoppable, of a known length. */

import type { FetchInit } from "../fetch.ts";

/** Bytes that are pulled piece by piece. */
export interface ByteSource {
  /** The next piece, or `undefined` at the end. Called again only after the last call has settled. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Stops; whatever is under way is let go. */
  cancel(reason: unknown): void;
  /** Takes back the memory of a piece that nobody will look at again, to read into it. */
  recycle?(piece: Uint8Array<ArrayBuffer>): void;
}

/** A {@linkcode ByteSource} of bytes that are in memory. */
export function bytesSource(bytes: Uint8Array<ArrayBuffer>): ByteSource {
  let rest: Uint8Array<ArrayBuffer> | undefined = bytes.length === 0 ? undefined : bytes;
  return {
    read: () => {
      const piece = rest;
      rest = undefined;
      return Promise.resolve(piece);
    },
    cancel: () => rest = undefined,
  };
}

/** Bytes of pieces whose lengths are known together, in one piece. */
export function joinPieces(pieces: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

/** More or fewer bytes came than were announced. */
export class LengthError extends Error {
  /** Names both lengths, in bytes. */
  constructor(expected: number, actual: number) {
    super(`expected ${expected} bytes, got ${actual > expected ? "more" : actual}`);
    this.name = "LengthError";
  }
}

/**
 * A request body of a known length, made from a source.
 *
 * Runtimes truncate a body that is too long, hang on it, or hide which side failed; so the length is enforced here and
 * the source's own failure is kept. Kill it when the request is over: Deno goes on sending a body whose request was
 * answered early until the body itself fails.
 */
export class UploadBody {
  /** Bytes the body has. */
  readonly size: number;
  /** Why the source failed, when it did. */
  sourceFailure: unknown;
  /** Bytes handed to the runtime so far. */
  sent = 0;
  /** Milliseconds (`performance.now()`) when a piece was last asked for or handed over. */
  lastActivity: number = performance.now();
  /** Whether the runtime waits for the source: a stall is then the source's. */
  isReading = false;
  #source: ByteSource;
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #isOver = false;

  /** Nothing is read before the runtime asks. */
  constructor(source: ByteSource, size: number) {
    this.#source = source;
    this.size = size;
  }

  /** Whether every byte was handed to the runtime. */
  get isComplete(): boolean {
    return this.sent === this.size;
  }

  /** The parts of a fetch's init that carry this body with a true `Content-Length` on this runtime. Call once. */
  init(): FetchInit {
    const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: (controller) => this.#pull(controller),
      cancel: (reason) => this.#end(reason),
    }, { highWaterMark: 0 });
    return fixedLengthInit(stream, this.size);
  }

  /** Fails the body and lets go of the source; does nothing once the body is over. */
  kill(reason: unknown): void {
    if (this.#isOver) return;
    this.#end(reason);
    this.#controller?.error(reason);
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    this.isReading = true;
    this.lastActivity = performance.now();
    try {
      const piece = await this.#source.read();
      if (this.#isOver) return;
      const total = this.sent + (piece?.length ?? 0);
      if (total > this.size || piece === undefined && total < this.size) {
        throw new LengthError(this.size, total);
      }
      if (piece !== undefined) this.#pass(controller, piece);
      // The stream ends with its last byte: Node waits for an end that a source kept open would never give.
      if (total === this.size) this.#finish(controller);
    } catch (error) {
      if (this.#isOver) return;
      this.sourceFailure = error;
      this.#end(error);
      controller.error(error);
    } finally {
      this.isReading = false;
    }
  }

  #pass(
    controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>,
    piece: Uint8Array<ArrayBuffer>,
  ): void {
    // The runtime may detach the piece, so its length is read first.
    const count = piece.length;
    controller.enqueue(piece);
    this.sent += count;
    this.lastActivity = performance.now();
  }

  #finish(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): void {
    this.#isOver = true;
    controller.close();
  }

  #end(reason: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#source.cancel(reason);
  }
}

/** workerd's transform that announces its length. */
type FixedLengthStreamConstructor = new (size: number) => {
  readable: ReadableStream<Uint8Array>;
  writable: WritableStream<Uint8Array>;
};

/** A `Blob` that streams: Deno reads `size` for the Content-Length and `stream()` for the bytes (denoland/deno#20274). */
class SizedBlob extends Blob {
  #stream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #size: number;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>, size: number) {
    super();
    this.#stream = stream;
    this.#size = size;
  }

  override get size(): number {
    return this.#size;
  }

  override stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const stream = this.#stream;
    this.#stream = undefined;
    // A second call would be a redirect that replays the body, which a stream cannot do.
    if (stream === undefined) throw new TypeError("Cannot send a streaming body twice");
    return stream;
  }
}

/** Node and workers differ in what makes them send a length; none of them sends it for a plain stream and nothing more. */
function fixedLengthInit(stream: ReadableStream<Uint8Array<ArrayBuffer>>, size: number): FetchInit {
  const headers = { "content-length": String(size) };
  if (size === 0) {
    void stream.cancel();
    return { body: new Uint8Array(), redirect: "manual" };
  }
  const scope = globalThis as { FixedLengthStream?: FixedLengthStreamConstructor };
  if (scope.FixedLengthStream !== undefined) {
    const fixed = new scope.FixedLengthStream(size);
    // A failure of the pipe reaches the request through the readable side.
    stream.pipeTo(fixed.writable).catch(() => {});
    return { body: fixed.readable, headers, redirect: "manual" };
  }
  if (globalThis.navigator?.userAgent?.startsWith("Deno/")) {
    return { body: new SizedBlob(stream, size), headers, redirect: "manual" };
  }
  // Node demands `duplex`, and keeps the whole body in memory unless `window` is null and redirects are errors (nodejs/undici#4058).
  const init = { body: stream, headers, duplex: "half", window: null, redirect: "error" };
  return init as FetchInit;
}
