/** Step 7 of the walk, the run: work side by side, so that who is slow or dead holds up nobody but itself. */

import type { Clock } from "../registry/clock.ts";
import { defer } from "../registry/deferred.ts";

/** Options of {@linkcode Lanes}. */
export interface LanesOptions {
  /** Pieces of work under way at once in a lane. */
  width: number;
  /** Pieces that may wait for a lane before {@linkcode Lanes.room} waits too; any number unless told. */
  depth?: number;
  /** Milliseconds after which a full lane that has not moved is not waited for by work that has places elsewhere; ever unless told. */
  patience?: number;
  /** Measures how long a lane has not moved. */
  clock: Clock;
}

/** Work that waits for places: what is to be done in each lane, until it is begun there. */
interface Entry<Item> {
  items: Map<string, Item[]>;
  begin: (items: Item[], lanes: string[]) => void;
}

/** One lane. */
interface Lane<Item> {
  /** Pieces of work under way in it. */
  inside: number;
  /** Pieces that wait for it, in the order of coming. */
  queue: Set<Entry<Item>>;
  /** When a place was last given back, in milliseconds since 1970. */
  movedAt: number;
}

/**
 * Lanes of a fixed width, made as they are named. Work in one lane never waits for another lane. Work that has several lanes
 * begins in all of them at once, unless one of them stands still: then it begins in the others, and later in that one alone.
 */
export class Lanes<Item> {
  #options: LanesOptions;
  #lanes = new Map<string, Lane<Item>>();
  /** Work that has places in some of its lanes and waits for others. */
  #heldUp = new Set<Entry<Item>>();
  #watch: AbortController | undefined;
  #moved = defer<void>();

  /** All lanes are empty. */
  constructor(options: LanesOptions) {
    this.#options = options;
  }

  /** Waits until few enough pieces of work wait for each of some lanes. */
  async room(lanes: readonly string[]): Promise<void> {
    const { depth = Infinity } = this.#options;
    while (lanes.some((lane) => this.#lane(lane).queue.size >= depth)) await this.#moved.promise;
  }

  /**
   * Does work as soon as there are places; in one piece where that is possible.
   *
   * @param items What is to be done, by lane.
   * @param work Called with all items, or in turn with those of some lanes.
   * @throws What `work` throws first.
   */
  async run(items: ReadonlyMap<string, Item[]>, work: (items: Item[]) => Promise<void>): Promise<void> {
    if (items.size === 0) return;
    const end = defer<void>();
    let left = items.size;
    const begin = (some: Item[], lanes: string[]) => {
      const done = () => {
        this.#leave(lanes);
        left -= lanes.length;
        if (left === 0) end.resolve();
      };
      work(some).then(done, (error) => {
        end.reject(error);
        done();
      });
    };
    const entry = { items: new Map(items), begin };
    for (const name of items.keys()) this.#lane(name).queue.add(entry);
    this.#admit(entry);
    await end.promise;
  }

  get #patience(): number {
    return this.#options.patience ?? Infinity;
  }

  #lane(name: string): Lane<Item> {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = { inside: 0, queue: new Set(), movedAt: this.#options.clock.now() };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #leave(names: readonly string[]): void {
    for (const name of names) {
      const lane = this.#lane(name);
      lane.inside--;
      lane.movedAt = this.#options.clock.now();
    }
    for (const name of names) this.#admitTo(this.#lane(name));
    this.#moved.resolve();
    this.#moved = defer<void>();
  }

  /** Who comes first is let in first; who waits for another lane too lets those behind go ahead. */
  #admitTo(lane: Lane<Item>): void {
    for (const entry of lane.queue) {
      if (!this.#hasPlace(lane)) return;
      this.#admit(entry);
    }
  }

  #hasPlace({ inside }: Lane<Item>): boolean {
    return inside < this.#options.width;
  }

  #admit(entry: Entry<Item>): void {
    const names = [...entry.items.keys()];
    const free = names.filter((name) => this.#hasPlace(this.#lane(name)));
    if (free.length === 0) return;
    const mayBegin = names.every((name) => free.includes(name) || this.#standsStill(this.#lane(name)));
    if (mayBegin) this.#begin(entry, free);
    else this.#heldUp.add(entry);
    this.#watchHeldUp();
  }

  #standsStill({ movedAt }: Lane<Item>): boolean {
    return this.#options.clock.now() - movedAt >= this.#patience;
  }

  #begin(entry: Entry<Item>, names: string[]): void {
    const items = names.flatMap((name) => entry.items.get(name) ?? []);
    for (const name of names) {
      entry.items.delete(name);
      const lane = this.#lane(name);
      lane.inside++;
      lane.queue.delete(entry);
    }
    this.#heldUp.delete(entry);
    entry.begin(items, names);
  }

  /** Looks again after a while where work is held up by one lane. */
  #watchHeldUp(): void {
    if (this.#heldUp.size === 0) this.#watch?.abort();
    if (this.#heldUp.size === 0 || this.#watch !== undefined || !Number.isFinite(this.#patience)) return;
    const watch = new AbortController();
    this.#watch = watch;
    const again = () => {
      this.#watch = undefined;
      for (const entry of [...this.#heldUp]) this.#admit(entry);
    };
    this.#options.clock.delay(this.#patience, watch.signal).then(again, () => this.#watch = undefined);
  }
}
