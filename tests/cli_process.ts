/** Runs the real command line in a process of its own, with no more rights than a careful user gives it. */

/** What a command line came to. */
export interface CliResult {
  /** Exit code; 128 and more when a signal ended it. */
  code: number;
  /** The signal that ended it. */
  signal: Deno.Signal | null;
  /** Everything on standard output. */
  stdout: string;
  /** Everything on standard error. */
  stderr: string;
  /** Lines of standard output. */
  lines: string[];
}

/** Options of {@linkcode Workspace.start}. */
export interface StartOptions {
  /** Hosts that may be reached besides loopback. */
  hosts?: readonly string[];
  /** Environment variables besides those the runtime needs. */
  environment?: Readonly<Record<string, string>>;
  /** Text for standard input; empty unless told. */
  input?: string;
  /** The program and its first arguments; `CLI_COMMAND` or cli.ts unless told. */
  command?: readonly string[] | undefined;
}

/** Milliseconds a command gets. None takes long, and one that hangs is to fail its test instead of holding up all others. */
const TIME_LIMIT = 60_000;

const CLI = new URL("../cli.ts", import.meta.url).href;

/** The program and arguments that are driven in place of cli.ts; `deno task runtimes:cli` sets it. */
export const OTHER_COMMAND: readonly string[] | undefined = Deno.env.get("CLI_COMMAND")?.split(" ")
  .filter((word) => word !== "");

/** Whether the command that is driven has the permissions of Deno. */
export const HAS_PERMISSIONS: boolean = OTHER_COMMAND === undefined;

/** A command line under way. */
export class CliProcess {
  /** What has become of it, once it has ended. */
  readonly result: Promise<CliResult>;
  #child: Deno.ChildProcess;

  /** Takes over a child whose standard streams are piped. */
  constructor(child: Deno.ChildProcess, options: StartOptions) {
    this.#child = child;
    this.result = this.#collect(options);
  }

  /** Sends a signal; one that has already ended takes no notice. */
  kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  async #collect({ input = "" }: StartOptions): Promise<CliResult> {
    const timer = setTimeout(() => this.kill("SIGKILL"), TIME_LIMIT);
    const [stdout, stderr, { code, signal }] = await Promise.all([
      new Response(this.#child.stdout).text(),
      new Response(this.#child.stderr).text(),
      this.#child.status,
      writeInput(this.#child.stdin, input),
    ]);
    clearTimeout(timer);
    return { code, signal, stdout, stderr, lines: stdout.trimEnd().split("\n") };
  }
}

async function writeInput(stream: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stream.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch (error) {
    // A command that never reads may have closed its end already.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** A directory of its own, in which a command line runs and beyond which it may not read or write. */
export class Workspace implements AsyncDisposable {
  /** Absolute path of the directory. */
  readonly directory: string;

  /** See {@linkcode openWorkspace}. */
  constructor(directory: string) {
    this.directory = directory;
  }

  /** Absolute path of a file in the directory. */
  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** Writes a config, as it stands when it is a text; returns its path. */
  async writeConfig(config: string | Record<string, unknown>, name = "config.json"): Promise<string> {
    const text = typeof config === "string" ? config : JSON.stringify(config, null, 2);
    await Deno.writeTextFile(this.path(name), text);
    return this.path(name);
  }

  /** Text of a file in the directory. */
  read(name: string): Promise<string> {
    return Deno.readTextFile(this.path(name));
  }

  /** Starts a command line in the directory. */
  start(args: readonly string[], options: StartOptions = {}): CliProcess {
    const deno = [Deno.execPath(), "run", "--quiet", "--no-prompt", ...this.#permissions(options), CLI];
    const [program = "", ...words] = options.command ?? OTHER_COMMAND ?? deno;
    const command = new Deno.Command(program, {
      args: [...words, ...args],
      cwd: this.directory,
      clearEnv: true,
      env: { ...runtimeEnvironment(), DOCKER_CONFIG: this.directory, ...options.environment },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    });
    return new CliProcess(command.spawn(), options);
  }

  /** Runs a command line in the directory to its end. */
  async run(args: readonly string[], options: StartOptions = {}): Promise<CliResult> {
    return await this.start(args, options).result;
  }

  /** Everything that the files in the directory say, for a look at what must not be in them. */
  async readAll(): Promise<string> {
    const texts: string[] = [];
    for await (const { name, isFile } of Deno.readDir(this.directory)) {
      if (isFile && !name.startsWith("config")) texts.push(await this.read(name));
    }
    return texts.join("\n");
  }

  /** Removes the directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.directory, { recursive: true });
  }

  #permissions({ hosts = [] }: StartOptions): string[] {
    return [
      `--allow-net=${["127.0.0.1", ...hosts].join(",")}`,
      `--allow-read=${this.directory}`,
      `--allow-write=${this.directory}`,
      "--allow-env=DEFAULT_REGISTRY,DEFAULT_NAMESPACE",
    ];
  }
}

/** Makes a directory to run command lines in. */
export async function openWorkspace(): Promise<Workspace> {
  return new Workspace(await Deno.realPath(await Deno.makeTempDir({ prefix: "image-syncer-" })));
}

/** What the runtime itself needs to find its cache; nothing of the tester's proxies or defaults gets through. */
function runtimeEnvironment(): Record<string, string> {
  const names = ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME", "TMPDIR", "NPM_CONFIG_REGISTRY"];
  const pairs = names.map((name) => [name, Deno.env.get(name)] as const);
  return {
    NO_COLOR: "1",
    ...Object.fromEntries(pairs.filter((pair): pair is [string, string] => pair[1] !== undefined)),
  };
}
