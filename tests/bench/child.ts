/** A helper of the benchmark in a process of its own, so that its work is nobody else's CPU; it speaks JSON, a line each. */

import { TextLineStream } from "@std/streams/text-line-stream";

/** The helper under way. */
export interface Child extends AsyncDisposable {
  /** What it said first. */
  readonly ready: unknown;
  /** What it has counted since the last call. */
  take(): Promise<unknown>;
}

/**
 * Starts a script of this folder and waits for its first line.
 *
 * @throws {Error} when it ends instead.
 */
export async function startChild(script: string, settings: unknown): Promise<Child> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", import.meta.resolve(`./${script}`), JSON.stringify(settings)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = process.stdin.getWriter();
  const texts = process.stdout.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
  const lines = texts.pipeThrough(new TextLineStream()).getReader();
  const read = async () => {
    const { value } = await lines.read();
    if (value === undefined) throw new Error(`Cannot go on: "${script}" has ended`);
    return JSON.parse(value);
  };
  return {
    ready: await read(),
    async take() {
      await input.write(new TextEncoder().encode("take\n"));
      return await read();
    },
    async [Symbol.asyncDispose]() {
      process.kill("SIGKILL");
      await Promise.allSettled([process.status, input.close(), lines.cancel()]);
    },
  };
}
