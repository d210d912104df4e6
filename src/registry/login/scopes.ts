/** Step 2 of the walk, the wire: what a token is good for (distribution: token scope documentation). */

/** A scope in two parts: `repository:library/nginx:pull,push` is for two actions on one resource. */
interface Scope {
  resource: string;
  actions: string[];
}

function parseScope(scope: string): Scope {
  const colon = scope.lastIndexOf(":");
  if (colon < 0) return { resource: scope, actions: [] };
  return { resource: scope.slice(0, colon), actions: scope.slice(colon + 1).split(",") };
}

/** The same scopes with one for each resource, in the order of their names. */
export function mergeScopes(scopes: Iterable<string>): string[] {
  const merged = new Map<string, Set<string>>();
  for (const { resource, actions } of Array.from(scopes, parseScope)) {
    const known = merged.get(resource) ?? new Set();
    for (const action of actions) known.add(action);
    merged.set(resource, known);
  }
  return [...merged].map(([resource, actions]) =>
    actions.size === 0 ? resource : `${resource}:${[...actions].join(",")}`
  ).sort();
}

/** Whether a token that was asked for with some scopes is good for others. */
export function coversScopes(granted: readonly string[], wanted: readonly string[]): boolean {
  // Asked at every request, and nearly always in the same words.
  if (wanted.every((scope) => granted.includes(scope))) return true;
  const actionsOf = new Map(granted.map(parseScope).map(({ resource, actions }) => [resource, actions]));
  return wanted.map(parseScope).every(({ resource, actions }) => {
    const known = actionsOf.get(resource);
    return known !== undefined && actions.every((action) => known.includes(action));
  });
}
