/** One change to a Deno KV database: what it is made of, how a fact is spelled as bytes, and how many go at once. */

import type { Fact, StoreKey } from "../mirror/store/store.ts";

/** A key that is to be set or deleted. */
export interface KvChange {
  /** The key in the database, prefix included. */
  key: string[];
  /** The fact to set; without it the key is deleted. */
  fact?: Fact;
  /** The fact as it is stored; absent when it is too large, and then what was there before is deleted. */
  bytes?: Uint8Array;
}

// The limits of Deno KV: 2,048 bytes a key, 64 KiB a value; in one atomic operation 1,000 changes, 80 KiB of keys and
// 800 KiB in all. Batches stay well below, for what a remote database may count on top.
const MAX_KEY_LENGTH = 2048;
const MAX_VALUE_LENGTH = 64 * 1024;
const MAX_BATCH_CHANGES = 500;
const MAX_BATCH_KEYS = 64 * 1024;
const MAX_BATCH_LENGTH = 512 * 1024;
const MAX_READ_KEYS = 10;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The change that sets a fact at a key of the database, or deletes what is there. */
export function makeChange(key: string[], fact?: Fact): KvChange {
  if (fact === undefined) return { key };
  const bytes = encodeFact(fact);
  return bytes.length > MAX_VALUE_LENGTH ? { key, fact } : { key, fact, bytes };
}

/**
 * Spells a fact as it is stored: JSON bytes with the expiry beside the value, because the database's own expiry is
 * late, and because bytes are what every version of Deno KV reads.
 */
function encodeFact(fact: Fact): Uint8Array {
  const expiry = fact.expiresAt === undefined ? "" : `,"e":${fact.expiresAt}`;
  return encoder.encode(`{"v":${fact.text}${expiry}}`);
}

/** Reads what is stored at a key; `undefined` when it is no fact of a store. */
export function decodeFact(key: StoreKey, stored: unknown): Fact | undefined {
  if (!(stored instanceof Uint8Array)) return undefined;
  try {
    const { v: value, e: expiresAt } = JSON.parse(decoder.decode(stored));
    if (value === undefined) return undefined;
    const fact: Fact = { key, text: JSON.stringify(value) };
    if (typeof expiresAt === "number") fact.expiresAt = expiresAt;
    return fact;
  } catch {
    return undefined;
  }
}

/** Whether Deno KV can do a change: its key fits, and the fact it sets, if any, is not too large. */
export function isStorable({ key, fact, bytes }: KvChange): boolean {
  return isStorableKey(key) && (fact === undefined || bytes !== undefined);
}

/** Whether Deno KV can hold a key of texts: not too long, and no half of a surrogate pair, which it would change. */
export function isStorableKey(key: readonly string[]): boolean {
  return lengthOf(key) <= MAX_KEY_LENGTH && key.every((part) => part.isWellFormed());
}

/** The length in bytes of a key in the database: UTF-8, a byte before and after each part, NUL as two bytes. */
function lengthOf(key: readonly string[]): number {
  const lengths = key.map((part) => encoder.encode(part.replaceAll("\0", "\0\0")).length + 2);
  return lengths.reduce((sum, length) => sum + length, 0);
}

/** Takes off the first changes of a queue, as many as fit into one atomic operation. */
export function takeBatch(queue: Map<string, KvChange>): Map<string, KvChange> {
  const batch = new Map<string, KvChange>();
  let keyLength = 0;
  let length = 0;
  for (const [id, change] of queue) {
    keyLength += lengthOf(change.key);
    length += lengthOf(change.key) + (change.bytes?.length ?? 0);
    const isFull = keyLength > MAX_BATCH_KEYS || length > MAX_BATCH_LENGTH ||
      batch.size === MAX_BATCH_CHANGES;
    if (isFull) break;
    batch.set(id, change);
    queue.delete(id);
  }
  return batch;
}

/**
 * Writes changes in one atomic operation, leaving out those that change nothing.
 *
 * @param now Milliseconds since 1970.
 * @throws {Error} what the database says when it does not take them.
 */
export async function writeChanges(kv: Deno.Kv, changes: KvChange[], now: number): Promise<void> {
  const differing = await findDiffering(kv, changes);
  if (differing.length === 0) return;
  let operation = kv.atomic();
  for (const change of differing) operation = addChange(operation, change, now);
  const { ok } = await operation.commit();
  if (!ok) throw new Error("the database refused the change");
}

/**
 * Adds a change to an atomic operation.
 *
 * @param now Milliseconds since 1970.
 */
export function addChange(
  operation: Deno.AtomicOperation,
  { key, fact, bytes }: KvChange,
  now: number,
): Deno.AtomicOperation {
  if (bytes === undefined) return operation.delete(key);
  if (fact?.expiresAt === undefined) return operation.set(key, bytes);
  return operation.set(key, bytes, { expireIn: Math.max(Math.ceil(fact.expiresAt - now), 0) });
}

/** The changes that make a difference to what the database holds. */
async function findDiffering(kv: Deno.Kv, changes: KvChange[]): Promise<KvChange[]> {
  const chunks: Promise<KvChange[]>[] = [];
  for (let start = 0; start < changes.length; start += MAX_READ_KEYS) {
    chunks.push(findDifferingAmong(kv, changes.slice(start, start + MAX_READ_KEYS)));
  }
  return (await Promise.all(chunks)).flat();
}

async function findDifferingAmong(kv: Deno.Kv, changes: KvChange[]): Promise<KvChange[]> {
  const entries = await kv.getMany<unknown[]>(changes.map((change) => change.key));
  return changes.filter((change, index) => !isStored(change, entries[index]?.value ?? null));
}

function isStored(change: KvChange, stored: unknown): boolean {
  if (change.bytes === undefined) return stored === null;
  if (!(stored instanceof Uint8Array)) return false;
  return decoder.decode(change.bytes) === decoder.decode(stored);
}
