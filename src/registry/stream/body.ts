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

/** More or fewer bytes came than were announced. */
export class LengthError extends Error {
  /** Names both lengths, in bytes. */
  constructor(expected: number, actual: number) {
    super(`expected ${expected} bytes, got ${actual > expected ? "more" : actual}`);
    this.name = "LengthError";
  }
}

/** Options of an {@linkcode UploadBody}. */
export interface UploadBodyOptions {
  /** Called with the number of bytes of each piece handed to the runtime. */
  onBytes?: ((count: number) => void) | undefined;
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
  #onBytes: ((count: number) => void) | undefined;
  #isOver = false;

  /** Nothing is read before the runtime asks. */
  constructor(source: ByteSource, size: number, options: UploadBodyOptions = {}) {
    this.#source = source;
    this.size = size;
    this.#onBytes = options.onBytes;
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
    this.#onBytes?.(count);
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

/** A branch of a {@linkcode fanOut} fell too far behind the others. */
export class LaggardError extends Error {
  /** Says by how much, in bytes. */
  constructor(lag: number) {
    super(`it fell ${lag} bytes behind the other destinations`);
    this.name = "LaggardError";
  }
}

/** Options of {@linkcode fanOut}. */
export interface FanOutOptions {
  /** Bytes a branch may be behind the fastest one before the fastest waits for it. */
  lag: number;
  /** Milliseconds the fastest branch waits for a slower one before that one is dropped. */
  patience: number;
}

interface Branch {
  queue: Uint8Array<ArrayBuffer>[];
  queued: number;
  failure: Error | undefined;
  isOpen: boolean;
}

/**
 * Splits a source into branches that each give all of its bytes, with a bounded distance between the fastest and the
 * slowest. A branch that stays behind for too long is dropped (its `read` throws {@linkcode LaggardError}), the others go on.
 */
export function fanOut(source: ByteSource, count: number, options: FanOutOptions): ByteSource[] {
  if (count === 1) return [source];
  const hub = new FanOutHub(source, count, options);
  return Array.from({ length: count }, (_, index) => ({
    read: () => hub.read(index),
    cancel: (reason: unknown) => hub.cancel(index, reason),
  }));
}

class FanOutHub {
  #source: ByteSource;
  #options: FanOutOptions;
  #branches: Branch[];
  #pulling: Promise<void> | undefined;
  #isEnded = false;
  #failure: { error: unknown } | undefined;
  #wakeUps = new Set<() => void>();

  constructor(source: ByteSource, count: number, options: FanOutOptions) {
    this.#source = source;
    this.#options = options;
    this.#branches = Array.from({ length: count }, () => ({
      queue: [],
      queued: 0,
      failure: undefined,
      isOpen: true,
    }));
  }

  async read(index: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const branch = this.#branches[index];
    while (branch !== undefined) {
      if (branch.failure !== undefined) throw branch.failure;
      const piece = branch.queue.shift();
      if (piece !== undefined) {
        branch.queued -= piece.length;
        this.#wake();
        // Each branch needs a buffer of its own: a runtime may transfer the one it is given.
        return piece.slice();
      }
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#isEnded || !branch.isOpen) return undefined;
      await this.#more(branch);
    }
    return undefined;
  }

  cancel(index: number, reason: unknown): void {
    const branch = this.#branches[index];
    if (branch === undefined || !branch.isOpen) return;
    this.#close(branch);
    if (this.#branches.every((other) => !other.isOpen)) this.#source.cancel(reason);
  }

  #close(branch: Branch): void {
    branch.isOpen = false;
    branch.queue = [];
    branch.queued = 0;
    this.#wake();
  }

  async #more(branch: Branch): Promise<void> {
    if (this.#laggards(branch).length > 0) return await this.#waitForLaggards(branch);
    this.#pulling ??= this.#pull().finally(() => this.#pulling = undefined);
    await this.#pulling;
  }

  #laggards(fastest: Branch): Branch[] {
    return this.#branches.filter((other) =>
      other !== fastest && other.isOpen && other.queued > this.#options.lag
    );
  }

  async #pull(): Promise<void> {
    try {
      const piece = await this.#source.read();
      if (piece === undefined) this.#isEnded = true;
      else {
        for (const branch of this.#branches.filter((one) => one.isOpen)) {
          branch.queue.push(piece);
          branch.queued += piece.length;
        }
      }
    } catch (error) {
      this.#failure = { error };
    }
    this.#wake();
  }

  /** Waits until some branch has moved; one that has not read for the whole of the patience is dropped. */
  async #waitForLaggards(branch: Branch): Promise<void> {
    const before = this.#laggards(branch).map((laggard) => ({ laggard, queued: laggard.queued }));
    if (await this.#movement()) return;
    for (const { laggard, queued } of before) {
      if (laggard.queued < queued || !laggard.isOpen) continue;
      laggard.failure = new LaggardError(laggard.queued);
      this.#close(laggard);
    }
  }

  #movement(): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (moved: boolean) => {
        clearTimeout(timer);
        this.#wakeUps.delete(wake);
        resolve(moved);
      };
      const wake = () => finish(true);
      const timer = setTimeout(() => finish(false), this.#options.patience);
      this.#wakeUps.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#wakeUps]) wake();
  }
}
