/** A store in Deno KV as the doors open it: the store, the leases in the same database, and whether it answers. */

import type { OpenedStore } from "../machine/store/store_location.ts";
import { whenFree } from "./kv_busy.ts";
import { KvLeases } from "./kv_leases.ts";
import { type KvStoreOptions, openKv, openKvStore } from "./kv_store.ts";

/** A key that is never there: reading it tells whether the database answers. */
const HEALTH_KEY = ["image-syncer", "health"];
/** Milliseconds; who asks whether all is well does not wait long. */
const HEALTH_DEADLINE = 3000;

/**
 * Opens a store in Deno KV.
 *
 * @param path Path of its file, or URL of a remote one; the default database of Deno or Deno Deploy without it.
 * @throws {KvStoreError} when the database cannot be opened.
 */
export async function openKvLocation(
  path: string | undefined,
  options: Pick<KvStoreOptions, "onWarning"> = {},
): Promise<OpenedStore> {
  const kv = await openKv(path);
  const store = await openKvStore({ ...options, kv });
  return {
    store,
    leases: (lifetime) => new KvLeases(kv, lifetime === undefined ? {} : { lifetime }),
    checkHealth: async () => {
      await whenFree(() => kv.get(HEALTH_KEY), HEALTH_DEADLINE);
    },
    close: async () => {
      await store.close();
      kv.close();
    },
  };
}
