/** Step 2 of the walk, the wire: the same thing at the same moment is done once, whoever asks. */

import { untilAborted } from "./deferred.ts";

/** Options of {@linkcode Once}. */
export interface OnceOptions {
  /** Whether what was done once is never done again; otherwise a success is forgotten as soon as it is there. */
  remembers?: boolean;
}

/**
 * Work by key, of which no two pieces with the same key are under way at once: whoever asks for one that is joins it. A
 * failure reaches everybody who has joined and is then forgotten, so that the next one who asks may try.
 *
 * @example
 * ```ts
 * const once = new Once<string, string>();
 * let reads = 0;
 * const read = (name: string) => once.do(name, () => Promise.resolve(`${name} ${++reads}`));
 * await Promise.all([read("a"), read("a"), read("b")]); // ["a 1", "a 1", "b 2"]
 * ```
 */
export class Once<Key, Value> {
  #work = new Map<Key, Promise<Value>>();
  #remembers: boolean;

  /** Nothing is under way. */
  constructor(options: OnceOptions = {}) {
    this.#remembers = options.remembers ?? false;
  }

  /** What is under way under a key or was remembered, if anything. */
  get(key: Key): Promise<Value> | undefined {
    return this.#work.get(key);
  }

  /**
   * Joins what is under way under a key (or was remembered), else begins it.
   *
   * @param begin Does the work; called at most once, in this turn.
   * @param signal Lets the asker leave; the work goes on for the others.
   * @throws The signal's reason when it aborts first; else what the work throws.
   */
  do(key: Key, begin: () => Promise<Value>, signal?: AbortSignal): Promise<Value> {
    const work = this.#work.get(key) ?? this.#begin(key, begin);
    return signal === undefined ? work : untilAborted(work, signal);
  }

  /** Forgets a key: who asks next begins anew. What is under way goes on for those who have joined. */
  forget(key: Key): void {
    this.#work.delete(key);
  }

  #begin(key: Key, begin: () => Promise<Value>): Promise<Value> {
    // A `begin` that throws at once is a failure like any other.
    const work = new Promise<Value>((resolve) => resolve(begin()));
    this.#work.set(key, work);
    const end = () => {
      if (this.#work.get(key) === work) this.#work.delete(key);
    };
    // Both ends are handled here, so that a failure which everybody has left is nobody's unhandled rejection.
    work.then(this.#remembers ? () => {} : end, end);
    return work;
  }
}
