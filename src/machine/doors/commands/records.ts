/** `image-syncer records export` and `records import`: what is remembered between runs, from one kind of store to another. */

import { createReadStream, createWriteStream } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { messageOf } from "../../../mirror/plan/failure.ts";
import { UsageError } from "../../config/flags.ts";
import { exportRecords, importRecords, RecordsError } from "../../store/record_export.ts";
import { openBareStore, type OpenKv } from "../../store/store_location.ts";
import { type Command, type CommandCall, EXIT, storeText } from "../command_setup.ts";

/** `image-syncer records`. */
export const COMMAND: Command = {
  usage: ["records export [FILE] [--store PLACE]", "records import [FILE] [--store PLACE]"],
  help:
    `Carries what is remembered between runs from one kind of store to another: "export" writes it as lines to FILE or
standard output, "import" takes such lines in from FILE or standard input, over what the store has.`,
  flags: ["records", "store"],
  words: [0, 1, 2],
  check: (_, [action = ""]) => {
    if (isAction(action)) return [];
    throw new UsageError(
      `Cannot understand "${`records ${action}`.trimEnd()}": expected "records export" or "records import"`,
    );
  },
  run,
};

function isAction(word: string): word is MoveRecordsOptions["action"] {
  return word === "export" || word === "import";
}

async function run({ flags, words, screen, runtime, warnings }: CommandCall): Promise<number> {
  for (const warning of warnings) screen.err(warning);
  const [action, file] = [words[0] === "import" ? "import" as const : "export" as const, words[1]];
  const said = await moveRecords({ action, store: storeText(flags), file, openKv: runtime.openKv });
  // Standard output is for the lines, where they have no file.
  if (action === "export" && file === undefined) screen.err(said);
  else screen.out(said);
  return EXIT.done;
}

/** Options of {@linkcode moveRecords}. */
export interface MoveRecordsOptions {
  /** Whether a store becomes lines, or lines become a store. */
  action: "export" | "import";
  /** The store, as `--store` names it. */
  store: string;
  /** The file of the lines; standard output, or standard input, without it. */
  file?: string | undefined;
  /** Opens `kv` stores, where the runtime has Deno KV. */
  openKv?: OpenKv | undefined;
}

/**
 * Exports or imports the records of a store, and closes it.
 *
 * @returns A sentence that says how many there were.
 * @throws {RecordsError} when the lines are no records, or the store or the file fails.
 * @throws {StoreLocationError} when `store` names none.
 * @throws {SqliteStoreError} or a `KvStoreError` when the database cannot be opened.
 */
export async function moveRecords(
  { action, store: text, file, openKv }: MoveRecordsOptions,
): Promise<string> {
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  const { store, close } = await openBareStore(text, { onWarning, openKv });
  let count = 0;
  try {
    if (action === "import") count = await importRecords(store, linesOf(file));
    else await pipeline(Readable.from(counted(exportRecords(store))), ...outputOf(file));
  } catch (error) {
    throw error instanceof RecordsError
      ? error
      : new RecordsError(messageOf(error), { action, cause: error });
  } finally {
    await close();
  }
  // A store that goes on in memory after a failure would make half of it look like all.
  if (warnings[0] !== undefined) throw new RecordsError(warnings[0], { action });
  return `${count} ${count === 1 ? "record" : "records"} ${
    action === "import" ? "taken into" : "of"
  } ${text}`;

  async function* counted(lines: AsyncIterable<string>): AsyncGenerator<string> {
    let number = 0;
    for await (const line of lines) {
      // The first and the last line are no records.
      count = Math.max(0, number++ - 1);
      yield line;
    }
  }
}

/** Standard output stays open; a file is for its owner only. */
function outputOf(file: string | undefined): [NodeJS.WritableStream, { end: boolean }] {
  if (file === undefined) return [process.stdout, { end: false }];
  return [createWriteStream(file, { mode: 0o600 }), { end: true }];
}

async function* linesOf(file: string | undefined): AsyncGenerator<string> {
  const input = file === undefined ? process.stdin : createReadStream(file);
  // What a file that cannot be read throws comes out of the stream itself, not of its lines.
  const failed = new Promise<never>((_, reject) => input.once("error", reject));
  failed.catch(() => {});
  const lines = createInterface({ input, crlfDelay: Infinity })[Symbol.asyncIterator]();
  for (;;) {
    const next = await Promise.race([lines.next(), failed]);
    if (next.done) return;
    yield next.value;
  }
}
