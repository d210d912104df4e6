/** The reports of the last runs, a file each in a directory, for whoever asks later what became of an image. */

import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import type { Report } from "../../mirror/report.ts";

/** Reports that are kept unless told otherwise. */
const KEPT = 30;
/** A name is when its run began, in ISO 8601 with dashes, for every file system takes those. */
const NAME = /^\d{4}-\d\d-\d\dT[\d-]+\.\d+Z$/;

/** Writes a file so that whoever reads it gets the old content or the new one, whole. Only its owner may read it. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** A report as text. */
export function formatReport(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** Name of the report of a run that began at a time. */
export function reportName(startedAt: string): string {
  return startedAt.replaceAll(":", "-");
}

/** A directory of reports. */
export class ReportShelf {
  #directory: string;
  #kept: number;

  /** @param kept Reports that are kept; the oldest go. */
  constructor(directory: string, kept = KEPT) {
    this.#directory = directory;
    this.#kept = kept;
  }

  /**
   * Keeps the report of a run, and lets go of those that are too old.
   *
   * @param startedAt When the run began, which is its name.
   * @throws {Error} when the directory cannot be written.
   */
  async add(startedAt: string, report: Report): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await replaceFile(this.#pathOf(reportName(startedAt)), formatReport(report));
    const names = await this.names();
    for (const name of names.slice(0, Math.max(0, names.length - this.#kept))) await rm(this.#pathOf(name));
  }

  /** Names of the reports there are, oldest first; none where there is no directory. */
  async names(): Promise<string[]> {
    const files = await readdir(this.#directory).catch(() => []);
    return files.map((file) => file.replace(/\.json$/, "")).filter((name) => NAME.test(name)).sort();
  }

  /** The text of a report, if there is one of that name. */
  async read(name: string): Promise<string | undefined> {
    if (!NAME.test(name)) return undefined;
    return await readFile(this.#pathOf(name), "utf8").catch(() => undefined);
  }

  #pathOf(name: string): string {
    return `${this.#directory}/${name}.json`;
  }
}
