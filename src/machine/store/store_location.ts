/** Where the memory between runs is kept, as `--store` and `IMAGE_SYNCER_STORE` name it. */

import { SetupError } from "../../mirror/config/config.ts";
import { GuardedStore } from "../../mirror/store/guarded_store.ts";
import type { Store } from "../../mirror/store/store.ts";
import type { Leases } from "../workers/leases.ts";

/** Options of {@linkcode openStore}. */
export interface OpenStoreOptions {
  /** Told in a sentence that the store does not answer and facts last for this run only. */
  onWarning?: (message: string) => void;
  /** Opens `kv` stores, where the runtime has Deno KV. */
  openKv?: OpenKv | undefined;
}

/** Opens a store in Deno KV: of a path, a URL, or the default database without them. */
export type OpenKv = (
  path: string | undefined,
  options: Pick<OpenStoreOptions, "onWarning">,
) => Promise<OpenedStore>;

/** An open store, and what else the database can do that it is in. */
export interface OpenedStore {
  /** The memory between runs. */
  store: Store;
  /**
   * Leases in the same database, where it has any.
   *
   * @param lifetime Milliseconds of silence after which a holder counts as dead.
   */
  leases?: (lifetime?: number) => Leases;
  /** Rejects when the database does not answer. */
  checkHealth?: () => Promise<void>;
  /** Writes what is left to be written and closes everything. */
  close(): Promise<void>;
}

/** What a text that names a store says. */
export interface StoreLocation {
  /** What the store is in. */
  kind: "file" | "sqlite" | "kv";
  /** The path or URL; empty for the default database of Deno KV. */
  rest: string;
}

/** The text does not name a store that can be opened. */
export class StoreLocationError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "StoreLocationError";

  /** Names the text. */
  constructor(
    text: string,
    why = "expected file:PATH, sqlite:PATH, kv, kv:PATH or kv:https://HOST/…",
    options?: ErrorOptions,
  ) {
    super(`Cannot open store "${text}": ${why}`, options);
  }
}

/**
 * Opens a store: `file:PATH`, `sqlite:PATH`, `kv` for the default database of Deno or Deno Deploy, `kv:PATH` for one on disk,
 * `kv:URL` for a remote one, whose access token Deno reads from `DENO_KV_ACCESS_TOKEN`. What it opens never throws or hangs.
 *
 * @throws {StoreLocationError} when the text is none of these, or names what this runtime lacks.
 * @throws {SqliteStoreError} when the database cannot be opened.
 * @throws {KvStoreError} when the database cannot be opened.
 */
export async function openStore(text: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const opened = await openBareStore(text, options);
  return { ...opened, store: new GuardedStore(opened.store, { onWarning: options.onWarning }) };
}

/**
 * Opens a store as {@linkcode openStore} does, but one that throws what goes wrong, for who must not miss a fact.
 *
 * @throws {StoreLocationError} when the text is none of these, or names what this runtime lacks.
 * @throws {SqliteStoreError} when the database cannot be opened.
 * @throws {KvStoreError} when the database cannot be opened.
 */
export async function openBareStore(text: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const { kind, rest } = parseLocation(text);
  if (kind === "kv") {
    if (options.openKv !== undefined) return await options.openKv(rest === "" ? undefined : rest, options);
    throw new StoreLocationError(text, "this runtime has no Deno KV; use sqlite:PATH or file:PATH");
  }
  const store = kind === "file"
    ? await (await import("./file_store.ts")).openFileStore(rest, options)
    : await (await import("./sqlite_store.ts")).openSqliteStore(rest, options);
  return { store, close: () => store.close() };
}

/**
 * Checks what names a store, without opening it.
 *
 * @throws {StoreLocationError} when the text names none.
 */
export function parseLocation(text: string): StoreLocation {
  const [, kind, rest] = /^(file|sqlite|kv)(?::(.+))?$/s.exec(text.trim()) ?? [];
  if (kind === "kv") return { kind, rest: rest ?? "" };
  if ((kind === "file" || kind === "sqlite") && rest !== undefined) return { kind, rest };
  throw new StoreLocationError(text);
}
