/** What the tests of the file store share: directories of their own, and looks into a file. */

import { openFileStore } from "../src/machine/store/file_store.ts";
import type { Store, StoreValue } from "../src/mirror/store/store.ts";

/** Runs a test in a directory of its own. */
export async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Opens a store that must not warn. */
export function open(path: string): Promise<Store> {
  const onWarning = (message: string) => {
    throw new Error(`Unexpected warning: ${message}`);
  };
  return openFileStore(path, { onWarning });
}

/** Everything in the file, as the next process sees it. */
export async function readAll(path: string): Promise<Map<string, StoreValue>> {
  const store = await open(path);
  const entries = await Array.fromAsync(store.list([]));
  await store.close();
  return new Map(entries.map(({ key, value }) => [key.join("/"), value]));
}

/** Sets one fact through a store of its own. */
export async function setOne(path: string, key: string[], value: StoreValue): Promise<void> {
  const store = await open(path);
  await store.set(key, value);
  await store.close();
}

/** Lines of which all but `live` are outdated. */
export function wastefulLines(count: number, live: number): string {
  const indexes = Array.from({ length: count }, (_, index) => index);
  return indexes.map((index) => `{"k":["slot","${index % live}"],"v":${index}}\n`).join("");
}
