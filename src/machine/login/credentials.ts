/** The credentials people already hold on a machine: what `docker login`, `podman login` and their helpers keep. */

import { canonicalRegistry } from "../../oci/reference.ts";
import type { Credential } from "../../registry/login/credential.ts";
import { faultOf } from "../system_error.ts";
import { type AuthFile, type AuthFileEntry, CredentialError, parseAuthFile } from "./auth_file.ts";
import { CredentialHelpers, helperServer } from "./credential_helper.ts";
import { helperRunner, type RunHelper, type StartProgram } from "./helper_process.ts";

/** Options of {@linkcode openMachineCredentials}. */
export interface MachineCredentialsOptions {
  /** Reads an environment variable. */
  env: (name: string) => string | undefined;
  /** Reads a file; rejects as `readFile` of `node:fs/promises` does. */
  readTextFile: (path: string) => Promise<string>;
  /** The user's directory; `HOME`, or `USERPROFILE` on Windows, unless told. */
  homeDirectory?: string | undefined;
  /** Runs a credential helper; {@linkcode helperRunner} unless told. */
  runHelper?: RunHelper | undefined;
  /** Starts a program; `node:child_process` does unless told. Not used with `runHelper`. */
  startProgram?: StartProgram | undefined;
  /** Milliseconds a helper may take, 30 seconds unless told; not used with `runHelper`. */
  helperTimeout?: number | undefined;
  /** Told once about each thing that is passed over, in a sentence. */
  onWarning?: ((message: string) => void) | undefined;
}

/** A credential and where it was found. */
export interface FoundCredential {
  /** The credential. */
  credential: Credential;
  /** For people, for example `~/.docker/config.json (credHelpers: ecr-login)`. */
  origin: string;
}

/** The machine's credentials. */
export interface MachineCredentials {
  /**
   * The credential for a repository, or `undefined` when there is none.
   *
   * @param registry Registry host with an optional port; any name of Docker Hub.
   * @param repository Repository name, for example `library/nginx`.
   * @throws {CredentialError} when a file or a helper that may have it cannot be used.
   */
  find(registry: string, repository: string): Promise<FoundCredential | undefined>;
}

/**
 * Opens the machine's credentials. Each file is read when it is first needed, and once.
 *
 * Files, the first that knows a repository counts: with `REGISTRY_AUTH_FILE` set, that file, then `$DOCKER_CONFIG/config.json`
 * if that is set too, and nothing else, because who names a file means it and not another. Else `config.json` in
 * `$DOCKER_CONFIG` or `~/.docker`, then `containers/auth.json` in `$XDG_RUNTIME_DIR` and in `$XDG_CONFIG_HOME` or `~/.config`.
 *
 * In a file the longest key counts, from the whole repository up to its registry. For the same key it is `credHelpers`,
 * then `credsStore` (asked for a registry, and for any key whose entry is empty), then `auths`.
 */
export function openMachineCredentials(options: MachineCredentialsOptions): MachineCredentials {
  const warned = new Set<string>();
  const onWarning = (message: string) => {
    if (!warned.has(message)) options.onWarning?.(message);
    warned.add(message);
  };
  const run = options.runHelper ??
    helperRunner({ timeout: options.helperTimeout, start: options.startProgram });
  const helpers = new CredentialHelpers({ run, onWarning });
  const files = filesOf(options).map((place) => {
    let file: Promise<AuthFile | undefined> | undefined;
    return { name: place.name, load: () => file ??= readAuthFile(place, { ...options, onWarning }) };
  });
  return {
    find: async (registry, repository) => {
      for (const { name, load } of files) {
        const file = await load();
        const found = file && await findIn(file, keysFor(registry, repository), { helpers, onWarning });
        if (found) return { credential: found.credential, origin: `${name} (${found.origin})` };
      }
      return undefined;
    },
  };
}

interface Place {
  path: string;
  /** The path as it is shown. */
  name: string;
  /** Whether a variable names this very file, so that its absence is worth a word. */
  isNamed: boolean;
}

function filesOf({ env, homeDirectory }: MachineCredentialsOptions): Place[] {
  const home = homeDirectory ?? (env("HOME") || env("USERPROFILE") || undefined);
  const inHome = (path: string) => home === undefined ? undefined : `${home}/${path}`;
  const named = env("REGISTRY_AUTH_FILE") || undefined;
  const docker = env("DOCKER_CONFIG") || undefined;
  const runtime = env("XDG_RUNTIME_DIR") || undefined;
  const config = env("XDG_CONFIG_HOME") || inHome(".config");
  const fileIn = (directory: string | undefined, file: string) => directory && `${directory}/${file}`;
  const paths = named !== undefined ? [named, fileIn(docker, "config.json")] : [
    fileIn(docker ?? inHome(".docker"), "config.json"),
    fileIn(runtime, "containers/auth.json"),
    fileIn(config, "containers/auth.json"),
  ];
  return paths.filter((path) => path !== undefined).map((path) => {
    const isInHome = home !== undefined && path.startsWith(`${home}/`);
    return { path, name: isInHome ? `~${path.slice(home.length)}` : path, isNamed: path === named };
  });
}

async function readAuthFile(
  { path, name, isNamed }: Place,
  { readTextFile, onWarning }: MachineCredentialsOptions,
): Promise<AuthFile | undefined> {
  let text: string;
  try {
    text = await readTextFile(path);
  } catch (cause) {
    const why = whyNotRead(cause);
    if (why === undefined) {
      throw new CredentialError(`Cannot read credentials "${name}": ${reasonOf(cause)}`, { cause });
    }
    if (isNamed || faultOf(cause) !== "missing") {
      onWarning?.(`Cannot read credentials "${name}": ${why}; going on without`);
    }
    return undefined;
  }
  // An empty file is what `touch` and some installers leave.
  if (text.trim() === "") return undefined;
  const file = parseAuthFile(text, name);
  for (const { error } of file.auths.values()) {
    if (error !== undefined) onWarning?.(`${error.message}; the other entries are used`);
  }
  return file;
}

/** Why a file is passed over; `undefined` when it must not be. */
function whyNotRead(error: unknown): string | undefined {
  const fault = faultOf(error);
  if (fault === "missing") return "there is no such file";
  if (fault === "not-allowed") return "reading it is not allowed (--allow-read)";
  return fault === "denied" ? "permission denied" : undefined;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error
    ? cause.message.replace(/(?:: readfile|, open|, read)(?: '.*')?$/, "")
    : String(cause);
}

/** The keys a repository may stand under, the longest first. */
function keysFor(registry: string, repository: string): string[] {
  const parts = [canonicalRegistry(registry), ...repository.split("/").filter((part) => part !== "")];
  return parts.map((_, index) => parts.slice(0, parts.length - index).join("/"));
}

async function findIn(
  file: AuthFile,
  keys: string[],
  { helpers, onWarning }: { helpers: CredentialHelpers; onWarning: (message: string) => void },
): Promise<FoundCredential | undefined> {
  for (const key of keys) {
    const entry = file.auths.get(key);
    const helper = file.credHelpers.get(key);
    const isRegistry = !key.includes("/");
    const isStored = isRegistry || entry !== undefined && entry.credential === undefined;
    const store = helper ?? (isStored ? file.credsStore : undefined);
    const kept = store && await askHelper(() => helpers.get(store, helperServer(key)), entry, onWarning);
    if (!kept && entry?.error !== undefined) throw entry.error;
    const origin = `${helper === undefined ? "credsStore" : "credHelpers"}: ${store}`;
    if (kept) return { credential: kept, origin };
    if (entry?.credential) return { credential: entry.credential, origin: `auths: ${entry.key}` };
  }
  return undefined;
}

/** A helper that cannot be asked (a `credsStore` of another machine) is passed over where the file has the credential itself. */
async function askHelper(
  ask: () => Promise<Credential | undefined>,
  entry: AuthFileEntry | undefined,
  onWarning: (message: string) => void,
): Promise<Credential | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (entry?.credential === undefined || !(error instanceof CredentialError)) throw error;
    onWarning(`${error.message}; using what "auths" has of "${entry.key}"`);
    return undefined;
  }
}
