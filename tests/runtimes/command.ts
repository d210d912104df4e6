/** Programs that are run to their end. */

/**
 * Runs a program in a folder.
 *
 * @returns What it said on standard output.
 * @throws {Error} with what it complained of, when it fails.
 */
export async function runCommand(
  [program = "", ...args]: readonly string[],
  directory: string,
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args, cwd: directory }).output();
  if (success) return new TextDecoder().decode(stdout);
  const words = new TextDecoder().decode(stderr).trim();
  throw new Error(`Cannot run "${[program, ...args].join(" ")}": ${words}`);
}
