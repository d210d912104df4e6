/** Step 4 of the walk, the rules: whole namespaces become a rule for each of their repositories. */

import { splitReference } from "../../oci/reference.ts";
import { RegistryError } from "../../registry/registry_error.ts";
import type { Rule } from "../config/config.ts";
import { compileNames } from "../rules/name_pattern.ts";
import {
  checkNamespaces,
  isNamespace,
  mapRepository,
  type Namespace,
  parseNamespace,
  prefixOf,
} from "../rules/namespace.ts";
import { RuleError } from "../rules/rules.ts";

/** A rule and its position among those of the plan. */
export interface NumberedRule {
  /** As the user wrote it, or as a namespace became it. */
  rule: Rule;
  /** Position, from 0. */
  position: number;
}

/** Lists the repositories of a registry, page by page. */
export type ListRepositories = (registry: string, owner: string) => AsyncIterable<readonly string[]>;

/** Which rule writes a repository: no two may, where one of them is a whole namespace. */
export class RepositoryOwners {
  #owners = new Map<string, { position: number; source: string }>();

  /** Takes note of what rules of single repositories write. */
  constructor(rules: readonly NumberedRule[]) {
    for (const { rule: { source, destinations }, position } of rules) {
      for (const destination of destinations) {
        try {
          const { registry, repository } = splitReference(destination);
          this.#owners.set(`${registry}/${repository}`, { position, source });
        } catch {
          // The rule's own expansion says what is wrong with it.
        }
      }
    }
  }

  /**
   * Takes a repository for what a namespace has in it.
   *
   * @throws {RuleError} when something else is written there.
   */
  claim(destination: string, position: number, source: string): void {
    const owner = this.#owners.get(destination);
    if (owner !== undefined && (owner.position !== position || owner.source !== source)) {
      const why =
        `"${owner.source}" is copied there too; leave one of them out with "repositories": { "exclude": […] }`;
      throw new RuleError({ source, destination }, why);
    }
    this.#owners.set(destination, { position, source });
  }
}

/**
 * The rules that a namespace becomes, in the order of the repositories' names.
 *
 * @throws {RuleError} when its sides do not fit, a name cannot be mapped, or its registry does not list repositories.
 * @throws {RegistryError} when the list cannot be read to its end now.
 */
export async function expandNamespace(
  { rule, position }: NumberedRule,
  listRepositories: ListRepositories,
  owners: RepositoryOwners,
): Promise<NumberedRule[]> {
  const source = parseNamespace(rule.source);
  const destinations = rule.destinations.map((destination) => checkNamespaces(source, destination));
  const isExcluded = await compileNames(rule.repositories?.exclude ?? []);
  const names = (await listAll(source, rule, listRepositories)).filter((name) => !isExcluded(name)).sort();
  const { repositories: _, ...rest } = rule;
  return names.flatMap((name) => {
    const mapped = mapRepository(source, destinations, name);
    if (mapped === undefined) return [];
    for (const destination of mapped.destinations) owners.claim(destination, position, mapped.source);
    return [{ rule: { ...rest, ...mapped }, position }];
  });
}

/** Rules of single repositories, and those of whole namespaces. */
export function splitRules(rules: readonly Rule[]): { single: NumberedRule[]; namespaces: NumberedRule[] } {
  const numbered = rules.map((rule, position) => ({ rule, position }));
  return {
    single: numbered.filter(({ rule }) => !isNamespace(rule.source)),
    namespaces: numbered.filter(({ rule }) => isNamespace(rule.source)),
  };
}

async function listAll(
  source: Namespace,
  rule: Rule,
  listRepositories: ListRepositories,
): Promise<string[]> {
  const names = new Set<string>();
  const [owner = ""] = prefixOf(source).split("/");
  try {
    for await (const page of listRepositories(source.registry, owner)) {
      for (const name of page) names.add(name);
    }
  } catch (error) {
    if (!(error instanceof RegistryError) || ![401, 403, 404, 405, 501].includes(error.status)) throw error;
    const why = `${error.message}; name its repositories one by one instead`;
    throw new RuleError({ source: rule.source, destination: rule.destinations.join(", ") }, why, {
      cause: error,
    });
  }
  return [...names];
}
