/** What the tests of belongings share: what belongs to what, as a registry in memory holds it in either way. */

import type { Descriptor } from "../src/oci/descriptor.ts";
import { describeReferrer, fallbackTagOf, isFallbackTag } from "../src/oci/referrers.ts";
import { assertEquals } from "@std/assert";
import type { TestRegistry } from "./registry.ts";

/** Referrers by their subject, each list in the order of digests. */
export type Tree = Record<string, Descriptor[]>;

/** Everything that a repository lists, by the API unless it has none; cosign's tags stand beside it. */
export function treeOf(registry: TestRegistry, repository: string): Tree {
  const tree: Tree = {};
  const state = registry.state.repository(repository);
  for (const digest of state.manifests.keys()) {
    const referrers = registry.quirks.noReferrers
      ? listUnder(registry, repository, fallbackTagOf(digest))
      : [...state.referrers.get(digest)?.values() ?? []];
    if (referrers.length > 0) {
      tree[digest] = referrers.map(sortKeys).sort((a, b) => a.digest < b.digest ? -1 : 1);
    }
  }
  return Object.fromEntries(Object.entries(tree).sort(([one], [other]) => one < other ? -1 : 1));
}

/** What a tag lists. */
export function listUnder(registry: TestRegistry, repository: string, tag: string): Descriptor[] {
  const found = registry.state.repository(repository).findManifest(tag);
  return found === undefined ? [] : JSON.parse(new TextDecoder().decode(found.bytes)).manifests ?? [];
}

/** Tags of a repository with what they stand for, lists of referrers left out. */
export function tagsOf(registry: TestRegistry, repository: string): Record<string, string> {
  const tags = [...registry.state.repository(repository).tags].filter(([tag]) => !isFallbackTag(tag));
  return Object.fromEntries(tags.sort());
}

/**
 * Fails unless a destination lists what the source lists, descriptor by descriptor. cosign leaves annotations out of the lists
 * that it writes, which the specification asks for: those are expected all the same.
 */
export function assertSameTrees(
  source: readonly [TestRegistry, string],
  destination: readonly [TestRegistry, string],
): void {
  const [registry, repository] = source;
  const contents = registry.state.repository(repository).manifests;
  const described = Object.entries(treeOf(...source)).map(([subject, referrers]) => {
    const whole = referrers.map((one) => {
      const content = contents.get(one.digest);
      if (content === undefined) return one;
      const { bytes, mediaType, digest } = content;
      return sortKeys({
        ...one,
        ...describeReferrer({ bytes, descriptor: { mediaType, digest, size: bytes.length } }),
      });
    });
    return [subject, whole];
  });
  assertEquals(treeOf(...destination), Object.fromEntries(described));
  assertEquals(tagsOf(...destination), tagsOf(...source));
}

function sortKeys(descriptor: Descriptor): Descriptor {
  const entries = Object.entries(descriptor).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.sort(([one], [other]) => one < other ? -1 : 1)) as unknown as Descriptor;
}
