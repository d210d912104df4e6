/**
 * A real registry: CNCF distribution as Debian's `docker-registry`, or what REGISTRY_PROGRAM names (distribution 3), in a process
 * of its own on loopback.
 */

import { TextLineStream } from "@std/streams/text-line-stream";
import type { Fetch } from "../registry/socketless_fetch.ts";
import type { Certificate } from "./certificate.ts";

/** What is run. */
const PROGRAM = Deno.env.get("REGISTRY_PROGRAM") ?? "docker-registry";

/** Whether it takes manifests of schema 1, which distribution 3 has done away with. */
export const TAKES_SCHEMA_1: boolean = PROGRAM === "docker-registry";

/** The one user of a registry with Basic authentication; the password's hash is in {@linkcode HTPASSWD}. */
export const USER = { username: "robot", password: "correct-horse-battery" } as const;

/** `htpasswd -nbB robot correct-horse-battery`, made once with the least cost: bcrypt is slow on purpose. */
const HTPASSWD = "robot:$2y$04$Dd9pSrk8/OdOUVsGlXh9BO0yRXV1zkW23ItMG9QQI0eNhQoEKGha.\n";

/** Options of {@linkcode startRegistry}. */
export interface RegistryProcessOptions {
  /** Certificate to serve TLS with; plain http unless told. */
  certificate?: Certificate;
  /** Whether {@linkcode USER} must log in, by HTTP Basic authentication. */
  needsLogin?: boolean;
  /** Folder that its storage is made in, and removed from again; the system's for temporary files unless told. */
  parent?: string | undefined;
}

/** A registry under way. */
export interface RegistryProcess extends AsyncDisposable {
  /** `127.0.0.1:PORT`, as the registry part of a reference. */
  readonly host: string;
  /** Origin, for example `https://127.0.0.1:40123`. */
  readonly url: string;
  /** Whether {@linkcode USER} must log in. */
  readonly needsLogin: boolean;
  /** A fetch that trusts the registry's certificate and logs in. */
  readonly fetch: Fetch;
  /** What the registry logged so far. */
  readonly log: readonly string[];
}

/**
 * Starts a registry with empty storage on a free port and waits until it listens.
 *
 * @throws {Error} with the registry's own words when it does not come up.
 */
export async function startRegistry(options: RegistryProcessOptions = {}): Promise<RegistryProcess> {
  const { parent } = options;
  const directory = await Deno.makeTempDir({ prefix: "docker-registry-", ...(parent && { dir: parent }) });
  await Deno.writeTextFile(`${directory}/htpasswd`, HTPASSWD);
  await Deno.writeTextFile(`${directory}/config.json`, JSON.stringify(configOf(directory, options)));
  const child = new Deno.Command(PROGRAM, {
    args: ["serve", `${directory}/config.json`],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const log: string[] = [];
  const listening = Promise.withResolvers<string>();
  const reading = readLog(child.stderr, log, listening.resolve);
  const ended = child.status.then(() => listening.reject(new Error(`The registry ended: ${log.join("\n")}`)));
  const host = await listening.promise;
  const { fetch, close } = createFetch(options);
  return {
    host,
    url: `${options.certificate === undefined ? "http" : "https"}://${host}`,
    needsLogin: options.needsLogin ?? false,
    fetch,
    log,
    async [Symbol.asyncDispose]() {
      close();
      child.kill("SIGKILL");
      await Promise.all([ended, reading]);
      await Deno.remove(directory, { recursive: true });
    },
  };
}

/** The registry's config; it is YAML, of which JSON is a part. */
function configOf(directory: string, { certificate, needsLogin }: RegistryProcessOptions) {
  return {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: `${directory}/storage` }, delete: { enabled: true } },
    http: {
      addr: "127.0.0.1:0",
      secret: "so that uploads go on",
      ...(certificate !== undefined &&
        { tls: { certificate: certificate.certFile, key: certificate.keyFile } }),
    },
    ...(needsLogin && { auth: { htpasswd: { realm: "test", path: `${directory}/htpasswd` } } }),
    compatibility: { schema1: { enabled: true } },
    validation: { manifests: { urls: { allow: [".*"] } } },
  };
}

/** Keeps the log and finds the address in it: the port is chosen by the system. */
async function readLog(stream: ReadableStream<Uint8Array>, log: string[], onListen: (host: string) => void) {
  const texts = stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
  for await (const line of texts.pipeThrough(new TextLineStream())) {
    log.push(line);
    const host = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
    if (host !== undefined) onListen(host);
  }
}

function createFetch({ certificate, needsLogin }: RegistryProcessOptions): { fetch: Fetch; close(): void } {
  const client = Deno.createHttpClient(certificate === undefined ? {} : { caCerts: [certificate.authority] });
  const login = btoa(`${USER.username}:${USER.password}`);
  const send: Fetch = (input, init = {}) => {
    const headers = new Headers(init.headers);
    if (needsLogin) headers.set("authorization", `Basic ${login}`);
    return fetch(input, { ...init, headers, client });
  };
  return { fetch: send, close: () => client.close() };
}
