/** The files that a run ends with: tried before anything moves, so that one that cannot be written is known then, and written at the end. */

import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { SetupError } from "../../mirror/config/config.ts";
import type { Report } from "../../mirror/report.ts";
import type { Flags } from "../config/flags.ts";
import { formatReport } from "../service/report_shelf.ts";
import { whyNotWritten } from "../system_error.ts";

/** Only its owner reads a file: names of images and registries are nobody else's business. */
const MODE = 0o600;

/** A file that was asked for cannot be written. */
export class OutputFileError extends SetupError {
  /** Name of the class, as messages show it. */
  override name = "OutputFileError";
}

/** A file that a run ends with. */
export interface Output {
  /** What it is, for messages. */
  what: string;
  /** Where it is. */
  path: string;
  /** Makes its text. */
  make: (report: Report) => Promise<string> | string;
}

/** The files that flags ask for. */
export function outputsOf(flags: Flags): Output[] {
  const { report, "output-success-images": images, "output-images-format": format = "yaml" } = flags;
  const outputs: Output[] = [];
  if (report !== undefined) outputs.push({ what: "report", path: report, make: formatReport });
  if (images !== undefined) {
    const make = async (made: Report) => {
      const { formatImages, successImages } = await import("./output_images.ts");
      return await formatImages(successImages(made), format);
    };
    outputs.push({ what: "images", path: images, make });
  }
  return outputs;
}

/**
 * Finds out whether a file can be written that is written later. Nothing is left of the attempt, so that a run which breaks off
 * leaves no empty file where others expect a report.
 *
 * @param what What is to be written, for messages.
 * @throws {OutputFileError} naming the file.
 */
export async function checkOutput(what: string, path: string): Promise<void> {
  try {
    // Opening a pipe waits for its reader, who may well come at the end.
    if (!await isPipe(path)) await tryOpening(path);
  } catch (cause) {
    throw new OutputFileError(whyNot(what, path, cause), { cause });
  }
}

/**
 * Writes a text in place of what a file held.
 *
 * @param what What is written, for messages.
 * @returns Why that was not possible, in a sentence.
 */
export async function writeOutput(what: string, path: string, text: string): Promise<string | undefined> {
  try {
    await replaceContent(await open(path, "a", MODE), text);
    return undefined;
  } catch (cause) {
    return whyNot(what, path, cause);
  }
}

function whyNot(what: string, path: string, cause: unknown): string {
  return `Cannot write ${what} "${path}": ${whyNotWritten(cause)}`;
}

async function isPipe(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFIFO();
  } catch {
    return false;
  }
}

/** What was there before is somebody's, also when it is empty: it stays. */
async function tryOpening(path: string): Promise<void> {
  try {
    await (await open(path, "ax", MODE)).close();
  } catch (error) {
    if (Object(error).code !== "EEXIST") throw error;
    return await (await open(path, "a", MODE)).close();
  }
  await unlink(path);
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
