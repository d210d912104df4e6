/** The memory between runs: what a store is, every key the project uses, and how long each kind of fact is kept. */

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
  /** When the fact is gone, in milliseconds since 1970; without it the fact stays. */
  expiresAt?: number;
}

/** How a fact is set. */
export interface StoreSetOptions {
  /** Milliseconds after which the fact is gone; without it the fact is kept as long as its kind is. */
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
  /**
   * Sets the value at a key if what is there is what is expected, in one step among all who use the store, as far as the
   * store can: in SQLite, Deno KV and a Durable Object always, in a file where a lock file can be made beside it.
   *
   * @param expected What `get` gave; `undefined` for nothing.
   * @param value What is to be there; `undefined` for nothing.
   * @returns Whether it was set, durably; `false` when something else is there, or when the store cannot tell.
   */
  update(
    key: StoreKey,
    expected: StoreValue | undefined,
    value: StoreValue | undefined,
    options?: StoreSetOptions,
  ): Promise<boolean>;
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

const DAY = 24 * 60 * 60 * 1000;

/**
 * Milliseconds for which facts are kept, by the first part of their key, where whoever sets them does not say; other kinds stay.
 *
 * A mirror of 300 rules that runs each hour for a year then needs less than 50 MB. What is in use is set again and again, and so
 * outlives this.
 */
const LIFETIMES: Readonly<Record<string, number>> = {
  blob: 30 * DAY,
  tag: 60 * DAY,
  challenge: 90 * DAY,
  filtered: 30 * DAY,
  abilities: 90 * DAY,
  upload: DAY,
  belongings: 60 * DAY,
  passed: 90 * DAY,
};
/** Lifetimes of kinds end at whole multiples of this share of them: a fact that is set again each hour is written but a few times. */
const LIFETIME_STEPS = 4;

/**
 * The fact to keep for an entry that is set at a time.
 *
 * @param now Milliseconds since 1970. An `expiresIn` that is not finite means that the fact stays.
 */
export function makeFact(entry: StoreEntry, now: number, options: StoreSetOptions = {}): Fact {
  const fact: Fact = { key: [...entry.key], text: JSON.stringify(entry.value) };
  const expiresAt = options.expiresIn === undefined ? endOf(entry.key[0], now) : now + options.expiresIn;
  if (Number.isFinite(expiresAt)) fact.expiresAt = expiresAt;
  return fact;
}

/** When facts of a kind that are set at a time are gone: after their lifetime, rounded up. */
function endOf(kind: string | undefined, now: number): number {
  const lifetime = Object.hasOwn(LIFETIMES, kind ?? "") ? LIFETIMES[kind ?? ""] ?? Infinity : Infinity;
  const step = lifetime / LIFETIME_STEPS;
  return Number.isFinite(step) ? Math.ceil((now + lifetime) / step) * step : Infinity;
}

/** Whether a fact, or that there is none, is what `update` was told to expect. */
export function isExpected(fact: Fact | undefined, expected: StoreValue | undefined): boolean {
  return fact?.text === (expected === undefined ? undefined : JSON.stringify(expected));
}

/** The value of a fact, fresh at every call. */
export function valueOf(fact: Fact): StoreValue {
  return JSON.parse(fact.text);
}

/** A fact as a store lists it. */
export function entryOf({ key, text, expiresAt }: Fact): StoreEntry {
  const entry: StoreEntry = { key, value: JSON.parse(text) };
  if (expiresAt !== undefined) entry.expiresAt = expiresAt;
  return entry;
}

/** A fact as long as it lasts, `undefined` from then on; `now` is in milliseconds since 1970. */
export function currentFact(fact: Fact | undefined, now: number): Fact | undefined {
  return fact === undefined || isExpired(fact, now) ? undefined : fact;
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
 * was first seen there in milliseconds since 1970.
 */
export function blobKey(registry: string, repository: string, digest: Digest): StoreKey {
  return ["blob", registry, repository, digest];
}

/** Deletes what a store says of the blobs of a repository that has shown it to be wrong. */
export async function forgetBlobs(store: Store, registry: string, repository: string): Promise<void> {
  for await (const { key } of store.list(["blob", registry, repository])) await store.delete(key);
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
 * Key of "this index, with only these platforms, becomes that": the value is `{ mediaType, digest, size }` of the index
 * that is left, or `null` when nothing is left. It follows from the digest alone, so it never gets old.
 */
export function filteredKey(digest: Digest, platforms: readonly string[]): StoreKey {
  return ["filtered", digest, [...platforms].sort().join(",")];
}

/**
 * Key of "this image, or what these platforms leave of it, was made then"; the value is `{ digest, created }`: what it stands
 * for, and milliseconds since 1970 or `null` where nobody can say.
 *
 * @param name A digest, of which it is true for ever, or the reference of a tag that never changes.
 */
export function createdKey(name: string, platforms: readonly string[] = []): StoreKey {
  return ["created", platforms.length === 0 ? "all" : [...platforms].sort().join(","), name];
}

/** Key of "this registry has no referrers API"; the value is `true`, and expires, for registries learn. */
export function lacksReferrersKey(registry: string): StoreKey {
  return ["lacks-referrers", registry];
}

/** Key of "this tag is a list of referrers"; the value is a boolean, and expires: `false` where the tag is somebody's image. */
export function listTagKey(registry: string, repository: string, tag: string): StoreKey {
  return ["list-tag", registry, repository, tag];
}

/**
 * Key of "what belongs to this image has been brought to this repository"; the value is `{ root, lookedAt }`: a fingerprint of
 * what belonged to the image itself at its source, with the rule's wishes, and when everything was looked at in milliseconds
 * since 1970, or `null` where only the image itself was.
 */
export function belongingsKey(registry: string, repository: string, digest: Digest): StoreKey {
  return ["belongings", registry, repository, digest];
}

/** Key of "this image has passed what a rule demands"; the value is `true`. It follows from the digest and the demand alone. */
export function passedKey(digest: Digest, demand: string): StoreKey {
  return ["passed", demand, digest];
}

/** Key of "this registry takes uploads like this"; the value is a `LearnedAbilities`. It foretells requests and decides nothing. */
export function abilitiesKey(registry: string): StoreKey {
  return ["abilities", registry];
}

/** Key of how fast the last run was that copied anything; the value is `{ bytes, milliseconds }`. */
export function rateKey(): StoreKey {
  return ["run", "rate"];
}

/** Key of "this tag is wanted no more"; the value is when that was first seen, in milliseconds since 1970. */
export function missingKey(registry: string, repository: string, tag: string): StoreKey {
  return ["missing", registry, repository, tag];
}
