/** A runtime as a process: lines in, lines out, and what it complained of. */

import { TextLineStream } from "@std/streams/text-line-stream";

/** A process under way; it is killed when it is disposed of. */
export class RuntimeProcess implements AsyncDisposable {
  /** Its number. */
  readonly number: number;
  /** What it has said on standard error; there when it has ended. */
  readonly complaints: Promise<string>;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #output: ReadableStreamDefaultReader<string>;

  /** Starts a program with its arguments. */
  constructor([program = "", ...args]: readonly string[]) {
    const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" })
      .spawn();
    const texts = child.stdout.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
    this.number = child.pid;
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#output = texts.pipeThrough(new TextLineStream()).getReader();
    // Read at once: a pipe that is full would stop the process.
    this.complaints = child.stderr.text();
  }

  /** Writes a line to its standard input. */
  async writeLine(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  /**
   * The next line of its standard output.
   *
   * @throws {Error} when it has ended, with what it complained of.
   */
  async readLine(): Promise<string> {
    const { value } = await this.#output.read();
    if (value !== undefined) return value;
    throw new Error(`Cannot go on: the runtime has ended\n${await this.complaints}`);
  }

  /** Kills it. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await Promise.allSettled([
      this.#child.status,
      this.complaints,
      this.#input.abort(),
      this.#output.cancel(),
    ]);
  }
}
