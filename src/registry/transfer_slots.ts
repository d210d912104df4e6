/** Step 2 of the walk, the wire: how many blobs are under way at once, shared fairly between sources and between destinations. */

import type { Gate } from "./gate.ts";

/** The registries of one blob under way, or of one image. */
export interface TransferParties {
  /** The door of the registry it comes from. */
  source: Gate;
  /** The doors of the registries it goes to. */
  destinations: readonly Gate[];
}

/** Someone who waits for a place. */
interface Waiter {
  parties: TransferParties;
  admit: () => void;
}

/** Registries in one role: what each of them holds, waits for, and has announced. */
class Shares {
  #held = new Map<Gate, number>();
  #waiting = new Map<Gate, number>();
  #announced = new Map<Gate, number>();

  held(gate: Gate): number {
    return this.#held.get(gate) ?? 0;
  }

  hold(gate: Gate, change: 1 | -1): void {
    count(this.#held, gate, change);
  }

  wait(gate: Gate, change: 1 | -1): void {
    count(this.#waiting, gate, change);
  }

  announce(gate: Gate, change: 1 | -1): void {
    count(this.#announced, gate, change);
  }

  /** Whether a registry holds less than its part. Where nobody says what is to come, nothing is kept for it. */
  hasRoom(gate: Gate, maximum: number): boolean {
    return this.#announced.size === 0 || this.held(gate) < this.#limit(gate, maximum);
  }

  /**
   * Places that one registry may hold: an equal part of those that the others do not want, max-min. Some are kept for registries
   * that have announced images and may come for their part at any time.
   */
  #limit(asking: Gate, maximum: number): number {
    const active = new Set([asking, ...this.#held.keys(), ...this.#waiting.keys()]);
    const wants = (gate: Gate) => {
      const blobs = this.held(gate) + (this.#waiting.get(gate) ?? 0);
      return Math.min(gate.limit, Math.max(1, blobs, this.#announced.get(gate) ?? 0));
    };
    const idle = [...this.#announced.keys()].filter((gate) => !active.has(gate)).map(wants);
    const level = levelOf([...idle, ...[...active].map(wants)], maximum);
    const kept = idle.reduce((sum, one) => sum + Math.min(one, level), 0);
    // Not more than half: who has announced images may find that all their blobs are there.
    const rest = maximum - Math.min(Math.floor(kept), Math.floor(maximum / 2));
    return Math.max(1, Math.ceil(levelOf([...active].map(wants), rest)));
  }
}

/** The most that anyone gets where some places are filled up evenly; no limit where there is enough for all. */
function levelOf(wants: readonly number[], places: number): number {
  let [left, parties] = [places, wants.length];
  for (const one of [...wants].sort((a, b) => a - b)) {
    if (one > left / parties) return left / parties;
    left -= one;
    parties--;
  }
  return Infinity;
}

function count(counts: Map<Gate, number>, gate: Gate, change: 1 | -1): void {
  const next = (counts.get(gate) ?? 0) + change;
  if (next === 0) counts.delete(gate);
  else counts.set(gate, next);
}

/**
 * Places for blobs: never more than `--proc` in all, and fewer at a registry that is overloaded. They are shared max-min: a
 * registry takes no more than its part while others have work in the same role, and the next free place goes to who holds the
 * fewest. So a slow registry holds up neither the fast ones nor those that come after it.
 */
export class TransferSlots {
  #maximum: number;
  #total = 0;
  #perGate = new Map<Gate, number>();
  #sources = new Shares();
  #destinations = new Shares();
  #waiters: Waiter[] = [];

  /**
   * Nothing is taken yet.
   *
   * @param maximum The most blobs under way at once.
   */
  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  /**
   * Says that registries have work from now on, so that their part is kept for them: a blob that is under way cannot be asked
   * to make room.
   *
   * @returns A function that says that the work is done; only its first call counts.
   */
  announce(parties: TransferParties): () => void {
    this.#announce(parties, 1);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#announce(parties, -1);
      this.#admit();
    };
  }

  /**
   * Waits for a place at several registries, which are taken together, so that two transfers never wait for each other.
   *
   * @param parties The doors of the registries; the limit of each also holds for its transfers.
   * @returns A function that gives the place back; only its first call counts.
   * @throws The signal's reason when it aborts first.
   */
  async acquire({ source, destinations }: TransferParties, signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    const parties = { source, destinations: [...new Set(destinations)] };
    const isContested = this.#waiters.some((other) => this.#isFree(other.parties));
    if (!isContested && this.#isFree(parties)) this.#take(parties, 1);
    else await this.#wait(parties, signal);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#take(parties, -1);
      this.#admit();
    };
  }

  #wait(parties: TransferParties, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        this.#count(parties, -1);
        reject(signal?.reason);
        this.#admit();
      };
      const waiter: Waiter = {
        parties,
        admit: () => {
          signal?.removeEventListener("abort", onAbort);
          this.#count(parties, -1);
          resolve();
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#count(parties, 1);
      this.#waiters.push(waiter);
      this.#admit();
    });
  }

  #isFree({ source, destinations }: TransferParties): boolean {
    if (this.#total >= this.#maximum) return false;
    return this.#sources.hasRoom(source, this.#maximum) &&
      destinations.every((gate) => this.#destinations.hasRoom(gate, this.#maximum)) &&
      [source, ...destinations].every((gate) => (this.#perGate.get(gate) ?? 0) < gate.limit);
  }

  #announce({ source, destinations }: TransferParties, change: 1 | -1): void {
    this.#sources.announce(source, change);
    for (const gate of new Set(destinations)) this.#destinations.announce(gate, change);
  }

  #count({ source, destinations }: TransferParties, change: 1 | -1): void {
    this.#sources.wait(source, change);
    for (const gate of destinations) this.#destinations.wait(gate, change);
  }

  #take({ source, destinations }: TransferParties, change: 1 | -1): void {
    this.#total += change;
    this.#sources.hold(source, change);
    for (const gate of destinations) this.#destinations.hold(gate, change);
    for (const gate of new Set([source, ...destinations])) count(this.#perGate, gate, change);
  }

  /** Who holds the fewest comes first, and who came first among those; who waits for a busy registry holds up nobody. */
  #admit(): void {
    while (this.#total < this.#maximum) {
      const next = this.#next();
      if (next === undefined) return;
      this.#waiters.splice(this.#waiters.indexOf(next), 1);
      this.#take(next.parties, 1);
      next.admit();
    }
  }

  #next(): Waiter | undefined {
    let best: { waiter: Waiter; source: number; destination: number } | undefined;
    for (const waiter of this.#waiters) {
      if (!this.#isFree(waiter.parties)) continue;
      const source = this.#sources.held(waiter.parties.source);
      const destination = Math.max(
        0,
        ...waiter.parties.destinations.map((gate) => this.#destinations.held(gate)),
      );
      const isBetter = best === undefined || source < best.source ||
        source === best.source && destination < best.destination;
      if (isBetter) best = { waiter, source, destination };
    }
    return best?.waiter;
  }
}
