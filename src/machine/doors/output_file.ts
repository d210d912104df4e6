/** A file that a run ends with, opened when the run begins, so that one that cannot be written is known before anything moves. */

import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { SetupError } from "../../mirror/config/config.ts";
import { whyNotWritten } from "../system_error.ts";

/** Only its owner reads a file: names of images and registries are nobody else's business. */
const MODE = 0o600;

/** A file that was asked for cannot be written. */
export class OutputFileError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "OutputFileError";
}

/** An open file. */
export interface OutputFile {
  /**
   * Writes the text in place of what the file held, and closes it.
   *
   * @returns Why that was not possible, in a sentence.
   */
  write(text: string): Promise<string | undefined>;
}

/**
 * Opens a file; what it holds stays until something is written.
 *
 * @param what What is to be written, for messages.
 * @throws {OutputFileError} naming the file.
 */
export async function openOutput(what: string, path: string): Promise<OutputFile> {
  const sentence = (cause: unknown) => `Cannot write ${what} "${path}": ${whyNotWritten(cause)}`;
  let handle: FileHandle | undefined;
  try {
    // Opening a pipe waits for its reader, who may well come at the end.
    if (!await isPipe(path)) handle = await open(path, "a", MODE);
  } catch (cause) {
    throw new OutputFileError(sentence(cause), { cause });
  }
  const write = async (text: string) => {
    try {
      await replaceContent(handle ?? await open(path, "a", MODE), text);
    } catch (cause) {
      return sentence(cause);
    }
    return undefined;
  };
  return { write };
}

/**
 * Finds out whether a file can be written that somebody else will write later; nothing is left of the attempt.
 *
 * @param what What is to be written, for messages.
 * @throws {OutputFileError} naming the file.
 */
export async function checkOutput(what: string, path: string): Promise<void> {
  try {
    const handle = await open(path, "a", MODE);
    const { size } = await handle.stat();
    await handle.close();
    if (size === 0) await unlink(path);
  } catch (cause) {
    throw new OutputFileError(`Cannot write ${what} "${path}": ${whyNotWritten(cause)}`, { cause });
  }
}

async function isPipe(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFIFO();
  } catch {
    return false;
  }
}

async function replaceContent(handle: FileHandle, text: string): Promise<void> {
  try {
    // A pipe or a terminal has nothing to be replaced, and is not ours to lock.
    if ((await handle.stat()).isFile()) {
      await handle.chmod(MODE);
      await handle.truncate(0);
    }
    await handle.writeFile(text);
  } finally {
    await handle.close();
  }
}
