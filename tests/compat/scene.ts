/** What the compatibility tests share: two registries on loopback, a directory of files, and the command line between them. */

import { assert, assertEquals } from "@std/assert";
import { CliProcess, type CliResult, openWorkspace, OTHER_COMMAND, type Workspace } from "../cli_process.ts";
import { buildImage, type Image, pushImage } from "../images.ts";
import { createRegistry, type RegistryOptions, serve, type TestRegistry } from "../registry.ts";
import { pem, serverIdentity } from "../tls_servers.ts";

/** What every run ends with when nothing failed. */
export const DONE = "Finished, 0 sync tasks failed, 0 tasks generate failed";

/** How the command line runs. */
export interface RunOptions {
  /** Environment variables, which it may read. */
  environment?: Readonly<Record<string, string>>;
  /** Text for standard input; empty unless told. */
  input?: string;
}

/** Options of {@linkcode withScene}. */
export interface SceneOptions {
  /** The source. */
  source?: RegistryOptions;
  /** The destination. */
  destination?: RegistryOptions;
  /** Whether both speak TLS, with a certificate of the tests' own authority (`ca.pem` in the directory). */
  tls?: boolean;
}

/** Rules as they stand under `images`. */
export type Images = Readonly<Record<string, unknown>>;

/** Two registries, the first with `ns/app` under `v1`, `v2` and `latest`, and a directory to run in. */
export class Scene {
  /** Where images come from. */
  readonly source: TestRegistry;
  /** Where they go. */
  readonly destination: TestRegistry;
  /** `127.0.0.1:PORT` of the source. */
  readonly S: string;
  /** `127.0.0.1:PORT` of the destination. */
  readonly D: string;
  /** The directory. */
  readonly workspace: Workspace;

  /** See {@linkcode withScene}. */
  constructor(registries: [TestRegistry, TestRegistry], hosts: [string, string], workspace: Workspace) {
    [this.source, this.destination] = registries;
    [this.S, this.D] = hosts;
    this.workspace = workspace;
  }

  /** Entries of `auth` that reach both registries without TLS. */
  auth(more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    return { [this.S]: { insecure: true }, [this.D]: { insecure: true }, ...more };
  }

  /** Writes a file into the directory, a value as JSON. */
  async write(name: string, content: unknown): Promise<string> {
    return await this.workspace.writeConfig(
      typeof content === "string" ? content : JSON.stringify(content, null, 2),
      name,
    );
  }

  /** Runs the command line in the directory, with no more rights than it needs. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<CliResult> {
    const { directory } = this.workspace;
    const { environment = {}, input = "" } = options;
    const names = ["DEFAULT_REGISTRY", "DEFAULT_NAMESPACE", ...Object.keys(environment)];
    const deno = [
      ...[Deno.execPath(), "run", "--quiet", "--no-prompt"],
      ...["--allow-net=127.0.0.1", `--allow-env=${names.join()}`],
      ...[`--allow-read=${directory}`, `--allow-write=${directory}`],
      // The runtime itself would ask a package registry through the proxy of the test.
      ...("HTTPS_PROXY" in environment ? ["--cached-only"] : []),
      new URL("../../cli.ts", import.meta.url).href,
    ];
    const [program = "", ...words] = OTHER_COMMAND ?? deno;
    const command = new Deno.Command(program, {
      args: [...words, ...args],
      cwd: directory,
      clearEnv: true,
      env: { ...runtimeEnvironment(), ...environment },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    });
    return await new CliProcess(command.spawn(), { input }).result;
  }

  /** Writes rules into a config that reaches both registries, and runs it. */
  async sync(images: Images, args: readonly string[] = [], options: RunOptions = {}): Promise<CliResult> {
    const config = await this.write("config.json", { auth: this.auth(), images });
    return await this.run(["--config", config, ...args], options);
  }

  /** Puts an image under a tag of the source. */
  push(repository: string, tag: string, image: Image = buildImage({ seed: tag.length + 20 })): Image {
    pushImage(this.source, repository, tag, image);
    return image;
  }

  /** Tags of a repository of the destination, in order. */
  tagsAt(repository: string): string[] {
    return [...this.destination.repositories.get(repository)?.tags.keys() ?? []].sort();
  }

  /** Fails unless a reference of the destination has the bytes that one of the source has. */
  assertSame(source: [repository: string, reference: string], destination: [string, string]): void {
    const wanted = this.source.state.repository(source[0]).findManifest(source[1]);
    const found = this.destination.state.repository(destination[0]).findManifest(destination[1]);
    assert(wanted !== undefined, `the source has no ${source.join(" ")}`);
    assertEquals(found?.bytes, wanted.bytes, destination.join(" "));
  }

  /** How many requests changed the destination or moved blobs. */
  countTraffic(): number {
    const changes = this.destination.requests.filter(({ method }) => !["GET", "HEAD"].includes(method));
    return changes.length + this.source.count({ method: "GET", kind: "blob" });
  }
}

/** Runs a test between two fresh registries. */
export async function withScene(
  test: (scene: Scene) => Promise<void>,
  options: SceneOptions = {},
): Promise<void> {
  const [source, destination] = [createRegistry(options.source), createRegistry(options.destination)];
  const identity = options.tls === true ? serverIdentity() : {};
  await using sourceServer = serve(source, identity);
  await using destinationServer = serve(destination, identity);
  await using workspace = await openWorkspace();
  await Deno.writeTextFile(workspace.path("ca.pem"), pem("ca.pem"));
  for (const [seed, tag] of ["v1", "v2", "latest"].entries()) {
    pushImage(source, "ns/app", tag, buildImage({ seed: seed + 1 }));
  }
  const scene = new Scene([source, destination], [sourceServer.host, destinationServer.host], workspace);
  await test(scene);
}

/** Fails unless a run ended with an exit code, and shows what it said. */
export function assertExit({ code, stdout, stderr }: CliResult, expected: number): void {
  assertEquals(code, expected, `${stdout}\n${stderr}`);
}

/** What the runtime itself needs; nothing of the tester's proxies or credentials gets through. */
function runtimeEnvironment(): Record<string, string> {
  // The runtime looks for newer versions of itself, through whatever proxy a test has set.
  const environment: Record<string, string> = { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
  for (const name of ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME", "TMPDIR", "NPM_CONFIG_REGISTRY"]) {
    const value = Deno.env.get(name);
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}
