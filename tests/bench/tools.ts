/** The tools the benchmark compares: this one, and every peer found on PATH, each with its default settings. */

import { USER } from "./token_desk.ts";

/** A repository at a registry. */
export interface Place {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** Name of the repository. */
  repository: string;
}

/** What a tool is to do: copy all tags of repositories. */
export interface Job {
  /** Each source with its destinations. */
  pairs: { source: Place; destinations: Place[]; tags: string[] }[];
  /** Whether the registries ask for a login. */
  hasLogin: boolean;
}

/** How a tool does a job. */
export interface Invocation {
  /** Files by name, for the folder the commands run in. */
  files: Record<string, string>;
  /** Commands, one after the other. */
  commands: string[][];
}

/** One tool. */
export interface Tool {
  /** Its name in the table. */
  name: string;
  /** Its version, as it tells it. */
  version: string;
  /** How it does a job. */
  invoke: (job: Job) => Invocation;
}

/** This project's name in the table. */
export const OURS = "this tool";

/** This tool, with each switch that it has of those asked for. */
export async function findOurs(cli: string): Promise<Tool[]> {
  const command = [Deno.execPath(), "run", "-A", cli];
  const help = await say([...command, "mirror", "--help"]) ?? "";
  const version = (await say([...command, "--version"]) ?? "").trim();
  const switches = ["", "--verify", "--trust-records"].filter((one) => help.includes(one));
  return switches.map((one) => ({
    name: one === "" ? OURS : `${OURS} ${one}`,
    version,
    invoke: (job) => {
      const files = { "config.json": JSON.stringify({ auth: authOf(job), images: imagesOf(job) }) };
      return { files, commands: [[...command, "--config", "config.json", ...one === "" ? [] : [one]]] };
    },
  }));
}

const PEERS: readonly { name: string; version: string[]; invoke: Tool["invoke"] }[] = [
  { name: "crane", version: ["version"], invoke: invokeCrane },
  { name: "regsync", version: ["version", "--format", "{{.VCSTag}}"], invoke: invokeRegsync },
  { name: "regctl", version: ["version", "--format", "{{.VCSTag}}"], invoke: invokeRegctl },
  { name: "skopeo", version: ["--version"], invoke: invokeSkopeo },
  { name: "image-syncer", version: [], invoke: invokeImageSyncer },
  { name: "ocync", version: ["--version"], invoke: invokeOcync },
];

/** Every peer that is on PATH. */
export async function findPeers(): Promise<Tool[]> {
  const found = await Promise.all(PEERS.map(async ({ name, version, invoke }) => {
    if (await say(["which", name]) === undefined) return [];
    const text = version.length === 0 ? "" : await say([name, ...version]) ?? "";
    return [{ name, version: text.replace(name, "").replace("version", "").trim(), invoke }];
  }));
  return found.flat();
}

async function say([program = "", ...args]: readonly string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch {
    return undefined;
  }
}

function textOf({ host, repository }: Place): string {
  return `${host}/${repository}`;
}

function hostsOf(job: Job): string[] {
  const places = job.pairs.flatMap(({ source, destinations }) => [source, ...destinations]);
  return [...new Set(places.map(({ host }) => host))];
}

function copiesOf(job: Job): { source: Place; destination: Place; tags: string[] }[] {
  return job.pairs.flatMap(({ source, destinations, tags }) =>
    destinations.map((destination) => ({ source, destination, tags }))
  );
}

function authOf(job: Job): Record<string, unknown> {
  const login = job.hasLogin ? USER : {};
  return Object.fromEntries(hostsOf(job).map((host) => [host, { insecure: true, ...login }]));
}

function imagesOf(job: Job): Record<string, string[]> {
  return Object.fromEntries(
    job.pairs.map(({ source, destinations }) => [textOf(source), destinations.map(textOf)]),
  );
}

/** The login as docker keeps it. */
function dockerConfig(job: Job): Record<string, string> {
  if (!job.hasLogin) return {};
  const auth = btoa(`${USER.username}:${USER.password}`);
  const auths = Object.fromEntries(hostsOf(job).map((host) => [host, { auth }]));
  return { "config.json": JSON.stringify({ auths }) };
}

function invokeCrane(job: Job): Invocation {
  const commands = copiesOf(job).map(({ source, destination }) => [
    "crane",
    "cp",
    "-a",
    textOf(source),
    textOf(destination),
  ]);
  return { files: dockerConfig(job), commands };
}

function invokeRegsync(job: Job): Invocation {
  const login = job.hasLogin ? { user: USER.username, pass: USER.password } : {};
  const config = {
    version: 1,
    creds: hostsOf(job).map((registry) => ({ registry, tls: "disabled", ...login })),
    sync: copiesOf(job).map(({ source, destination }) => ({
      source: textOf(source),
      target: textOf(destination),
      type: "repository",
    })),
  };
  // JSON is YAML.
  return {
    files: { "regsync.yml": JSON.stringify(config) },
    commands: [["regsync", "-c", "regsync.yml", "once"]],
  };
}

function invokeRegctl(job: Job): Invocation {
  const hosts = hostsOf(job).flatMap((host) => ["--host", `reg=${host},tls=disabled`]);
  const commands = copiesOf(job).flatMap(({ source, destination, tags }) =>
    tags.map((tag) => [
      "regctl",
      ...hosts,
      "image",
      "copy",
      `${textOf(source)}:${tag}`,
      `${textOf(destination)}:${tag}`,
    ])
  );
  return { files: dockerConfig(job), commands };
}

function invokeSkopeo(job: Job): Invocation {
  const login = `${USER.username}:${USER.password}`;
  const credentials = job.hasLogin ? ["--src-creds", login, "--dest-creds", login] : [];
  const commands = copiesOf(job).map(({ source, destination }) => [
    "skopeo",
    "--insecure-policy",
    "sync",
    "--all",
    "--src=docker",
    "--dest=docker",
    "--src-tls-verify=false",
    "--dest-tls-verify=false",
    ...credentials,
    textOf(source),
    // It adds the last part of the source's name by itself.
    textOf(destination).replace(/\/[^/]*$/, ""),
  ]);
  return { files: {}, commands };
}

function invokeImageSyncer(job: Job): Invocation {
  const files = { "auth.json": JSON.stringify(authOf(job)), "images.json": JSON.stringify(imagesOf(job)) };
  return { files, commands: [["image-syncer", "--auth", "auth.json", "--images", "images.json"]] };
}

/** By its documentation of v0.5; registries without TLS are named by URL there. */
function invokeOcync(job: Job): Invocation {
  const hosts = hostsOf(job);
  const name = (host: string) => `registry${hosts.indexOf(host)}`;
  const config = {
    registries: Object.fromEntries(
      hosts.map((host) => [name(host), { url: `http://${host}`, auth_type: "docker_config" }]),
    ),
    mappings: job.pairs.map(({ source, destinations }) => ({
      from: source.repository,
      to: destinations[0]?.repository,
      source: name(source.host),
      targets: destinations.map(({ host }) => name(host)),
      tags: { glob: "*" },
    })),
  };
  return {
    files: { ...dockerConfig(job), "ocync.yaml": JSON.stringify(config) },
    commands: [["ocync", "sync", "--config", "ocync.yaml"]],
  };
}
