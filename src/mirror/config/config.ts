/** Step 3 of the walk, the config: what the user wants, once it has been read and checked. */

import { splitReference } from "../../oci/reference.ts";
import type { Credential } from "../../registry/login/credential.ts";
import type { BelongingsPolicy } from "../rules/belongings_policy.ts";
import type { PrunePolicy } from "../rules/prune_policy.ts";
import type { TagSelection } from "../rules/selection.ts";
import type { Path } from "./json_lines.ts";
import type { NoticeTarget } from "./notice_target.ts";

/** How one registry, or one namespace of it, is reached and logged in to. */
export interface AuthEntry extends Credential {
  /** Whether a plain-http registry, or one with an untrusted certificate, is accepted. */
  insecure?: boolean;
  /** File of authorities to trust, in PEM. */
  caFile?: string;
  /** File of the client's own certificate, in PEM; goes with `keyFile`. */
  certFile?: string;
  /** File of the key of the client's certificate, in PEM. */
  keyFile?: string;
  /** URL of the proxy that leads to the registry; the environment's unless told. */
  proxy?: string;
}

/** One line of `images`. */
export interface Rule {
  /** What to copy, in the grammar of rules. */
  source: string;
  /** Where to, at least one, none twice. */
  destinations: string[];
  /** Platforms wanted, for example `linux/arm64`; all of them without it. */
  platforms?: string[];
  /** Whether what BuildKit attests comes along (provenance, SBOMs inside an index); it does unless this is `false`. */
  attestations?: boolean;
  /**
   * What comes along of the things that belong to the images (signatures, SBOMs, attestations) and what is demanded of them;
   * `false` for nothing, everything without it.
   */
  referrers?: BelongingsPolicy | false;
  /** What is deleted at the destinations; nothing without it. */
  prune?: PrunePolicy;
  /** Which tags of the source are wanted; all of them without it. */
  tags?: TagSelection;
  /** Which repositories of a namespace are left out: globs or `/patterns/` of their names. */
  repositories?: { exclude: string[] };
  /** What becomes of a tag that stands for something else at a destination: it is moved, or stays with `never`, as drift. */
  overwrite?: "always" | "never";
  /** How tags are named at the destinations, `{tag}` standing for the name at the source; the same without it. */
  rename?: string;
  /** Line of the rule in the config, from 1. */
  line?: number;
}

/** What the user wants. */
export interface Config {
  /** By registry or registry/namespace, Docker Hub always as `docker.io`. */
  auth: Record<string, AuthEntry>;
  /** In the order of the config. */
  rules: Rule[];
  /** Whom `serve` and Deno Deploy tell what has changed; nobody without it. */
  notify?: NoticeTarget[];
  /** What is odd but does no harm. */
  warnings: string[];
}

/** Where in a config something stands. */
export interface ConfigPlace {
  /** Name of the file, where there are several. */
  file?: string | undefined;
  /** Keys that lead there. */
  path?: Path;
  /** Line, from 1, when it is known. */
  line?: number | undefined;
}

/**
 * Something is wrong before anything has moved: the command line, the config, or what the machine has.
 *
 * @internal What a library's user meets is one of its kinds.
 */
export class SetupError extends Error {
  /** Name of the class, as messages show it. */
  override name = "SetupError";
}

/** A config cannot be used. */
export class ConfigError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "ConfigError";
  /** Keys that lead to the place, for example `images.quay.io/coreos/etcd`; empty for the text as a whole. */
  readonly path: string;
  /** Line of the place, from 1, when it is known. */
  readonly line: number | undefined;

  /** Says what is wrong, and where. */
  constructor({ file, path = [], line }: ConfigPlace, why: string, options?: ErrorOptions) {
    const name = path.join(".");
    const of = file === undefined ? "" : ` "${file}"`;
    const at = name === "" ? "" : ` at "${name}"`;
    const on = line === undefined ? "" : ` (line ${line})`;
    super(`Cannot read config${of}${at}${on}: ${why}`, options);
    this.path = name;
    this.line = line;
  }
}

/**
 * The entry for a repository: the one with the longest key that is the registry, a namespace or the repository itself.
 *
 * @returns The key and its entry, or `undefined` when none matches.
 */
export function findAuth(
  auth: Record<string, AuthEntry>,
  registry: string,
  repository: string,
): { key: string; entry: AuthEntry } | undefined {
  const parts = [registry, ...repository.split("/")];
  for (let length = parts.length; length > 0; length--) {
    const key = parts.slice(0, length).join("/");
    const entry = auth[key];
    if (entry !== undefined) return { key, entry };
  }
  return undefined;
}

/** Whether an entry says who is asking; one that only says how to connect leaves that open. */
export function hasCredential({ username, identityToken, registryToken }: AuthEntry): boolean {
  return username !== undefined || identityToken !== undefined || registryToken !== undefined;
}

/**
 * How a registry is connected to: a connection belongs to a registry, not to a namespace, so what any of its entries says
 * counts, the entry of the registry itself first.
 */
export function connectionOf(
  auth: Record<string, AuthEntry>,
  registry: string,
): Pick<AuthEntry, "insecure" | "caFile" | "certFile" | "keyFile" | "proxy"> {
  const keys = Object.keys(auth).filter((key) => key.split("/")[0] === registry);
  const connection: AuthEntry = {};
  for (const key of keys.sort((left, right) => right.length - left.length)) {
    Object.assign(connection, auth[key]);
  }
  const isInsecure = keys.some((key) => auth[key]?.insecure === true);
  return isInsecure ? { ...connection, insecure: true } : connection;
}

/** Whether a plain-http registry, or one with an untrusted certificate, is accepted. */
export function isInsecureRegistry(auth: Record<string, AuthEntry>, registry: string): boolean {
  return connectionOf(auth, registry).insecure === true;
}

/**
 * Which keys of `auth` some image uses: those of its registry, or of its registry and the beginning of its repository.
 *
 * @returns Whether some image uses a canonical key.
 */
export function usedKeys(rules: readonly Rule[]): (key: string) => boolean {
  const names = rules.flatMap(({ source, destinations }) => [source, ...destinations]).map(nameOf);
  return (key) => names.some((name) => name === key || name.startsWith(`${key}/`));
}

/** `registry/repository` of a reference; of what cannot be parsed, the text up to its tag. */
function nameOf(text: string): string {
  try {
    const { registry, repository } = splitReference(text);
    return `${registry}/${repository}`;
  } catch {
    return text.replace(/^[a-z]+:\/\//i, "").toLowerCase();
  }
}
