/** The store in memory, and the facts that stores on disk answer from. */

import {
  currentFact,
  encodeKey,
  entryOf,
  type Fact,
  hasPrefix,
  isExpected,
  isExpired,
  makeFact,
  type Store,
  type StoreEntry,
  type StoreKey,
  type StoreSetOptions,
  type StoreValue,
  valueOf,
} from "./store.ts";

/** Options of a store in memory. */
export interface MemoryStoreOptions {
  /** The clock that expiry is measured by, in milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
}

/**
 * Facts whose keys differ in nothing but their last part: the parts before it, and the values as JSON text by that last part, each
 * with the time it expires at behind it, as in `{"size":1}@1764000000000`.
 */
interface FactGroup {
  parts: StoreKey;
  texts: Map<string, string>;
}

/**
 * Facts in memory, looked up at once: what `MemoryStore` keeps, and what a store on disk answers from.
 *
 * There may be one for every blob of a mirror. Kept by what their keys have in common, each costs its text and a place in a
 * map, for its last part is a digest that others hold as well; as an object with a key of its own it took three times as much.
 */
export class Facts {
  #groups = new Map<string, FactGroup>();
  #now: () => number;

  /** Facts that expire by the clock `now`, in milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** How many facts there are that have not expired. */
  get size(): number {
    const now = this.#now();
    let size = 0;
    for (const { texts } of this.#groups.values()) {
      for (const kept of texts.values()) if (!isExpired(readKept([], kept), now)) size++;
    }
    return size;
  }

  /** The fact at a key, unless it has expired. */
  get(key: StoreKey): Fact | undefined {
    const kept = this.#groups.get(groupOf(key))?.texts.get(key.at(-1) ?? "");
    if (kept === undefined) return undefined;
    const fact = currentFact(readKept(key, kept), this.#now());
    if (fact === undefined) this.#delete(key);
    return fact;
  }

  /** Keeps a fact, and tells whether it replaced another, or was there already with the same value and expiry. */
  put({ key, text, expiresAt }: Fact): "added" | "replaced" | "same" {
    const before = this.get(key);
    if (before?.text === text && before.expiresAt === expiresAt) return "same";
    this.load(groupOf(key), key.at(-1) ?? "", expiresAt === undefined ? text : `${text}@${expiresAt}`);
    return before === undefined ? "added" : "replaced";
  }

  /**
   * Keeps a fact, where many are read.
   *
   * @param group All parts of its key but the last, encoded.
   * @param last The last part of its key.
   * @param kept Its value as JSON text; where it expires, followed by `@` and the time in milliseconds since 1970.
   */
  load(group: string, last: string, kept: string): void {
    let facts = this.#groups.get(group);
    if (facts === undefined) this.#groups.set(group, facts = { parts: JSON.parse(group), texts: new Map() });
    facts.texts.set(last, kept);
  }

  /** Forgets the fact at a key; `false` when there was none. */
  remove(key: StoreKey): boolean {
    return this.get(key) !== undefined && this.#delete(key);
  }

  /** The facts whose key starts with `prefix` and that have not expired; those that have are forgotten. */
  *list(prefix: StoreKey): Generator<Fact> {
    const now = this.#now();
    for (const { parts, texts } of this.#groups.values()) {
      if (!hasPrefix([...parts, ...prefix.slice(parts.length)], prefix)) continue;
      for (const [last, kept] of texts) {
        const fact = readKept([...parts, last], kept);
        if (isExpired(fact, now)) texts.delete(last);
        else if (hasPrefix(fact.key, prefix)) yield fact;
      }
    }
  }

  #delete(key: StoreKey): boolean {
    const group = groupOf(key);
    const texts = this.#groups.get(group)?.texts;
    const isDeleted = texts?.delete(key.at(-1) ?? "") ?? false;
    if (texts?.size === 0) this.#groups.delete(group);
    return isDeleted;
  }
}

/** A fact as it is kept: JSON text never ends with `@` and a number. */
function readKept(key: StoreKey, kept: string): Fact {
  const at = kept.lastIndexOf("@");
  if (at < 0 || !/\d/.test(kept.at(-1) ?? "")) return { key, text: kept };
  return { key, text: kept.slice(0, at), expiresAt: Number(kept.slice(at + 1)) };
}

function groupOf(key: StoreKey): string {
  return encodeKey(key.slice(0, -1));
}

/** A store that lasts as long as its process. */
export class MemoryStore implements Store {
  #facts: Facts;
  #now: () => number;

  /** An empty store. */
  constructor(options: MemoryStoreOptions = {}) {
    this.#now = options.now ?? Date.now;
    this.#facts = new Facts(this.#now);
  }

  /** The value at a key. */
  get(key: StoreKey): Promise<StoreValue | undefined> {
    const fact = this.#facts.get(key);
    return Promise.resolve(fact && valueOf(fact));
  }

  /** Sets the value at a key. */
  set(key: StoreKey, value: StoreValue, options: StoreSetOptions = {}): Promise<void> {
    this.#facts.put(makeFact({ key, value }, this.#now(), options));
    return Promise.resolve();
  }

  /** Forgets the value at a key. */
  delete(key: StoreKey): Promise<void> {
    this.#facts.remove(key);
    return Promise.resolve();
  }

  /** Sets the value at a key if what is there is what is expected. */
  update(
    key: StoreKey,
    expected: StoreValue | undefined,
    value: StoreValue | undefined,
    options: StoreSetOptions = {},
  ): Promise<boolean> {
    if (!isExpected(this.#facts.get(key), expected)) return Promise.resolve(false);
    if (value === undefined) this.#facts.remove(key);
    else this.#facts.put(makeFact({ key, value }, this.#now(), options));
    return Promise.resolve(true);
  }

  /** Every entry whose key starts with `prefix`. */
  async *list(prefix: StoreKey): AsyncGenerator<StoreEntry> {
    for (const fact of this.#facts.list(prefix)) yield entryOf(fact);
  }

  /** Does nothing: memory is as durable as it gets. */
  flush(): Promise<void> {
    return Promise.resolve();
  }

  /** Does nothing: there is nothing to let go of. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}
