/** Step 6 of the walk, the copy: one read of a blob at its source, for all who bring it somewhere at that time. */

import { algorithmOf, DigestError } from "../../oci/descriptor.ts";
import { verified } from "../../registry/hasher.ts";
import { BlobSource } from "../../registry/repository/blob_source.ts";
import type { ByteSource } from "../../registry/stream/body.ts";
import { SharedSource } from "../../registry/stream/shared_source.ts";
import { toError } from "../plan/failure.ts";
import { type BlobOrder, type CopyContext, type Destination, StoppedError } from "./copy_context.ts";

/**
 * Blobs up to this size, in bytes, are requests like any other: they take no place among the blobs under way (40 configs of an
 * image would hold up its layers), and may be sent with the request that would open their upload.
 */
export const SMALL_BLOB_LIMIT = 64 * 1024;
/**
 * Blobs up to this size, in bytes, are read whole and checked before they are sent: they can be sent again without being
 * read again, and hashing them costs nothing that is noticed.
 */
const WHOLE_BLOB_LIMIT = 1024 * 1024;
/** Bytes of a larger blob that are kept for an upload that breaks off; what is in the sockets is rarely more. */
const REPLAY_LIMIT = 3 * 1024 * 1024;
/**
 * Blobs up to this size, in bytes, are kept whole while they are sent: what sockets take ahead (4 MB) is then no loss,
 * distribution 2.8, which cannot go on with an upload that broke off, gets them again without the source being asked, and so
 * does whoever comes late.
 */
export const KEPT_BLOB_LIMIT = 6 * 1024 * 1024;
/** How far one destination may fall behind another that shares its stream, in bytes. */
const LAG_LIMIT = 4 * 1024 * 1024;
/** Milliseconds between two reports of one blob's progress, at the least: nobody looks more often. */
const PROGRESS_INTERVAL = 100;

const OVER = new DOMException("the transfer is over", "AbortError");

/** Milliseconds, all of them parts of the limit on bytes that do not move, so that who changes that one changes these. */
interface Patience {
  /** Until a source is opened for those who are ready, although others are still opening their uploads. */
  join: number;
  /** Until a destination that takes no bytes, or is still opening its upload, no longer holds up those that read along. */
  lag: number;
  /** Until a blob of which nothing moves gives its place to another one. */
  place: number;
}

function patienceOf(stall: number): Patience {
  return { join: stall / 30, lag: stall / 6, place: stall / 6 };
}

/**
 * One read of a blob. Who wants the blob joins before opening an upload, begins when that is open, and leaves when the blob is where
 * it was to go; the source is opened once, when those who have joined are ready to send, and let go of with the last one.
 */
export class BlobReading {
  /** Why the source could not be read, after every attempt that made sense: no upload is tried again for it. */
  failure: Error | undefined;
  /** All of a small blob, once it has been opened; its digest is right. */
  whole: Uint8Array<ArrayBuffer> | undefined;
  #context: CopyContext;
  #order: BlobOrder;
  #start: number;
  #onOver: () => void;
  #patience: Patience;
  #members = new Set<Destination>();
  #preparing = new Set<Destination>();
  #active = new Set<Destination>();
  #turn: Promise<() => void> | undefined;
  #opening: Promise<void> | undefined;
  #source: BlobSource | undefined;
  #shared: SharedSource | undefined;
  /** Readers at the first byte of those who have joined and not begun, so that what is read meanwhile is kept for them. */
  #places = new Map<Destination, ByteSource>();
  #hasBroken = false;
  #isOver = false;
  #onMember: () => void = () => {};
  #untold = 0;
  #toldAt = -Infinity;
  #movedAt = 0;

  /**
   * Nothing is asked before somebody begins.
   *
   * @param order Whose blob it is; events name its task.
   * @param options First byte that is read, and what is called when the last one has left.
   */
  constructor(context: CopyContext, order: BlobOrder, options: { start: number; onOver: () => void }) {
    this.#context = context;
    this.#order = order;
    this.#start = options.start;
    this.#onOver = options.onOver;
    this.#patience = patienceOf(order.source.registry.context.limits.stall);
  }

  /** Bytes of the blob; -1 while nobody has said how many. */
  get size(): number {
    return this.#source?.size ?? this.#order.blob.size;
  }

  /** Whether the bytes from a position on can be given, or, before the source is opened, will be. */
  canGive(offset: number): boolean {
    if (this.failure !== undefined || this.#isOver) return false;
    return this.#shared === undefined ? offset === this.#start : this.hasKept(offset);
  }

  /** Whether the bytes from a position on can be given and those before it have been read. */
  hasKept(offset: number): boolean {
    return this.whole !== undefined || this.#shared?.canGive(offset) === true;
  }

  /** Somebody is about to open an upload; the source waits a moment for them. */
  join(member: Destination): void {
    this.#members.add(member);
    this.#preparing.add(member);
    if (this.#shared !== undefined) this.#hold(member, this.#shared);
  }

  /** Somebody is through; with the last one the source is let go of. */
  leave(member: Destination): void {
    this.end(member);
    this.#members.delete(member);
    this.#preparing.delete(member);
    this.#giveUpPlace(member);
    this.#onMember();
    if (this.#members.size > 0 || this.#isOver) return;
    this.#isOver = true;
    this.#onOver();
    // Everything that was read has arrived, at the first attempt, so nobody is still sending it.
    if (!this.#hasBroken && this.failure === undefined) this.#finish();
    this.#drop();
  }

  /**
   * Waits for others who are about to join, for a place among the blobs under way, and for the source's answer; small blobs are
   * then read at once. What was begun is ended with {@linkcode end}, or has thrown.
   *
   * @throws {RegistryError} when the source refuses or breaks off too often.
   * @throws {DigestError} when a small blob is not what it should be.
   * @throws {StoppedError} when the run's time is up.
   */
  async begin(member: Destination): Promise<void> {
    this.#preparing.delete(member);
    this.#active.add(member);
    this.#onMember();
    try {
      await (this.#turn ??= this.#takeTurn());
      await (this.#opening ??= this.#noting(() => this.#open()));
    } catch (error) {
      this.end(member);
      throw error;
    }
  }

  /** The bytes from a position on, after {@linkcode begin}. */
  reader(member: Destination, offset: number): ByteSource {
    if (this.#shared === undefined) throw new TypeError("Cannot read a blob that was not opened");
    const reader = this.#shared.reader(offset);
    this.#giveUpPlace(member);
    return reader;
  }

  #hold(member: Destination, shared: SharedSource): void {
    shared.isCopying ||= this.#members.size > 1;
    // All of a smaller blob is kept anyway.
    if (this.size < 0 || this.size > KEPT_BLOB_LIMIT) this.#places.set(member, shared.reader(this.#start));
  }

  #giveUpPlace(member: Destination): void {
    this.#places.get(member)?.cancel(undefined);
    this.#places.delete(member);
  }

  /** An attempt to send the blob is over; with the last one the place is given back. */
  end(member: Destination, hasBroken = false): void {
    this.#hasBroken ||= hasBroken;
    if (!this.#active.delete(member) || this.#active.size > 0) return;
    const turn = this.#turn;
    this.#turn = undefined;
    turn?.then((finish) => finish(), () => {});
  }

  async #takeTurn(): Promise<() => void> {
    const { slots, signal, emit, isStopping } = this.#context;
    const { task, source, blob: { digest, size } } = this.#order;
    await this.#gather();
    const gates = [...this.#active].map(({ repository }) => repository.registry.gate);
    const parties = { source: source.registry.gate, destinations: gates };
    const isSmall = size >= 0 && size <= SMALL_BLOB_LIMIT;
    const release = isSmall ? () => {} : await slots.acquire(parties, signal);
    if (isStopping()) {
      release();
      throw new StoppedError();
    }
    const destinations = [...this.#active].map(({ name }) => name);
    emit({ type: "blob-started", task, digest, size, destinations });
    const giveBack = isSmall ? release : this.#lend(release);
    return () => {
      giveBack();
      this.#tellProgress();
      emit({ type: "blob-ended", task, digest });
    };
  }

  /** Sessions first, source last; but who takes long to open an upload holds up the others only for a moment. */
  async #gather(): Promise<void> {
    const { size } = this.#order.blob;
    // Whoever comes late finds all of a blob that is kept whole.
    if (size >= 0 && size <= KEPT_BLOB_LIMIT || this.#shared !== undefined) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isTime = false;
    const time = () =>
      new Promise<void>((resolve) => {
        this.#onMember = resolve;
        timer ??= setTimeout(() => {
          isTime = true;
          this.#onMember();
        }, this.#patience.join);
      });
    while (this.#preparing.size > 0 && this.#active.size > 0 && !isTime) await time();
    clearTimeout(timer);
  }

  /** A blob of which nothing moves, at a source or a destination that does not answer, gives its place to another one. */
  #lend(release: () => void): () => void {
    this.#movedAt = performance.now();
    let timer: ReturnType<typeof setTimeout>;
    const watch = () => {
      if (performance.now() - this.#movedAt >= this.#patience.place) release();
      else timer = setTimeout(watch, this.#patience.place);
    };
    timer = setTimeout(watch, this.#patience.place);
    return () => {
      clearTimeout(timer);
      release();
    };
  }

  async #open(): Promise<void> {
    const { signal } = this.#context;
    const { source: repository, blob } = this.#order;
    const source = new BlobSource(repository, blob, { offset: this.#start, signal });
    this.#source = source;
    await source.open();
    const isWhole = this.#start === 0 && source.size >= 0 && source.size <= WHOLE_BLOB_LIMIT;
    if (isWhole) this.whole = await this.#readWhole(source);
    const reader = this.#checked(this.#counted(source), source);
    const noted: ByteSource = {
      read: () => this.#noting(() => reader.read()),
      cancel: (reason) => reader.cancel(reason),
      recycle: (piece) => reader.recycle?.(piece),
    };
    const kept = source.size <= KEPT_BLOB_LIMIT ? KEPT_BLOB_LIMIT : REPLAY_LIMIT;
    const { lag: patience } = this.#patience;
    this.#shared = new SharedSource(noted, { kept, lag: LAG_LIMIT, patience, start: this.#start });
    for (const member of this.#members) this.#hold(member, this.#shared);
  }

  async #readWhole(blob: BlobSource): Promise<Uint8Array<ArrayBuffer>> {
    const { source, blob: { digest } } = this.#order;
    const bytes = this.#room(blob.size);
    const reader = this.#counted(blob);
    let length = 0;
    for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) {
      bytes.set(piece, length);
      length += piece.length;
      reader.recycle?.(piece);
    }
    const actual = await source.registry.context.digestOf(bytes, algorithmOf(digest));
    if (actual !== digest) {
      throw new DigestError(`blob of "${source.registry.host}/${source.name}"`, digest, actual);
    }
    return bytes;
  }

  /** Memory for a whole blob, from the run's buffers where it is so much that they notice. */
  #room(size: number): Uint8Array<ArrayBuffer> {
    if (size <= SMALL_BLOB_LIMIT) return new Uint8Array(size);
    const { buffers } = this.#order.source.registry.context;
    return new Uint8Array(buffers.take(2 ** Math.ceil(Math.log2(size))), 0, size);
  }

  #counted(source: ByteSource): ByteSource {
    return {
      read: async () => {
        const piece = await source.read();
        if (piece !== undefined) this.#count(piece.length);
        return piece;
      },
      cancel: (reason) => source.cancel(reason),
      recycle: (piece) => source.recycle?.(piece),
    };
  }

  #count(bytes: number): void {
    this.#untold += bytes;
    this.#movedAt = performance.now();
    if (this.#movedAt - this.#toldAt >= PROGRESS_INTERVAL) this.#tellProgress();
  }

  /** Tells how many bytes were read since it was told last. */
  #tellProgress(): void {
    const { task, blob: { digest } } = this.#order;
    const bytes = this.#untold;
    this.#toldAt = performance.now();
    this.#untold = 0;
    if (bytes > 0) this.#context.emit({ type: "blob-progress", task, digest, bytes });
  }

  /** The size is known by now, also where the manifest does not tell it. */
  #checked(reader: ByteSource, { size }: BlobSource): ByteSource {
    const { createHasher } = this.#context;
    const { source, blob: { digest } } = this.#order;
    if (createHasher === undefined || this.whole !== undefined || this.#start !== 0) return reader;
    const subject = `blob of "${source.registry.host}/${source.name}"`;
    return verified(reader, { createHasher, digest, size, subject });
  }

  async #noting<Value>(read: () => Promise<Value>): Promise<Value> {
    // Whoever reads along is not to make the source try everything once more.
    if (this.failure !== undefined) throw this.failure;
    try {
      return await read();
    } catch (error) {
      this.failure ??= toError(error);
      throw error;
    }
  }

  #finish(): void {
    this.#shared?.finish();
    const { whole } = this;
    // A fetch has made a copy of it.
    if (whole !== undefined) this.#order.source.registry.context.buffers.give(whole.buffer);
    this.whole = undefined;
  }

  #drop(): void {
    this.#shared?.cancel(OVER);
    // What fails between opening the source and reading it leaves it open.
    this.#source?.cancel(OVER);
  }
}
