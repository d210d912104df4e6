/** One run of a tool, measured from outside: wall time, CPU of the whole process tree, peak memory. */

/** What a run took. */
export interface Measured {
  /** Milliseconds since 1970, with fractions, at which it was started. */
  startedAt: number;
  /** Seconds from its start to its end. */
  wall: number;
  /** Seconds of CPU, user and system, of it and all processes it waited for; absent without GNU time. */
  cpu?: number;
  /** Most memory that one of its processes had at once, in bytes; absent without GNU time. */
  memory?: number;
  /** Exit code. */
  code: number;
  /** What it said, for messages. */
  output: string;
}

/** What to run, and where. */
export interface RunOptions {
  /** Folder it runs in; its home as well. */
  directory: string;
  /** Variables besides the few that every run has. */
  environment?: Record<string, string>;
}

const TIME = "/usr/bin/time";
const hasTime = await isFile(TIME);
const denoDirectory = await findDenoDirectory();

/** Runs commands one after the other, as a user would in a script, and measures them together. */
export async function measure(commands: readonly string[][], options: RunOptions): Promise<Measured> {
  const { directory, environment = {} } = options;
  const figures = `${directory}/time.txt`;
  const command = commandOf(commands);
  const line = hasTime ? [TIME, "-f", "%U %S %M", "-o", figures, ...command] : command;
  const [program = "", ...args] = line;
  const startedAt = performance.timeOrigin + performance.now();
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd: directory,
    clearEnv: true,
    env: { ...commonEnvironment(directory), ...environment },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const wall = (performance.timeOrigin + performance.now() - startedAt) / 1000;
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return { startedAt, wall, ...(hasTime && await readFigures(figures)), code, output };
}

/** A run has a home of its own: no login, cache or config of this machine's user is in it. */
function commonEnvironment(directory: string): Record<string, string> {
  return {
    PATH: Deno.env.get("PATH") ?? "",
    HOME: directory,
    DOCKER_CONFIG: directory,
    XDG_CACHE_HOME: directory,
    XDG_DATA_HOME: directory,
    XDG_RUNTIME_DIR: directory,
    DENO_DIR: denoDirectory,
    NO_COLOR: "1",
  };
}

function commandOf(commands: readonly string[][]): string[] {
  const [only] = commands;
  if (only !== undefined && commands.length === 1) return only;
  const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = commands.map((command) => command.map(quote).join(" "));
  return ["sh", "-c", ["set -e", ...lines].join("\n")];
}

async function readFigures(path: string): Promise<{ cpu: number; memory: number }> {
  const line = (await Deno.readTextFile(path)).trim().split("\n").at(-1) ?? "";
  const [user = 0, system = 0, kibibytes = 0] = line.split(" ").map(Number);
  return { cpu: user + system, memory: kibibytes * 1024 };
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}

async function findDenoDirectory(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const info: { denoDir: string } = JSON.parse(new TextDecoder().decode(stdout));
  return info.denoDir;
}
