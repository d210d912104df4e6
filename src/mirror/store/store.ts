/** The memory between runs: what a store is, the one that lives in memory, and every key the project uses. */

import type { Digest } from "../../oci/descriptor.ts";

/** A key: one or more parts, so that it fits `Deno.Kv` one to one. No part is empty. */
export type StoreKey = readonly string[];

/** A plain JSON value. */
export type StoreValue = string | number | boolean | null | StoreValue[] | { [key: string]: StoreValue };

/** One fact of a store. */
export interface StoreEntry {
  /** Where the fact is kept. */
  key: StoreKey;
  /** The fact. */
  value: StoreValue;
}

/** How a fact is set. */
export interface StoreSetOptions {
  /** Milliseconds after which the fact is gone; without it the fact stays. */
  expiresIn?: number;
}

/**
 * Where facts are remembered between runs. A fact may save a request; it never vouches for a push.
 *
 * A store never fails a mirror: whoever uses it treats an error as "not known". `set` and `delete` may
 * buffer; what was set is seen by `get` and `list` of the same store at once and is durable after `flush`.
 */
export interface Store {
  /** The value at a key, or `undefined` when nothing (or nothing that has not expired) is there. */
  get(key: StoreKey): Promise<StoreValue | undefined>;
  /** Sets the value at a key. */
  set(key: StoreKey, value: StoreValue, options?: StoreSetOptions): Promise<void>;
  /** Forgets the value at a key; nothing happens when there is none. */
  delete(key: StoreKey): Promise<void>;
  /** Every entry whose key starts with the parts of `prefix`, in no particular order. */
  list(prefix: StoreKey): AsyncIterable<StoreEntry>;
  /** Makes everything set so far durable. */
  flush(): Promise<void>;
  /** Flushes and lets go of files and connections; the store is not used afterwards. */
  close(): Promise<void>;
}

/** One fact as the stores hold it: its value as JSON text, so that nobody can change it from outside. */
export interface Fact {
  /** Where the fact is kept. */
  key: StoreKey;
  /** The value as JSON text. */
  text: string;
  /** When the fact is gone, in milliseconds since 1970; without it the fact stays. */
  expiresAt?: number;
}

/** Options of a store in memory. */
export interface MemoryStoreOptions {
  /** The clock that expiry is measured by, in milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
}

/** Facts whose keys differ in nothing but their last part: the parts before it, and the values as JSON text by that last part. */
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
  #expiries = new Map<string, number>();
  #now: () => number;

  /** Facts that expire by the clock `now`, in milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** How many facts there are that have not expired. */
  get size(): number {
    const now = this.#now();
    const kept = [...this.#groups.values()].reduce((sum, { texts }) => sum + texts.size, 0);
    return kept - [...this.#expiries.values()].filter((expiry) => expiry <= now).length;
  }

  /** The fact at a key, unless it has expired. */
  get(key: StoreKey): Fact | undefined {
    const text = this.#groups.get(groupOf(key))?.texts.get(key.at(-1) ?? "");
    if (text === undefined) return undefined;
    const fact = this.#factOf(key, text);
    if (!isExpired(fact, this.#now())) return fact;
    this.#delete(key);
    return undefined;
  }

  /** Keeps a fact; `false` when the very same fact (value and expiry) was there already. */
  put({ key, text, expiresAt }: Fact): boolean {
    const before = this.get(key);
    if (before?.text === text && before.expiresAt === expiresAt) return false;
    this.load(groupOf(key), key.at(-1) ?? "", text);
    if (expiresAt !== undefined) this.#expiries.set(encodeKey(key), expiresAt);
    return true;
  }

  /**
   * Keeps a fact that does not expire, where many are read.
   *
   * @param group All parts of its key but the last, encoded.
   * @param last The last part of its key.
   * @param text Its value as JSON text.
   */
  load(group: string, last: string, text: string): void {
    let facts = this.#groups.get(group);
    if (facts === undefined) this.#groups.set(group, facts = { parts: JSON.parse(group), texts: new Map() });
    facts.texts.set(last, text);
    if (this.#expiries.size > 0) this.#expiries.delete(encodeKey([...facts.parts, last]));
  }

  /** Forgets the fact at a key; `false` when there was none. */
  remove(key: StoreKey): boolean {
    return this.get(key) !== undefined && this.#delete(key);
  }

  /** The facts whose key starts with `prefix` and that have not expired. */
  *list(prefix: StoreKey): Generator<Fact> {
    const now = this.#now();
    for (const { parts, texts } of this.#groups.values()) {
      if (!hasPrefix([...parts, ...prefix.slice(parts.length)], prefix)) continue;
      for (const [last, text] of texts) {
        const fact = this.#factOf([...parts, last], text);
        if (hasPrefix(fact.key, prefix) && !isExpired(fact, now)) yield fact;
      }
    }
  }

  #factOf(key: StoreKey, text: string): Fact {
    const expiresAt = this.#expiries.size === 0 ? undefined : this.#expiries.get(encodeKey(key));
    return expiresAt === undefined ? { key, text } : { key, text, expiresAt };
  }

  #delete(key: StoreKey): boolean {
    if (this.#expiries.size > 0) this.#expiries.delete(encodeKey(key));
    return this.#groups.get(groupOf(key))?.texts.delete(key.at(-1) ?? "") ?? false;
  }
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

  /** Every entry whose key starts with `prefix`. */
  async *list(prefix: StoreKey): AsyncGenerator<StoreEntry> {
    for (const fact of this.#facts.list(prefix)) yield { key: fact.key, value: valueOf(fact) };
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

/**
 * The fact to keep for an entry that is set at a time.
 *
 * @param now Milliseconds since 1970. An `expiresIn` that is not finite means that the fact stays.
 */
export function makeFact(entry: StoreEntry, now: number, options: StoreSetOptions = {}): Fact {
  const fact: Fact = { key: [...entry.key], text: JSON.stringify(entry.value) };
  if (Number.isFinite(options.expiresIn)) fact.expiresAt = now + (options.expiresIn ?? 0);
  return fact;
}

/** The value of a fact, fresh at every call. */
export function valueOf(fact: Fact): StoreValue {
  return JSON.parse(fact.text);
}

/** Whether a fact is gone at `now`, in milliseconds since 1970. */
export function isExpired(fact: Pick<Fact, "expiresAt">, now: number): boolean {
  return fact.expiresAt !== undefined && fact.expiresAt <= now;
}

/** Whether a key starts with the parts of `prefix`; a key starts with itself. */
export function hasPrefix(key: StoreKey, prefix: StoreKey): boolean {
  return prefix.every((part, index) => part === key[index]);
}

/** A key as one text, different for different keys, to be used in maps. */
export function encodeKey(key: StoreKey): string {
  return JSON.stringify(key);
}

/**
 * Key of "this repository holds this blob"; the value is `{ size, seenAt }`: the blob's size in bytes, and when it
 * was last seen there in milliseconds since 1970.
 */
export function blobKey(registry: string, repository: string, digest: Digest): StoreKey {
  return ["blob", registry, repository, digest];
}

/**
 * Key of "an upload of this blob was left in the middle"; the value is `{ location, chunkMinimum }`: where it goes on, and
 * the bytes a chunk must at least have, or `null`.
 */
export function uploadKey(registry: string, repository: string, digest: Digest): StoreKey {
  return ["upload", registry, repository, digest];
}

/** Key of "this registry goes on with uploads of an earlier run"; the value is `false`, for nothing else need be remembered. */
export function keepsUploadsKey(registry: string): StoreKey {
  return ["keeps-uploads", registry];
}

/**
 * Key of "this tag was copied at this digest"; the value is `{ digest, source, copiedAt }`: the digest pushed, the
 * reference it was read from, and when in milliseconds since 1970.
 */
export function tagKey(registry: string, repository: string, tag: string): StoreKey {
  return ["tag", registry, repository, tag];
}

/** Where the source repository is kept (`registry/repository`, a text) that the next run begins with. */
export function cursorKey(): StoreKey {
  return ["run", "cursor"];
}

/**
 * Key of "this registry asks for a login like this"; the value is `{ scheme, realm, service }`: `basic` or `bearer`,
 * the URL of the token service and the name it wants to be told (distribution-spec, token authentication).
 */
export function challengeKey(registry: string): StoreKey {
  return ["challenge", registry];
}

/**
 * Key of "image-syncer 1.0.3 once put this blob somewhere into this registry", read from its records file; the
 * value is `{ size }` in bytes. The repository is not known and the last size of a file may be cut off, so it is a
 * place to look and nothing more.
 */
export function hintKey(registry: string, digest: Digest): StoreKey {
  return ["hint", registry, digest];
}

/**
 * Key of "this index, with only these platforms, becomes that": the value is `{ mediaType, digest, size }` of the index
 * that is left, or `null` when nothing is left. It follows from the digest alone, so it never gets old.
 */
export function filteredKey(digest: Digest, platforms: readonly string[]): StoreKey {
  return ["filtered", digest, [...platforms].sort().join(",")];
}
