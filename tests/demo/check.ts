/** What the demo claims, checked in the registries' memory and logs. */

import type { TestRegistry } from "../registry.ts";
import { PLACES } from "./content.ts";

/** Manifests and blobs that the destination should have and has not, in words; none when all is well. */
export function findDifferences(source: TestRegistry, destination: TestRegistry): string[] {
  return PLACES.flatMap(({ from: [sourceName, sourceTag], to: [name, tag] }) => {
    const from = source.repositories.get(sourceName);
    const to = destination.repositories.get(name);
    const digest = from?.tags.get(sourceTag);
    if (from === undefined || to === undefined || digest === undefined || to.tags.get(tag) !== digest) {
      return [`"${name}:${tag}" is not what "${sourceName}:${sourceTag}" is`];
    }
    const seen = new Set<string>();
    const visit = (one: string): string[] => {
      if (seen.has(one)) return [];
      seen.add(one);
      const manifest = to.manifests.get(one);
      if (manifest === undefined) return [`"${name}" lacks manifest "${one}"`];
      const blobs = manifest.blobs.filter((blob) => !to.blobs.has(blob.digest));
      return [
        ...blobs.map((blob) => `"${name}" lacks blob "${blob.digest}"`),
        ...manifest.children.flatMap((child) => visit(child.digest)),
      ];
    };
    return visit(digest);
  });
}

/** Requests that moved something although nothing was new, in words; none when all is well. */
export function findTraffic(registries: readonly TestRegistry[]): string[] {
  return registries.flatMap(({ requests }) =>
    requests
      .filter(({ method, kind }) =>
        method !== "HEAD" && (method !== "GET" || kind === "manifest" || kind === "blob")
      )
      .map(({ method, path }) => `the second run sent ${method} ${path}`)
  );
}
