/** Where the memory between runs is kept, as `--store` and `IMAGE_SYNCER_STORE` name it. */

import type { Store } from "../mirror/store/store.ts";
import { openFileStore } from "../machine/store/file_store.ts";
import { openKv, openKvStore } from "./kv_store.ts";

/** Options of {@linkcode openStore}. */
export interface OpenStoreOptions {
  /** Told at most once, in a sentence, that the store does not answer and facts last for this run only. */
  onWarning?: (message: string) => void;
}

/** A store, and the database it is in where it is in one. */
export interface OpenedStore {
  /** The memory between runs. */
  store: Store;
  /** The database, which may hold leases beside it; not there for a file. */
  kv?: Deno.Kv;
  /** Writes what is left to be written and closes everything. */
  close(): Promise<void>;
}

/** The text does not name a store. */
export class StoreLocationError extends Error {
  /** Name of the class, as messages show it. */
  override name = "StoreLocationError";

  /** Names the text. */
  constructor(text: string) {
    super(`Cannot open store "${text}": expected file:PATH, kv, kv:PATH or kv:https://HOST/…`);
  }
}

/**
 * Opens a store: `file:PATH`, `kv` for the default database of Deno or Deno Deploy, `kv:PATH` for one on disk,
 * `kv:URL` for a remote one, whose access token Deno reads from `DENO_KV_ACCESS_TOKEN`.
 *
 * @throws {StoreLocationError} when the text is none of these.
 * @throws {KvStoreError} when the database cannot be opened.
 */
export async function openStore(text: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const { kind, rest } = parseLocation(text);
  if (kind === "file") {
    const store = await openFileStore(rest, options);
    return { store, close: () => store.close() };
  }
  const kv = await openKv(rest === "" ? undefined : rest);
  const store = await openKvStore({ ...options, kv });
  const close = async () => {
    await store.close();
    kv.close();
  };
  return { store, kv, close };
}

/**
 * Checks what names a store, without opening it.
 *
 * @throws {StoreLocationError} when the text names none.
 */
export function parseLocation(text: string): { kind: "file" | "kv"; rest: string } {
  const [, kind, rest] = /^(file|kv)(?::(.+))?$/s.exec(text.trim()) ?? [];
  if (kind === "kv") return { kind, rest: rest ?? "" };
  if (kind === "file" && rest !== undefined) return { kind, rest };
  throw new StoreLocationError(text);
}
