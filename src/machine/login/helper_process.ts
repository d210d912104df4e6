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
 * @throws {Deno.errors.NotFound} when there is no such program.
 * @throws {Deno.errors.NotCapable} when programs may not be run.
 * @throws {HelperLimitError} when it takes too long or writes too much.
 */
export type RunHelper = (name: string, input: string) => Promise<HelperResult>;

/** Options of {@linkcode helperRunner}. */
export interface HelperRunnerOptions {
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
  const { timeout = 30_000, env = {} } = options;
  return async (name, input) => {
    const command = new Deno.Command(`docker-credential-${name}`, {
      args: ["get"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      env,
    });
    const child = command.spawn();
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

async function converse(
  child: Deno.ChildProcess,
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
async function feed(child: Deno.ChildProcess, input: string): Promise<void> {
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
}

function kill(child: Deno.ChildProcess): void {
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
