/** Runs the program of a credential helper, within limits on time and output. */

/** What a helper's program did. */
export interface HelperResult {
  /** Exit code. */
  code: number;
  /** What it wrote to its standard output. */
  output: string;
}

/**
 * Runs `docker-credential-NAME get`.
 *
 * @param name Name of the helper, already checked.
 * @param input What it reads from its standard input: the registry.
 * @throws What {@linkcode faultOf} calls missing when there is no such program, and not allowed when none may be run.
 * @throws {HelperLimitError} when it takes too long or writes too much.
 */
export type RunHelper = (name: string, input: string) => Promise<HelperResult>;

/** A program that runs. */
export interface RunningProgram {
  /** Its standard input. */
  stdin: WritableStream<Uint8Array>;
  /** Its standard output. */
  stdout: ReadableStream<Uint8Array>;
  /** How it ended; rejects when it could not be started. */
  status: Promise<{ code: number }>;
  /** Ends it. */
  kill(signal: "SIGKILL"): void;
}

/** Starts a program with variables besides the process's own; its standard error goes nowhere. */
export type StartProgram = (
  program: string,
  options: { args: string[]; env: Record<string, string> },
) => RunningProgram | Promise<RunningProgram>;

/** Options of {@linkcode helperRunner}. */
export interface HelperRunnerOptions {
  /** Starts the program; `node:child_process` does unless told. */
  start?: StartProgram | undefined;
  /** Milliseconds a helper may take; 30 seconds unless told. */
  timeout?: number | undefined;
  /** Environment variables besides the process's own, which the program is also searched by. */
  env?: Record<string, string> | undefined;
}

/** A helper was stopped. */
export class HelperLimitError extends Error {
  /** Says which limit it reached. */
  constructor(message: string) {
    super(message);
    this.name = "HelperLimitError";
  }
}

/** Bytes of output that are read. */
const OUTPUT_LIMIT = 1024 * 1024;

/** Makes a {@linkcode RunHelper} that starts processes. */
export function helperRunner(options: HelperRunnerOptions = {}): RunHelper {
  const { start = startProgram, timeout = 30_000, env = {} } = options;
  return async (name, input) => {
    const child = await start(`docker-credential-${name}`, { args: ["get"], env });
    const limit = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => limit.reject(new HelperLimitError(`no answer within ${timeout / 1000} s`)),
      timeout,
    );
    try {
      return await converse(child, input, limit.promise);
    } finally {
      clearTimeout(timer);
    }
  };
}

async function startProgram(
  program: string,
  { args, env }: { args: string[]; env: Record<string, string> },
): Promise<RunningProgram> {
  const [{ spawn }, { Readable, Writable }, { default: { env: own } }] = await Promise.all([
    import("node:child_process"),
    import("node:stream"),
    import("node:process"),
  ]);
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "ignore"], env: { ...own, ...env } });
  const started = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<{ code: number }>();
  child.once("spawn", started.resolve);
  child.once("error", started.reject);
  child.once("exit", (code, signal) => ended.resolve({ code: code ?? (signal === null ? 1 : 128) }));
  await started.promise;
  return {
    stdin: Writable.toWeb(child.stdin) as WritableStream<Uint8Array>,
    stdout: Readable.toWeb(child.stdout) as unknown as ReadableStream<Uint8Array>,
    status: ended.promise,
    kill: (signal) => void child.kill(signal),
  };
}

async function converse(
  child: RunningProgram,
  input: string,
  limit: Promise<never>,
): Promise<HelperResult> {
  const reader = child.stdout.getReader();
  const fed = feed(child, input);
  try {
    const output = await Promise.race([readOutput(reader), limit]);
    const { code } = await Promise.race([child.status, limit]);
    return { code, output };
  } catch (error) {
    kill(child);
    throw error;
  } finally {
    // A grandchild may hold the pipe open for as long as it lives.
    await reader.cancel();
    await Promise.all([child.status, fed]);
  }
}

/** A helper that knows its answer without reading the question is no failure. */
async function feed(child: RunningProgram, input: string): Promise<void> {
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
}

function kill(child: RunningProgram): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It ended by itself in the meantime.
  }
}

async function readOutput(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (let size = 0;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.length;
    if (size > OUTPUT_LIMIT) throw new HelperLimitError(`it wrote more than ${OUTPUT_LIMIT} bytes`);
    text += decoder.decode(value, { stream: true });
  }
}
