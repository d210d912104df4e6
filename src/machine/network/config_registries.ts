/** How the registries of a config are reached: with which credentials, certificates and proxies, and closed when the run is over. */

import {
  type AuthEntry,
  type Config,
  connectionOf,
  findAuth,
  hasCredential,
  isInsecureRegistry,
} from "../../mirror/config/config.ts";
import type { Environment } from "../../mirror/config/environment_values.ts";
import type { Credential } from "../../registry/login/credential.ts";
import { Once } from "../../registry/once.ts";
import type { RegistriesOptions } from "../../registry/request.ts";
import type { StartProgram } from "../login/helper_process.ts";
import type { MachineCredentials } from "../login/credentials.ts";
import { machineDigestOf } from "./hasher.ts";
import type { ClosableFetch } from "./http_client.ts";
import { environmentOf } from "./proxy.ts";
import type { NativeNetwork } from "./tls.ts";

/** The way to the registries of one run. */
export interface OpenedRegistries {
  /** For the run's `Registries`. */
  options: RegistriesOptions;
  /** Which credential a repository gets, and where it was found; `undefined` for anonymous. */
  find: (
    registry: string,
    repository: string,
  ) => Promise<{ credential: Credential; origin: string } | undefined>;
  /** Closes the connections. */
  close(): void;
}

/** Options of {@linkcode openConfigRegistries}. */
export interface OpenRegistriesOptions {
  /** Looks up a variable of the environment; the process's unless told. */
  environment?: Environment;
  /** What the runtime does better than `node:` builtins. */
  network?: NativeNetwork;
  /** Starts credential helpers; `node:child_process` does unless told. */
  startProgram?: StartProgram | undefined;
  /** Whether credentials of the machine (`docker login` and its like) count where the config has none. */
  usesMachine?: boolean;
  /** Told, in a sentence, about what is passed over. */
  onWarning?: (message: string) => void;
  /** Told, in a sentence, what is used for a registry when nothing else says it. */
  onInfo?: (message: string) => void;
}

/** Opens the way to the registries of a config; nothing is read or connected before it is asked for. */
export function openConfigRegistries(config: Config, options: OpenRegistriesOptions = {}): OpenedRegistries {
  const opened = new Once<string, ClosableFetch>({ remembers: true });
  const closers: (() => void)[] = [];
  const open = (registry: string) =>
    opened.do(registry, async () => {
      const fetch = await openFetch(config, registry, options);
      closers.push(() => fetch.close());
      return fetch;
    });
  const find = credentialFinder(config, options, open);
  const credentials = async (registry: string, repository: string) => {
    const found = await find(registry, repository);
    return found && { ...found.credential, origin: found.origin };
  };
  return {
    find,
    close: () => closers.forEach((close) => close()),
    options: {
      fetchFor: (registry) => async (url, init) => (await open(registry)).fetch(url, init),
      isInsecure: (registry) => isInsecureRegistry(config.auth, registry),
      digestOf: machineDigestOf,
      listOwned: async (place) => {
        const { listVendorRepositories } = await import("../../clouds/repository_listing.ts");
        return await listVendorRepositories(place, await credentials(place.registry, `${place.owner}/any`));
      },
      credentials,
    },
  };
}

/**
 * Tries the certificates and proxies that a config names, so that what is wrong with them is known before anything moves.
 *
 * @throws {CertificateError} naming the file that is missing or is none.
 * @throws {ProxyError} naming the proxy, without its password.
 */
export async function checkConnections(config: Config, options: OpenRegistriesOptions = {}): Promise<void> {
  const registries = Object.entries(config.auth)
    .filter(([, { caFile, certFile, proxy }]) => [caFile, certFile, proxy].some((one) => one !== undefined))
    .map(([key]) => key.split("/")[0] ?? key);
  for (const registry of new Set(registries)) (await openFetch(config, registry, options)).close();
}

/** TLS is loaded for the first registry that is asked for: a `--help` or a config with a mistake has no use for it. */
async function openFetch(
  config: Config,
  registry: string,
  options: OpenRegistriesOptions,
): Promise<ClosableFetch> {
  const { caFile, certFile, keyFile, proxy, insecure } = connectionOf(config.auth, registry);
  const [{ createRegistryFetch }, { loadCertificates }] = await Promise.all([
    import("./tls.ts"),
    import("./certificates.ts"),
  ]);
  const env = options.environment ?? environmentOf;
  const certificates = await loadCertificates(registry, { caFile, certFile, keyFile, env });
  return createRegistryFetch({ registry, insecure, proxy, env, network: options.network, ...certificates });
}

/** The config first, then Google's keys made into tokens, then what the machine holds. */
function credentialFinder(
  config: Config,
  options: OpenRegistriesOptions,
  open: (registry: string) => Promise<ClosableFetch>,
): OpenedRegistries["find"] {
  let machine: Promise<MachineCredentials> | undefined;
  const found = new Map<string, ReturnType<OpenedRegistries["find"]>>();
  const look: OpenedRegistries["find"] = async (registry, repository) => {
    const match = findAuth(config.auth, registry, repository);
    if (match !== undefined && hasCredential(match.entry)) {
      return {
        credential: await toCredential(match.entry, registry, open),
        origin: `config, auth "${match.key}"${passwordHint(match.entry)}`,
      };
    }
    const fromMachine = options.usesMachine === true
      ? await (await (machine ??= openMachine(options))).find(registry, repository)
      : undefined;
    if (fromMachine === undefined) {
      options.onInfo?.(`No credentials for "${registry}/${repository}", it is used anonymously`);
    }
    return fromMachine;
  };
  return (registry, repository) => {
    const key = `${registry}/${repository}`;
    const known = found.get(key);
    // Google's tokens run out after an hour, and their maker keeps them until then.
    if (known !== undefined && !isGoogleKey(findAuth(config.auth, registry, repository)?.entry)) return known;
    const next = look(registry, repository);
    found.set(key, next);
    return next;
  };
}

/** What makes a password wrong that looks right in the config. */
function passwordHint({ username, password, identityToken, registryToken }: AuthEntry): string {
  if (username === undefined || (identityToken ?? registryToken) !== undefined) return "";
  if (password === undefined || password === "") return ", which has no password";
  const hasVariable = /\$\{[A-Za-z_][A-Za-z0-9_]*\}/.test(password);
  return hasVariable ? ", whose password is not a variable as a whole and is sent as it stands" : "";
}

function isGoogleKey(entry: AuthEntry | undefined): boolean {
  return entry?.username === "_oauth2_";
}

async function toCredential(
  entry: AuthEntry,
  registry: string,
  open: (registry: string) => Promise<ClosableFetch>,
): Promise<Credential> {
  if (!isGoogleKey(entry)) return pickCredential(entry);
  const { googleToken } = await import("../login/google_token.ts");
  // The token's maker is reached as the registry is: through its proxy, with its authorities.
  const { fetch } = await open(registry);
  return {
    username: "oauth2accesstoken",
    password: await googleToken(entry.password ?? "", { registry, fetch }),
  };
}

function pickCredential({ username, password, identityToken, registryToken }: AuthEntry): Credential {
  const credential: Credential = {};
  if (username !== undefined) credential.username = username;
  if (password !== undefined) credential.password = password;
  if (identityToken !== undefined) credential.identityToken = identityToken;
  if (registryToken !== undefined) credential.registryToken = registryToken;
  return credential;
}

async function openMachine(
  { environment, onWarning, startProgram }: OpenRegistriesOptions,
): Promise<MachineCredentials> {
  const { openMachineCredentials } = await import("../login/credentials.ts");
  return openMachineCredentials({
    env: environment ?? environmentOf,
    readTextFile: async (path) => await (await import("node:fs/promises")).readFile(path, "utf8"),
    startProgram,
    onWarning,
  });
}
