/** A connection that carries requests and their answers, one after the other (RFC 9112). */

import { type Duplex, writeFully } from "./duplex.ts";
import {
  type Framing,
  framingOf,
  HttpSyntaxError,
  parseChunkSize,
  parseResponseHead,
  type ResponseHead,
} from "./http_head.ts";

/** Bytes that the lines of a head may have in all. */
const HEAD_LIMIT = 64 * 1024;
/** Bytes asked for at once where lines are read, and where the reader of a body brings no buffer. */
const SMALL_READ = 16 * 1024;
/**
 * Milliseconds for which a reader's buffer is filled on. TLS gives 16 KiB at a time, and to hand each of them through a stream
 * costs more than decrypting it; a slow line gives what it has.
 */
const FILL_TIME = 50;

/** The connection ended before the answer did. */
class BrokenAnswerError extends Error {
  constructor() {
    super("unexpected EOF: the connection was closed before the answer's end");
    this.name = "BrokenAnswerError";
  }
}

/** Reads bytes of a body into a buffer, at least one; 0 at its end. */
type BodyReader = (into: Uint8Array<ArrayBuffer>) => Promise<number>;

/** Writes requests to a connection and reads their answers. */
export class HttpConnection {
  #wire: Duplex;
  /** Bytes that were read ahead. */
  #ahead: Uint8Array<ArrayBuffer> = new Uint8Array();
  #isClosed = false;
  /** Whether the end of the last answer has not come with its body. */
  #isUnfinished = false;
  /** Waits for a word while nobody has asked for one. */
  #watching: Promise<void> | undefined;
  #stopWatching: () => void = () => {};

  /** Takes over a connection that was just opened. */
  constructor(wire: Duplex) {
    this.#wire = wire;
  }

  /** Closes the connection; what is under way fails. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      this.#wire.close();
    } catch {
      // It is closed already, which is all that is wanted.
    }
  }

  /** Writes all of some bytes. */
  async write(bytes: Uint8Array): Promise<void> {
    await writeFully(this.#wire, bytes);
  }

  /** Whether the other side has said more than was read of it. */
  get hasWords(): boolean {
    return this.#ahead.length > 0;
  }

  /**
   * Waits for the other side to say something, or to close, while nothing is asked of it. What comes after the next request is its
   * answer as ever.
   *
   * @param onWord Called once when that happens, unless a request was written before.
   */
  watch(onWord: () => void): void {
    const buffer = new Uint8Array(SMALL_READ);
    let isIdle = true;
    this.#watching = this.#wire.read(buffer).then(
      (count) => void (this.#ahead = buffer.subarray(0, count ?? 0)),
      // Whoever reads next is told.
      () => {},
    ).then(() => {
      if (isIdle) onWord();
    });
    this.#stopWatching = () => isIdle = false;
  }

  /** Called before a request is written: the next words are its answer's. */
  endWatch(): void {
    this.#stopWatching();
  }

  /**
   * Reads the head of the answer; interim answers (1xx) are passed over.
   *
   * @throws {HttpSyntaxError} when it is none.
   */
  async readHead(): Promise<ResponseHead> {
    if (this.#watching !== undefined) await this.#endOfWatch();
    for (;;) {
      const lines: string[] = [];
      let limit = HEAD_LIMIT;
      for (let line = await this.#readLine(limit); line !== ""; line = await this.#readLine(limit)) {
        lines.push(line);
        limit -= line.length;
      }
      const head = parseResponseHead(lines);
      // Nobody asks for another protocol here, so a server that switches to one (101) has answered.
      if (head.status >= 200 || head.status === 101) return head;
    }
  }

  /**
   * The body of the answer, or `null` when it has none. A reader's buffer is filled as far as bytes come without a pause.
   *
   * @param method Method of the request.
   * @param release Called when the body is over; the connection may serve another request only where that is said.
   * @throws {HttpSyntaxError} when the head does not say how the body ends.
   */
  body(
    method: string,
    head: ResponseHead,
    release: (isReusable: boolean) => void,
  ): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    const framing = framingOf(method, head);
    // What ends with the connection leaves none.
    const mayFollow = framing.type !== "until-close";
    const end = () => release(mayFollow && head.isKept && this.#ahead.length === 0 && !this.#isUnfinished);
    if (framing.type === "none" || framing.type === "sized" && framing.size === 0) {
      end();
      return null;
    }
    const read = this.#bodyReader(framing);
    return new ReadableStream({
      type: "bytes",
      autoAllocateChunkSize: SMALL_READ,
      pull: async (controller) => {
        try {
          if (!await pull(controller, read)) end();
        } catch (error) {
          release(false);
          throw error;
        }
      },
      cancel: () => release(false),
    });
  }

  #bodyReader(framing: Framing): BodyReader {
    if (framing.type === "sized") return this.#sizedReader(framing.size);
    if (framing.type === "chunked") return this.#chunkReader();
    return async (into) => await this.#read(into) ?? 0;
  }

  /** A body of a known size is read until a buffer is full, but not for long. */
  #sizedReader(size: number): BodyReader {
    let left = size;
    let failure: { error: unknown } | undefined;
    return async (into) => {
      if (failure !== undefined) throw failure.error;
      if (left === 0) return 0;
      const wanted = into.subarray(0, Math.min(into.length, left));
      let last = await this.#readMore(wanted);
      let count = last;
      const startedAt = performance.now();
      // After less than a record there may be a pause, and what has come must not wait for its end.
      while (last >= SMALL_READ && count < wanted.length && performance.now() - startedAt < FILL_TIME) {
        try {
          last = await this.#readMore(wanted.subarray(count));
          count += last;
        } catch (error) {
          // What has come is handed on first.
          failure = { error };
          break;
        }
      }
      left -= count;
      return count;
    };
  }

  /** A body in chunks (RFC 9112, section 7.1); nothing that may come after the last one is of use here. */
  #chunkReader(): BodyReader {
    let left = 0;
    let end: "none" | "chunk" | "body" = "none";
    return async (into) => {
      if (left === 0 && end !== "body") {
        if (end === "chunk" && await this.#readLine() !== "") throw new HttpSyntaxError("a chunk has no end");
        left = parseChunkSize(await this.#readLine());
        end = left === 0 ? "body" : "chunk";
      }
      if (end === "body") {
        this.#endChunks();
        return 0;
      }
      const count = await this.#readMore(into.subarray(0, Math.min(into.length, left)));
      left -= count;
      return count;
    };
  }

  /** After the last chunk there may be more fields (RFC 9112, section 7.1.2); they are not waited for. */
  #endChunks(): void {
    const isEnd = this.#ahead.length === 2 && this.#ahead[0] === CARRIAGE_RETURN &&
      this.#ahead[1] === LINE_FEED;
    this.#isUnfinished = !isEnd;
    if (isEnd) this.#ahead = new Uint8Array();
  }

  async #readMore(into: Uint8Array<ArrayBuffer>): Promise<number> {
    const count = await this.#read(into);
    if (count === undefined) throw new BrokenAnswerError();
    return count;
  }

  /** Some bytes, those that were read ahead first; `undefined` when the connection has ended. */
  async #read(into: Uint8Array<ArrayBuffer>): Promise<number | undefined> {
    if (this.#ahead.length === 0) return await this.#wire.read(into) ?? undefined;
    const count = Math.min(into.length, this.#ahead.length);
    into.set(this.#ahead.subarray(0, count));
    this.#ahead = this.#ahead.subarray(count);
    return count;
  }

  async #endOfWatch(): Promise<void> {
    await this.#watching;
    this.#watching = undefined;
  }

  /** A line without its end, one character a byte. */
  async #readLine(limit = HEAD_LIMIT): Promise<string> {
    for (let end = this.#ahead.indexOf(LINE_FEED);; end = this.#ahead.indexOf(LINE_FEED)) {
      if (end > limit || end < 0 && this.#ahead.length > limit) {
        throw new HttpSyntaxError(`its head has more than ${HEAD_LIMIT} bytes`);
      }
      if (end >= 0) {
        const line = String.fromCharCode(...this.#ahead.subarray(0, end));
        this.#ahead = this.#ahead.subarray(end + 1);
        return line.replace(/\r$/, "");
      }
      const ahead = new Uint8Array(this.#ahead.length + SMALL_READ);
      ahead.set(this.#ahead);
      const count = await this.#wire.read(ahead.subarray(this.#ahead.length));
      if (count === null) throw new BrokenAnswerError();
      this.#ahead = ahead.subarray(0, this.#ahead.length + count);
    }
  }
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Reads into the buffer of whoever waits, and closes the stream at its end; returns whether there was anything. */
async function pull(controller: ReadableByteStreamController, read: BodyReader): Promise<boolean> {
  const request = controller.byobRequest;
  const view = request?.view;
  if (!request || !view) return true;
  const count = await read(new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength));
  if (count === 0) controller.close();
  // A reader that brought its own buffer waits for it to come back.
  request.respond(count);
  return count > 0;
}
